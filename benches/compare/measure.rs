//! The measurement: rounds in which every contender has its turn under the same load.
//!
//! Turn by turn, not one contender after the other's rounds, and each round begins with another one:
//! what else happens on the machine then falls on all of them.

use std::net::SocketAddr;

use crate::accounting::{self, Usage};
use crate::check;
use crate::contender::Contender;
use crate::load::Load;
use crate::{Fallible, Options};

const WARM_UP_SECONDS: u64 = 2;

#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) connections: usize,
    pub(crate) size: usize,
}

impl Scenario {
    /// Every number of connections with the first size, then every other size with the first number.
    pub(crate) fn star(connections: &[usize], sizes: &[usize]) -> Vec<Self> {
        let (Some(&first), Some((&smallest, others))) = (connections.first(), sizes.split_first())
        else {
            return Vec::new();
        };
        let wide = connections.iter().map(|&connections| Self { connections, size: smallest });
        let long = others.iter().map(|&size| Self { connections: first, size });
        wide.chain(long).collect()
    }
}

/// One contender's turn in one round.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) requests_per_second: f64,
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) resident_kib: f64,
    /// Connections that the backend accepted for each request: near 0 with keep-alive.
    pub(crate) opened: f64,
}

/// What a contender did in a scenario.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) samples: Vec<Sample>,
    /// What went wrong. One is enough: errors are cheaper to answer than requests.
    pub(crate) failures: Vec<String>,
}

impl Row {
    pub(crate) fn valid(&self) -> bool {
        self.failures.is_empty() && !self.samples.is_empty()
    }

    pub(crate) fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        let mut values: Vec<f64> = self.samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        let count = values.len();
        f64::midpoint(at(count.saturating_sub(1) / 2), at(count / 2))
    }

    pub(crate) fn cpu_us(&self) -> f64 {
        self.median(|sample| sample.cpu_us)
    }

    /// How far the rounds are apart, relative to their median: the noise in the CPU figure.
    pub(crate) fn spread(&self) -> f64 {
        let values = || self.samples.iter().map(|sample| sample.cpu_us);
        let highest = values().fold(f64::NEG_INFINITY, f64::max);
        let lowest = values().fold(f64::INFINITY, f64::min);
        (highest - lowest) / self.cpu_us()
    }
}

pub(crate) struct Table {
    pub(crate) scenario: Scenario,
    pub(crate) rows: Vec<Row>,
}

impl Table {
    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The peer that pays least for a request.
    pub(crate) fn best_peer(&self) -> Option<&Row> {
        self.rows
            .iter()
            .filter(|row| row.valid() && row.name != "gateway" && row.name != "relay")
            .min_by(|one, other| one.cpu_us().total_cmp(&other.cpu_us()))
    }
}

pub(crate) async fn table(
    scenario: Scenario,
    contenders: &[Contender],
    backend: SocketAddr,
    load: &Load,
    options: &Options,
) -> Table {
    let mut rows: Vec<Row> = contenders
        .iter()
        .map(|contender| Row { name: contender.name, samples: Vec::new(), failures: Vec::new() })
        .collect();
    for (contender, row) in contenders.iter().zip(&mut rows) {
        // Errors while warming up are errors too, but the rounds would show them again.
        let warm_up = WARM_UP_SECONDS.min(options.seconds);
        if let Err(error) = turn(contender, scenario, backend, load, warm_up).await {
            row.failures.push(format!("warm-up: {error}"));
        }
    }
    for round in 0..options.rounds {
        let first = usize::try_from(round).unwrap_or(0);
        for offset in 0..contenders.len() {
            let place = (first + offset) % contenders.len();
            let (Some(contender), Some(row)) = (contenders.get(place), rows.get_mut(place)) else {
                continue;
            };
            match turn(contender, scenario, backend, load, options.seconds).await {
                Ok((sample, None)) => row.samples.push(sample),
                Ok((sample, Some(failure))) => {
                    row.samples.push(sample);
                    row.failures.push(format!("round {}: {failure}", round + 1));
                }
                Err(error) => row.failures.push(format!("round {}: {error}", round + 1)),
            }
        }
    }
    Table { scenario, rows }
}

/// The sample, and what was wrong with it.
async fn turn(
    contender: &Contender,
    scenario: Scenario,
    backend: SocketAddr,
    load: &Load,
    seconds: u64,
) -> Fallible<(Sample, Option<String>)> {
    let accepted = check::connections_accepted(backend).await?;
    let before = Usage::read(contender.id())?;
    let run = load.run(contender.address, scenario.connections, scenario.size, seconds).await?;
    let spent = Usage::read(contender.id())?.since(&before);
    let resident = accounting::resident(contender.id());
    let opened = check::connections_accepted(backend).await? - accepted;

    let requests = run.requests.max(1) as f64;
    let sample = Sample {
        requests_per_second: run.requests as f64 / run.seconds,
        cpu_us: spent as f64 / 1000.0 / requests,
        p50_us: run.p50_us,
        p99_us: run.p99_us,
        resident_kib: resident as f64,
        opened: opened as f64 / requests,
    };
    Ok((sample, run.failure))
}

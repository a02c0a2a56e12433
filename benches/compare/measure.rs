//! The measurement: rounds in which every contender has its turn under the same load.
//!
//! Turn by turn, not one contender after the other's rounds, and each round begins with another one:
//! what else happens on the machine then falls on all of them.

use crate::accounting::{self, Usage};
use crate::contender::{Absence, Running};
use crate::fleet::{Fleet, Stage};
use crate::load::Load;
use crate::scenario::Scenario;
use crate::{Fallible, check};

const WARM_UP_SECONDS: u64 = 2;
/// From this share of its time on, a part is taken for the bottleneck.
const BUSY: f64 = 0.9;

/// One contender's turn in one round.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// Requests, handshakes, messages or MiB, as the scenario counts.
    pub(crate) units_per_second: f64,
    /// For each of them.
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) resident_kib: f64,
    /// Connections that the backend accepted for each request, beyond one for whatever can be under
    /// way at once (the end of a run breaks that off, with its connections): near 0 with keep-alive.
    pub(crate) opened: f64,
    /// Shares of their cores' time that what stands behind and before the contender was busy.
    pub(crate) backend_busy: f64,
    pub(crate) load_busy: f64,
}

/// What a contender did in a scenario.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Why it had no part in it.
    pub(crate) absence: Option<Absence>,
    pub(crate) samples: Vec<Sample>,
    /// What went wrong. One is enough: errors are cheaper to answer than requests.
    pub(crate) failures: Vec<String>,
}

impl Row {
    pub(crate) fn valid(&self) -> bool {
        self.failures.is_empty() && !self.samples.is_empty()
    }

    /// Absent because it does not claim to do this.
    pub(crate) fn unsupported(&self) -> bool {
        self.absence.as_ref().is_some_and(|absence| absence.unsupported)
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

    /// Its cost over the other's.
    pub(crate) fn over(&self, other: &Self) -> f64 {
        self.cpu_us() / other.cpu_us()
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

    /// What but the contenders had no time left, and so set the pace of the fastest of them.
    pub(crate) fn bottlenecks(&self) -> Vec<(&'static str, f64)> {
        let highest = |of: fn(&Sample) -> f64| {
            self.rows.iter().filter(|row| row.valid()).map(|row| row.median(of)).fold(0.0, f64::max)
        };
        let parts = [
            ("backend", highest(|sample| sample.backend_busy)),
            ("load", highest(|sample| sample.load_busy)),
        ];
        parts.into_iter().filter(|(_, busy)| *busy > BUSY).collect()
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
    fleet: &Fleet,
    load: &Load,
    stage: &Stage<'_>,
) -> Table {
    let options = stage.options;
    let mut rows = Vec::new();
    let mut turns: Vec<(usize, &Running)> = Vec::new();
    for contender in &fleet.0 {
        let absence = contender.absence(scenario).cloned();
        if let (Ok(running), None) = (&contender.state, &absence) {
            turns.push((rows.len(), running));
        }
        rows.push(Row { name: contender.name, absence, samples: Vec::new(), failures: Vec::new() });
    }
    if !options.quick {
        for (row, running) in &turns {
            // Errors while warming up are errors too, but the rounds would show them again.
            let warm_up = WARM_UP_SECONDS.min(options.seconds);
            let turn = turn(running, scenario, load, stage, warm_up).await;
            if let (Err(error), Some(row)) = (turn, rows.get_mut(*row)) {
                row.failures.push(format!("warm-up: {error}"));
            }
        }
    }
    for round in 1..=options.rounds {
        for (row, running) in &turns {
            let Some(row) = rows.get_mut(*row) else { continue };
            match turn(running, scenario, load, stage, options.seconds).await {
                Ok((sample, failure)) => {
                    row.samples.push(sample);
                    row.failures.extend(failure.map(|it| format!("round {round}: {it}")));
                }
                Err(error) => row.failures.push(format!("round {round}: {error}")),
            }
        }
        // The next one begins with another contender.
        if !turns.is_empty() {
            turns.rotate_left(1);
        }
    }
    Table { scenario, rows }
}

/// The sample, and what was wrong with it.
async fn turn(
    running: &Running,
    scenario: Scenario,
    load: &Load,
    stage: &Stage<'_>,
    seconds: u64,
) -> Fallible<(Sample, Option<String>)> {
    let connections_accepted =
        async || check::connections_accepted(stage.backends.http1, stage.client).await;
    let accepted = connections_accepted().await?;
    let (before, backend_before) = (Usage::read(running.id())?, Usage::read(stage.backend)?);
    let load_before = accounting::of_children();
    let run = load.run(scenario, running.address, seconds).await?;
    let spent = Usage::read(running.id())?.since(&before);
    let backend_spent = Usage::read(stage.backend)?.since(&backend_before);
    let load_spent = accounting::of_children() - load_before;
    let resident = accounting::resident(running.id());
    let at_once = scenario.connections * scenario.work.streams().unwrap_or(1);
    let opened = (connections_accepted().await? - accepted).saturating_sub(at_once as u64);

    let requests = run.requests.max(1) as f64;
    let units = requests * scenario.units_of_a_request();
    let sample = Sample {
        units_per_second: run.requests as f64 * scenario.units_of_a_request() / run.seconds,
        cpu_us: spent as f64 / 1000.0 / units,
        p50_us: run.p50_us,
        p99_us: run.p99_us,
        resident_kib: resident as f64,
        opened: opened as f64 / requests,
        backend_busy: backend_spent as f64 / 1e9 / run.seconds,
        load_busy: load_spent as f64 / 1e9 / run.seconds / stage.cores.load_count as f64,
    };
    Ok((sample, run.failure))
}

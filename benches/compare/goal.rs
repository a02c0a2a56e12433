//! What the gateway's figures are held against: section 6 of the design, goal by goal, and for what it
//! says nothing about, the best peer.

use crate::measure::{Metric, Row, Sample, Table};
use crate::scenario::{Figure, Work};
use crate::setting::{ACCESS_LOG, EVERYTHING, FLOOR, MANY_APPS};
use crate::tools::Cores;

/// Where nothing may change, so much of a difference is taken for noise.
const NO_CHANGE: f64 = 1.05;
/// The slowest in a hundred differ more from round to round than a median does.
const NO_CHANGE_OF_P99: f64 = 1.10;
const IDLE_BYTES: f64 = 2048.0;
/// Of what as many workers would do if each did as much as one alone.
const SCALING: f64 = 0.9;

enum Against {
    BestPeer,
    Row(&'static str),
    /// Its own figure, in whatever it is counted in.
    Itself,
}

pub(crate) struct Goal {
    /// What is compared, where it is not the figure of the table.
    what: &'static str,
    /// The row that is held to it.
    whose: &'static str,
    metric: Metric,
    against: Against,
    at_most: f64,
}

/// A goal, and how the gateway stands to it.
pub(crate) struct Standing {
    pub(crate) goal: String,
    /// What has to be at most what is asked; `None`: not measured, or nobody to compare with.
    pub(crate) value: Option<f64>,
    pub(crate) at_most: f64,
}

impl Standing {
    pub(crate) fn met(&self) -> Option<bool> {
        self.value.map(|value| value <= self.at_most)
    }

    pub(crate) fn word(&self) -> &'static str {
        match self.met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        }
    }
}

/// Of one table.
pub(crate) fn of(table: &Table) -> Vec<Standing> {
    goals(table).iter().map(|goal| goal.judge(table)).collect()
}

fn goals(table: &Table) -> Vec<Goal> {
    let scenario = table.scenario;
    let cpu: Metric = |sample| sample.cpu_us;
    let p99: Metric = |sample| sample.p99_us;
    let goal =
        |what, metric, against, at_most| Goal { what, whose: "gateway", metric, against, at_most };
    let beside = |whose, what, metric, at_most| Goal {
        whose,
        ..goal(what, metric, Against::Row("gateway"), at_most)
    };
    match scenario.group {
        "http1" if scenario.connections == 64 && scenario.size == 32 => vec![
            goal("CPU", cpu, Against::Row("haproxy"), 0.85),
            goal("CPU", cpu, Against::Row(FLOOR), 1.40),
        ],
        "http1" if scenario.connections == 512 => vec![
            goal("CPU", cpu, Against::Row("haproxy"), 0.90),
            goal("p99", p99, Against::Row("haproxy"), 1.0),
        ],
        "bodies" | "tls-bodies" if is_in_the_design(table) => {
            vec![goal("CPU", cpu, Against::BestPeer, 0.85)]
        }
        "tls" | "http2" => vec![goal("CPU", cpu, Against::BestPeer, 0.85)],
        "latency" => vec![
            goal("p50", |sample: &Sample| sample.p50_us, Against::BestPeer, 1.0),
            goal("p99", p99, Against::BestPeer, 1.0),
        ],
        "idle" => {
            let bytes = Figure::Memory.metric();
            vec![if scenario.edge().has_tls() {
                goal("memory", bytes, Against::BestPeer, 1.0)
            } else {
                goal("bytes for each", bytes, Against::Itself, IDLE_BYTES)
            }]
        }
        "apps" => vec![
            beside(MANY_APPS, "CPU of a request", |sample| sample.worker_us, NO_CHANGE),
            beside(MANY_APPS, "p99", p99, NO_CHANGE_OF_P99),
        ],
        "observed" => [ACCESS_LOG, EVERYTHING].map(|whose| beside(whose, "CPU", cpu, 1.10)).into(),
        _ => vec![goal("CPU", cpu, Against::BestPeer, 1.0)],
    }
}

/// 64 KiB and 1 MiB down, 1 MiB up.
fn is_in_the_design(table: &Table) -> bool {
    let scenario = table.scenario;
    scenario.size >= 1024 * 1024 || (scenario.size >= 64 * 1024 && scenario.work == Work::Download)
}

impl Goal {
    fn judge(&self, table: &Table) -> Standing {
        let Self { what, whose, metric, at_most, .. } = self;
        let held = table.valid_row(whose);
        let other = match self.against {
            Against::BestPeer => table.best_peer(*metric),
            Against::Row(name) => table.valid_row(name),
            Against::Itself => None,
        };
        let value = match self.against {
            Against::Itself => held.map(|row| row.median(metric)),
            _ => held.zip(other).map(|(row, other)| row.over(other, *metric)),
        };
        let of = match self.against {
            Against::BestPeer => other.map_or("the best peer", |row| row.name),
            Against::Row("gateway") => "without",
            Against::Row(name) => name,
            Against::Itself => "",
        };
        let whose = if *whose == "gateway" { String::new() } else { format!("{whose}, ") };
        let goal = match self.against {
            Against::Itself => format!("{whose}{what} <= {at_most:.0}"),
            _ => format!("{whose}{what} <= {at_most:.2} x {of}"),
        };
        Standing { goal, value, at_most: *at_most }
    }
}

/// Whether more workers do as much more, for each number of them that this machine has cores for.
pub(crate) fn scaling(tables: &[Table]) -> Vec<Standing> {
    let of_workers = || tables.iter().filter(|table| table.scenario.group == "workers");
    let speed = |table: &Table| {
        let row: Option<&Row> = table.valid_row("gateway");
        row.map(|row| row.median(|sample| sample.units_per_second))
    };
    let one = of_workers().find(|table| table.scenario.setting.workers == 1).and_then(speed);
    let more = of_workers().filter(|table| table.scenario.setting.workers > 1);
    more.map(|table| {
        let workers = table.scenario.setting.workers;
        let speed = speed(table).zip(one).filter(|_| Cores::suffice(workers));
        Standing {
            goal: format!("{workers} workers: linear / speed <= {:.2}", 1.0 / SCALING),
            value: speed.map(|(many, one)| workers as f64 * one / many),
            at_most: 1.0 / SCALING,
        }
    })
    .collect()
}

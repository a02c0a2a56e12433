//! What was measured: a table for each scenario, a row for each contender, a sample for each turn.

use crate::contender::Absence;
use crate::fleet::Fleet;
use crate::scenario::Scenario;
use crate::setting::is_peer;

/// From this share of its time on, a part is taken for the bottleneck.
const BUSY: f64 = 0.9;

/// One of a sample's figures.
pub(crate) type Metric = fn(&Sample) -> f64;

/// One contender's turn in one round. What was not measured is not a number.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// Requests, handshakes, messages or MiB, as the scenario counts.
    pub(crate) units_per_second: f64,
    /// For each of them.
    pub(crate) cpu_us: f64,
    /// The part of it that threads named `worker` took: not logging, not the control plane.
    pub(crate) worker_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) resident_kib: f64,
    pub(crate) bytes_per_connection: f64,
    /// Connections that the backend accepted for each request, beyond one for whatever can be under
    /// way at once (the end of a run breaks that off, with its connections): near 0 with keep-alive.
    pub(crate) opened: f64,
    /// Shares of their cores' time that what stands behind and before the contender was busy.
    pub(crate) backend_busy: f64,
    pub(crate) load_busy: f64,
}

impl Sample {
    pub(crate) const NOTHING: Self = Self {
        units_per_second: f64::NAN,
        cpu_us: f64::NAN,
        worker_us: f64::NAN,
        p50_us: f64::NAN,
        p99_us: f64::NAN,
        p999_us: f64::NAN,
        resident_kib: f64::NAN,
        bytes_per_connection: f64::NAN,
        opened: f64::NAN,
        backend_busy: f64::NAN,
        load_busy: f64::NAN,
    };
}

/// What a contender did in a scenario.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Why it had no part in it.
    pub(crate) absence: Option<Absence>,
    pub(crate) samples: Vec<Sample>,
    /// What went wrong. One is enough: errors are cheaper to answer than requests.
    pub(crate) failures: Vec<String>,
    /// Among that, something else than lateness.
    pub(crate) broken: bool,
    /// What a reader of the figures should know.
    pub(crate) remarks: Vec<String>,
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

    /// Its figure over the other's.
    pub(crate) fn over(&self, other: &Self, metric: Metric) -> f64 {
        self.median(metric) / other.median(metric)
    }

    /// How far the rounds are apart, relative to their median: the noise in the figure.
    pub(crate) fn spread(&self, metric: Metric) -> f64 {
        let values = || self.samples.iter().map(metric);
        let highest = values().fold(f64::NEG_INFINITY, f64::max);
        let lowest = values().fold(f64::INFINITY, f64::min);
        (highest - lowest) / self.median(metric)
    }
}

pub(crate) struct Table {
    pub(crate) scenario: Scenario,
    /// Requests a second that everybody was asked for; `None`: as many as are answered.
    pub(crate) pace: Option<u64>,
    pub(crate) rows: Vec<Row>,
}

impl Table {
    pub(super) fn of(scenario: Scenario, fleet: &Fleet) -> Self {
        let rows = fleet.0.iter().map(|contender| Row {
            name: contender.name,
            absence: contender.absence(scenario).cloned(),
            samples: Vec::new(),
            failures: Vec::new(),
            broken: false,
            remarks: Vec::new(),
        });
        Self { scenario, pace: None, rows: rows.collect() }
    }

    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The row, if there are figures in it.
    pub(crate) fn valid_row(&self, name: &str) -> Option<&Row> {
        self.row(name).filter(|row| row.valid())
    }

    /// Parts beside the contenders that had no time left: the fastest contenders are then measured by
    /// the rest of them.
    pub(crate) fn bottlenecks(&self) -> Vec<(&'static str, f64)> {
        let highest = |of: Metric| {
            self.rows.iter().filter(|row| row.valid()).map(|row| row.median(of)).fold(0.0, f64::max)
        };
        let parts = [
            ("backend", highest(|sample| sample.backend_busy)),
            ("load", highest(|sample| sample.load_busy)),
        ];
        parts.into_iter().filter(|(_, busy)| *busy > BUSY).collect()
    }

    /// The peer whose figure is lowest.
    pub(crate) fn best_peer(&self, metric: Metric) -> Option<&Row> {
        self.rows
            .iter()
            .filter(|row| row.valid() && is_peer(row.name))
            .min_by(|one, other| one.median(metric).total_cmp(&other.median(metric)))
    }
}

//! Numbers as people read them, and the whole of it as text or JSON for `--once`.

use std::fmt::Write as _;

use serde::Serialize;

use super::state::{Row, State};

/// Everything, for programs.
#[derive(Serialize)]
struct Report<'a> {
    version: &'a str,
    connections: u64,
    total: &'a Row,
    apps: Vec<&'a Row>,
}

/// One JSON object.
pub fn json(state: &State) -> serde_json::Result<String> {
    let snapshot = state.snapshot();
    let total = Row { app: "all".to_owned(), ..state.total.clone() };
    let (version, connections) = (&*snapshot.version, snapshot.connections);
    serde_json::to_string(&Report { version, connections, total: &total, apps: state.shown() })
}

/// A table.
pub fn text(state: &State) -> String {
    let shown = state.shown();
    let width = shown.iter().map(|row| row.app.len()).max().unwrap_or(0).max(5);
    let mut text = format!(
        "{:<width$} {:>9} {:>7} {:>8} {:>8} {:>7} {:>7} {:>7}\n",
        "APP", "REQ/S", "ERRORS", "P50", "P99", "FLIGHT", "WAIT", "READY"
    );
    let total = Row { app: "all".to_owned(), ..state.total.clone() };
    for row in shown.into_iter().chain([&total]) {
        let ready = format!("{}/{}", row.ready, row.endpoints);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<width$} {:>9} {:>7} {:>8} {:>8} {:>7} {:>7} {ready:>7}",
            row.app,
            rate(state, row.requests_per_second),
            share(state, row),
            duration(row.p50_seconds),
            duration(row.p99_seconds),
            count(row.in_flight),
            count(row.waiting)
        );
    }
    text
}

/// A number a second; nothing before the second look.
pub(super) fn rate(state: &State, rate: f64) -> String {
    match rate {
        _ if !state.has_rates() => "–".to_owned(),
        rate if rate <= 0.0 => "0".to_owned(),
        rate if rate < 10.0 => format!("{rate:.1}"),
        rate if rate < 100_000.0 => format!("{rate:.0}"),
        rate => format!("{:.0}k", rate / 1000.0),
    }
}

/// The share of errors.
pub(super) fn share(state: &State, row: &Row) -> String {
    match row.error_share() * 100.0 {
        _ if !state.has_rates() => "–".to_owned(),
        share if share <= 0.0 => "0%".to_owned(),
        share if share < 0.1 => "<0.1%".to_owned(),
        share if share < 10.0 => format!("{share:.1}%"),
        share => format!("{share:.0}%"),
    }
}

/// A time.
pub(super) fn duration(seconds: Option<f64>) -> String {
    match seconds {
        None => "–".to_owned(),
        Some(seconds) if seconds < 0.01 => format!("{:.1}ms", seconds * 1000.0),
        Some(seconds) if seconds < 1.0 => format!("{:.0}ms", seconds * 1000.0),
        Some(seconds) => format!("{seconds:.1}s"),
    }
}

/// A number of things.
pub(super) fn count(number: u64) -> String {
    match number {
        0..100_000 => number.to_string(),
        100_000..100_000_000 => format!("{}k", number / 1000),
        _ => format!("{}M", number / 1_000_000),
    }
}

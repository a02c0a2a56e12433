//! A table on the terminal, and under it what a reader of its figures should know.

use std::fmt::Write as _;

use crate::measure::{Metric, Row, Table};
use crate::scenario::Figure;
use crate::setting::{Cast, FLOOR};

/// Rounds further apart than this say that the machine was not quiet.
const NOISY: f64 = 0.10;
/// More new connections than this for each request: the contender does not keep them.
const NOT_KEPT: f64 = 0.05;

pub(super) fn print(table: &Table) {
    let scenario = table.scenario;
    let pace = table.pace.map_or_else(String::new, |rate| {
        format!(", {} requests a second asked of each", grouped(rate as f64))
    });
    println!("\n{}: {}{pace}", scenario.group, scenario.title());
    if scenario.figure() == Figure::Memory {
        print_memory(table);
    } else {
        print_load(table);
    }
    for row in &table.rows {
        for failure in &row.failures {
            println!("  INVALID {}: {}", row.name, failure.lines().next().unwrap_or_default());
        }
        if let Some(remark) = row.remarks.last() {
            println!("  note: {}: {remark}", row.name);
        }
        let opened = row.median(|sample| sample.opened);
        if row.name != FLOOR && opened > NOT_KEPT {
            println!("  note: {} opens {opened:.2} connections to the backend a request", row.name);
        }
    }
    for (part, busy) in table.bottlenecks() {
        println!(
            "  note: the {part} was busy to {:.0} %: not all of the speed is theirs",
            busy * 100.0
        );
    }
    let metric = scenario.figure().metric();
    let spread = |row: &&Row| row.spread(metric);
    let noisy = table.rows.iter().filter(|row| row.valid() && row.spread(metric) > NOISY);
    if let Some(row) = noisy.max_by(|one, other| spread(one).total_cmp(&spread(other))) {
        println!("  note: rounds differ by {:.0} % ({}): noisy", spread(&row) * 100.0, row.name);
    }
    if let Some(verdict) = verdict(table, metric) {
        println!("  {verdict}");
    }
}

fn print_load(table: &Table) {
    let unit = table.scenario.unit();
    println!(
        "  {:<11}{:>13}{:>18}{:>8}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}",
        "",
        format!("{unit}{}/s", if unit == "MiB" { "" } else { "s" }),
        format!("CPU-us/{}", unit.replace("request", "req")),
        "spread",
        "x floor",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "RSS MiB",
        "errors"
    );
    let floor = table.valid_row(FLOOR);
    // Of the apps, what a request costs the worker: what a change costs is told below.
    let cpu: Metric = match table.scenario.setting.cast {
        Cast::Apps(_) => |sample| sample.worker_us,
        _ => |sample| sample.cpu_us,
    };
    for row in &table.rows {
        println!("  {:<11}{}", row.name, cells(row, floor, cpu));
        let beside = row.median(|sample| {
            (sample.cpu_us - sample.worker_us) * sample.units_per_second / 10_000.0
        });
        if matches!(table.scenario.setting.cast, Cast::Apps(_)) && row.valid() {
            println!("  {:<11}beside the worker: {beside:.1} % of a core", "");
        }
    }
}

fn cells(row: &Row, floor: Option<&Row>, cpu: Metric) -> String {
    if let Some(gap) = gap(row) {
        return gap;
    }
    let over_floor =
        floor.map_or_else(|| "-".into(), |floor| format!("{:.2}", row.over(floor, cpu)));
    let milliseconds = |of: Metric| row.median(of) / 1000.0;
    format!(
        "{:>13}{:>18.1}{:>7.0}%{over_floor:>9}{:>9.2}{:>9.2}{:>9.2}{:>9.1}{:>8}",
        grouped(row.median(|sample| sample.units_per_second)),
        row.median(cpu),
        row.spread(cpu) * 100.0,
        milliseconds(|sample| sample.p50_us),
        milliseconds(|sample| sample.p99_us),
        milliseconds(|sample| sample.p999_us),
        row.median(|sample| sample.resident_kib) / 1024.0,
        row.failures.len(),
    )
}

fn print_memory(table: &Table) {
    println!(
        "  {:<11}{:>18}{:>14}{:>14}{:>8}",
        "", "bytes/connection", "opened/s", "memory MiB", "errors"
    );
    for row in &table.rows {
        let cells = gap(row).unwrap_or_else(|| {
            format!(
                "{:>18}{:>14}{:>14.1}{:>8}",
                grouped(row.median(|sample| sample.bytes_per_connection)),
                grouped(row.median(|sample| sample.units_per_second)),
                row.median(|sample| sample.resident_kib) / 1024.0,
                row.failures.len(),
            )
        });
        println!("  {:<11}{cells}", row.name);
    }
}

/// What is written where there are no figures.
fn gap(row: &Row) -> Option<String> {
    match &row.absence {
        Some(absence) => Some(format!("{:>13}  {absence}", "-")),
        None if row.samples.is_empty() => Some(format!("{:>13}  not measured", "-")),
        None => None,
    }
}

/// One line that says how the gateway stands.
fn verdict(table: &Table, metric: Metric) -> Option<String> {
    let gateway = table.valid_row("gateway")?;
    let mut parts = Vec::new();
    if let Some(floor) = table.valid_row(FLOOR) {
        parts.push(format!("{:.2} x the floor", gateway.over(floor, metric)));
    }
    if let Some(peer) = table.best_peer(metric) {
        let unit = table.scenario.figure().unit();
        let ratio = gateway.over(peer, metric);
        let mut part = format!("{ratio:.2} x the best peer ({}) in {unit}", peer.name);
        if table.scenario.figure() == Figure::Cpu {
            let p99 = gateway.over(peer, |sample| sample.p99_us);
            let _ = write!(part, ", {p99:.2} x its p99");
        }
        parts.push(part);
    }
    (!parts.is_empty()).then(|| format!("gateway: {}", parts.join("; ")))
}

/// 61234.5 as 61,234.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

//! The report: a table for each scenario on the terminal, and the same figures as JSON.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::contender::Contender;
use crate::machine::Machine;
use crate::measure::{Row, Table};
use crate::{Fallible, Options};

/// Rounds further apart than this say that the machine was not quiet.
const NOISY: f64 = 0.10;
/// More new connections than this for each request: the contender does not keep them.
const NOT_KEPT: f64 = 0.05;

pub(crate) fn print_opening(machine: &Machine, contenders: &[Contender], options: &Options) {
    let Machine { date, processor, cores, kernel, load_average, pinning, wrk } = machine;
    println!("{date} · {processor} · {cores} cores · Linux {kernel} · {wrk}");
    println!("{pinning} · rounds: {} of {} s, medians", options.rounds, options.seconds);
    if *load_average > 0.5 {
        println!("load average {load_average:.1}: the machine is not quiet, figures are noisy");
    }
    for contender in contenders {
        println!("  {:<8} {}", contender.name, contender.version);
        for remark in &contender.remarks {
            println!("  {:<8} note: {remark}", "");
        }
    }
}

pub(crate) fn print_table(table: &Table) {
    let scenario = table.scenario;
    println!("\n{} connections, {}-byte answers", scenario.connections, scenario.size);
    println!(
        "  {:<9}{:>12}{:>12}{:>8}{:>9}{:>10}{:>10}{:>10}{:>8}",
        "",
        "requests/s",
        "CPU-us/req",
        "spread",
        "x floor",
        "p50 ms",
        "p99 ms",
        "RSS MiB",
        "errors"
    );
    let floor = table.row("relay").filter(|row| row.valid()).map(Row::cpu_us);
    for row in &table.rows {
        println!("  {:<9}{}", row.name, cells(row, floor));
    }
    for row in &table.rows {
        for failure in &row.failures {
            println!("  INVALID {}: {failure}", row.name);
        }
        let opened = row.median(|sample| sample.opened);
        if row.name != "relay" && opened > NOT_KEPT {
            println!("  note: {} opens {opened:.2} connections to the backend a request", row.name);
        }
    }
    let noisy = table.rows.iter().filter(|row| row.valid() && row.spread() > NOISY);
    if let Some(row) = noisy.max_by(|one, other| one.spread().total_cmp(&other.spread())) {
        println!("  note: rounds differ by {:.0} % ({}): noisy", row.spread() * 100.0, row.name);
    }
    if let Some(verdict) = verdict(table) {
        println!("  {verdict}");
    }
}

fn cells(row: &Row, floor: Option<f64>) -> String {
    if row.samples.is_empty() {
        return format!("{:>12}{:>12}{:>67}", "-", "-", row.failures.len());
    }
    let over_floor =
        floor.map_or_else(|| "-".into(), |floor| format!("{:.2}", row.cpu_us() / floor));
    format!(
        "{:>12}{:>12.1}{:>7.0}%{over_floor:>9}{:>10.2}{:>10.2}{:>10.1}{:>8}",
        grouped(row.median(|sample| sample.requests_per_second)),
        row.cpu_us(),
        row.spread() * 100.0,
        row.median(|sample| sample.p50_us) / 1000.0,
        row.median(|sample| sample.p99_us) / 1000.0,
        row.median(|sample| sample.resident_kib) / 1024.0,
        row.failures.len(),
    )
}

/// One line that says how the gateway stands.
fn verdict(table: &Table) -> Option<String> {
    let gateway = table.row("gateway").filter(|row| row.valid())?;
    let mut parts = Vec::new();
    if let Some(floor) = table.row("relay").filter(|row| row.valid()) {
        parts.push(format!("{:.2} x the floor", gateway.cpu_us() / floor.cpu_us()));
    }
    if let Some(peer) = table.best_peer() {
        let p99 = |row: &Row| row.median(|sample| sample.p99_us);
        parts.push(format!(
            "{:.2} x the best peer ({}) in CPU, {:.2} x its p99",
            gateway.cpu_us() / peer.cpu_us(),
            peer.name,
            p99(gateway) / p99(peer)
        ));
    }
    (!parts.is_empty()).then(|| format!("gateway: {}", parts.join("; ")))
}

/// 61234.5 as 61,234.
fn grouped(number: f64) -> String {
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

pub(crate) fn write_json(
    file: &Path,
    machine: &Machine,
    contenders: &[Contender],
    options: &Options,
    tables: &[Table],
) -> Fallible<()> {
    let Machine { date, processor, cores, kernel, load_average, pinning, wrk } = machine;
    let contenders: Vec<Value> = contenders
        .iter()
        .map(|it| json!({ "name": it.name, "version": it.version, "remarks": it.remarks }))
        .collect();
    let report = json!({
        "date": date,
        "processor": processor,
        "cores": cores,
        "kernel": kernel,
        "load_average": load_average,
        "pinning": pinning,
        "wrk": wrk,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "contenders": contenders,
        "scenarios": tables.iter().map(table_as_json).collect::<Vec<_>>(),
    });
    fs::write(file, format!("{report:#}\n"))
        .map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
    Ok(())
}

fn table_as_json(table: &Table) -> Value {
    let floor = table.row("relay").filter(|row| row.valid()).map(Row::cpu_us);
    let rows: Vec<Value> = table
        .rows
        .iter()
        .map(|row| {
            json!({
                "name": row.name,
                "valid": row.valid(),
                "failures": row.failures,
                "requests_per_second": row.median(|sample| sample.requests_per_second),
                "cpu_us_per_request": row.cpu_us(),
                "cpu_spread": row.spread(),
                "cpu_over_floor": floor.map(|floor| row.cpu_us() / floor),
                "p50_us": row.median(|sample| sample.p50_us),
                "p99_us": row.median(|sample| sample.p99_us),
                "connections_opened_per_request": row.median(|sample| sample.opened),
                "resident_kib": row.median(|sample| sample.resident_kib),
                "cpu_us_per_round": row.samples.iter().map(|s| s.cpu_us).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "connections": table.scenario.connections,
        "size": table.scenario.size,
        "best_peer": table.best_peer().map(|row| row.name),
        "rows": rows,
    })
}

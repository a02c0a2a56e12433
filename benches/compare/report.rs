//! The report: a table for each scenario on the terminal, a line for each at its end, and the same
//! figures as JSON.

mod json;
mod summary;

use crate::Fallible;
use crate::fleet::Fleet;
use crate::machine::Machine;
use crate::measure::{Row, Table};
use crate::options::Options;
use crate::scenario::Edge;

/// Rounds further apart than this say that the machine was not quiet.
const NOISY: f64 = 0.10;
/// More new connections than this for each request: the contender does not keep them.
const NOT_KEPT: f64 = 0.05;

/// What was said so far.
pub(crate) struct Report<'run> {
    machine: Machine,
    options: &'run Options,
    contenders: Vec<Described>,
    pub(crate) tables: Vec<Table>,
}

/// A contender that has run, at whichever edge.
struct Described {
    name: &'static str,
    version: String,
    remarks: Vec<String>,
}

impl<'run> Report<'run> {
    pub(crate) fn open(machine: Machine, options: &'run Options) -> Self {
        let Machine { date, processor, cores, kernel, load_average, pinning, load } = &machine;
        println!("{date} · {processor} · {cores} cores · Linux {kernel} · {load}");
        println!("{pinning} · rounds: {} of {} s, medians", options.rounds, options.seconds);
        if *load_average > 0.5 {
            println!("load average {load_average:.1}: the machine is not quiet, figures are noisy");
        }
        Self { machine, options, contenders: Vec::new(), tables: Vec::new() }
    }

    /// Who takes part, who does not, and why.
    pub(crate) fn fleet(&mut self, edge: Edge, fleet: &Fleet) {
        println!("\n== {}", edge.describe());
        for contender in &fleet.0 {
            let name = contender.name;
            if let Ok(running) = &contender.state {
                println!("  {name:<8} {}", running.version);
                for remark in &running.remarks {
                    println!("  {:<8} note: {remark}", "");
                }
                if self.contenders.iter().all(|known| known.name != name) {
                    let (version, remarks) = (running.version.clone(), running.remarks.clone());
                    self.contenders.push(Described { name, version, remarks });
                }
            }
            for (from, reason) in contender.reasons() {
                let what = from.map_or_else(String::new, |group| format!(" from {group}"));
                println!("  {name:<8} absent{what}: {reason}");
            }
        }
    }

    pub(crate) fn table(&mut self, table: Table) {
        print_table(&table);
        self.tables.push(table);
    }

    pub(crate) fn close(&self) -> Fallible<()> {
        summary::print(&self.tables);
        self.options.json.as_ref().map_or(Ok(()), |file| self.write_json(file))
    }
}

fn print_table(table: &Table) {
    let scenario = table.scenario;
    let unit = scenario.unit();
    println!("\n{}: {}", scenario.group, scenario.title());
    println!(
        "  {:<9}{:>13}{:>18}{:>8}{:>9}{:>10}{:>10}{:>10}{:>8}",
        "",
        format!("{unit}{}/s", if unit == "MiB" { "" } else { "s" }),
        format!("CPU-us/{}", unit.replace("request", "req")),
        "spread",
        "x floor",
        "p50 ms",
        "p99 ms",
        "RSS MiB",
        "errors"
    );
    let floor = table.row("relay").filter(|row| row.valid());
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
    for (part, busy) in table.bottlenecks() {
        println!(
            "  note: the {part} was busy to {:.0} %: not all of the speed is theirs",
            busy * 100.0
        );
    }
    let noisy = table.rows.iter().filter(|row| row.valid() && row.spread() > NOISY);
    if let Some(row) = noisy.max_by(|one, other| one.spread().total_cmp(&other.spread())) {
        println!("  note: rounds differ by {:.0} % ({}): noisy", row.spread() * 100.0, row.name);
    }
    if let Some(verdict) = verdict(table) {
        println!("  {verdict}");
    }
}

fn cells(row: &Row, floor: Option<&Row>) -> String {
    if let Some(absence) = &row.absence {
        return format!("{:>13}  {absence}", "-");
    }
    if row.samples.is_empty() {
        return format!("{:>13}{:>18}{:>55}", "-", "-", row.failures.len());
    }
    let over_floor = floor.map_or_else(|| "-".into(), |floor| format!("{:.2}", row.over(floor)));
    format!(
        "{:>13}{:>18.1}{:>7.0}%{over_floor:>9}{:>10.2}{:>10.2}{:>10.1}{:>8}",
        grouped(row.median(|sample| sample.units_per_second)),
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
        parts.push(format!("{:.2} x the floor", gateway.over(floor)));
    }
    if let Some(peer) = table.best_peer() {
        let p99 = |row: &Row| row.median(|sample| sample.p99_us);
        parts.push(format!(
            "{:.2} x the best peer ({}) in CPU, {:.2} x its p99",
            gateway.over(peer),
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

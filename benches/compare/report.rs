//! The report: a table for each scenario on the terminal, a line for each at its end, and the same
//! figures as JSON.

mod json;
mod plot;
mod summary;
pub(crate) mod svg;
mod terminal;

use std::fs;
use std::path::Path;

use crate::Fallible;
use crate::fleet::Fleet;
use crate::machine::Machine;
use crate::measure::Table;
use crate::options::Options;
use crate::setting::Setting;

pub(crate) use terminal::grouped;

/// What was said so far.
pub(crate) struct Report<'run> {
    machine: Machine,
    options: &'run Options,
    contenders: Vec<Described>,
    pub(crate) tables: Vec<Table>,
}

/// A contender that has run, in whichever setting.
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
    pub(crate) fn fleet(&mut self, setting: Setting, fleet: &Fleet) {
        println!("\n== {}", setting.describe());
        for contender in &fleet.0 {
            let name = contender.name;
            if let Ok(running) = &contender.state {
                println!("  {name:<10} {}", running.version);
                for remark in &running.remarks {
                    println!("  {:<10} note: {remark}", "");
                }
                if self.contenders.iter().all(|known| known.name != name) {
                    let (version, remarks) = (running.version.clone(), running.remarks.clone());
                    self.contenders.push(Described { name, version, remarks });
                }
            }
            for (from, reason) in contender.reasons() {
                let what = from.map_or_else(String::new, |group| format!(" from {group}"));
                println!("  {name:<10} absent{what}: {reason}");
            }
        }
    }

    pub(crate) fn table(&mut self, table: Table) {
        terminal::print(&table);
        self.tables.push(table);
    }

    pub(crate) fn close(&self) -> Fallible<()> {
        summary::print(&self.tables);
        if let Some(file) = &self.options.plot {
            write(file, &plot::draw(&self.tables, &self.machine))?;
        }
        self.options.json.as_ref().map_or(Ok(()), |file| self.write_json(file))
    }
}

pub(crate) fn write(file: &Path, text: &str) -> Fallible<()> {
    fs::write(file, text)
        .map_err(|error| format!("{} cannot be written: {error}", file.display()).into())
}

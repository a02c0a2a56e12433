//! The report for programs: what the terminal shows, and every round's CPU figure.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::Report;
use crate::Fallible;
use crate::goal::Goal;
use crate::machine::Machine;
use crate::measure::{Row, Table};

impl Report<'_> {
    pub(super) fn write_json(&self, file: &Path) -> Fallible<()> {
        let Machine { date, processor, cores, kernel, load_average, pinning, load } = &self.machine;
        let contenders: Vec<Value> = self
            .contenders
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
            "load": load,
            "rounds": self.options.rounds,
            "seconds": self.options.seconds,
            "contenders": contenders,
            "scenarios": self.tables.iter().map(table).collect::<Vec<_>>(),
        });
        fs::write(file, format!("{report:#}\n"))
            .map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
        Ok(())
    }
}

fn table(table: &Table) -> Value {
    let scenario = table.scenario;
    let floor = table.row("relay").filter(|row| row.valid());
    let gateway = table.row("gateway").filter(|row| row.valid());
    let (goal, best) = (Goal::of(table), table.best_peer());
    let over = |peer: Option<&Row>| Some(gateway?.over(peer?));
    let held_against = goal.peer(table);
    json!({
        "group": scenario.group,
        "title": scenario.title(),
        "connections": scenario.connections,
        "streams": scenario.work.streams().unwrap_or(1),
        "size": scenario.size,
        "unit": scenario.unit(),
        "best_peer": best.map(|row| row.name),
        "gateway_over_best_peer": over(best),
        "goal": {
            "peer": held_against.map(|row| row.name),
            "required": goal.required,
            "wished": goal.wished,
            "standing": over(held_against).map(|ratio| goal.standing(ratio)),
        },
        "rows": table.rows.iter().map(|it| row(it, floor)).collect::<Vec<_>>(),
    })
}

/// Figures that there are not are `null`.
fn row(row: &Row, floor: Option<&Row>) -> Value {
    json!({
        "name": row.name,
        "valid": row.valid(),
        "absent": row.absence.as_ref().map(|absence| &absence.reason),
        "failures": row.failures,
        "units_per_second": row.median(|sample| sample.units_per_second),
        "cpu_us_per_unit": row.cpu_us(),
        "cpu_spread": row.spread(),
        "cpu_over_floor": floor.map(|floor| row.over(floor)),
        "p50_us": row.median(|sample| sample.p50_us),
        "p99_us": row.median(|sample| sample.p99_us),
        "connections_opened_per_request": row.median(|sample| sample.opened),
        "resident_kib": row.median(|sample| sample.resident_kib),
        "cpu_us_per_round": row.samples.iter().map(|sample| sample.cpu_us).collect::<Vec<_>>(),
    })
}

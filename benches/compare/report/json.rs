//! The report for programs: what the terminal shows, and every round's CPU figure.

use std::path::Path;

use serde_json::{Value, json};

use super::Report;
use crate::Fallible;
use crate::goal::{self, Standing};
use crate::machine::Machine;
use crate::measure::{Metric, Row, Table};
use crate::setting::FLOOR;

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
            "scaling": goal::scaling(&self.tables).iter().map(standing).collect::<Vec<_>>(),
        });
        super::write(file, &format!("{report:#}\n"))
    }
}

fn table(table: &Table) -> Value {
    let scenario = table.scenario;
    let metric = scenario.figure().metric();
    let best = table.best_peer(metric);
    let over = best.zip(table.valid_row("gateway")).map(|(peer, ours)| ours.over(peer, metric));
    let floor = table.valid_row(FLOOR);
    json!({
        "group": scenario.group,
        "title": scenario.title(),
        "connections": scenario.connections,
        "streams": scenario.work.streams().unwrap_or(1),
        "workers": scenario.setting.workers,
        "size": scenario.size,
        "unit": scenario.unit(),
        "requests_per_second_asked": table.pace,
        "figure": scenario.figure().unit(),
        "best_peer": best.map(|row| row.name),
        "gateway_over_best_peer": over,
        "goals": goal::of(table).iter().map(standing).collect::<Vec<_>>(),
        "rows": table.rows.iter().map(|it| row(it, floor)).collect::<Vec<_>>(),
    })
}

fn standing(standing: &Standing) -> Value {
    json!({
        "goal": standing.goal,
        "value": standing.value,
        "at_most": standing.at_most,
        "met": standing.met(),
    })
}

/// Figures that there are not are `null`.
fn row(row: &Row, floor: Option<&Row>) -> Value {
    let cpu: Metric = |sample| sample.cpu_us;
    json!({
        "name": row.name,
        "valid": row.valid(),
        "absent": row.absence.as_ref().map(|absence| &absence.reason),
        "failures": row.failures,
        "remarks": row.remarks,
        "units_per_second": row.median(|sample| sample.units_per_second),
        "cpu_us_per_unit": row.median(cpu),
        "worker_cpu_us_per_unit": row.median(|sample| sample.worker_us),
        "cpu_spread": row.spread(cpu),
        "cpu_over_floor": floor.map(|floor| row.over(floor, cpu)),
        "p50_us": row.median(|sample| sample.p50_us),
        "p99_us": row.median(|sample| sample.p99_us),
        "p999_us": row.median(|sample| sample.p999_us),
        "connections_opened_per_request": row.median(|sample| sample.opened),
        "resident_kib": row.median(|sample| sample.resident_kib),
        "bytes_per_connection": row.median(|sample| sample.bytes_per_connection),
        "cpu_us_per_round": row.samples.iter().map(|sample| sample.cpu_us).collect::<Vec<_>>(),
    })
}

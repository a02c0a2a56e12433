//! The end of the report: every scenario in one line, the gateway beside its best peer; then every
//! goal, met or missed.

use crate::goal::{self, Standing};
use crate::measure::{Row, Table};
use crate::setting::Cast;

pub(super) fn print(tables: &[Table]) {
    println!("\n== summary: the gateway beside its best peer");
    println!(
        "  {:<11}{:<46}{:>7}{:>12}{:>12}  {:<8}{:>6}",
        "", "", "", "gateway", "best peer", "", "ratio"
    );
    for table in tables.iter().filter(|table| is_against_peers(table)) {
        let scenario = table.scenario;
        let (shape, unit) = (scenario.shape(), scenario.figure().unit());
        println!("  {:<11}{shape:<46}{unit:>7}{}", scenario.group, beside_peer(table));
    }
    println!("\n== goals");
    let each = tables.iter().flat_map(|table| {
        let of = format!("{:<11}{}", table.scenario.group, table.scenario.shape());
        goal::of(table).into_iter().map(move |standing| (of.clone(), standing))
    });
    let scaling = goal::scaling(tables).into_iter().map(|it| ("workers    scaling".into(), it));
    let all: Vec<(String, Standing)> = each.chain(scaling).collect();
    for (of, standing) in &all {
        let value = standing.value.map_or_else(|| "-".into(), number);
        println!("  {of:<57}  {:<44}{value:>8}  {}", standing.goal, standing.word());
    }
    let count = |met| all.iter().filter(|(_, standing)| standing.met() == met).count();
    let (met, missed, unknown) = (count(Some(true)), count(Some(false)), count(None));
    println!("  goals: {met} met, {missed} missed, {unknown} not measured");
}

pub(super) fn is_against_peers(table: &Table) -> bool {
    matches!(table.scenario.setting.cast, Cast::Peers | Cast::Fresh)
}

fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn beside_peer(table: &Table) -> String {
    let metric = table.scenario.figure().metric();
    let gateway = match table.row("gateway") {
        None => return "  not asked for".into(),
        Some(Row { absence: Some(absence), .. }) => return format!("  {absence}"),
        Some(row) if !row.valid() => return "  INVALID".into(),
        Some(row) => row,
    };
    let best = match table.best_peer(metric) {
        None => format!("{:>12}  {:<8}{:>6}", "-", "no peer", "-"),
        Some(peer) => {
            let (cost, ratio) = (peer.median(metric), gateway.over(peer, metric));
            format!("{cost:>12.1}  {:<8}{ratio:>6.2}", peer.name)
        }
    };
    format!("{:>12.1}{best}", gateway.median(metric))
}

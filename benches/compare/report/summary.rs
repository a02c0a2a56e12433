//! The end of the report: every scenario in one line, the gateway beside its best peer and its goal.

use crate::goal::Goal;
use crate::measure::{Row, Table};

pub(super) fn print(tables: &[Table]) {
    println!("\n== summary: the gateway's CPU time over its peers'");
    println!(
        "  {:<11}{:<47}{:>10}{:>10}  {:<9}{:>6}  goal",
        "", "", "gateway", "best peer", "", "ratio"
    );
    for table in tables {
        let scenario = table.scenario;
        println!("  {:<11}{:<47}{}", scenario.group, scenario.shape(), standing(table));
    }
}

fn standing(table: &Table) -> String {
    let gateway = match table.row("gateway") {
        None => return "not asked for".into(),
        Some(Row { absence: Some(absence), .. }) => return absence.to_string(),
        Some(row) if !row.valid() => return "INVALID".into(),
        Some(row) => row,
    };
    let best = match table.best_peer() {
        None => format!("{:>10}  {:<9}{:>6}", "-", "no peer", "-"),
        Some(peer) => {
            let (cost, ratio) = (peer.cpu_us(), gateway.over(peer));
            format!("{cost:>10.1}  {:<9}{ratio:>6.2}", peer.name)
        }
    };
    let goal = Goal::of(table);
    let against = goal.peer(table).map_or_else(String::new, |peer| {
        let ratio = gateway.over(peer);
        format!("<= {:.2} x {}: {}", goal.required, peer.name, goal.standing(ratio))
    });
    format!("{:>10.1}{best}  {against}", gateway.cpu_us())
}

//! The summary as a picture: for each scenario a bar, as long as the gateway's figure over its best
//! peer's, and a dot for each peer. What is left of the line costs less than the best of them.

use super::summary::is_against_peers;
use super::svg::Svg;
use crate::machine::Machine;
use crate::measure::Table;
use crate::setting::is_peer;

const WIDTH: f64 = 860.0;
const ROW: f64 = 22.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = 34.0;
/// Where the bars begin, and how long one is that equals the best peer.
const LEFT: f64 = 350.0;
const ONE: f64 = 200.0;
/// What is longer than the picture ends at its border, and its figure is written there.
const MOST: f64 = 2.2;
const BEST_PEER: f64 = 1.0;

pub(super) fn draw(tables: &[Table], machine: &Machine) -> String {
    let tables: Vec<&Table> = tables
        .iter()
        .filter(|table| is_against_peers(table) && table.valid_row("gateway").is_some())
        .filter(|table| table.best_peer(table.scenario.figure().metric()).is_some())
        .collect();
    let bottom = TOP + ROW * tables.len() as f64;
    let mut svg = Svg::new(WIDTH, bottom + BOTTOM);
    svg.text("title", 16.0, 26.0, "ignite-gateway over its best peer, lower is better");
    let peers = ["haproxy", "nginx", "envoy"];
    for (peer, x) in peers.into_iter().zip([480.0, 556.0, 616.0]) {
        svg.dot(peer, x, 48.0);
        svg.text("faint", x + 9.0, 52.0, peer);
    }
    svg.text("faint", 16.0, 52.0, "bar: the gateway, CPU time a request unless it says otherwise");
    for step in 0..=4_u8 {
        let ratio = f64::from(step) / 2.0;
        let x = LEFT + ratio * ONE;
        let class = if step == 2 { "mark" } else { "line" };
        svg.line(class, (x, TOP - 6.0), (x, bottom));
        svg.text("faint middle", x, TOP - 12.0, &format!("{ratio:.1}"));
    }
    for (place, table) in tables.iter().enumerate() {
        row(&mut svg, table, TOP + ROW * place as f64);
    }
    let Machine { date, processor, kernel, .. } = machine;
    let footer = format!("{date} · {processor} · Linux {kernel} · cargo bench --bench compare");
    svg.text("faint", 16.0, bottom + 22.0, &footer);
    svg.finish()
}

fn row(svg: &mut Svg, table: &Table, y: f64) {
    let scenario = table.scenario;
    let metric = scenario.figure().metric();
    let (Some(gateway), Some(best)) = (table.valid_row("gateway"), table.best_peer(metric)) else {
        return;
    };
    let unit = match scenario.figure().unit() {
        "CPU-us" => String::new(),
        unit => format!(", {unit}"),
    };
    let name = format!("{}: {}{unit}", scenario.group, scenario.shape());
    svg.text("right", LEFT - 10.0, y + 15.0, &name);
    let ratio = gateway.over(best, metric);
    let class = match ratio {
        ..=0.95 => "good",
        ..=BEST_PEER => "even",
        _ => "bad",
    };
    svg.bar(class, LEFT, y + 4.0, ratio.min(MOST) * ONE, ROW - 8.0);
    svg.text("", LEFT + MOST * ONE + 10.0, y + 15.0, &format!("{ratio:.2}"));
    for peer in table.rows.iter().filter(|row| row.valid() && is_peer(row.name)) {
        let ratio = peer.over(best, metric);
        if ratio <= MOST {
            svg.dot(peer.name, LEFT + ratio * ONE, y + ROW / 2.0);
        }
    }
}

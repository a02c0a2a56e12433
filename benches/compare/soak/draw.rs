//! The course of a soak as a picture: memory above, latency below, over the time.

use super::{Course, Point};
use crate::report::svg::Svg;

const WIDTH: f64 = 860.0;
const PANEL: f64 = 200.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const MIB: f64 = 1024.0 * 1024.0;

/// One figure over the time.
struct Panel<'run> {
    title: String,
    /// By class of line, what is drawn.
    curves: Vec<(&'run str, Vec<(f64, f64)>)>,
}

pub(super) fn courses(courses: &[Course]) -> String {
    let mut panels = Vec::new();
    for course in courses {
        let of = |value: fn(&Point) -> f64| {
            course.points.iter().map(|point| (point.seconds, value(point))).collect()
        };
        let name = course.name;
        panels.push(Panel {
            title: format!("{name}: memory, MiB"),
            curves: vec![("a", of(|point| point.memory / MIB))],
        });
        panels.push(Panel {
            title: format!("{name}: latency at a fixed rate, ms: p50 (blue), p99 (orange)"),
            curves: vec![
                ("a", of(|point| point.p50_us / 1000.0)),
                ("b", of(|point| point.p99_us / 1000.0)),
            ],
        });
    }
    let mut svg = Svg::new(WIDTH, PANEL * panels.len() as f64 + 10.0);
    for (place, panel) in panels.iter().enumerate() {
        draw(&mut svg, panel, PANEL * place as f64);
    }
    svg.finish()
}

fn draw(svg: &mut Svg, panel: &Panel<'_>, top: f64) {
    let (above, below) = (top + 40.0, top + PANEL - 26.0);
    let all = || panel.curves.iter().flat_map(|(_, points)| points);
    let most = all().map(|(_, value)| *value).fold(0.0, f64::max).max(1e-9) * 1.1;
    let last = all().map(|(seconds, _)| *seconds).fold(0.0, f64::max).max(1e-9);
    let x = |seconds: f64| LEFT + seconds / last * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| below - value / most * (below - above);
    svg.text("title", 16.0, top + 26.0, &panel.title);
    for step in 0..=4_u8 {
        let value = most * f64::from(step) / 4.0;
        svg.line("line", (LEFT, y(value)), (WIDTH - RIGHT, y(value)));
        svg.text("faint right", LEFT - 8.0, y(value) + 4.0, &format!("{value:.1}"));
        let seconds = last * f64::from(step) / 4.0;
        svg.text("faint middle", x(seconds), below + 18.0, &format!("{seconds:.0} s"));
    }
    for (class, points) in &panel.curves {
        let points: Vec<(f64, f64)> =
            points.iter().map(|(seconds, value)| (x(*seconds), y(*value))).collect();
        svg.curve(class, &points);
    }
}

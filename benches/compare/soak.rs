//! `--soak`: one load for a long time, and how memory and latency go on meanwhile.
//!
//! Slice by slice: a fixed rate, whose latency is taken, then a moment of as much as is answered, over
//! many connections that are new each time and gone after it. Memory is taken at the end of each slice.
//! What keeps something for every request, or for every connection, shows as a slope.

mod draw;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Fallible;
use crate::accounting;
use crate::contender::Running;
use crate::fleet::{Fleet, Stage};
use crate::load::Pace;
use crate::report::{self, grouped};
use crate::scenario::{Scenario, Work};
use crate::setting::{Cast, Edge, Setting};

/// Of each slice.
const CALM: u64 = 4;
const STORM: u64 = 1;
const SHARE_OF_SATURATION: f64 = 0.4;
/// Until then a process may still grow to what it needs; of the slices.
const GROWING: f64 = 0.2;
/// More growth than this after it, and it is not flat.
const FLAT: f64 = 1.05;

/// What one contender was like at the end of a slice.
#[derive(Clone, Copy)]
pub(crate) struct Point {
    seconds: f64,
    requests: u64,
    memory: f64,
    p50_us: f64,
    p99_us: f64,
}

pub(crate) struct Course {
    name: &'static str,
    points: Vec<Point>,
    failures: Vec<String>,
}

/// The fixed rate, and the storm.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let setting = Setting { edge: Edge::Plain, cast: Cast::Fresh, workers: 1 };
    let calm = Scenario { group: "soak", setting, work: Work::Paced, connections: 64, size: 32 };
    vec![calm, Scenario { work: Work::Download, connections: 512, ..calm }]
}

pub(crate) async fn run(
    duration: Duration,
    scenarios: &[Scenario],
    fleet: &Fleet,
    stage: &Stage<'_>,
) -> Fallible<ExitCode> {
    let &[calm, storm] = scenarios else { return Err("no load".into()) };
    let mut courses = Vec::new();
    for contender in &fleet.0 {
        if let (Ok(running), None) = (&contender.state, contender.absence(calm)) {
            let rate = rate_for(running, calm, stage).await?;
            println!("  {:<10} {} requests a second", contender.name, grouped(rate as f64));
            let course = Course { name: contender.name, points: vec![], failures: vec![] };
            courses.push((course, running, rate));
        }
    }
    println!(
        "\n  {:<11}{:>9}{:>14}{:>13}{:>10}{:>10}",
        "", "s", "requests", "memory MiB", "p50 ms", "p99 ms"
    );
    let begun = Instant::now();
    while begun.elapsed() < duration {
        for (course, running, rate) in &mut courses {
            let pace = Pace { seconds: CALM, rate: Some(*rate) };
            slice(course, running, (calm, pace), storm, stage, begun).await?;
        }
    }
    let courses: Vec<Course> = courses.into_iter().map(|(course, ..)| course).collect();
    close(&courses, stage)
}

async fn rate_for(running: &Running, calm: Scenario, stage: &Stage<'_>) -> Fallible<u64> {
    let run = stage.load.run(calm.at_saturation(), running.address, Pace::of(2)).await?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
    let rate = (run.requests as f64 / run.seconds * SHARE_OF_SATURATION) as u64;
    Ok(rate.max(100))
}

async fn slice(
    course: &mut Course,
    running: &Running,
    (calm, pace): (Scenario, Pace),
    storm: Scenario,
    stage: &Stage<'_>,
    begun: Instant,
) -> Fallible<()> {
    let steady = stage.load.run(calm, running.address, pace).await?;
    let burst = stage.load.run(storm, running.address, Pace::of(STORM)).await?;
    let before = course.points.last().map_or(0, |point| point.requests);
    let seconds = begun.elapsed().as_secs_f64();
    let point = Point {
        seconds,
        requests: before + steady.requests + burst.requests,
        memory: accounting::memory(running.id()) as f64,
        p50_us: steady.p50_us,
        p99_us: steady.p99_us,
    };
    println!(
        "  {:<11}{seconds:>9.0}{:>14}{:>13.2}{:>10.2}{:>10.2}",
        course.name,
        grouped(point.requests as f64),
        point.memory / 1024.0 / 1024.0,
        point.p50_us / 1000.0,
        point.p99_us / 1000.0,
    );
    course.points.push(point);
    for failure in [steady.failure, burst.failure].into_iter().flatten() {
        println!("  {} at {seconds:.0} s: {}", course.name, failure.text);
        if failure.wrong {
            course.failures.push(failure.text);
        }
    }
    Ok(())
}

impl Course {
    /// Memory of the last fifth over that of the first one after it had grown; medians, for a slice
    /// can fall on a moment when something is being given back.
    fn growth(&self) -> f64 {
        let count = self.points.len();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let part = ((count as f64 * GROWING) as usize).max(1);
        let median = |points: &[Point]| {
            let mut memory: Vec<f64> = points.iter().map(|point| point.memory).collect();
            memory.sort_by(f64::total_cmp);
            memory.get(memory.len() / 2).copied().unwrap_or(f64::NAN)
        };
        let early = self.points.get(part..(2 * part).min(count)).unwrap_or_default();
        let late = self.points.get(count.saturating_sub(part)..).unwrap_or_default();
        median(late) / median(early)
    }
}

fn close(courses: &[Course], stage: &Stage<'_>) -> Fallible<ExitCode> {
    let mut good = true;
    println!("\n== goals");
    for course in courses {
        let growth = course.growth();
        let requests = course.points.last().map_or(0, |point| point.requests);
        let word = if growth <= FLAT { "met" } else { "MISSED" };
        let (name, requests) = (course.name, grouped(requests as f64));
        println!(
            "  {name}: memory after {requests} requests <= {FLAT} x early: {growth:.3}  {word}"
        );
        good &= course.failures.is_empty() || course.name != "gateway";
    }
    if let Some(file) = &stage.options.plot {
        report::write(file, &draw::courses(courses))?;
    }
    if let Some(file) = &stage.options.json {
        let course = |course: &Course| {
            let points: Vec<_> = course
                .points
                .iter()
                .map(|it| {
                    json!({ "seconds": it.seconds, "requests": it.requests,
                    "memory": it.memory, "p50_us": it.p50_us, "p99_us": it.p99_us })
                })
                .collect();
            json!({ "name": course.name, "growth": course.growth(), "at_most": FLAT,
                "failures": course.failures, "points": points })
        };
        let soak: Vec<_> = courses.iter().map(course).collect();
        report::write(file, &format!("{:#}\n", json!({ "soak": soak })))?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

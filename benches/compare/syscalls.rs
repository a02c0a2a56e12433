//! Which system calls a request costs: strace counts them while the load runs.
//!
//! strace is attached before the load and taken off after it, so that its counts and the load's
//! requests are of the same time. Nothing measured elsewhere is taken in that time: strace slows all down.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::Fallible;
use crate::accounting;
use crate::contender::Running;
use crate::fleet::Fleet;
use crate::load::{Load, Pace};
use crate::scenario::Scenario;
use crate::tools;

const SECONDS: u64 = 2;
/// Fewer calls than this for a request are the start and the end of the load, not its way.
const SHOWN_FROM: f64 = 0.005;

/// A line for each contender that takes part: its calls, the most frequent first.
pub(crate) async fn print_profiles(scenario: Scenario, fleet: &Fleet, load: &Load, folder: &Path) {
    println!("  system calls per {}, under strace:", scenario.unit());
    for contender in &fleet.0 {
        let (Ok(running), None) = (&contender.state, contender.absence(scenario)) else { continue };
        let counts = folder.join(format!("{}.strace", contender.name));
        let line = match profile(running, scenario, load, &counts).await {
            Ok(calls) => calls.iter().fold(String::new(), |line, (call, per_unit)| {
                line + &format!(" {call} {per_unit:.2}")
            }),
            Err(error) => format!(" not counted: {error}"),
        };
        println!("  {:<9}{line}", contender.name);
    }
}

async fn profile(
    running: &Running,
    scenario: Scenario,
    load: &Load,
    counts: &Path,
) -> Fallible<Vec<(String, f64)>> {
    let strace = tools::find("strace").ok_or("strace is not installed (apt-get install strace)")?;
    let mut command = Command::new(strace);
    command.args(["-c", "-f", "-o"]).arg(counts).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let family = accounting::family(running.id());
    for process in &family {
        command.args(["-p", &process.to_string()]);
    }
    let mut tracer = command.spawn()?;
    until_traced(&mut tracer, &family).await?;

    let run = load.run(scenario.at_saturation(), running.address, Pace::of(SECONDS)).await?;
    let tracer_id = tracer.id().ok_or("strace has ended")?;
    Command::new("kill").args(["-INT", &tracer_id.to_string()]).status().await?;
    tokio::time::timeout(Duration::from_secs(5), tracer.wait()).await??;

    let units = run.requests.max(1) as f64 * scenario.units_of_a_request();
    let mut calls: Vec<(String, f64)> = fs::read_to_string(counts)?
        .lines()
        .filter_map(parse_line)
        .map(|(call, count)| (call, count as f64 / units))
        .filter(|(_, per_unit)| *per_unit >= SHOWN_FROM)
        .collect();
    calls.sort_by(|one, other| other.1.total_cmp(&one.1));
    Ok(calls)
}

/// `% time  seconds  usecs/call  calls  [errors]  syscall`
fn parse_line(line: &str) -> Option<(String, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let count = words.get(3)?.parse().ok()?;
    words.last().filter(|call| **call != "total").map(|call| ((*call).to_owned(), count))
}

async fn until_traced(tracer: &mut Child, family: &[u32]) -> Fallible<()> {
    for _ in 0..150 {
        if family.iter().all(|process| is_traced(*process)) {
            return Ok(());
        }
        if let Some(status) = tracer.try_wait()? {
            return Err(format!("strace ended with {status}: may it trace here?").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err("strace did not attach".into())
}

fn is_traced(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|tracer| tracer.trim() != "0")
}

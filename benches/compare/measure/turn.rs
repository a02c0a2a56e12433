//! One contender's turn: the books before, the load, the books after.

use super::Sample;
use crate::accounting::{self, Usage};
use crate::contender::Running;
use crate::fleet::Stage;
use crate::load::{Failure, Pace, Run};
use crate::scenario::Scenario;
use crate::{Fallible, check};

/// What came of a turn.
pub(super) struct Outcome {
    pub(super) sample: Sample,
    /// What was wrong with it.
    pub(super) failure: Option<Failure>,
    pub(super) remark: Option<String>,
}

pub(super) async fn take(
    running: &Running,
    scenario: Scenario,
    pace: Pace,
    stage: &Stage<'_>,
) -> Fallible<Outcome> {
    let connections_accepted =
        async || check::connections_accepted(stage.backends.http1, stage.client).await;
    if scenario.is_paced() && pace.rate.is_none() {
        return Err("no rate could be found: nobody was fast enough to be asked".into());
    }
    let accepted = connections_accepted().await?;
    let (before, backend_before) = (Usage::read(running.id())?, Usage::read(stage.backend)?);
    let load_before = accounting::of_children();
    let changing = running.churn.as_ref().and_then(|churn| churn.begin(stage.client));
    let run = stage.load.run(scenario, running.address, pace).await;
    let spent = Usage::read(running.id())?.since(&before);
    let changes = match changing {
        Some(changing) => Some(changing.end().await?),
        None => None,
    };
    let run = run?;
    let backend_spent = Usage::read(stage.backend)?.since(&backend_before);
    let load_spent = accounting::of_children() - load_before;
    let resident = accounting::resident(running.id());
    let at_once = scenario.connections * scenario.work.streams().unwrap_or(1);
    let opened = (connections_accepted().await? - accepted).saturating_sub(at_once as u64);

    let cores = stage.cores;
    let requests = run.requests.max(1) as f64;
    let units = requests * scenario.units_of_a_request();
    let sample = Sample {
        units_per_second: run.requests as f64 * scenario.units_of_a_request() / run.seconds,
        cpu_us: spent.all as f64 / 1000.0 / units,
        worker_us: spent.workers as f64 / 1000.0 / units,
        p50_us: run.p50_us,
        p99_us: run.p99_us,
        p999_us: run.p999_us,
        resident_kib: resident as f64,
        opened: opened as f64 / requests,
        backend_busy: backend_spent.all as f64 / 1e9 / run.seconds / cores.backend_count as f64,
        load_busy: load_spent as f64 / 1e9 / run.seconds / cores.load_count as f64,
        ..Sample::NOTHING
    };
    let remark = changes.or(logged(running, &run).await);
    Ok(Outcome { sample, failure: run.failure, remark })
}

/// How many of the lines of its access log it has written, if it was to write any.
async fn logged(running: &Running, run: &Run) -> Option<String> {
    if !running.logs {
        return None;
    }
    let lines = running.process.take_log().await;
    let share = lines as f64 / run.requests.max(1) as f64;
    (share < 0.999).then(|| format!("only {:.1} % of its lines were written", share * 100.0))
}

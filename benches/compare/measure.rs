//! The measurement: rounds in which every contender has its turn under the same load.
//!
//! Turn by turn, not one contender after the other's rounds, and each round begins with another one:
//! what else happens on the machine then falls on all of them.

mod idle;
mod table;
mod turn;

pub(crate) use table::{Metric, Row, Sample, Table};

use crate::check;
use crate::contender::Running;
use crate::fleet::{Fleet, Stage};
use crate::load::Pace;
use crate::scenario::{Scenario, Work};
use crate::setting::{Cast, is_ours};
use turn::Outcome;

const WARM_UP_SECONDS: u64 = 2;
/// Of saturation, that of the slowest: nobody is overrun, and all are asked for the same.
const SHARE_OF_SATURATION: f64 = 1.0 / 3.0;
/// Enough for several changes of the apps.
const SECONDS_OF_CHANGE: u64 = 5;

/// Those that take part, each with the place of its row.
type Turns<'fleet> = Vec<(usize, &'fleet Running)>;

pub(crate) async fn table(scenario: Scenario, fleet: &Fleet, stage: &Stage<'_>) -> Table {
    let mut table = Table::of(scenario, fleet);
    let mut turns: Turns<'_> = Vec::new();
    for (row, contender) in fleet.0.iter().enumerate() {
        if let (Ok(running), None) = (&contender.state, contender.absence(scenario)) {
            turns.push((row, running));
        }
    }
    if scenario.work == Work::Idle {
        idle::measure(&mut table, &turns, stage).await;
    } else {
        rounds(&mut table, turns.clone(), stage).await;
    }
    for (row, running) in turns {
        if let Some(row) = table.rows.get_mut(row).filter(|row| is_ours(row.name) && !row.valid()) {
            // A machine that is too busy to measure on is no defect; a gateway that answers wrongly is.
            let works = check::works(running.address, scenario, stage.client).await;
            row.broken |= works.is_err();
        }
    }
    table
}

async fn rounds(table: &mut Table, mut turns: Turns<'_>, stage: &Stage<'_>) {
    let (scenario, options) = (table.scenario, stage.options);
    if scenario.is_paced() {
        table.pace = find_pace(table, &turns, stage).await;
    } else if !options.quick {
        for (row, running) in &turns {
            // Errors while warming up are errors too, but the rounds would show them again.
            let pace = Pace::of(WARM_UP_SECONDS.min(options.seconds));
            let turn = turn::take(running, scenario, pace, stage).await;
            if let (Err(error), Some(row)) = (turn, table.rows.get_mut(*row)) {
                row.failures.push(format!("warm-up: {error}"));
            }
        }
    }
    let seconds = match scenario.setting.cast {
        Cast::Apps(_) if !options.quick => options.seconds.max(SECONDS_OF_CHANGE),
        _ => options.seconds,
    };
    let pace = Pace { seconds, rate: table.pace };
    for round in 1..=options.rounds {
        for (row, running) in &turns {
            let Some(row) = table.rows.get_mut(*row) else { continue };
            let mut outcome = turn::take(running, scenario, pace, stage).await;
            if options.quick && !matches!(&outcome, Ok(Outcome { failure: None, .. })) {
                // Once more: what a busy machine spoils once is not worth anybody's attention.
                outcome = turn::take(running, scenario, pace, stage).await;
            }
            match outcome {
                Ok(Outcome { sample, failure, remark }) => {
                    row.samples.push(sample);
                    row.remarks.extend(remark);
                    row.broken |= failure.as_ref().is_some_and(|failure| failure.wrong);
                    row.failures.extend(failure.map(|it| format!("round {round}: {}", it.text)));
                }
                Err(error) => row.failures.push(format!("round {round}: {error}")),
            }
        }
        // The next one begins with another contender.
        if !turns.is_empty() {
            turns.rotate_left(1);
        }
    }
}

/// The rate at which all are asked, in requests a second. Finding it is the warm-up, too.
async fn find_pace(table: &mut Table, turns: &Turns<'_>, stage: &Stage<'_>) -> Option<u64> {
    let (scenario, seconds) = (table.scenario.at_saturation(), stage.options.seconds);
    let mut slowest: Option<f64> = None;
    for (row, running) in turns {
        let pace = Pace::of(WARM_UP_SECONDS.min(seconds));
        match stage.load.run(scenario, running.address, pace).await {
            // The floor is no contender: what it could do sets no pace, nor does a failed run.
            Ok(run) if run.failure.is_none() => {
                let speed = run.requests as f64 / run.seconds;
                slowest = Some(slowest.map_or(speed, |slowest| slowest.min(speed)));
            }
            Ok(_) => {}
            Err(error) => {
                if let Some(row) = table.rows.get_mut(*row) {
                    row.remarks.push(format!("{} was not warmed: {error}", row.name));
                }
            }
        }
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
    let rate = |speed: f64| ((speed * SHARE_OF_SATURATION) as u64).max(100);
    slowest.map(rate)
}

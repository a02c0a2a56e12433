//! What an idle connection takes: memory before and after many of them were opened, each with one
//! request behind it and then left alone.
//!
//! All contenders hold theirs at the same time, so that one wait does for all to become smaller, as
//! some do after a while. It is one round: a process that had so many connections once is not the same
//! any more, and memory does not depend on what else the machine does.

use std::time::Duration;

use super::{Sample, Table, Turns};
use crate::accounting;
use crate::fleet::Stage;

/// Longer than any contender here keeps a buffer for a connection that says nothing.
const SETTLE: Duration = Duration::from_secs(5);
const SETTLE_QUICK: Duration = Duration::from_secs(3);
/// Make a contender allocate what it has once, and its connections to the backend.
const WARM_UP: usize = 64;

pub(super) async fn measure(table: &mut Table, turns: &Turns<'_>, stage: &Stage<'_>) {
    let scenario = table.scenario;
    // The caller holds them all, and a contender that has too few files for them is not to blame.
    let connections = scenario.connections.min(accounting::open_files().saturating_sub(1_000));
    let settle = if stage.options.quick { SETTLE_QUICK } else { SETTLE };
    let mut held = Vec::new();
    for (row, running) in turns {
        let Some(row) = table.rows.get_mut(*row) else { continue };
        let open = async |count| stage.load.hold(scenario, running.address, count).await;
        let warmed = match open(WARM_UP).await {
            Ok(warm) => warm.close().await,
            Err(error) => Err(error),
        };
        let before = accounting::memory(running.id());
        match (warmed, open(connections).await) {
            (Ok(()), Ok(many)) => held.push((row.name, *running, before, many)),
            (Err(error), _) | (_, Err(error)) => row.failures.push(error.to_string()),
        }
    }
    tokio::time::sleep(settle).await;
    // The books first: the proof that connections still serve makes some of them large again.
    let held: Vec<_> = held
        .into_iter()
        .map(|(name, running, before, many)| (name, before, accounting::memory(running.id()), many))
        .collect();
    for (name, before, after, many) in held {
        let opened_in = many.opened_in;
        let closed = many.close().await;
        let Some(row) = table.rows.iter_mut().find(|row| row.name == name) else { continue };
        match closed {
            Ok(()) => row.samples.push(Sample {
                units_per_second: connections as f64 / opened_in.as_secs_f64(),
                resident_kib: after as f64 / 1024.0,
                bytes_per_connection: after.saturating_sub(before) as f64 / connections as f64,
                ..Sample::NOTHING
            }),
            Err(error) => row.failures.push(error.to_string()),
        }
        if connections < scenario.connections {
            row.remarks.push(format!("{connections} connections only: the limit of open files"));
        }
    }
}

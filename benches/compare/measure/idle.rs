//! What an idle connection takes: memory before and after many of them were opened, each with one
//! request behind it and then left alone.
//!
//! One round, one contender after the other: a process that had so many connections once is not the same
//! any more, and memory does not depend on what else the machine does. No connection is old enough by
//! then that a contender may close it.

use std::time::Duration;

use super::{Sample, Table, Turns};
use crate::contender::Running;
use crate::fleet::Stage;
use crate::scenario::Scenario;
use crate::{Fallible, accounting};

/// Longer than any contender here keeps a buffer for a connection that says nothing.
const SETTLE: Duration = Duration::from_secs(5);
const SETTLE_QUICK: Duration = Duration::from_secs(2);
/// Make a contender allocate what it has once, and its connections to the backend.
const WARM_UP: usize = 64;

pub(super) async fn measure(table: &mut Table, turns: &Turns<'_>, stage: &Stage<'_>) {
    let scenario = table.scenario;
    // The caller holds them all, and a contender that has too few files for them is not to blame.
    let connections = scenario.connections.min(accounting::open_files().saturating_sub(1_000));
    for (row, running) in turns {
        let Some(row) = table.rows.get_mut(*row) else { continue };
        match weigh(running, Scenario { connections, ..scenario }, stage).await {
            Ok(sample) => row.samples.push(sample),
            Err(error) => row.failures.push(error.to_string()),
        }
        if connections < scenario.connections {
            row.remarks.push(format!("{connections} connections only: the limit of open files"));
        }
    }
}

async fn weigh(running: &Running, scenario: Scenario, stage: &Stage<'_>) -> Fallible<Sample> {
    let connections = scenario.connections;
    let open = async |count| stage.load.hold(scenario, running.address, count).await;
    open(WARM_UP).await?.close().await?;
    let before = accounting::memory(running.id());
    let held = open(connections).await?;
    tokio::time::sleep(if stage.options.quick { SETTLE_QUICK } else { SETTLE }).await;
    // First the books: the proof that connections still serve makes some of them large again.
    let after = accounting::memory(running.id());
    let opened_in = held.opened_in.as_secs_f64();
    held.close().await?;
    Ok(Sample {
        units_per_second: connections as f64 / opened_in,
        resident_kib: after as f64 / 1024.0,
        bytes_per_connection: after.saturating_sub(before) as f64 / connections as f64,
        ..Sample::NOTHING
    })
}

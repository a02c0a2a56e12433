//! How late a worker is with its work: a byte is sent when a timer says so, and
//! taken in when its turn comes.
//!
//! The byte waits like a caller's: behind every socket that was ready before it,
//! in the kernel's list too. A timer alone would not see that list, of which the
//! runtime takes a thousand at a time: with 2000 connections that always had a
//! request it was 27 ms late on average while each of them waited 104 ms.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::clock::{self, Instant};
use crate::gateway::Gateway;

/// How often a worker with something to do is measured.
const BUSY: Duration = Duration::from_millis(10);
/// How often one that was in time is: a worker that does nothing hardly ever wakes up for it.
const IDLE: Duration = Duration::from_millis(100);
/// In time, by a timer that counts milliseconds.
const IN_TIME: Duration = Duration::from_millis(3);
/// How long accepting rests while the gateway has too much to do. The others wait in the kernel's
/// queue, where they cost nothing.
const REST: Duration = Duration::from_millis(10);
/// How many are accepted between two rests. The rest of a late worker ends late, too: one by one,
/// newcomers waited for seconds to hear that they are refused.
const BATCH: u32 = 64;

/// Measures the worker as long as it runs.
pub(super) async fn measure(gateway: Rc<Gateway>) {
    if let Err(error) = try_measure(&gateway).await {
        tracing::error!(%error, "a worker's lag is not measured any more");
        gateway.load().measured(Duration::ZERO, Duration::ZERO);
    }
}

async fn try_measure(gateway: &Gateway) -> io::Result<()> {
    let (mut sender, mut receiver) = UnixStream::pair()?;
    let mut pause = IDLE;
    loop {
        gateway.observers().flush();
        let due = Instant::now() + pause;
        tokio::time::sleep_until(due).await;
        // Counted from when it was due: a timer that is late shows in the lag as well.
        gateway.load().probe(due, gateway.settings().overload.target_lag);
        sender.write_all(&[0]).await?;
        // With room for more than comes: a full read would be tried again before the next wait.
        if receiver.read(&mut [0; 8]).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let lag = clock::now().saturating_duration_since(due);
        gateway.load().measured(lag, gateway.settings().overload.target_lag);
        let in_time = lag < IN_TIME && !gateway.load().is_over(gateway.shared());
        pause = if in_time { IDLE } else { BUSY };
    }
}

/// How a listening socket takes newcomers in.
#[derive(Default)]
pub(super) struct Newcomers(Cell<u32>);

impl Newcomers {
    /// Waits a moment before the next one, if there is too much to do and many came.
    pub(super) async fn ease(&self, gateway: &Gateway) {
        if !gateway.load().is_over(gateway.shared()) {
            return;
        }
        if self.0.get() >= BATCH {
            tokio::time::sleep(REST).await;
            self.0.set(0);
        }
        self.0.set(self.0.get() + 1);
    }
}

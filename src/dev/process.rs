//! Runs a command as an app: started with `PORT`, restarted with a back-off
//! when it ends or is told to, stopped with a grace period.
//!
//! Probes nothing and prints nothing: the caller hears of everything as
//! [`Event`]s and decides when the app is unhealthy. As in a container, the
//! app's first process is the app: when it ends, whatever it started ends too,
//! and nothing of it outlives the supervisor's future.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::{Receiver, UnboundedSender};
use tokio::time;

mod child;
mod output;

pub use child::{AppCommand, AppProcess, StartError};
pub use output::{Sink, Stream, printer};

/// From SIGTERM to SIGKILL, unless asked otherwise.
pub const GRACE: Duration = Duration::from_secs(10);

/// What the caller asks of the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Stop the app and start it again after the back-off: its liveness failed.
    /// Ignored while the app is down: a dead app must not be started early
    /// because it fails its probes.
    Restart,
    /// Stop the app for good.
    Stop {
        /// From SIGTERM to SIGKILL.
        grace: Duration,
    },
}

/// What happened to the app.
#[derive(Debug)]
pub enum Event {
    /// The app runs.
    Started {
        /// Its first process, which is its process group too.
        pid: u32,
    },
    /// The app ended, by itself or for a restart.
    Exited {
        /// How it ended: `exit status 3`, `signal 9 (SIGKILL)`.
        status: String,
        /// How long it ran.
        ran_for: Duration,
        /// When it is started again.
        next_start_in: Duration,
    },
    /// The app could not be started.
    FailedToStart {
        /// Why.
        error: StartError,
        /// When it is tried again; `None` when it never ran, so the supervisor gave up.
        next_start_in: Option<Duration>,
    },
    /// The app was stopped for good.
    Stopped,
}

/// How long to wait before an app that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait; each one after it is twice as long.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// An app that ran this long begins anew with the first wait.
    pub reset_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            reset_after: Duration::from_secs(60),
        }
    }
}

/// Keeps `command` running with `PORT` set to `port` until it is told to stop.
///
/// A closed `orders` channel means that the caller has gone: the app is stopped
/// with the usual grace. Dropping the future kills the app at once. An error is
/// returned only when the command could not be started the first time; a later
/// failure (the binary is being rebuilt) waits as an exit does.
pub async fn supervise(
    command: AppCommand,
    port: u16,
    mut orders: Receiver<Order>,
    // Unbounded, so that a caller who does not listen cannot hold up a stop. The
    // back-off keeps events rare.
    events: UnboundedSender<Event>,
    backoff: Backoff,
    sink: Sink,
) -> Result<(), StartError> {
    // A caller who does not listen to events is no reason to end the app.
    let tell = |event| drop(events.send(event));
    let mut waits = Waits::new(backoff);
    let mut ever_ran = false;
    loop {
        let next_start_in = match AppProcess::spawn(&command, port, &sink) {
            Ok(app) => {
                ever_ran = true;
                let began = Instant::now();
                tell(Event::Started { pid: app.pid() });
                let Some(status) = run(app, &mut orders).await else { break };
                let ran_for = began.elapsed();
                let next_start_in = waits.after(ran_for);
                tell(Event::Exited { status, ran_for, next_start_in });
                next_start_in
            }
            Err(error) if ever_ran => {
                let next_start_in = waits.after(Duration::ZERO);
                tell(Event::FailedToStart { error, next_start_in: Some(next_start_in) });
                next_start_in
            }
            Err(error) => {
                tell(Event::FailedToStart { error: error.clone(), next_start_in: None });
                return Err(error);
            }
        };
        if stopped_within(next_start_in, &mut orders).await {
            break;
        }
    }
    tell(Event::Stopped);
    Ok(())
}

/// Runs the app to its end; `None` when it was stopped for good.
async fn run(mut app: AppProcess, orders: &mut Receiver<Order>) -> Option<String> {
    let order = tokio::select! {
        () = app.exited() => return Some(app.finish().await),
        order = orders.recv() => order,
    };
    match order.unwrap_or(Order::Stop { grace: GRACE }) {
        Order::Restart => Some(app.stop(GRACE).await),
        Order::Stop { grace } => {
            app.stop(grace).await;
            None
        }
    }
}

/// Waits; true when it was told to stop meanwhile.
async fn stopped_within(wait: Duration, orders: &mut Receiver<Order>) -> bool {
    let told = async { while orders.recv().await == Some(Order::Restart) {} };
    time::timeout(wait, told).await.is_ok()
}

/// The row of waits that a [`Backoff`] means.
struct Waits {
    backoff: Backoff,
    next: Duration,
}

impl Waits {
    fn new(backoff: Backoff) -> Self {
        Self { backoff, next: backoff.first }
    }

    /// The wait after a run of this length.
    fn after(&mut self, ran_for: Duration) -> Duration {
        if ran_for >= self.backoff.reset_after {
            self.next = self.backoff.first;
        }
        let wait = self.next.min(self.backoff.longest);
        self.next = wait.saturating_mul(2);
        wait
    }
}

#[cfg(test)]
mod tests;

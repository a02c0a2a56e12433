//! Probes out of turn: somebody found an app gone, and others wait for it.
//!
//! The first is sent at once, the next after ever longer pauses for as long as
//! somebody waits. Probes by the period go on beside them.

use std::time::Duration;

use tokio::time::{self, Instant};

/// The least time between two probes, so that an app that comes and goes is not asked all the time.
const FIRST: Duration = Duration::from_millis(50);
/// The most between two while somebody waits: what a start may be found out late.
const LONGEST: Duration = Duration::from_millis(500);

/// Who may want to know sooner than the period says.
pub trait Hurry {
    /// Waits until a probe is wanted at once.
    fn asked(&self) -> impl Future<Output = ()> + Send;

    /// Whether somebody waits for the next success.
    fn is_awaited(&self) -> bool;
}

/// Nobody does.
#[derive(Debug, Clone, Copy)]
pub struct NoHurry;

impl Hurry for NoHurry {
    async fn asked(&self) {
        std::future::pending::<()>().await;
    }

    fn is_awaited(&self) -> bool {
        false
    }
}

/// When the next probe out of turn is due.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The pause before it, once one was asked for.
    pause: Option<Duration>,
    last: Option<Instant>,
}

impl Pace {
    /// Waits for it.
    pub(super) async fn due(&mut self, hurry: &impl Hurry) {
        let pause = if let Some(pause) = self.pause {
            pause
        } else {
            hurry.asked().await;
            self.pause = Some(Duration::ZERO);
            FIRST
        };
        if let Some(last) = self.last {
            time::sleep_until(last + pause).await;
        }
    }

    /// A probe has ended.
    pub(super) fn probed(&mut self, success: bool, hurry: &impl Hurry) {
        self.last = Some(Instant::now());
        self.pause = match self.pause {
            // Whoever asked may not be in line yet.
            Some(Duration::ZERO) if !success => Some(FIRST),
            Some(pause) if !success && hurry.is_awaited() => Some((2 * pause).min(LONGEST)),
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::Notify;

    use super::super::{ProbeFailure, Timings, repeat};
    use super::*;

    /// Asks when the test says so.
    #[derive(Default)]
    struct Caller {
        asks: Notify,
        waits: AtomicBool,
    }

    impl Hurry for Caller {
        async fn asked(&self) {
            self.asks.notified().await;
        }

        fn is_awaited(&self) -> bool {
            self.waits.load(Ordering::SeqCst)
        }
    }

    /// When probes started, in milliseconds, if the app is up from `up` on.
    async fn starts(caller: &Caller, up: Duration, asks: &[u64], limit: u64) -> Vec<u128> {
        let (began, starts) = (Instant::now(), RefCell::new(Vec::new()));
        let probe = || async {
            starts.borrow_mut().push(began.elapsed().as_millis());
            if began.elapsed() < up { Err(ProbeFailure::Refused) } else { Ok(()) }
        };
        let hour = Duration::from_secs(3600);
        let timings = Timings { period: hour, initial_delay: hour, ..Timings::CONTRACT };
        let asking = async {
            for at in asks {
                time::sleep_until(began + Duration::from_millis(*at)).await;
                caller.asks.notify_one();
            }
            std::future::pending::<()>().await;
        };
        let watching = async { tokio::join!(repeat(timings, probe, caller, |_| ()), asking) };
        assert!(time::timeout(Duration::from_millis(limit), watching).await.is_err());
        starts.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_that_is_waited_for_is_asked_at_once_and_with_ever_longer_pauses() {
        let caller = Caller::default();
        caller.waits.store(true, Ordering::SeqCst);
        let found = starts(&caller, Duration::from_secs(2), &[0], 20_000).await;
        assert_eq!(found, [0, 50, 150, 350, 750, 1250, 1750, 2250]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_that_nobody_waits_for_is_left_to_the_period() {
        let found = starts(&Caller::default(), Duration::from_secs(2), &[0, 700], 20_000).await;
        assert_eq!(found, [0, 50, 700, 750]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_that_comes_and_goes_is_not_asked_all_the_time() {
        let asks: Vec<u64> = (0..100).collect();
        let found = starts(&Caller::default(), Duration::ZERO, &asks, 1000).await;
        assert_eq!(found, [0, 50, 100, 150]);
    }
}

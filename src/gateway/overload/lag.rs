//! From how late a worker is to the share of requests that it refuses.
//!
//! As in RFC 8289 (`CoDel`), a burst is no overload: what counts is the smallest
//! lag of a window, which is high only if the worker never caught up in it. The
//! share moves in steps from window to window and settles where the lag is
//! about its target; refusing all or nothing would swing between both.

use std::time::Duration;

use super::WHOLE;
use crate::clock::Instant;

/// How long a window lasts at least.
const WINDOW: Duration = Duration::from_millis(100);
/// How many measurements it holds at least: a process that was stopped for a while is late once.
const SAMPLES: u32 = 3;
/// The share grows by at most this much in a window: from nothing to nearly everything in one
/// second.
const STEP_UP: u32 = 100;
/// It shrinks more slowly than it grows: each step down asks whether there is room again.
const STEP_DOWN: u32 = 25;
/// Some requests always pass, or nobody would see that it goes well again.
const MOST: u32 = 950;

/// Keeps the share of one worker.
#[derive(Debug, Default)]
pub(super) struct Controller {
    window: Option<Window>,
    share: u32,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since: Instant,
    samples: u32,
    smallest: Duration,
}

impl Controller {
    /// Takes in a measurement; says the share to refuse from now on, in thousandths.
    pub(super) fn sample(&mut self, lag: Duration, target: Duration, now: Instant) -> u32 {
        if target.is_zero() {
            *self = Self::default();
            return 0;
        }
        let window = self.window.get_or_insert(Window { since: now, samples: 0, smallest: lag });
        window.samples += 1;
        window.smallest = window.smallest.min(lag);
        let Window { since, samples, smallest } = *window;
        if samples >= SAMPLES && now.saturating_duration_since(since) >= WINDOW {
            self.window = None;
            self.share = next(self.share, smallest, target);
        }
        self.share
    }
}

/// The share after a window with this smallest lag.
fn next(share: u32, smallest: Duration, target: Duration) -> u32 {
    if let Some(excess) = smallest.checked_sub(target).filter(|excess| !excess.is_zero()) {
        // In proportion, up to twice the target: near it the share has almost settled.
        let step = excess.as_nanos() * u128::from(STEP_UP) / target.as_nanos();
        let step = u32::try_from(step).unwrap_or(STEP_UP).clamp(1, STEP_UP);
        return (share + step).min(MOST);
    }
    // Idle soon after, it forgets quickly.
    if smallest < target / 4 { share / 2 } else { share.saturating_sub(STEP_DOWN) }
}

const _: () = assert!(MOST < WHOLE);

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(20);

    /// The shares after a measurement each 10 ms, with these lags in milliseconds.
    fn shares(lags: impl IntoIterator<Item = u64>) -> Vec<u32> {
        let (mut controller, mut now) = (Controller::default(), Instant::now());
        let sample = |lag| {
            now += Duration::from_millis(10 + lag);
            controller.sample(Duration::from_millis(lag), TARGET, now)
        };
        lags.into_iter().map(sample).collect()
    }

    #[test]
    fn a_worker_that_is_late_all_the_time_refuses_more_and_more() {
        let shares = shares([60; 30]);
        assert_eq!(shares[0], 0, "not at once");
        assert!(shares.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(shares[29] >= 500, "{shares:?}");
    }

    #[test]
    fn one_moment_in_time_for_its_work_makes_a_window_good() {
        let late = |number: u64| if number.is_multiple_of(3) { 2 } else { 90 };
        assert_eq!(shares((0..60).map(late)), [0; 60]);
    }

    #[test]
    fn a_process_that_was_stopped_is_not_overloaded() {
        assert_eq!(shares([0, 0, 5000, 0, 0, 0, 0, 3000, 0, 0, 0]), [0; 11]);
    }

    #[test]
    fn the_share_settles_where_the_lag_is_about_the_target() {
        // A worker whose lag is 100 ms when it refuses nothing and falls with what it refuses.
        let (mut controller, mut now, mut share) = (Controller::default(), Instant::now(), 0);
        let mut last = Vec::new();
        for round in 0..1000 {
            let lag = Duration::from_micros(100 * u64::from(WHOLE - share));
            now += Duration::from_millis(10) + lag;
            share = controller.sample(lag, TARGET, now);
            if round >= 500 {
                last.push(lag);
            }
        }
        let range = (last.iter().min().copied(), last.iter().max().copied());
        let near = TARGET / 2..=TARGET * 3 / 2;
        assert!(last.iter().all(|lag| near.contains(lag)), "{range:?}");
    }

    #[test]
    fn a_worker_that_caught_up_soon_takes_everything_again_and_so_does_one_without_a_target() {
        let shares = shares([60; 40].into_iter().chain([0; 150]));
        assert!(shares[39] > 500);
        assert_eq!(shares.last(), Some(&0));
        let mut controller = Controller { window: None, share: 700 };
        assert_eq!(controller.sample(TARGET, Duration::ZERO, Instant::now()), 0);
    }
}

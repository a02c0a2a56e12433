//! Rates: how often an app or a client may be called, counted for the whole
//! process.
//!
//! A rate is kept as one number, the moment at which its bucket would be full
//! again (the generic cell rate algorithm). It fills by itself, so there is no
//! timer, and a bucket that is full is the same as none. Crates for this bring a
//! map that grows with its keys; a stranger chooses the keys here, so the table
//! of clients ([`clients`]) has a size and never another.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Instant;
use crate::config::load::RateLimit;
use crate::error::{Limit, Limited};

pub mod clients;

/// A rate in the nanoseconds that it is counted in.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// What one request takes out of the bucket.
    each: u64,
    /// What the bucket holds.
    full: u64,
}

impl Pace {
    fn of(rate: &RateLimit) -> Self {
        let per = u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX);
        let each = (per / u64::from(rate.requests.max(1))).max(1);
        Self { each, full: each.saturating_mul(u64::from(rate.burst.max(1))) }
    }

    /// When the bucket that will be full at `full_at` is full after one more request, or how long
    /// that request has to wait.
    fn take(self, full_at: u64, now: u64) -> Result<u64, u64> {
        let after = full_at.max(now).saturating_add(self.each);
        let latest = now.saturating_add(self.full);
        if after <= latest { Ok(after) } else { Err(after - latest) }
    }
}

/// What a caller is told who has to wait.
fn limited(limit: Limit, rate: &RateLimit, wait: u64) -> Limited {
    let seconds = wait.div_ceil(1_000_000_000).max(1);
    Limited {
        limit,
        requests: rate.requests,
        window: (rate.per.subsec_nanos() == 0).then_some(rate.per.as_secs()),
        retry_after: u32::try_from(seconds).unwrap_or(u32::MAX),
    }
}

/// Nanoseconds since `start`; enough for five hundred years.
fn since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The bucket of one app, common to all workers.
#[derive(Debug)]
pub struct AppRate {
    rate: RateLimit,
    pace: Pace,
    start: Instant,
    full_at: AtomicU64,
}

impl AppRate {
    /// A full bucket.
    pub fn new(rate: RateLimit) -> Self {
        Self { rate, pace: Pace::of(&rate), start: Instant::now(), full_at: AtomicU64::new(0) }
    }

    /// The rate that it keeps.
    pub fn rate(&self) -> &RateLimit {
        &self.rate
    }

    /// Counts a request, or says why it comes too early; what is refused takes nothing.
    pub fn take(&self) -> Result<(), Limited> {
        let now = since(self.start);
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let after = self
                .pace
                .take(full_at, now)
                .map_err(|wait| limited(Limit::App, &self.rate, wait))?;
            // Nothing but the number itself depends on it.
            let swapped = self.full_at.compare_exchange_weak(
                full_at,
                after,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match swapped {
                Ok(_) => return Ok(()),
                Err(current) => full_at = current,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    fn rate(requests: u32, per: Duration, burst: u32) -> RateLimit {
        RateLimit { requests, per, burst }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_then_one_request_for_each_part_of_the_period() {
        let app = AppRate::new(rate(10, Duration::from_secs(1), 3));
        for _ in 0..3 {
            assert_eq!(app.take(), Ok(()));
        }
        assert!(app.take().is_err());
        advance(Duration::from_millis(100)).await;
        assert_eq!(app.take(), Ok(()));
        assert!(app.take().is_err(), "what was refused did not count, and no more came in");
        advance(Duration::from_secs(3600)).await;
        assert_eq!((0..10).filter(|_| app.take().is_ok()).count(), 3, "it holds no more than full");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_as_long_as_told_is_served() {
        for (requests, per, burst) in [(1, 7, 1), (3, 10, 5), (1000, 1, 1), (7, 3600, 2)] {
            let app = AppRate::new(rate(requests, Duration::from_secs(per), burst));
            let refusal = loop {
                if let Err(refusal) = app.take() {
                    break refusal;
                }
            };
            assert_eq!((refusal.requests, refusal.window), (requests, Some(per)));
            advance(Duration::from_secs(refusal.retry_after.into())).await;
            assert_eq!(app.take(), Ok(()), "{requests} in {per} s");
        }
    }

    #[test]
    fn the_extremes_of_the_settings_neither_overflow_nor_stop() {
        let day = Duration::from_secs(24 * 60 * 60);
        for rate in [rate(1, day, RateLimit::MOST), rate(RateLimit::MOST, day, 1)] {
            assert_eq!(AppRate::new(rate).take(), Ok(()));
        }
        let fast = Pace::of(&rate(RateLimit::MOST, Duration::from_millis(1), 1));
        assert_eq!((fast.each, fast.full), (1, 1));
        assert_eq!(fast.take(u64::MAX, u64::MAX), Ok(u64::MAX));
    }

    #[test]
    fn many_threads_together_get_exactly_the_burst() {
        let app = AppRate::new(rate(1, Duration::from_secs(3600), 1000));
        let taken: usize = std::thread::scope(|scope| {
            let thread = || scope.spawn(|| (0..500).filter(|_| app.take().is_ok()).count());
            let threads: Vec<_> = (0..4).map(|_| thread()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
        });
        assert_eq!(taken, 1000);
    }
}

//! Which endpoints are left alone for a while because they fail, whatever
//! their probes say.
//!
//! After some failures in a row an endpoint is ejected, each time for twice as
//! long, give or take a quarter so that several do not come back at once. When
//! its time has passed one request tries it, and its answer ends the ejection.
//! Ejection is a preference: an endpoint serves when there is no other.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::Rng;

use super::app::Endpoint;
use crate::clock::Instant;
use crate::config::OutlierEjection;
use crate::error::Error;

/// How long the others wait for the outcome of the request that tries an ejected endpoint.
const TRIAL: Duration = Duration::from_secs(2);
/// An ejection lasts at most this many times as long as the first.
const MAX_DOUBLINGS: u32 = 16;

/// How an endpoint failed a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It did not accept a connection.
    Connect,
    /// It closed or reset the connection before its response head.
    Reset,
    /// Its response was no HTTP.
    Malformed,
    /// It answered with a 5xx status.
    ServerError,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Reset, Self::Malformed, Self::ServerError];

    /// The endpoint's fault in a failed try, if it was one.
    pub fn of(error: &Error) -> Option<Self> {
        match error {
            Error::ConnectRefused(error) if is_own(error) => None,
            Error::ConnectRefused(_) | Error::ConnectTimeout => Some(Self::Connect),
            Error::AppClosed(_) => Some(Self::Reset),
            Error::AppMalformed(_) => Some(Self::Malformed),
            _ => None,
        }
    }

    /// The word for it in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Malformed => "malformed",
            Self::ServerError => "5xx",
        }
    }
}

/// Whether a connection failed for a lack of descriptors, ports or memory on this side, which says
/// nothing about the other.
pub(super) fn is_own(error: &io::Error) -> bool {
    use rustix::io::Errno;
    const LACKS: [Errno; 5] =
        [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    error.kind() == ErrorKind::AddrNotAvailable
        || error
            .raw_os_error()
            .is_some_and(|code| LACKS.iter().any(|one| one.raw_os_error() == code))
}

/// The ejections of a host's endpoints.
#[derive(Debug, Default)]
pub struct Ejections {
    /// How many there were, by fault.
    counts: [AtomicU64; Fault::ALL.len()],
    /// Held by who ejects: what it counted stays true.
    gate: Mutex<()>,
}

impl Ejections {
    /// Counts one more.
    pub fn count(&self, fault: Fault) {
        if let Some(counter) = self.counts.get(fault as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether one more may be ejected: a share of those that are there to be chosen. One that is
    /// unready or drains does not count: it is not chosen anyway.
    pub(super) fn permit(
        &self,
        endpoints: &[Arc<Endpoint>],
        endpoint: &Endpoint,
        rules: &OutlierEjection,
    ) -> Option<MutexGuard<'_, ()>> {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let there = || endpoints.iter().filter(|one| one.is_ready_to_stay());
        let ejected = there().filter(|one| one.outlier().ejected().is_some()).count();
        let most = there().count() * rules.max_percent as usize / 100;
        (endpoint.is_ready_to_stay() && ejected < most).then_some(gate)
    }

    /// Every count, with its fault.
    pub fn counts(&self) -> impl Iterator<Item = (Fault, u64)> {
        let counts = self.counts.iter().map(|counter| counter.load(Ordering::Relaxed));
        Fault::ALL.into_iter().zip(counts)
    }
}

/// What is known of one endpoint's failures, by all workers.
#[derive(Debug)]
pub struct Outlier {
    /// Failures in a row.
    failures: AtomicU32,
    /// 5xx answers in a row.
    server_errors: AtomicU32,
    /// Until when it is ejected, in milliseconds since `made`; 0: it is not.
    until: AtomicU64,
    /// The value of `until` while one request tries it.
    trial: AtomicU64,
    /// How often the time of the next ejection is doubled.
    doublings: AtomicU32,
    /// The fault of the last ejection.
    fault: AtomicU8,
    made: Instant,
}

/// An ejection that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejected {
    /// What for.
    pub fault: Fault,
    /// How much longer; zero where only a request that tries it is awaited.
    pub left: Duration,
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            failures: AtomicU32::new(0),
            server_errors: AtomicU32::new(0),
            until: AtomicU64::new(0),
            trial: AtomicU64::new(0),
            doublings: AtomicU32::new(0),
            fault: AtomicU8::new(0),
            made: Instant::now(),
        }
    }
}

impl Outlier {
    /// Whether others are to be preferred: it is ejected, and its time has not passed.
    pub fn is_avoided(&self) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until > 0 && self.now() < until
    }

    /// Whether a request may be sent to an endpoint that is not avoided: always, but that of those
    /// that would try an ejected one at once only the first may.
    pub fn admits(&self) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        let now = self.now();
        let next = now.saturating_add(millis(TRIAL));
        let first = now >= until && self.change(until, next);
        if first {
            self.trial.store(next, Ordering::Relaxed);
        }
        first
    }

    /// The ejection in force.
    pub fn ejected(&self) -> Option<Ejected> {
        let until = self.until.load(Ordering::Relaxed);
        let fault = Fault::ALL.get(usize::from(self.fault.load(Ordering::Relaxed)));
        (until > 0).then_some(Ejected {
            fault: fault.copied().unwrap_or(Fault::Connect),
            left: Duration::from_millis(until.saturating_sub(self.now())),
        })
    }

    /// A response head came, with a 5xx status or not; true if it ended an ejection.
    pub fn answered(&self, server_error: bool) -> bool {
        // Only a change is written: every request of every worker comes through here.
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if !server_error && self.server_errors.load(Ordering::Relaxed) > 0 {
            self.server_errors.store(0, Ordering::Relaxed);
        }
        if self.until.load(Ordering::Relaxed) == 0 || server_error {
            return false;
        }
        let _ = self.doublings.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |doublings| {
            Some(doublings.saturating_sub(1))
        });
        self.until.swap(0, Ordering::Relaxed) > 0
    }

    /// It failed. `may` is asked whether it may be ejected, if that is due, and what it gives is held
    /// until it is; the time if it is.
    pub fn failed<Permit>(
        &self,
        fault: Fault,
        rules: &OutlierEjection,
        random: &mut impl Rng,
        may: impl FnOnce() -> Option<Permit>,
    ) -> Option<Duration> {
        let (counter, threshold) = match fault {
            Fault::ServerError => (&self.server_errors, rules.consecutive_5xx),
            Fault::Connect | Fault::Reset | Fault::Malformed => {
                (&self.failures, rules.consecutive_failures)
            }
        };
        let in_a_row = counter.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let until = self.until.load(Ordering::Relaxed);
        // What was under way when it was ejected says nothing new.
        let tried = until > 0 && self.trial.load(Ordering::Relaxed) == until;
        let due = if until > 0 { tried } else { in_a_row >= threshold };
        if threshold == 0 || !due {
            return None;
        }
        let _permit = if until == 0 { Some(may()?) } else { None };
        let doublings = self.doublings.load(Ordering::Relaxed).min(MAX_DOUBLINGS);
        let time = rules.base_time.saturating_mul(1 << doublings).min(rules.max_time);
        let time = time.mul_f64(random.random_range(0.75..1.25));
        let next = self.now().saturating_add(millis(time)).max(1);
        if !self.change(until, next) {
            return None;
        }
        self.fault.store(fault as u8, Ordering::Relaxed);
        self.doublings.store(doublings + 1, Ordering::Relaxed);
        counter.store(0, Ordering::Relaxed);
        Some(time)
    }

    /// Forgets everything: its probes say that it is another process now.
    pub fn reset(&self) {
        for counter in [&self.failures, &self.server_errors, &self.doublings] {
            counter.store(0, Ordering::Relaxed);
        }
        self.until.store(0, Ordering::Relaxed);
    }

    fn change(&self, until: u64, next: u64) -> bool {
        self.until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn now(&self) -> u64 {
        millis(self.made.elapsed())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use tokio::time::advance;

    use super::*;

    const RULES: OutlierEjection = OutlierEjection {
        consecutive_failures: 3,
        consecutive_5xx: 2,
        base_time: Duration::from_secs(1),
        max_time: Duration::from_secs(30),
        max_percent: 50,
    };

    fn fail(outlier: &Outlier, fault: Fault) -> Option<Duration> {
        outlier.failed(fault, &RULES, &mut SmallRng::seed_from_u64(1), || Some(()))
    }

    fn eject(outlier: &Outlier) -> Duration {
        (0..3).find_map(|_| fail(outlier, Fault::Connect)).expect("the third failure ejects")
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_eject_and_an_answer_between_them_does_not_let_them() {
        let outlier = Outlier::default();
        for _ in 0..10 {
            assert_eq!(fail(&outlier, Fault::Connect), None);
            assert_eq!(fail(&outlier, Fault::Reset), None);
            assert!(!outlier.answered(false));
        }
        assert!(!outlier.is_avoided());
        eject(&outlier);
        assert!(outlier.is_avoided());
        assert_eq!(outlier.ejected().map(|ejected| ejected.fault), Some(Fault::Connect));
    }

    #[test]
    fn what_this_side_lacks_is_no_endpoints_fault() {
        for lack in [rustix::io::Errno::MFILE, rustix::io::Errno::ADDRNOTAVAIL] {
            assert_eq!(Fault::of(&Error::ConnectRefused(lack.into())), None);
        }
        let refused = rustix::io::Errno::CONNREFUSED.into();
        assert_eq!(Fault::of(&Error::ConnectRefused(refused)), Some(Fault::Connect));
    }

    #[tokio::test(start_paused = true)]
    async fn answers_of_5xx_count_for_themselves() {
        let outlier = Outlier::default();
        assert_eq!(fail(&outlier, Fault::ServerError), None);
        outlier.answered(true);
        assert_eq!(fail(&outlier, Fault::Reset), None);
        assert!(fail(&outlier, Fault::ServerError).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_tries_an_endpoint_whose_time_has_passed() {
        let outlier = Outlier::default();
        advance(eject(&outlier)).await;
        assert!(!outlier.is_avoided());
        assert!(outlier.admits());
        assert!(outlier.is_avoided() && !outlier.admits(), "the others wait for its outcome");
        assert!(outlier.answered(false));
        assert!(!outlier.is_avoided() && outlier.admits() && outlier.ejected().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_of_which_nothing_is_heard_is_followed_by_another() {
        let outlier = Outlier::default();
        advance(eject(&outlier)).await;
        assert!(outlier.admits());
        advance(TRIAL).await;
        assert!(outlier.admits());
    }

    #[tokio::test(start_paused = true)]
    async fn each_ejection_is_twice_as_long_up_to_the_longest() {
        let outlier = Outlier::default();
        let mut time = eject(&outlier);
        for seconds in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
            let share = time.as_secs_f64() / seconds;
            assert!((0.75..1.25).contains(&share), "{time:?} for {seconds} s");
            advance(time).await;
            assert!(outlier.admits());
            time = fail(&outlier, Fault::Connect).expect("one failure is enough now");
        }
        advance(time).await;
        assert!(outlier.admits() && outlier.answered(false));
        assert!(eject(&outlier) < Duration::from_secs(38));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_under_way_when_it_was_ejected_makes_it_no_longer() {
        let outlier = Outlier::default();
        let time = eject(&outlier);
        assert!((0..100).all(|_| fail(&outlier, Fault::Reset).is_none()));
        advance(time).await;
        assert!(!outlier.is_avoided());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_ejected_where_it_may_not_be() {
        let outlier = Outlier::default();
        let mut random = SmallRng::seed_from_u64(1);
        for _ in 0..10 {
            assert_eq!(outlier.failed(Fault::Connect, &RULES, &mut random, || None::<()>), None);
        }
        let rules = OutlierEjection { consecutive_failures: 0, ..RULES };
        for _ in 0..10 {
            assert_eq!(outlier.failed(Fault::Connect, &rules, &mut random, || Some(())), None);
        }
        assert!(!outlier.is_avoided());
    }

    /// Many threads, each with an endpoint that is due.
    #[test]
    fn no_more_than_the_share_is_ejected_by_however_many_at_once() {
        for round in 0..50 {
            let endpoint = |port| Arc::new(Endpoint::new(([127, 0, 0, 1], port).into(), true));
            let endpoints: Vec<_> = (1..=9).map(endpoint).collect();
            // Two of them are no choice: seven are left, of which three may go.
            endpoints[0].drain();
            endpoints[1].set_ready(false);
            let ejections = Ejections::default();
            let rules = OutlierEjection { consecutive_failures: 1, ..RULES };
            std::thread::scope(|scope| {
                for (one, seed) in endpoints.iter().zip(round..) {
                    let (all, ejections) = (&endpoints, &ejections);
                    scope.spawn(move || {
                        let may = || ejections.permit(all, one, &rules);
                        let random = &mut SmallRng::seed_from_u64(seed);
                        one.outlier().failed(Fault::Connect, &rules, random, may)
                    });
                }
            });
            let ejected = |one: &&Arc<Endpoint>| one.outlier().ejected().is_some();
            assert_eq!(endpoints.iter().filter(ejected).count(), 3);
            assert!(endpoints[..2].iter().all(|one| one.outlier().ejected().is_none()));
        }
    }
}

//! Which requests have waited too long for their worker to be begun.
//!
//! A worker sends itself a probe, which waits in line as a caller's request does.
//! As long as it is on its way, whatever the worker gets to came before it, and
//! has waited at least as long as the probe is under way: beyond the target it is
//! refused. So nobody is served who waited much longer, and what is refused is
//! just what is too much. A share of requests, steered by the lag of the last
//! probes, was not: it took seconds to settle, and callers who came back after
//! their refusal set it swinging between nothing and nearly everything.
//!
//! As in RFC 8289 (`CoDel`) a burst is no overload, nor is a process that was
//! stopped for a while: only where the probe before was late, too, is anything
//! refused.

use std::cell::Cell;
use std::time::Duration;

use super::WHOLE;
use crate::clock::Instant;

/// One worker's line, and the probe in it.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The last probe came late.
    standing: Cell<bool>,
    /// From when on whatever comes before the probe has waited too long.
    late_from: Cell<Option<Instant>>,
}

impl Line {
    /// A probe takes its place in the line.
    pub(super) fn probe(&self, sent: Instant, target: Duration) {
        let refuses = self.standing.get() && !target.is_zero();
        self.late_from.set(refuses.then(|| sent + target));
    }

    /// The probe has come through, after `lag`; says the share of requests that is about too much
    /// now, in thousandths.
    pub(super) fn arrived(&self, lag: Duration, target: Duration) -> u32 {
        self.late_from.set(None);
        // Between half the target and the target it neither begins nor ends: at the end of an
        // overload the line is about as long as the target.
        let late = lag > if self.standing.get() { target / 2 } else { target };
        self.standing.set(late && !target.is_zero());
        if !self.standing.get() {
            return 0;
        }
        let excess = lag.saturating_sub(target).as_micros() * u128::from(WHOLE);
        u32::try_from(excess / lag.as_micros().max(1)).unwrap_or(WHOLE).max(1)
    }

    /// Whether the line is longer than it should be.
    pub(super) fn is_standing(&self) -> bool {
        self.standing.get()
    }

    /// Whether a request that the worker gets to now has waited too long.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.late_from.get().is_some_and(|from| now > from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_millis(100);

    #[test]
    fn behind_a_late_probe_whoever_waited_longer_than_the_target_is_late() {
        let (line, now) = (Line::default(), Instant::now());
        assert_eq!(line.arrived(LATE, TARGET), 800, "of 100 ms, 80 are too much");
        assert!(line.is_standing() && !line.is_late(now + LATE), "no probe is under way");
        line.probe(now, TARGET);
        assert!(!line.is_late(now + TARGET));
        assert!(line.is_late(now + TARGET + Duration::from_millis(1)));
        line.arrived(LATE, TARGET);
        assert!(!line.is_late(now + LATE));
    }

    #[test]
    fn one_late_moment_is_no_overload() {
        let (line, now) = (Line::default(), Instant::now());
        line.probe(now, TARGET);
        assert!(!line.is_late(now + Duration::from_secs(5)), "a burst, or a stopped process");
        line.arrived(Duration::from_secs(5), TARGET);
        line.probe(now, TARGET);
        assert_eq!(line.arrived(Duration::from_millis(1), TARGET), 0);
        assert!(!line.is_standing());
        line.probe(now, TARGET);
        assert!(!line.is_late(now + LATE));
    }

    #[test]
    fn it_ends_well_below_the_target_and_does_not_begin_there() {
        let line = Line::default();
        let near = TARGET * 3 / 4;
        assert_eq!((line.arrived(near, TARGET), line.is_standing()), (0, false));
        line.arrived(LATE, TARGET);
        assert_eq!((line.arrived(near, TARGET), line.is_standing()), (1, true));
        assert_eq!((line.arrived(TARGET / 2, TARGET), line.is_standing()), (0, false));
    }

    #[test]
    fn without_a_target_nothing_is_late() {
        let (line, now) = (Line::default(), Instant::now());
        line.arrived(LATE, TARGET);
        assert_eq!(line.arrived(LATE, Duration::ZERO), 0);
        line.probe(now, Duration::ZERO);
        assert!(!line.is_standing() && !line.is_late(now + LATE));
    }
}

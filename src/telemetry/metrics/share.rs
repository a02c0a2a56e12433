//! A worker's share of what one app may have under way.
//!
//! All workers together must not pass the app's bound, but a number that all of
//! them wrote to would be one cache line that travels between the cores at every
//! request. So each claims a share for itself and counts within it; only who
//! needs more than its share, seldom, looks at what the others have claimed. The
//! claims never come to more than the bound, so neither do the requests.

use std::sync::atomic::{Ordering, fence};

use super::cells::Count;

/// Of a bound so much may be claimed and not in use, all together: one part in
/// [`UNUSED`]. With more, a worker would be refused what another does not need;
/// with less, each would look at the others more often.
const UNUSED: u64 = 8;

/// What one worker counts of one host's requests under way, and may have; written by it alone.
#[derive(Debug, Default)]
pub(super) struct Share {
    taken: Count,
    allowed: Count,
    /// Below this number of requests a part of the share is given back.
    keep: Count,
    /// The bound of which it is a share: with another, after a reload, it is none.
    bound: Count,
}

impl Share {
    /// Takes one more request within the share; false if that is used up.
    pub(super) fn take(&self, bound: u64) -> bool {
        let taken = self.taken.get() + 1;
        let within = taken <= self.allowed.get() && self.bound.get() == bound;
        if within {
            self.taken.set(taken);
        }
        within
    }

    /// A request has ended that was taken.
    pub(super) fn give_back(&self) {
        let taken = self.taken.get().saturating_sub(1);
        self.taken.set(taken);
        if taken < self.keep.get() {
            self.shrink(taken);
        }
    }

    /// What others have to leave for it.
    pub(super) fn claimed(&self, bound: u64) -> u64 {
        let allowed = if self.bound.get() == bound { self.allowed.get() } else { 0 };
        self.taken.get().max(allowed)
    }

    /// Takes one more request for which the share has to grow, if the bound leaves room. `claimed`
    /// adds up what all `holders` of shares have claimed, this one too.
    ///
    /// A claim is made first and judged then: of two workers that claim at the same moment at least
    /// one sees the other's, so both cannot be right. Both may be wrong, which refuses a request
    /// while others have what they do not need.
    #[cold]
    pub(super) fn grow(&self, bound: u64, holders: u64, claimed: impl Fn() -> u64) -> bool {
        let taken = self.taken.get();
        let spare = bound / (UNUSED * holders.max(1));
        let others = claimed().saturating_sub(self.claimed(bound));
        let room = bound.saturating_sub(others.saturating_add(taken));
        self.bound.set(bound);
        for more in [spare.div_ceil(2).max(1), 1] {
            let more = more.min(room);
            if more == 0 {
                break;
            }
            self.allow(taken + more, spare);
            fence(Ordering::SeqCst);
            if claimed() <= bound {
                self.taken.set(taken + 1);
                return true;
            }
        }
        self.allow(taken, spare);
        false
    }

    /// Gives back half of what it does not need, so that the next request is within it.
    #[cold]
    fn shrink(&self, taken: u64) {
        let spare = self.allowed.get() - self.keep.get();
        self.allow(taken + spare / 2, spare);
    }

    fn allow(&self, allowed: u64, spare: u64) {
        self.allowed.set(allowed);
        self.keep.set(allowed.saturating_sub(spare));
    }
}

#[cfg(test)]
mod tests;

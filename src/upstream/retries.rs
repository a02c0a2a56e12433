//! What may be tried again, and how much of it: RFC 9110 section 9.2.2 for one
//! request, a budget for all requests to a host.
//!
//! Without a budget retries turn a struggling app into a dead one: every
//! failure would add the load of two more requests. The budget is a host's, so
//! that one app's failures use up no other's, and is shared by the workers. It
//! learns from the count of requests that is kept anyway, so a request that is
//! not tried again pays nothing for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Method;

use super::Failure;
use crate::clock::Instant;
use crate::config::Retries;

/// What counts as recent.
const WINDOW: Duration = Duration::from_secs(10);

/// Whether a request whose try failed so may be sent again, as far as HTTP is concerned: what may
/// have been acted on only if that makes no difference; what was never sent always.
pub(super) fn is_safe(failure: &Failure, method: &Method) -> bool {
    failure.unsent || (failure.stale && is_idempotent(method))
}

/// RFC 9110 section 9.2.2, and QUERY, which is safe by its definition.
fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent() || method.as_str() == "QUERY"
}

/// A host's retries.
#[derive(Debug, Default)]
pub struct Budget {
    left: Mutex<Left>,
    spent: AtomicU64,
    refused: AtomicU64,
}

/// What is left of the budget.
#[derive(Debug)]
struct Left {
    retries: f64,
    /// When it was last looked at.
    at: Instant,
    /// How many requests there had been then.
    requests: u64,
}

impl Default for Left {
    /// As if the host had been there for a while without a request.
    fn default() -> Self {
        let now = Instant::now();
        Self { retries: 0.0, at: now.checked_sub(WINDOW).unwrap_or(now), requests: 0 }
    }
}

impl Budget {
    /// Takes a retry if there is one; `requests` is how many the host ever had.
    pub fn take(&self, requests: u64, settings: &Retries) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.refill(requests, settings);
        let taken = left.retries >= 1.0;
        if taken {
            left.retries -= 1.0;
        }
        let count = if taken { &self.spent } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
        taken
    }

    /// Counts a retry that the budget does not bound.
    pub fn count_free(&self) {
        self.spent.fetch_add(1, Ordering::Relaxed);
    }

    /// Retries made, and those that the budget refused.
    pub fn counts(&self) -> (u64, u64) {
        (self.spent.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }
}

impl Left {
    /// What came in since the last look counts as far as it is recent, and what was left then
    /// fades at the same pace. After a long time without a look the requests of its last part are
    /// taken to be as many as those of any other.
    fn refill(&mut self, requests: u64, settings: &Retries) {
        let now = Instant::now();
        let window = WINDOW.as_secs_f64();
        let elapsed = now.duration_since(self.at).as_secs_f64();
        let more = requests.saturating_sub(self.requests);
        (self.at, self.requests) = (now, requests);
        #[expect(clippy::cast_precision_loss, reason = "requests between two looks")]
        let recent = more as f64 * (window / elapsed.max(window));
        let share = f64::from(settings.budget_percent) / 100.0;
        let earned = recent * share + f64::from(settings.min_per_second) * elapsed.min(window);
        self.retries = self.retries * (1.0 - elapsed / window).max(0.0) + earned;
    }
}

#[cfg(test)]
mod tests;

//! How many retries a worker allows itself: a share of its recent requests,
//! and a few a second besides, so that an app with few calls has retries too,
//! and one that fails altogether is not asked twice as much.

use std::cell::Cell;

use crate::clock::Instant;
use crate::config::Retries;

/// Retries saved up: at most those of as many requests, or of a second.
const RECENT: u64 = 100;
/// A retry, in the unit that is counted: what a request earns is a whole number of them.
const RETRY: u64 = 100;

/// Retries that may be made.
pub(super) struct Budget {
    saved: Cell<u64>,
    /// When the retries of passing time were last added.
    filled: Cell<Instant>,
}

impl Budget {
    pub(super) fn new(rules: &Retries) -> Self {
        Self { saved: Cell::new(most(rules)), filled: Cell::new(Instant::now()) }
    }

    /// A request came.
    pub(super) fn earn(&self, rules: &Retries) {
        self.add(u64::from(rules.budget_percent), rules);
    }

    /// Takes one retry, if there is one.
    pub(super) fn spend(&self, rules: &Retries) -> bool {
        let passed = self.filled.get().elapsed().as_millis();
        let earned = u64::from(rules.budget_floor) * RETRY;
        let earned = earned.saturating_mul(u64::try_from(passed).unwrap_or(u64::MAX)) / 1000;
        // What is too little to count yet goes on growing.
        if earned > 0 {
            self.filled.set(Instant::now());
        }
        self.add(earned, rules);
        let left = self.saved.get().checked_sub(RETRY);
        self.saved.set(left.unwrap_or_else(|| self.saved.get()));
        left.is_some()
    }

    fn add(&self, earned: u64, rules: &Retries) {
        self.saved.set(self.saved.get().saturating_add(earned).min(most(rules)));
    }
}

fn most(rules: &Retries) -> u64 {
    (u64::from(rules.budget_percent) * RECENT).max(u64::from(rules.budget_floor) * RETRY)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RULES: Retries = Retries { max: 2, budget_percent: 20, budget_floor: 3 };

    fn spent(budget: &Budget, rules: &Retries) -> usize {
        (0..1000).take_while(|_| budget.spend(rules)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_fifth_of_the_requests_may_be_tried_again() {
        let budget = Budget::new(&RULES);
        assert_eq!(spent(&budget, &RULES), 20);
        (0..50).for_each(|_| budget.earn(&RULES));
        assert_eq!(spent(&budget, &RULES), 10);
        (0..100_000).for_each(|_| budget.earn(&RULES));
        assert_eq!(spent(&budget, &RULES), 20, "a quiet hour saves up no storm");
    }

    #[tokio::test(start_paused = true)]
    async fn some_a_second_are_allowed_without_any_requests() {
        let rules = Retries { budget_percent: 0, ..RULES };
        let budget = Budget::new(&rules);
        assert_eq!(spent(&budget, &rules), 3);
        tokio::time::advance(Duration::from_millis(700)).await;
        assert_eq!(spent(&budget, &rules), 2);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(spent(&budget, &rules), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn none_are_allowed_where_none_are_wanted() {
        let rules = Retries { budget_percent: 0, budget_floor: 0, ..RULES };
        let budget = Budget::new(&rules);
        (0..1000).for_each(|_| budget.earn(&rules));
        assert_eq!(spent(&budget, &rules), 0);
    }
}

//! Several workers' shares side by side, without the workers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::atomic::AtomicU64;

use proptest::prelude::*;

use super::*;

/// Shares of one app's bound.
#[derive(Default)]
struct Crew(Vec<Share>);

impl Crew {
    fn of(workers: usize) -> Self {
        Self((0..workers).map(|_| Share::default()).collect())
    }

    fn take(&self, worker: usize, bound: u64) -> bool {
        let claimed = || self.0.iter().map(|share| share.claimed(bound)).sum();
        self.0[worker].take(bound) || self.0[worker].grow(bound, self.0.len() as u64, claimed)
    }

    fn taken(&self) -> u64 {
        self.0.iter().map(|share| share.taken.get()).sum()
    }
}

#[test]
fn a_small_bound_is_used_up_to_the_last_and_never_passed_whichever_worker_asks() {
    for bound in [1, 2, 5, 31] {
        let crew = Crew::of(4);
        for turn in [[0; 4], [0, 1, 2, 3]] {
            let workers = turn.iter().cycle();
            assert!((0..bound).zip(workers).all(|(_, worker)| crew.take(*worker, bound)));
            assert!((0..4).all(|worker| !crew.take(worker, bound)));
            // What one gives back any other may take.
            let giver = crew.0.iter().find(|share| share.taken.get() > 0).unwrap();
            giver.give_back();
            assert!(crew.take(3, bound) && !crew.take(2, bound));
            let all = |share: &Share| (0..share.taken.get()).for_each(|_| share.give_back());
            crew.0.iter().for_each(all);
        }
    }
}

#[test]
fn without_a_bound_everybody_is_let_in() {
    let crew = Crew::of(3);
    assert!((0..10_000).all(|number| crew.take(number % 3, u64::MAX)));
    (0..10_000).for_each(|number| crew.0[number % 3].give_back());
    assert_eq!(crew.taken(), 0);
}

#[test]
fn who_stays_within_its_share_looks_at_nobody_elses() {
    let looks = std::cell::Cell::new(0);
    let share = Share::default();
    let take = || {
        let claimed = || {
            looks.set(looks.get() + 1);
            share.claimed(32_768)
        };
        assert!(share.take(32_768) || share.grow(32_768, 2, claimed));
    };
    for _ in 0..100 {
        (0..500).for_each(|_| take());
        (0..500).for_each(|_| share.give_back());
    }
    assert_eq!(looks.get(), 2, "the first request alone looks, before and after its claim");
}

#[test]
fn another_bound_counts_what_is_under_way_and_no_old_claim() {
    let crew = Crew::of(2);
    assert!(crew.take(0, 1000) && crew.take(1, 1000));
    // One of them took a share that it does not use: with the new bound nobody has to leave it.
    assert!(crew.take(0, 3) && !crew.take(1, 3) && !crew.take(0, 3));
    // More are under way than may be: none until enough have ended.
    assert!(!crew.take(0, 2) && !crew.take(1, 2));
    crew.0[0].give_back();
    assert!(!crew.take(0, 2));
    crew.0[1].give_back();
    assert!(crew.take(1, 2) && !crew.take(0, 2));
    assert!(crew.take(0, 1000));
}

#[test]
fn workers_that_ask_at_once_never_have_more_than_the_bound() {
    for bound in [3, 40, 1000] {
        let crew = Crew::of(4);
        let (now, peak) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (crew, now, peak) = (&crew, &now, &peak);
                scope.spawn(move || {
                    let mut mine = 0;
                    for round in 0..20_000_u64 {
                        // Up and down, each at its own pace, as far as they get.
                        if (round / (97 + worker as u64)).is_multiple_of(2) {
                            if crew.take(worker, bound) {
                                mine += 1;
                                let count = now.fetch_add(1, Ordering::SeqCst) + 1;
                                peak.fetch_max(count, Ordering::SeqCst);
                            }
                        } else if mine > 0 {
                            mine -= 1;
                            now.fetch_sub(1, Ordering::SeqCst);
                            crew.0[worker].give_back();
                        }
                    }
                    (0..mine).for_each(|_| {
                        now.fetch_sub(1, Ordering::SeqCst);
                        crew.0[worker].give_back();
                    });
                });
            }
        });
        assert!(peak.into_inner() <= bound);
        assert_eq!(crew.taken(), 0);
        assert!((0..bound - bound / UNUSED).all(|_| crew.take(2, bound)), "nothing is lost");
    }
}

proptest! {
    /// However requests come and go, the bound holds, and nobody is refused while more than a small
    /// part of it is free.
    #[test]
    fn the_bound_holds_and_most_of_it_can_be_used(
        workers in 1..9_usize,
        bound in 1..2000_u64,
        steps in proptest::collection::vec((any::<u8>(), any::<u8>(), 1..200_u32), 1..200),
    ) {
        let crew = Crew::of(workers);
        for (worker, kind, times) in steps {
            let worker = worker as usize % workers;
            for _ in 0..times {
                if kind % 2 == 0 {
                    let before = crew.taken();
                    let took = crew.take(worker, bound);
                    prop_assert!(took || before >= bound - bound / UNUSED);
                    prop_assert!(crew.taken() <= bound);
                } else if crew.0[worker].taken.get() > 0 {
                    crew.0[worker].give_back();
                }
            }
        }
    }
}

//! Gives memory back to the system when a busy time is over.
//!
//! The allocator collects what a thread freed while it allocates; a worker with
//! nothing to do allocates nothing, and keeps what its busiest moment took:
//! 13 KB for each of 10,000 connections that are idle now, instead of one.

use std::cell::Cell;
use std::hint::black_box;

/// The allocator (mimalloc's `generic_collect`) collects each 10,000 allocations that are not small;
/// there is no call for it without `unsafe`.
const ALLOCATIONS: usize = 10_100;
/// Not small to the allocator, which takes the short way up to 1 KiB.
const SIZE: usize = 2 << 10;
/// Allocations, at some 25 ns, before other tasks have their turn.
const STEP: usize = 1000;
/// Requests in a second from which it is a busy one.
const BUSY: u64 = 1000;
/// Freed pages go back at a collection some time after the one that found them.
const COLLECTIONS: u32 = 3;

/// Whether a busy time left something to give back.
#[derive(Default)]
pub(super) struct Leisure {
    requests: Cell<u64>,
    collections: Cell<u32>,
}

impl Leisure {
    /// To be called once a second, with the number of requests since the worker's start.
    pub(super) async fn use_it(&self, requests: u64) {
        let new = requests.saturating_sub(self.requests.replace(requests));
        if new > 0 {
            self.collections.set(COLLECTIONS);
        }
        let left = self.collections.get();
        if new >= BUSY || left == 0 {
            return;
        }
        self.collections.set(left - 1);
        for _ in 0..ALLOCATIONS.div_ceil(STEP) {
            for _ in 0..STEP {
                drop(black_box(Vec::<u8>::with_capacity(SIZE)));
            }
            tokio::task::yield_now().await;
        }
    }
}

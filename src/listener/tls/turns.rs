//! How many handshakes a worker has under way, and whose turn it is to compute.
//!
//! A signature takes a worker's thread for itself. A thousand callers who say
//! hello at once would stop every other connection for a second, so handshakes
//! compute one after the other, and whatever else is ready on the worker runs
//! in between.

use std::cell::Cell;

use tokio::sync::{Semaphore, SemaphorePermit};

/// One worker's handshakes.
#[derive(Debug)]
pub struct Turns {
    places: Semaphore,
    size: Cell<usize>,
    turn: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { places: Semaphore::new(0), size: Cell::new(0), turn: Semaphore::new(1) }
    }
}

impl Turns {
    /// Waits, first come first served, until fewer than `limit` are under way.
    pub(super) async fn place(&self, limit: usize) -> Option<SemaphorePermit<'_>> {
        self.resize(limit);
        self.places.acquire().await.ok()
    }

    /// Runs `compute` when it is its turn, and ends the turn when everything else that is ready
    /// on this worker had its own.
    pub(super) async fn take<T>(&self, compute: impl FnOnce() -> T) -> T {
        let turn = self.turn.acquire().await;
        let result = compute();
        tokio::task::yield_now().await;
        drop(turn);
        result
    }

    /// A limit that a reload lowered is reached as handshakes end.
    fn resize(&self, limit: usize) {
        let size = self.size.get();
        if limit > size {
            self.places.add_permits(limit - size);
            self.size.set(limit);
        } else if limit < size {
            self.size.set(size - self.places.forget_permits(size - limit));
        }
    }
}

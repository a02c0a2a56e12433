//! The connections of one worker's callers, by what they speak and whether
//! anything is under way on them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Written by the worker alone, so that no locked instruction is needed, and on lines of their own:
/// an idle connection becomes a busy one with every request.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Connections {
    /// HTTP/1.1, before and between requests, too.
    pub http1: Count,
    /// Those of them with a request under way.
    pub http1_busy: Count,
    /// HTTP/2.
    pub http2: Count,
    /// Those of them with a request under way.
    pub http2_busy: Count,
    /// Those of `http1_busy` that changed their protocol, `WebSocket`s mostly.
    pub upgraded: Count,
}

/// A number that one thread changes and others read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// What it stands at.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, until the guard is dropped.
    pub fn enter(&self) -> Counted<'_> {
        self.up();
        Counted(self)
    }

    /// One more.
    pub fn up(&self) {
        self.0.store(self.get() + 1, Ordering::Relaxed);
    }

    /// One less.
    pub fn down(&self) {
        self.0.store(self.get().saturating_sub(1), Ordering::Relaxed);
    }
}

/// Counts as long as it lives.
#[derive(Debug)]
pub struct Counted<'a>(&'a Count);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.down();
    }
}

//! What the process as a whole is at: starting, serving, draining, and how its
//! last reload went.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether the gateway takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not yet.
    Starting,
    /// Yes.
    Serving,
    /// No more.
    Draining,
}

/// The process's own state.
#[derive(Debug, Default)]
pub struct State {
    phase: AtomicU8,
    reloads: AtomicU64,
    failures: AtomicU64,
    started: AtomicU64,
    last_success: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl State {
    /// A process that just started with a good configuration.
    pub fn new() -> Self {
        let state = Self::default();
        let now = now();
        state.started.store(now, Ordering::Relaxed);
        state.last_success.store(now, Ordering::Relaxed);
        state
    }

    /// Calls are taken.
    pub fn serving(&self) {
        self.phase.store(1, Ordering::SeqCst);
    }

    /// Calls should go elsewhere.
    pub fn draining(&self) {
        self.phase.store(2, Ordering::SeqCst);
    }

    /// Where the process is.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    /// A configuration was taken over.
    pub fn reloaded(&self) {
        self.reloads.fetch_add(1, Ordering::Relaxed);
        self.last_success.store(now(), Ordering::Relaxed);
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A configuration was refused.
    pub fn reload_failed(&self, problem: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
    }

    /// What is wrong with the configuration on disk, if the last reload failed.
    pub fn reload_problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reloads that succeeded and that failed.
    pub fn reloads(&self) -> (u64, u64) {
        (self.reloads.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed))
    }

    /// When the process started, in seconds since 1970.
    pub fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// When a configuration was last taken over, in seconds since 1970.
    pub fn last_success(&self) -> u64 {
        self.last_success.load(Ordering::Relaxed)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

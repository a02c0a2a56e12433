//! Whether the gateway itself can take one more request.
//!
//! What is under way is finished first: a request is refused before anything
//! was done for it, and for little work, so that the others do not wait for it.
//! Each worker judges by its own lag, all of them by the memory of the process
//! and by the requests under way. Those are counted by each worker for itself:
//! one number for all of them would be written to by every worker, twice per
//! request.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{Settings, Shared};
use crate::clock::Instant;
use crate::error::{Error, Overload};
use crate::telemetry::connections::Connections;
use crate::telemetry::finished::Finished;
use crate::telemetry::load::WorkerLoad;

mod lag;

use lag::Line;

/// What one worker knows of its load, and of the others'.
#[derive(Debug)]
pub struct Load {
    worker: usize,
    own: Arc<WorkerLoad>,
    others: Vec<Arc<WorkerLoad>>,
    /// Requests that may begin before the others' counts are read again.
    unlooked: Cell<u64>,
    line: Line,
}

/// Counts a request as under way as long as it lives.
#[derive(Debug)]
pub struct InFlight(Rc<Load>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.own.end();
    }
}

/// All requests, in the parts that a share of them is told in.
const WHOLE: u32 = 1000;

impl Load {
    /// For the worker of that number, which counts in `own`.
    pub fn new(worker: usize, own: Arc<WorkerLoad>, others: Vec<Arc<WorkerLoad>>) -> Rc<Self> {
        Rc::new(Self { worker, own, others, unlooked: Cell::new(0), line: Line::default() })
    }

    /// A worker without colleagues.
    pub fn alone() -> Rc<Self> {
        Self::new(0, Arc::default(), Vec::new())
    }

    /// The worker's number, by which it finds the cells that it alone writes to.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.others.len() + 1
    }

    /// A request has ended. One that changed its protocol went on as long as it liked.
    pub fn latency(&self, finished: &Finished<'_>) {
        if finished.status != Some(101) {
            self.own.latency.add(finished.took);
        }
    }

    /// The worker's connections, counted.
    pub fn connections(&self) -> &Connections {
        &self.own.connections
    }

    /// Takes one more request, whose head was read `now`, counted where there is a limit, or
    /// refuses it.
    pub fn admit(
        self: &Rc<Self>,
        shared: &Shared,
        settings: &Settings,
        now: Instant,
    ) -> Result<Option<InFlight>, Error> {
        let refused = if shared.memory.is_short() {
            Overload::Memory
        } else if self.line.is_late(now) {
            Overload::Lag
        } else if settings.limits.in_flight == 0 {
            return Ok(None);
        } else if self.has_room(settings.limits.in_flight as u64) {
            self.own.begin();
            return Ok(Some(InFlight(self.clone())));
        } else {
            Overload::InFlight
        };
        self.own.shed(refused);
        Err(Error::Overloaded(refused))
    }

    /// Whether there is room for one more.
    ///
    /// A look reads a line from each worker. Of the room that it finds a worker may use its part
    /// before it looks again, so there are few looks while there is much room, and one per request
    /// when there is hardly any.
    fn has_room(&self, limit: u64) -> bool {
        if let Some(left) = self.unlooked.get().checked_sub(1) {
            self.unlooked.set(left);
            return true;
        }
        let others: u64 = self.others.iter().map(|other| other.in_flight()).sum();
        let room = limit.saturating_sub(others + self.own.in_flight());
        let part = room / (self.others.len() as u64 + 1);
        self.unlooked.set(part.saturating_sub(1));
        room > 0
    }

    /// A probe that shows how late the worker is takes its place in line; at times, so that old
    /// looks count no more.
    pub fn probe(&self, sent: Instant, target: Duration) {
        self.unlooked.set(0);
        self.line.probe(sent, target);
    }

    /// The probe came through after `lag`.
    pub fn measured(&self, lag: Duration, target: Duration) {
        let was_standing = self.line.is_standing();
        let refusing = self.line.arrived(lag, target);
        if was_standing != self.line.is_standing() {
            let late = self.line.is_standing();
            tracing::debug!(late, ?lag, "the worker's lag changed what it takes");
        }
        self.own.measured(lag, refusing);
    }

    /// Whether anything is refused for the gateway's own sake: newcomers had better wait.
    pub fn is_over(&self, shared: &Shared) -> bool {
        self.line.is_standing() || shared.memory.is_short()
    }
}

#[cfg(test)]
mod tests;

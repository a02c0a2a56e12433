//! What a request holds: a place in the queue, then its turn. Each goes back by
//! itself, so that a request that is dropped anywhere leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::{Told, Turns};
use crate::clock::Instant;
use crate::error::Error;
use crate::upstream::app::InFlight;

/// What a request needs to go to the app.
#[derive(Debug)]
pub struct Turn {
    /// The endpoint, at which it is counted.
    pub endpoint: InFlight,
    /// Its part of the app's limit, unless there is none or it has it already.
    pub slot: Option<Slot>,
    /// The place that it had in line, if it had to wait.
    pub ticket: Option<Ticket>,
}

/// A place in line that was given up for a turn.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    pub(super) number: i64,
    /// When it was taken.
    pub(super) since: Instant,
}

/// A part of an app's limit, given to the next in line on drop.
#[derive(Debug)]
pub struct Slot(Arc<Turns>);

impl Slot {
    /// One that was counted already.
    pub(super) fn of(turns: &Arc<Turns>) -> Self {
        Self(turns.clone())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
        if self.0.queued.load(Ordering::SeqCst) > 0 {
            self.0.serve();
        }
    }
}

/// A place in the queue, free again on drop.
#[derive(Debug)]
pub struct Place {
    turns: Arc<Turns>,
    port: u16,
    number: i64,
    hears: oneshot::Receiver<Told>,
}

impl Place {
    pub(super) fn new(
        turns: &Arc<Turns>,
        (port, number): (u16, i64),
        hears: oneshot::Receiver<Told>,
    ) -> Self {
        Self { turns: turns.clone(), port, number, hears }
    }

    /// Waits for the turn.
    pub async fn turn(&mut self) -> Told {
        (&mut self.hears).await.unwrap_or(Err(Error::Internal))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Who has heard is in line no more.
        if !self.hears.is_terminated() {
            self.turns.change(|lines| self.turns.remove(lines, self.port, self.number));
        }
    }
}

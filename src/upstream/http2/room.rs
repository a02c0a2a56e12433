//! The wait for a stream, where every connection to an endpoint has as many as
//! the app takes: a request that could be served a moment later is not refused.

use std::cell::Cell;

use tokio::sync::Notify;

/// Rung when a stream of an endpoint ends.
#[derive(Default)]
pub(super) struct Room {
    waiting: Cell<usize>,
    freed: Notify,
}

impl Room {
    /// Whether somebody waits.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.get() > 0
    }

    /// A stream has ended: the next may look.
    pub(super) fn freed(&self) {
        if self.is_awaited() {
            self.freed.notify_one();
        }
    }

    /// A connection has ended: there may be another.
    pub(super) fn all_freed(&self) {
        self.freed.notify_waiters();
    }

    /// Waits in order of arrival; the bell of who leaves rings for the next.
    pub(super) async fn wait(&self) {
        let _waits = Waits::at(self);
        self.freed.notified().await;
    }
}

/// Somebody who waits.
struct Waits<'a>(&'a Cell<usize>);

impl<'a> Waits<'a> {
    fn at(room: &'a Room) -> Self {
        room.waiting.set(room.waiting.get() + 1);
        Self(&room.waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

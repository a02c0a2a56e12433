//! Deadlines that cost nothing while nobody misses them.
//!
//! A proxy moves its deadlines several times per request and almost never
//! reaches one. Arming a timer each time would touch the runtime's wheel, so a
//! [`Deadline`] only remembers the moment and leaves the timer where it is as
//! long as it would ring earlier; when it rings too early it is set anew.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

pub use tokio::time::Instant;

thread_local! {
    /// The last time that was read on this thread, if it reads it whenever it wakes.
    static RECENT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Makes this thread one on which [`recent`] costs nothing: called by whoever calls this again
/// whenever the thread wakes.
pub fn keep() {
    RECENT.set(Some(Instant::now()));
}

/// The time, and what [`recent`] says from now on.
pub fn now() -> Instant {
    let now = Instant::now();
    if RECENT.get().is_some() {
        RECENT.set(Some(now));
    }
    now
}

/// The time when this thread woke, or when a request of it began or ended, whichever was last.
/// Good enough for what is measured in seconds: a request would read the clock six times otherwise.
pub fn recent() -> Instant {
    RECENT.get().unwrap_or_else(Instant::now)
}

/// A moment that a wait must not pass, kept by one lazily armed timer.
#[derive(Default)]
pub struct Deadline {
    at: Option<Instant>,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Deadline {
    /// A deadline not yet set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the deadline to `wait` from now.
    pub fn set_in(&mut self, wait: Duration) {
        self.at = Some(recent() + wait);
    }

    /// Whether a deadline is set.
    pub fn is_set(&self) -> bool {
        self.at.is_some()
    }

    /// Forgets the deadline; the timer stays for the next.
    pub fn clear(&mut self) {
        self.at = None;
    }

    /// Ready once the deadline has passed; the task is woken then. Never ready without one.
    pub fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if at < sleep.deadline() {
            sleep.as_mut().reset(at);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_moved_later_rings_at_the_later_moment() {
        let start = Instant::now();
        let mut deadline = Deadline::new();
        deadline.set_in(Duration::from_secs(1));
        assert!(poll_fn(|cx| Poll::Ready(deadline.poll_passed(cx))).await.is_pending());
        deadline.set_in(Duration::from_secs(5));
        poll_fn(|cx| deadline.poll_passed(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_moved_earlier_rings_at_the_earlier_moment() {
        let start = Instant::now();
        let mut deadline = Deadline::new();
        deadline.set_in(Duration::from_secs(60));
        assert!(poll_fn(|cx| Poll::Ready(deadline.poll_passed(cx))).await.is_pending());
        deadline.set_in(Duration::from_secs(2));
        poll_fn(|cx| deadline.poll_passed(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_was_cleared_or_never_set_does_not_ring() {
        let mut deadline = Deadline::new();
        assert!(poll_fn(|cx| Poll::Ready(deadline.poll_passed(cx))).await.is_pending());
        deadline.set_in(Duration::from_secs(1));
        deadline.clear();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(poll_fn(|cx| Poll::Ready(deadline.poll_passed(cx))).await.is_pending());
    }
}

//! The signal to drain: finish what runs, begin nothing new.
//!
//! Each worker has a signal of its own, so that its connections do not meet the
//! other workers' at one lock.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Says once that it is time to drain.
#[derive(Debug, Clone, Default)]
pub struct Drain(Arc<State>);

#[derive(Debug, Default)]
struct State {
    draining: AtomicBool,
    begun: Arc<Notify>,
}

impl Drain {
    /// A signal not yet given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal.
    pub fn begin(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
        self.0.begun.notify_waiters();
    }

    /// Whether it was given.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Waits for the signal.
    pub async fn begun(&self) {
        let mut begun = std::pin::pin!(self.0.begun.clone().notified_owned());
        begun.as_mut().enable();
        if !self.0.draining.load(Ordering::SeqCst) {
            begun.await;
        }
    }

    /// A watch for one task, which registers with the signal once for its whole life.
    pub fn watch(&self) -> DrainWatch {
        DrainWatch { drain: self.clone(), begun: None }
    }
}

/// One task's watch of a [`Drain`].
pub struct DrainWatch {
    drain: Drain,
    begun: Option<Pin<Box<OwnedNotified>>>,
}

impl DrainWatch {
    /// Ready once it is time to drain; the task is woken then.
    pub fn poll_draining(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.begun.is_none() {
            let mut begun = Box::pin(self.drain.0.begun.clone().notified_owned());
            // Polled once: a task keeps its waker, so the registration stays good.
            let _ = begun.as_mut().poll(cx);
            self.begun = Some(begun);
        }
        if self.drain.is_draining() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether it is time to drain.
    pub fn is_draining(&self) -> bool {
        self.drain.is_draining()
    }
}

//! The signal to drain: finish what runs, begin nothing new. And its little
//! sister, which only asks for what is idle: see [`Drain::relieve`].
//!
//! Each worker has a signal of its own, so that its connections do not meet the
//! other workers' at one lock.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Says once that it is time to drain.
#[derive(Debug, Clone, Default)]
pub struct Drain(Arc<State>);

#[derive(Debug, Default)]
struct State {
    draining: AtomicBool,
    relieving: AtomicBool,
    /// How often registrations were used up by a bell that was not the drain's.
    rings: AtomicU64,
    /// Milliseconds; 0: no more than a step has by itself.
    patience: AtomicU64,
    begun: Arc<Notify>,
}

impl Drain {
    /// A signal not yet given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal, where nothing hurries: connections on which nobody asks anything are left
    /// open for a last request as long as this.
    pub fn begin_patiently(&self, patience: Duration) {
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.0.patience.store(patience, Ordering::SeqCst);
        self.begin();
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

    /// Asks connections to close when they are idle, or lets them stay again.
    pub fn relieve(&self, on: bool) {
        self.0.relieving.store(on, Ordering::SeqCst);
        if on {
            self.0.rings.fetch_add(1, Ordering::SeqCst);
            self.0.begun.notify_waiters();
        }
    }

    /// Waits for the signal.
    pub async fn begun(&self) {
        loop {
            let mut begun = std::pin::pin!(self.0.begun.clone().notified_owned());
            begun.as_mut().enable();
            if self.0.draining.load(Ordering::SeqCst) {
                return;
            }
            begun.await;
        }
    }

    /// A watch for one task, which registers with the signal once for its whole life.
    pub fn watch(&self) -> DrainWatch {
        DrainWatch { drain: self.clone(), begun: None, rings: 0 }
    }
}

/// One task's watch of a [`Drain`].
pub struct DrainWatch {
    drain: Drain,
    begun: Option<Pin<Box<OwnedNotified>>>,
    /// The bell's count when it was registered with.
    rings: u64,
}

impl DrainWatch {
    /// Ready once it is time to drain; the task is woken then.
    pub fn poll_draining(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.register(cx);
        if self.drain.is_draining() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ready once an idle connection is to close, for a drain or to relieve; woken then, too.
    pub fn poll_unwanted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.register(cx);
        if self.is_unwanted() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn register(&mut self, cx: &mut Context<'_>) {
        let rings = self.drain.0.rings.load(Ordering::SeqCst);
        if self.begun.is_none() || self.rings != rings {
            self.rings = rings;
            let mut begun = Box::pin(self.drain.0.begun.clone().notified_owned());
            // Polled once: a task keeps its waker, so the registration stays good, until it rings.
            let _ = begun.as_mut().poll(cx);
            self.begun = Some(begun);
        }
    }

    /// Whether an idle connection is to close.
    pub fn is_unwanted(&self) -> bool {
        self.is_draining() || self.drain.0.relieving.load(Ordering::Relaxed)
    }

    /// Whether it is time to drain.
    pub fn is_draining(&self) -> bool {
        self.drain.is_draining()
    }

    /// Whether the drain leaves connections time for one more request.
    pub fn is_patient(&self) -> bool {
        self.patience(Duration::ZERO) > Duration::ZERO
    }

    /// How long a connection on which nobody asks anything is left open in the drain: `usual`, or
    /// more.
    pub fn patience(&self, usual: Duration) -> Duration {
        // Whoever saw the signal sees what came with it.
        fence(Ordering::Acquire);
        usual.max(Duration::from_millis(self.drain.0.patience.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn who_was_asked_to_close_and_did_not_still_hears_of_the_drain() {
        let drain = Drain::new();
        let mut watch = drain.watch();
        let unwanted = async |watch: &mut DrainWatch| {
            poll_fn(|cx| Poll::Ready(watch.poll_unwanted(cx).is_ready())).await
        };
        assert!(!unwanted(&mut watch).await);
        drain.relieve(true);
        drain.relieve(false);
        assert!(!unwanted(&mut watch).await, "it was over before anybody looked");
        drain.relieve(true);
        assert!(unwanted(&mut watch).await);
        assert!(!watch.is_draining());
        drain.relieve(true);
        drain.relieve(false);
        // Registered by another task before: the bell has to know the one that waits now.
        let waits = tokio::spawn(async move { poll_fn(|cx| watch.poll_draining(cx)).await });
        tokio::task::yield_now().await;
        drain.begin();
        let waited = tokio::time::timeout(std::time::Duration::from_secs(20), waits).await;
        waited.expect("it hears of the drain").expect("it ends");
    }

    #[tokio::test]
    async fn relief_is_no_drain() {
        let drain = Drain::new();
        let waits = tokio::spawn({
            let drain = drain.clone();
            async move { drain.begun().await }
        });
        tokio::task::yield_now().await;
        drain.relieve(true);
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        assert!(!waits.is_finished());
        drain.begin();
        waits.await.expect("it ends");
    }
}

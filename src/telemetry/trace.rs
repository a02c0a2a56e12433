//! Traces: the spans of sampled requests, and their way to a collector.
//!
//! A worker hands what it knows of a finished request over by one bounded queue
//! and goes on; a queue that is full drops it and counts. Everything else, from
//! attributes to bytes, happens beside the workers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

mod attributes;
mod client;
pub mod context;
pub mod export;
mod query;
mod span;

pub use span::{Recorded, Seen, Trace};

/// The queue to the exporter, and what became of spans.
#[derive(Debug)]
pub struct Traces {
    queue: mpsc::Sender<Box<Recorded>>,
    exporter: Mutex<Option<mpsc::Receiver<Box<Recorded>>>>,
    counts: Counts,
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct Counts {
    exported: AtomicU64,
    dropped: [AtomicU64; Lost::ALL.len()],
}

/// Why a span was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// More wait to be sent than may.
    Queue,
    /// The collector was not reached, or did not take it, on any try.
    Export,
    /// The collector said that it is not good.
    Rejected,
    /// The process ended before it was sent.
    Drain,
}

impl Lost {
    const ALL: [Self; 4] = [Self::Queue, Self::Export, Self::Rejected, Self::Drain];

    fn label(self) -> &'static str {
        match self {
            Self::Queue => "queue_full",
            Self::Export => "export_failed",
            Self::Rejected => "rejected",
            Self::Drain => "drain",
        }
    }
}

impl Traces {
    /// Room for as many requests.
    pub fn new(queue: usize) -> Self {
        let (queue, exporter) = mpsc::channel(queue.max(1));
        Self { queue, exporter: Mutex::new(Some(exporter)), counts: Counts::default() }
    }

    /// Hands a finished request over, or drops it: nobody waits for a collector.
    pub fn hand_over(&self, finished: Box<Recorded>) {
        let spans = finished.spans();
        if self.queue.try_send(finished).is_err() {
            self.counts.lost(Lost::Queue, spans);
        }
    }

    /// What became of spans.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The other end of the queue, once.
    fn exporter(&self) -> Option<mpsc::Receiver<Box<Recorded>>> {
        self.exporter.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Counts {
    /// Spans that the collector took.
    pub fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// Spans that nobody will see, by why.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Lost::ALL
            .iter()
            .zip(&self.dropped)
            .map(|(why, count)| (why.label(), count.load(Ordering::Relaxed)))
    }

    fn took(&self, spans: u64) {
        self.exported.fetch_add(spans, Ordering::Relaxed);
    }

    fn lost(&self, why: Lost, spans: u64) {
        if let Some(counter) = self.dropped.get(why as usize) {
            counter.fetch_add(spans, Ordering::Relaxed);
        }
    }
}

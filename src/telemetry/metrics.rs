//! Numbers counted on the way of a request, and their names.
//!
//! A request adds to the cells of its worker, which nobody else writes to: no
//! name is looked up, nothing is locked or allocated, no cache line is shared.
//! The exposition adds the cells up when it is asked. Labels come from configured
//! apps and fixed lists only, never from a caller: all unknown hosts share one row.

use std::sync::OnceLock;
use std::time::Duration;

use http::Method;

use super::finished::Finished;
use super::usage::{Usage, UsageCounts};
use crate::error::{Limit, REASONS};

mod cells;
mod exemplar;
mod histogram;
mod share;
mod worker;

pub use cells::{Cells, Count};
pub use exemplar::{Exemplar, Exemplars};
pub use histogram::{BYTES, Durations, DurationsRead, Reading, SECONDS, Sizes, SizesRead};
use share::Share;
pub use worker::{HTTP2_ERRORS, Http2Metrics, ProxyProtocolRefused, WorkerMetrics};

/// The methods that have a row of their own; any other counts as `_OTHER`.
pub const METHODS: [&str; 10] =
    ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "_OTHER"];

/// The classes of a status, by its first digit; the last is a request that got no status.
pub const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// What is counted of one host's requests.
///
/// A host that never had a request takes two pointers; one that had takes 0.7 KB, and 0.6 KB more
/// for each worker that served it.
#[derive(Debug, Default)]
pub struct RouteMetrics {
    cells: Cells<RouteCell>,
    exemplars: OnceLock<Box<Exemplars>>,
}

/// What one worker counts of one host's requests.
#[derive(Debug, Default)]
#[repr(align(64))]
struct RouteCell {
    begun: Count,
    ended: Count,
    share: Share,
    bytes_in: Count,
    bytes_out: Count,
    usage: UsageCounts,
    durations: Durations,
    first_bytes: Durations,
    /// A row for each method that came.
    requests: [OnceLock<Box<[Count; CLASSES.len()]>>; METHODS.len()],
    /// For hosts that had any of it.
    rare: OnceLock<Box<Rare>>,
}

/// What many hosts never have.
#[derive(Debug)]
struct Rare {
    waits: Durations,
    limited: [Count; Limit::ALL.len()],
    failures: [Count; REASONS.len()],
}

impl Default for Rare {
    fn default() -> Self {
        // Longer than the arrays that have a default.
        let failures = std::array::from_fn(|_| Count::default());
        Self { waits: Durations::default(), limited: Default::default(), failures }
    }
}

/// What is counted of all requests together, app or none, by each worker.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Request bodies.
    pub request_sizes: Sizes,
    /// Response bodies.
    pub response_sizes: Sizes,
    /// Connecting to endpoints, where a request had to.
    pub connects: Durations,
}

impl Traffic {
    /// A request ended.
    pub fn end(&self, finished: &Finished<'_>) {
        self.request_sizes.add(finished.bytes_in);
        self.response_sizes.add(finished.bytes_out);
        let tries = finished.earlier.iter().chain(&finished.last);
        tries.filter_map(|attempt| attempt.connect).for_each(|took| self.connects.add(took));
    }
}

impl RouteMetrics {
    /// A request was resolved to this host on this worker.
    pub fn begin(&self, worker: usize) {
        self.cells.of(worker).begun.add(1);
    }

    /// The same, and the worker takes it within its share of what the app may have under way; false
    /// if that is used up.
    pub fn begin_within(&self, worker: usize, bound: u64) -> bool {
        let cell = self.cells.of(worker);
        cell.begun.add(1);
        cell.share.take(bound)
    }

    /// Takes a request that has begun, for which the worker's share has to grow: so it does, if what
    /// all `holders` of shares have `claimed` leaves room within the bound.
    pub fn grow(&self, worker: usize, bound: u64, holders: u64, claimed: impl Fn() -> u64) -> bool {
        self.cells.of(worker).share.grow(bound, holders, claimed)
    }

    /// What the shares of all workers come to.
    pub fn claimed(&self, bound: u64) -> u64 {
        self.cells.sum(|cell| cell.share.claimed(bound))
    }

    /// A request ended that began on this worker.
    pub fn end(&self, worker: usize, finished: &Finished<'_>) {
        let cell = self.cells.of(worker);
        cell.end(finished);
        let nanos = histogram::nanos(finished.took);
        let exemplars = self.exemplars.get_or_init(Box::default);
        let now = finished.began + finished.took;
        exemplars.offer(histogram::bucket_of(nanos), finished.execution_id, nanos, now);
    }

    /// A request was beyond this rate.
    pub fn limited(&self, worker: usize, limit: Limit) {
        let rare = self.cells.of(worker).rare.get_or_init(Box::default);
        if let Some(count) = rare.limited.get(limit as usize) {
            count.add(1);
        }
    }

    /// Requests ever resolved to this host.
    pub fn begun(&self) -> u64 {
        self.cells.sum(|cell| cell.begun.get())
    }

    /// Requests under way.
    pub fn in_flight(&self) -> u64 {
        // Read first: one that ends meanwhile must not be missing from those that began.
        let ended = self.cells.sum(|cell| cell.ended.get());
        self.begun().saturating_sub(ended)
    }

    /// Every count above zero, with its method and class.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        METHODS.iter().enumerate().flat_map(move |(method, name)| {
            let row = move |cell: &RouteCell, class: usize| {
                let row = cell.requests.get(method).and_then(OnceLock::get);
                row.and_then(|row| row.get(class)).map_or(0, Count::get)
            };
            let classes = CLASSES.iter().enumerate();
            classes.filter_map(move |(class, class_name)| {
                let count = self.cells.sum(|cell| row(cell, class));
                (count > 0).then_some((*name, *class_name, count))
            })
        })
    }

    /// The durations of the requests that ended.
    pub fn durations(&self) -> DurationsRead {
        Durations::all(self.cells.iter().map(|cell| &cell.durations))
    }

    /// How long the app took to begin its answers.
    pub fn first_bytes(&self) -> DurationsRead {
        Durations::all(self.cells.iter().map(|cell| &cell.first_bytes))
    }

    /// How long requests waited for their turn, of those that had to.
    pub fn waits(&self) -> DurationsRead {
        Durations::all(self.rare().map(|rare| &rare.waits))
    }

    /// A request for each bucket of the durations.
    pub fn exemplars(&self) -> impl Iterator<Item = Option<Exemplar>> {
        self.exemplars.get().into_iter().flat_map(|exemplars| exemplars.read())
    }

    /// Requests that did not end well, with the index of their reason in [`REASONS`].
    pub fn failures(&self) -> impl Iterator<Item = (usize, u64)> {
        let count = |reason: usize| {
            self.rare().filter_map(|rare| rare.failures.get(reason)).map(Count::get).sum::<u64>()
        };
        let counts = (0..REASONS.len()).map(move |reason| (reason, count(reason)));
        counts.filter(|(_, count)| *count > 0)
    }

    /// Requests ever beyond a rate, by whose it was, where there were some.
    pub fn rate_limited(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let count = |limit: Limit| {
            let counts = self.rare().filter_map(move |rare| rare.limited.get(limit as usize));
            counts.map(Count::get).sum::<u64>()
        };
        let counts = Limit::ALL.into_iter().map(move |limit| (limit.as_str(), count(limit)));
        counts.filter(|(_, count)| *count > 0)
    }

    /// Bytes of request and of response bodies.
    pub fn bytes(&self) -> (u64, u64) {
        let cells = &self.cells;
        (cells.sum(|cell| cell.bytes_in.get()), cells.sum(|cell| cell.bytes_out.get()))
    }

    /// What the invocations that ended used.
    pub fn usage(&self) -> Usage {
        let mut all = Usage::default();
        self.cells.iter().for_each(|cell| all += cell.usage.read());
        all
    }

    fn rare(&self) -> impl Iterator<Item = &Rare> {
        self.cells.iter().filter_map(|cell| cell.rare.get().map(|rare| &**rare))
    }
}

impl RouteCell {
    fn end(&self, finished: &Finished<'_>) {
        let none = CLASSES.len() - 1;
        let class = finished.status.map_or(none, |status| usize::from(status / 100 - 1).min(4));
        if let Some(row) = self.requests.get(method_index(finished.method)) {
            let row = row.get_or_init(Box::default);
            if let Some(count) = row.get(class) {
                count.add(1);
            }
        }
        self.durations.add(finished.took);
        if let Some(waited) = waited_for_first_byte(finished) {
            self.first_bytes.add(waited);
        }
        if finished.bytes_in > 0 {
            self.bytes_in.add(finished.bytes_in);
        }
        if finished.bytes_out > 0 {
            self.bytes_out.add(finished.bytes_out);
        }
        if let Some(usage) = Usage::of(finished) {
            self.usage.add(&usage);
        }
        if !finished.queued.is_zero() || !finished.reason.is_empty() {
            self.rare(finished);
        }
        if finished.counted {
            self.share.give_back();
        }
        self.ended.add(1);
    }

    #[cold]
    fn rare(&self, finished: &Finished<'_>) {
        let rare = self.rare.get_or_init(Box::default);
        if !finished.queued.is_zero() {
            rare.waits.add(finished.queued);
        }
        if finished.reason.is_empty() {
            return;
        }
        let reason = REASONS.iter().position(|(_, reason)| *reason == finished.reason);
        if let Some(count) = rare.failures.get(reason.unwrap_or(REASONS.len() - 1)) {
            count.add(1);
        }
    }
}

/// From the choice of the endpoint that answered to the whole head of its answer.
fn waited_for_first_byte(finished: &Finished<'_>) -> Option<Duration> {
    let head = finished.began + finished.first_byte?;
    let began = finished.last.map_or(finished.began, |last| last.began);
    Some(head.saturating_duration_since(began))
}

fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::POST => 1,
        Method::HEAD => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::PATCH => 5,
        Method::OPTIONS => 6,
        Method::TRACE => 7,
        Method::CONNECT => 8,
        _ => 9,
    }
}

#[cfg(test)]
pub(crate) mod tests;

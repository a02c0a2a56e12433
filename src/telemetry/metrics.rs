//! Numbers counted on the way of a request, and their names.
//!
//! A request adds to plain atomics that its route holds: no name is looked up,
//! nothing is locked or allocated. The exposition reads them when it is asked.
//! Labels come from configured apps and fixed lists only, never from a caller:
//! all unknown hosts share one row.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;

use super::load::WorkerLoad;
use super::tls::Handshakes;
use crate::error::Limit;

/// The upper bounds of the duration histogram in seconds, as OpenTelemetry's
/// conventions for `http.server.request.duration` give them.
pub const BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

const BUCKET_NANOS: [u64; 14] = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// The methods that have a row of their own; any other counts as `_OTHER`.
pub const METHODS: [&str; 10] =
    ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "_OTHER"];

/// The classes of a status, by its first digit; the last is a request that got no status.
pub const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// What is counted of one host's requests.
#[derive(Debug, Default)]
pub struct RouteMetrics {
    requests: [[AtomicU64; CLASSES.len()]; METHODS.len()],
    durations: Histogram,
    begun: AtomicU64,
    ended: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    limited: [AtomicU64; Limit::ALL.len()],
}

/// Durations counted by their buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    nanos: AtomicU64,
}

/// A reading of a histogram of durations.
#[derive(Debug, Clone, PartialEq)]
pub struct Durations {
    /// How many per bucket, not cumulated; the last is above every bound.
    pub buckets: [u64; BUCKETS.len() + 1],
    /// All durations in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Counts one.
    pub fn add(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BUCKET_NANOS.iter().position(|bound| nanos <= *bound);
        if let Some(counter) = self.buckets.get(bucket.unwrap_or(BUCKETS.len())) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Those counted so far.
    pub fn read(&self) -> Durations {
        #[expect(clippy::cast_precision_loss, reason = "a sum of seconds needs no nanosecond")]
        let sum = self.nanos.load(Ordering::Relaxed) as f64 / 1e9;
        let mut buckets = [0; BUCKETS.len() + 1];
        for (count, counter) in buckets.iter_mut().zip(&self.buckets) {
            *count = counter.load(Ordering::Relaxed);
        }
        Durations { buckets, sum }
    }
}

impl RouteMetrics {
    /// A request was resolved to this host.
    pub fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// The request ended; `status` is what its caller got, if anything.
    pub fn end(&self, method: &Method, status: Option<u16>, took: Duration, bytes: (u64, u64)) {
        let class = status.map_or(CLASSES.len() - 1, |status| usize::from(status / 100 - 1).min(4));
        let counter = self.requests.get(method_index(method)).and_then(|row| row.get(class));
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.durations.add(took);
        if bytes.0 > 0 {
            self.bytes_in.fetch_add(bytes.0, Ordering::Relaxed);
        }
        if bytes.1 > 0 {
            self.bytes_out.fetch_add(bytes.1, Ordering::Relaxed);
        }
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests ever resolved to this host.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Requests under way.
    pub fn in_flight(&self) -> u64 {
        let ended = self.ended.load(Ordering::Relaxed);
        self.begun.load(Ordering::Relaxed).saturating_sub(ended)
    }

    /// Every count above zero, with its method and class.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.requests.iter().zip(METHODS).flat_map(|(row, method)| {
            row.iter().zip(CLASSES).filter_map(move |(counter, class)| {
                let count = counter.load(Ordering::Relaxed);
                (count > 0).then_some((method, class, count))
            })
        })
    }

    /// The durations of the requests that ended.
    pub fn durations(&self) -> Durations {
        self.durations.read()
    }

    /// A request was beyond this rate.
    pub fn limited(&self, limit: Limit) {
        if let Some(counter) = self.limited.get(limit as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests ever beyond a rate, by whose it was, where there were some.
    pub fn rate_limited(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = Limit::ALL.iter().zip(&self.limited);
        let counts =
            counts.map(|(limit, counter)| (limit.as_str(), counter.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0)
    }

    /// Bytes of request and of response bodies.
    pub fn bytes(&self) -> (u64, u64) {
        (self.bytes_in.load(Ordering::Relaxed), self.bytes_out.load(Ordering::Relaxed))
    }
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

/// Counters of one worker, written by it alone and read at exposition.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    /// Connections of callers that are open.
    pub connections: AtomicU64,
    /// Those of them that wait without a task.
    pub idle: AtomicU64,
    /// Connections of callers ever accepted.
    pub accepted: AtomicU64,
    /// Connections refused because all callers together have too many.
    pub refused_total: AtomicU64,
    /// Connections refused because their client has too many.
    pub refused_client: AtomicU64,
    /// Connections handed to a less loaded worker.
    pub handed_over: AtomicU64,
    /// TLS handshakes.
    pub handshakes: Handshakes,
    /// Idle connections to endpoints.
    pub pool_idle: AtomicU64,
    /// Requests sent on a kept connection.
    pub pool_reused: AtomicU64,
    /// Requests that had to connect.
    pub pool_missed: AtomicU64,
    /// Connections closed for their PROXY protocol header.
    pub proxy_protocol_refused: ProxyProtocolRefused,
    /// How much it has to do, and what it refuses for that.
    pub load: Arc<WorkerLoad>,
}

/// Connections closed for their PROXY protocol header, by reason.
#[derive(Debug, Default)]
pub struct ProxyProtocolRefused {
    /// The peer may not say who called.
    pub untrusted: AtomicU64,
    /// What came is no header.
    pub malformed: AtomicU64,
    /// The peer left before the header was whole.
    pub closed: AtomicU64,
    /// The header was not whole in time.
    pub timeout: AtomicU64,
}

impl ProxyProtocolRefused {
    /// Every count with its reason.
    pub fn rows(&self) -> [(&'static str, u64); 4] {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("untrusted", load(&self.untrusted)),
            ("malformed", load(&self.malformed)),
            ("closed", load(&self.closed)),
            ("timeout", load(&self.timeout)),
        ]
    }
}

/// Why an HTTP/2 connection was ended, by the names of RFC 9113 section 7.
pub const HTTP2_ERRORS: [&str; 6] = [
    "protocol_error",
    "flow_control_error",
    "frame_size_error",
    "stream_closed",
    "compression_error",
    "enhance_your_calm",
];

/// Counts of HTTP/2 connections that the gateway ended because of what their callers sent.
#[derive(Debug, Default)]
pub struct Http2Metrics([AtomicU64; HTTP2_ERRORS.len()]);

impl Http2Metrics {
    /// A connection ended for this reason.
    pub fn failed(&self, reason: &str) {
        let index = HTTP2_ERRORS.iter().position(|known| *known == reason);
        if let Some(counter) = index.and_then(|index| self.0.get(index)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Every reason and how often it was one.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        HTTP2_ERRORS
            .iter()
            .zip(&self.0)
            .map(|(reason, count)| (*reason, count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_once_by_method_class_and_duration() {
        let metrics = RouteMetrics::default();
        metrics.begin();
        assert_eq!(metrics.in_flight(), 1);
        metrics.end(&Method::POST, Some(201), Duration::from_millis(7), (3, 5));
        assert_eq!(metrics.in_flight(), 0);
        assert_eq!(metrics.requests().collect::<Vec<_>>(), [("POST", "2xx", 1)]);
        assert_eq!(metrics.durations().buckets[1], 1);
        assert_eq!(metrics.bytes(), (3, 5));
    }

    #[test]
    fn odd_methods_and_statuses_share_rows() {
        let metrics = RouteMetrics::default();
        let odd = Method::from_bytes(b"g^t").expect("a token");
        metrics.end(&odd, Some(599), Duration::from_secs(60), (0, 0));
        metrics.end(&Method::GET, None, Duration::ZERO, (0, 0));
        let rows: Vec<_> = metrics.requests().collect();
        assert_eq!(rows, [("GET", "none", 1), ("_OTHER", "5xx", 1)]);
        assert_eq!(metrics.durations().buckets[BUCKETS.len()], 1);
    }
}

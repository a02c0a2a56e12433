//! What is counted of a worker and its connections, not of any app.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::load::WorkerLoad;
use super::super::tls::Handshakes;

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

//! One line per request, when it has ended.
//!
//! The names are OpenTelemetry's HTTP attributes where those exist. What a
//! caller chose is written escaped, so that no request can forge a line.

use std::net::SocketAddr;
use std::time::Duration;

/// The target of access log events, for filters.
pub const TARGET: &str = "access";

/// What a line tells.
#[derive(Debug)]
pub struct Line<'a> {
    /// The execution id.
    pub execution_id: &'a str,
    /// `organization/name`, empty if no app was found.
    pub function_id: &'a str,
    /// The method.
    pub method: &'a str,
    /// The host asked for, empty if none was understood.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// HTTP version.
    pub version: &'a str,
    /// What the caller got; 0 for nothing.
    pub status: u16,
    /// The status of a gRPC call, if it ended with one.
    pub grpc_status: Option<u32>,
    /// The caller's address.
    pub client: SocketAddr,
    /// The endpoint of the last try.
    pub upstream: Option<SocketAddr>,
    /// How many tries there were.
    pub attempts: u32,
    /// From the whole request head to the end of the response.
    pub took: Duration,
    /// The part of it spent waiting for a ready endpoint or a turn.
    pub waited: Duration,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the response body.
    pub bytes_out: u64,
    /// Why it did not end well; empty if it did.
    pub reason: &'a str,
}

/// Writes one line.
pub fn write(line: &Line<'_>) {
    tracing::event!(
        target: TARGET,
        tracing::Level::INFO,
        ignite.execution_id = line.execution_id,
        ignite.function_id = line.function_id,
        http.request.method = line.method,
        server.address = %line.host.escape_debug(),
        url.path = %line.target.escape_debug(),
        network.protocol.version = line.version,
        http.response.status_code = line.status,
        rpc.grpc.status_code = line.grpc_status,
        client.address = %line.client,
        upstream.address = line.upstream.map(tracing::field::display),
        attempts = line.attempts,
        duration_ms = millis(line.took),
        waited_ms = millis(line.waited),
        bytes_in = line.bytes_in,
        bytes_out = line.bytes_out,
        "error.type" = (!line.reason.is_empty()).then_some(line.reason),
    );
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

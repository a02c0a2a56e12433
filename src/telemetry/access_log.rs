//! One line per request, when it has ended.
//!
//! The names are OpenTelemetry's HTTP attributes where those exist. What a
//! caller chose is written escaped, so that no request can forge a line.

use std::time::Duration;

use super::finished::Finished;

/// The target of access log events, for filters.
pub const TARGET: &str = "access";

/// Writes one line.
pub fn write(of: &Finished<'_>) {
    let text = |bytes| String::from_utf8_lossy(bytes).escape_debug().to_string();
    tracing::event!(
        target: TARGET,
        tracing::Level::INFO,
        ignite.execution_id = of.execution_id,
        ignite.function_id = of.function_id,
        http.request.method = of.method.as_str(),
        server.address = text(of.host),
        url.path = text(of.target),
        network.protocol.version = of.version,
        http.response.status_code = of.status.unwrap_or(0),
        rpc.grpc.status_code = of.grpc_status,
        client.address = %of.client,
        upstream.address = of.latest().map(|attempt| tracing::field::display(attempt.endpoint)),
        attempts = of.attempts,
        duration_ms = millis(of.took),
        waited_ms = millis(of.queued),
        bytes_in = of.bytes_in,
        bytes_out = of.bytes_out,
        trace_id = of.trace.map(|trace| tracing::field::display(trace.context.trace_id)),
        span_id = of.trace.map(|trace| tracing::field::display(trace.context.span_id)),
        "error.type" = (!of.reason.is_empty()).then_some(of.reason),
    );
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

//! A line for machines: one JSON object, its names OpenTelemetry's where those
//! exist. `docs/access-log.md` explains each; a test compares.

use std::time::Duration;

use super::timestamp::Timestamps;
use super::{Finished, TARGET};
use crate::telemetry::finished::Attempt;

/// Writes one line.
pub(super) fn write(of: &Finished<'_>, stamps: &mut Timestamps, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"timestamp\":\"");
    stamps.write(of.ended(), out);
    out.extend_from_slice(b"\",\"level\":\"INFO\",\"target\":\"");
    out.extend_from_slice(TARGET.as_bytes());
    out.push(b'"');
    plain(out, "ignite.execution_id", of.execution_id);
    // What a name may hold needs no escape: DNS labels and a slash.
    plain(out, "ignite.function_id", of.function_id);
    plain(out, "ignite.organization_id", of.organization_id);
    text(out, "http.request.method", of.method.as_str().as_bytes());
    text(out, "server.address", of.host);
    let (path, query) = of.path_and_query();
    text(out, "url.path", path);
    if let Some(query) = query {
        text(out, "url.query", query);
    }
    plain(out, "network.protocol.version", of.version);
    if let Some(status) = of.status {
        number(out, "http.response.status_code", status.into());
    }
    if let Some(status) = of.grpc_status {
        number(out, "rpc.grpc.status_code", status.into());
    }
    quoted(out, "client.address", |out| super::push_ip(out, of.client.ip()));
    number(out, "client.port", of.client.port().into());
    if let Some(attempt) = of.latest() {
        quoted(out, "upstream.address", |out| super::push_address(out, attempt.endpoint));
        plain(out, "upstream.connection", connection(attempt));
    }
    number(out, "attempts", of.attempts.into());
    millis(out, "duration_ms", of.took);
    millis(out, "queue_ms", of.queued);
    if let Some(connect) = of.latest().and_then(|attempt| attempt.connect) {
        millis(out, "connect_ms", connect);
    }
    if let Some(first_byte) = of.first_byte {
        millis(out, "first_byte_ms", first_byte);
    }
    number(out, "http.request.body.size", of.bytes_in);
    number(out, "http.response.body.size", of.bytes_out);
    plain(out, "termination", of.termination.as_str());
    if !of.reason.is_empty() {
        plain(out, "error.type", of.reason);
    }
    if !of.detail.is_empty() {
        text(out, "error.message", of.detail.as_bytes());
    }
    if !of.earlier.is_empty() {
        earlier(out, of.earlier);
    }
    if let Some(trace) = &of.trace {
        hexadecimal(out, "trace_id", &trace.context.trace_id.bytes());
        hexadecimal(out, "span_id", &trace.context.span_id.bytes());
    }
    out.extend_from_slice(b"}\n");
}

fn connection(attempt: &Attempt) -> &'static str {
    if attempt.connect.is_some() { "new" } else { "reused" }
}

fn earlier(out: &mut Vec<u8>, attempts: &[Attempt]) {
    name(out, "earlier_attempts");
    for (index, attempt) in attempts.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"[{" } else { b",{" });
        out.extend_from_slice(b"\"upstream.connection\":\"");
        out.extend_from_slice(connection(attempt).as_bytes());
        out.push(b'"');
        quoted(out, "upstream.address", |out| super::push_address(out, attempt.endpoint));
        plain(out, "error.type", attempt.reason);
        millis(out, "duration_ms", attempt.took());
        if let Some(connect) = attempt.connect {
            millis(out, "connect_ms", connect);
        }
        out.push(b'}');
    }
    out.push(b']');
}

fn name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// A value that is the gateway's own and needs no escape.
fn plain(out: &mut Vec<u8>, of: &str, value: &str) {
    name(out, of);
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn number(out: &mut Vec<u8>, of: &str, value: u64) {
    name(out, of);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn millis(out: &mut Vec<u8>, of: &str, value: Duration) {
    name(out, of);
    super::push_millis(out, value);
}

fn quoted(out: &mut Vec<u8>, of: &str, push: impl FnOnce(&mut Vec<u8>)) {
    name(out, of);
    out.push(b'"');
    push(out);
    out.push(b'"');
}

fn hexadecimal(out: &mut Vec<u8>, of: &str, bytes: &[u8]) {
    quoted(out, of, |out| {
        for byte in bytes {
            out.extend_from_slice(&[super::digit(byte >> 4), super::digit(byte & 15)]);
        }
    });
}

/// A value that somebody else chose. Whatever is no printable ASCII is escaped: control characters,
/// of terminals too, those that turn the direction of a line, and those that nobody sees.
fn text(out: &mut Vec<u8>, of: &str, value: &[u8]) {
    quoted(out, of, |out| push_escaped(out, value));
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

fn push_escaped(out: &mut Vec<u8>, value: &[u8]) {
    if value.iter().all(|byte| is_plain(*byte)) {
        return out.extend_from_slice(value);
    }
    for piece in value.utf8_chunks() {
        for character in piece.valid().chars() {
            match u8::try_from(character) {
                Ok(byte @ (b'"' | b'\\')) => out.extend_from_slice(&[b'\\', byte]),
                Ok(byte) if is_plain(byte) => out.push(byte),
                _ => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        push_unit(out, *unit);
                    }
                }
            }
        }
        for _ in piece.invalid() {
            push_unit(out, 0xfffd);
        }
    }
}

/// RFC 8259 section 7.
fn push_unit(out: &mut Vec<u8>, unit: u16) {
    let [high, low] = unit.to_be_bytes();
    out.extend_from_slice(b"\\u");
    for byte in [high, low] {
        out.extend_from_slice(&[super::digit(byte >> 4), super::digit(byte & 15)]);
    }
}

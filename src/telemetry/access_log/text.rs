//! A line for people: what they want to see at a glance, and behind it why a
//! request failed.
//!
//! `2026-11-30T12:03:04.123456Z GET /hello 200 1.9ms acme/hello 01a2…`, and for one that failed
//! `… POST / 502 3.2ms acme/hello app.connect connect_refused (Connection refused) at
//! 127.0.0.1:3000, attempts 2, queue 1.0ms 01a2…`.

use super::Finished;
use super::timestamp::Timestamps;
use crate::telemetry::finished::Termination;

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const GREEN: &str = "\x1b[32m";
const DIM: &str = "\x1b[2m";
const OFF: &str = "\x1b[0m";

/// Writes one line.
pub(super) fn write(of: &Finished<'_>, colour: bool, stamps: &mut Timestamps, out: &mut Vec<u8>) {
    let (dim, off) = if colour { (DIM, OFF) } else { ("", "") };
    let hue = match of.status {
        _ if !colour => "",
        None | Some(500..) => RED,
        Some(400..) => YELLOW,
        Some(_) if of.is_failure() => RED,
        Some(_) => GREEN,
    };
    push(out, &[dim]);
    stamps.write(of.ended(), out);
    push(out, &[off, " "]);
    push_escaped(out, of.method.as_str().as_bytes());
    push(out, &[" "]);
    push_escaped(out, of.target);
    push(out, &[" ", hue]);
    match of.status {
        Some(status) => push(out, &[itoa::Buffer::new().format(status)]),
        None => push(out, &["---"]),
    }
    push(out, &[off, " "]);
    super::push_tenths(out, of.took);
    push(out, &["ms "]);
    if of.function_id.is_empty() {
        // An unknown app is best told by the host that was asked for, which a caller chose.
        push_escaped(out, of.host);
    } else {
        push(out, &[of.function_id]);
    }
    if let Some(status) = of.grpc_status.filter(|status| *status != 0) {
        push(out, &[" grpc-status ", itoa::Buffer::new().format(status)]);
    }
    if of.termination != Termination::Complete {
        push(out, &[" ", hue, of.termination.as_str(), " ", of.reason, off]);
        failure(out, of);
    }
    push(out, &[" ", dim, of.execution_id, off, "\n"]);
}

/// What else is known of why it failed.
fn failure(out: &mut Vec<u8>, of: &Finished<'_>) {
    if !of.detail.is_empty() {
        push(out, &[" ("]);
        push_readable(out, of.detail.as_bytes());
        push(out, &[")"]);
    }
    if let Some(attempt) = of.latest() {
        push(out, &[" at "]);
        super::push_address(out, attempt.endpoint);
    }
    if of.attempts > 1 {
        push(out, &[", attempts ", itoa::Buffer::new().format(of.attempts)]);
    }
    if !of.queued.is_zero() {
        push(out, &[", queue "]);
        super::push_tenths(out, of.queued);
        push(out, &["ms"]);
    }
}

fn push(out: &mut Vec<u8>, pieces: &[&str]) {
    for piece in pieces {
        out.extend_from_slice(piece.as_bytes());
    }
}

/// What somebody else chose is one word of printable ASCII, however it was sent.
fn push_escaped(out: &mut Vec<u8>, value: &[u8]) {
    push_if(out, value, |byte| byte.is_ascii_graphic());
}

/// The same with its spaces.
fn push_readable(out: &mut Vec<u8>, value: &[u8]) {
    push_if(out, value, |byte| byte.is_ascii_graphic() || byte == b' ');
}

fn push_if(out: &mut Vec<u8>, value: &[u8], is_plain: impl Fn(u8) -> bool) {
    for byte in value {
        if is_plain(*byte) {
            out.push(*byte);
        } else {
            let digits = [super::digit(byte >> 4), super::digit(byte & 15)];
            out.extend_from_slice(b"\\x");
            out.extend_from_slice(&digits);
        }
    }
}

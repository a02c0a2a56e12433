//! One line per request, when it has ended.
//!
//! Lines are written into a buffer of the worker, byte by byte and without a
//! detour: by way of `tracing` one cost 11,600 instructions, so it costs a
//! fraction. The buffer is handed over when it is full, and some times a second.
//! What a caller chose is written escaped, so that no request can forge a line.

use std::cell::RefCell;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::finished::Finished;
use super::lines::Lines;

mod json;
mod text;
mod timestamp;

use timestamp::Timestamps;

/// By what lines are known among others.
const TARGET: &str = "access";
/// How much is gathered before it is handed over.
const FULL: usize = 64 << 10;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// One JSON object each.
    #[default]
    Json,
    /// For people.
    Text {
        /// With the colours of a terminal.
        colour: bool,
    },
}

/// Where access logs are written, and how.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// Where lines are handed over.
    pub lines: Lines,
    /// How they look.
    pub style: Style,
}

/// One worker's lines.
#[derive(Debug)]
pub struct AccessLog {
    output: Output,
    pending: RefCell<Pending>,
}

#[derive(Debug)]
struct Pending {
    text: Vec<u8>,
    lines: u64,
    stamps: Timestamps,
}

impl AccessLog {
    /// Lines that are written there.
    pub fn new(output: Output) -> Self {
        let pending = Pending { text: Vec::new(), lines: 0, stamps: Timestamps::new() };
        Self { output, pending: RefCell::new(pending) }
    }

    /// Writes a line.
    pub fn write(&self, finished: &Finished<'_>) {
        if !self.output.lines.is_open() {
            return;
        }
        let pending = &mut *self.pending.borrow_mut();
        match self.output.style {
            Style::Json => json::write(finished, &mut pending.stamps, &mut pending.text),
            Style::Text { colour } => {
                text::write(finished, colour, &mut pending.stamps, &mut pending.text);
            }
        }
        pending.lines += 1;
        if pending.text.len() >= FULL {
            pending.hand_over(&self.output.lines);
        }
    }

    /// Hands over what was gathered.
    pub fn flush(&self) {
        self.pending.borrow_mut().hand_over(&self.output.lines);
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Pending {
    fn hand_over(&mut self, lines: &Lines) {
        if self.lines > 0 {
            lines.hand_over(&mut self.text, std::mem::take(&mut self.lines));
        }
    }
}

/// Milliseconds to the microsecond, as a JSON number.
fn push_millis(out: &mut Vec<u8>, duration: Duration) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    out.extend_from_slice(itoa::Buffer::new().format(micros / 1000).as_bytes());
    let rest = micros % 1000;
    if rest > 0 {
        let digits = [100, 10, 1].map(|unit| b'0' + u8::try_from(rest / unit % 10).unwrap_or(0));
        out.push(b'.');
        out.extend_from_slice(&digits);
    }
}

/// Milliseconds to a tenth.
fn push_tenths(out: &mut Vec<u8>, duration: Duration) {
    let tenths = u64::try_from(duration.as_micros() / 100).unwrap_or(u64::MAX);
    out.extend_from_slice(itoa::Buffer::new().format(tenths / 10).as_bytes());
    out.push(b'.');
    out.push(b'0' + u8::try_from(tenths % 10).unwrap_or(0));
}

/// A hexadecimal digit.
fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

/// An address without its port. Digit by digit, where `Display` would cost a tenth of the line.
fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        // Memory takes whatever is written to it.
        IpAddr::V6(ip) => drop(write!(out, "{ip}")),
    }
}

/// An address with its port.
fn push_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(_) => {
            push_ip(out, address.ip());
            out.push(b':');
            out.extend_from_slice(itoa::Buffer::new().format(address.port()).as_bytes());
        }
        SocketAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

#[cfg(test)]
mod tests;

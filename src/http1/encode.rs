//! Messages onto the wire: heads, chunk frames, trailers.
//!
//! Only typed values get here, so no field can hold a line end, and the framing
//! fields are written by this module alone.

use std::io::Write as _;

use bytes::{BufMut, BytesMut};
use http::{Method, StatusCode};

use super::framing::Framing;
use crate::fields::Fields;

/// Writes a request head. Always HTTP/1.1: the version is this hop's own.
pub fn request_head(
    out: &mut BytesMut,
    method: &Method,
    target: &[u8],
    fields: &Fields,
    framing: Framing,
    upgrade: Option<&[u8]>,
) {
    out.reserve(512);
    out.put_slice(method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(target);
    out.put_slice(b" HTTP/1.1\r\n");
    fields.write_lines(out);
    put_framing(out, framing);
    if let Some(protocol) = upgrade {
        put_upgrade(out, protocol);
    }
    out.put_slice(b"\r\n");
}

/// What the head of a response says about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionOption<'a> {
    /// Nothing: HTTP/1.1 keeps it open.
    Implied,
    /// `Connection: close`.
    Close,
    /// `Connection: keep-alive`, which HTTP/1.0 callers need to be told.
    KeepAlive,
    /// `Connection: Upgrade`, and the protocol that it is switched to.
    Upgrade(&'a [u8]),
}

/// Writes a response head.
pub fn response_head(
    out: &mut BytesMut,
    status: StatusCode,
    reason: Option<&[u8]>,
    fields: &Fields,
    framing: Framing,
    connection: ConnectionOption<'_>,
) {
    out.reserve(512);
    if status == StatusCode::OK && reason.is_none() {
        out.put_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        out.put_slice(b"HTTP/1.1 ");
        out.put_slice(status.as_str().as_bytes());
        out.put_u8(b' ');
        let standard = || status.canonical_reason().unwrap_or_default().as_bytes();
        out.put_slice(reason.unwrap_or_else(standard));
        out.put_slice(b"\r\n");
    }
    fields.write_lines(out);
    put_framing(out, framing);
    match connection {
        ConnectionOption::Implied => {}
        ConnectionOption::Close => out.put_slice(b"connection: close\r\n"),
        ConnectionOption::KeepAlive => out.put_slice(b"connection: keep-alive\r\n"),
        ConnectionOption::Upgrade(protocol) => put_upgrade(out, protocol),
    }
    out.put_slice(b"\r\n");
}

/// Writes the line before a chunk's content.
pub fn chunk_start(out: &mut BytesMut, length: usize) {
    // Writing to a growing buffer cannot fail.
    let _ = write!(out.writer(), "{length:x}\r\n");
}

/// The line end after a chunk's content.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Writes the last chunk and the trailer section.
pub fn last_chunk(out: &mut BytesMut, trailers: Option<&Fields>) {
    out.put_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        trailers.write_lines(out);
    }
    out.put_slice(b"\r\n");
}

fn put_upgrade(out: &mut BytesMut, protocol: &[u8]) {
    // With the capital that browsers write: some apps compare it to the letter.
    out.put_slice(b"connection: Upgrade\r\nupgrade: ");
    out.put_slice(protocol);
    out.put_slice(b"\r\n");
}

fn put_framing(out: &mut BytesMut, framing: Framing) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Length(length) => {
            let mut digits = itoa::Buffer::new();
            out.put_slice(b"content-length: ");
            out.put_slice(digits.format(length).as_bytes());
            out.put_slice(b"\r\n");
        }
        Framing::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
    }
}

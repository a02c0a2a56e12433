//! The two forms of a PROXY header, as HAProxy's `proxy-protocol.txt` defines them.
//!
//! Strict where the specification is: a header that two receivers could read in
//! two ways would let a caller choose its own address. Lenient in one place: a
//! valid header whose address is of no use here is skipped, as section 2.2 asks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// No header of either form is longer. Version 2 could announce 64 KiB; its addresses take 232
/// bytes at most, and the rest holds what senders say of a caller's certificate.
pub const LONGEST: usize = 4096;
/// The longest line of version 1, its CRLF included: section 2.1.
const LONGEST_LINE: usize = 107;

const LINE_START: &[u8] = b"PROXY ";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What of a version 2 header has a fixed place: signature, version and command, family and
/// protocol, length of the rest.
const FIXED: usize = 16;

/// What a whole header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its bytes; what follows them is the caller's.
    pub length: usize,
    /// Who called; `None` if that is unknown, or the sender speaks for itself.
    pub source: Option<SocketAddr>,
}

/// Why bytes are no PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// They begin like neither version.
    #[error("does not begin like a PROXY header")]
    Signature,
    /// A line of version 1 that its grammar does not allow.
    #[error("a malformed line of version 1")]
    Line,
    /// No CRLF within the longest line.
    #[error("a line of version 1 without an end")]
    EndlessLine,
    /// A version other than 2, or a command that is not assigned.
    #[error("an unknown version or command")]
    Command,
    /// An address family or a transport that is not assigned.
    #[error("an unknown address family or transport")]
    Family,
    /// The announced length is less than the addresses take, or more than is ever read.
    #[error("an impossible length")]
    Length,
}

/// Reads the header at the start of `bytes`; `None` while they are only a part of one.
///
/// Never `None` for [`LONGEST`] bytes or more, so that reading comes to an end.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    if begins_like(bytes, SIGNATURE) {
        binary(bytes)
    } else if begins_like(bytes, LINE_START) {
        line(bytes)
    } else {
        Err(Malformed::Signature)
    }
}

fn begins_like(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

/// Version 1, section 2.1: a line of text.
fn line(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let within = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let Some(end) = within.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return partial(within);
    };
    let (text, rest) = within.split_at(end);
    match rest {
        [b'\r', b'\n', ..] => {}
        [b'\r'] => return partial(within),
        _ => return Err(Malformed::Line),
    }
    let source = match text.strip_prefix(b"PROXY UNKNOWN") {
        // Whatever stands behind it must be ignored.
        Some([] | [b' ', ..]) => None,
        _ => Some(announced(text).ok_or(Malformed::Line)?),
    };
    Ok(Some(Header { length: end + 2, source }))
}

/// A line that may go on, unless it has reached the longest.
fn partial(line: &[u8]) -> Result<Option<Header>, Malformed> {
    if line.len() < LONGEST_LINE { Ok(None) } else { Err(Malformed::EndlessLine) }
}

/// The source of a line. Its destination is read too: a line is right as a whole or wrong.
fn announced(line: &[u8]) -> Option<SocketAddr> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ').skip(1);
    let address: fn(&str) -> Option<IpAddr> = match words.next()? {
        "TCP4" => |text| Some(IpAddr::V4(text.parse::<Ipv4Addr>().ok()?)),
        // A v4 caller of a v6 socket is announced as `::ffff:192.0.2.1`, by HAProxy too.
        "TCP6" => |text| Some(IpAddr::V6(text.parse::<Ipv6Addr>().ok()?)),
        _ => return None,
    };
    let (source, _destination) = (address(words.next()?)?, address(words.next()?)?);
    let (source_port, _destination_port) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then_some(SocketAddr::new(source, source_port))
}

/// A port in its only spelling: no sign and no leading zero, which `parse` would take.
fn port(text: &str) -> Option<u16> {
    let canonical = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    text.parse().ok().filter(|_| canonical)
}

/// Version 2, section 2.2: a fixed part, the addresses, then whatever else the
/// sender wants to say, which is skipped.
fn binary(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let following = usize::from(u16::from_be_bytes([high, low]));
    let length = FIXED + following;
    if length > LONGEST {
        return Err(Malformed::Length);
    }
    let read: fn(&[u8]) -> Result<Option<SocketAddr>, Malformed> = match (command, family) {
        // LOCAL: the sender's own connection, a health check for instance. Its family means
        // nothing, its length still counts.
        (0x20, _) => |_| Ok(None),
        (0x21, 0x11) => |block| source_v4(block).map(Some),
        (0x21, 0x21) => |block| source_v6(block).map(Some),
        // Unspecified, a datagram or a Unix socket: valid, and no address that HTTP could be
        // told, so the connection's own is used as for an unspecified one.
        (0x21, family) if family >> 4 <= 3 && family & 0xf <= 2 => |_| Ok(None),
        (0x21, _) => return Err(Malformed::Family),
        _ => return Err(Malformed::Command),
    };
    match rest.get(..following) {
        Some(block) => read(block).map(|source| Some(Header { length, source })),
        None => Ok(None),
    }
}

/// Both addresses, then both ports.
fn source_v4(block: &[u8]) -> Result<SocketAddr, Malformed> {
    let [a, b, c, d, _, _, _, _, high, low, _, _, ..] = *block else {
        return Err(Malformed::Length);
    };
    Ok((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into())
}

fn source_v6(block: &[u8]) -> Result<SocketAddr, Malformed> {
    let (source, rest) = block.split_first_chunk::<16>().ok_or(Malformed::Length)?;
    let (_destination, ports) = rest.split_first_chunk::<16>().ok_or(Malformed::Length)?;
    let [high, low, _, _, ..] = *ports else { return Err(Malformed::Length) };
    Ok((Ipv6Addr::from(*source), u16::from_be_bytes([high, low])).into())
}

#[cfg(test)]
mod tests;

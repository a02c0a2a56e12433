//! Bodies off the wire: a length counted down, chunks unwrapped, or whatever
//! comes until the connection ends.
//!
//! Chunk extensions are bounded and dropped; a body ends only by its length,
//! its last chunk or, for a response that said so, by the connection's end.

use bytes::{Buf, Bytes, BytesMut};

use super::framing::Framing;
use super::head::{HeadScan, parse_trailers};
use crate::error::Malformed;
use crate::fields::Fields;
use crate::io::Coming;

/// The longest chunk-size line with its extensions; nobody sends long ones in earnest.
const CHUNK_LINE: usize = 1024;
/// The largest trailer section.
const TRAILER_BYTES: usize = 16 << 10;
/// The most trailer fields.
const TRAILER_FIELDS: usize = 100;

/// What a decoder found in the bytes so far.
#[derive(Debug)]
pub enum Decoded {
    /// Content, never empty.
    Data(Bytes),
    /// The trailer section; the body is complete.
    Trailers(Fields),
    /// The body is complete.
    End,
    /// More bytes are needed.
    More,
}

/// Reads one body.
#[derive(Debug)]
pub struct Decoder {
    state: State,
}

#[derive(Debug)]
enum State {
    Length(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers(HeadScan),
    UntilClose,
    Done,
}

impl Decoder {
    /// A decoder of a body with this framing.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
        };
        Self { state }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether the end of the connection is the end of this body.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }

    /// What is known of how much is still to come, to size a read by.
    pub(crate) fn coming(&self) -> Coming {
        match self.state {
            State::Length(rest) => Coming::Exactly(rest),
            State::ChunkData(rest) => Coming::AtLeast(rest),
            State::UntilClose
            | State::ChunkSize
            | State::ChunkEnd
            | State::Trailers(_)
            | State::Done => Coming::AtLeast(0),
        }
    }

    /// The next piece of the body in `buffer`, which keeps what is not of it.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, Malformed> {
        loop {
            match &mut self.state {
                State::Done => return Ok(Decoded::End),
                State::UntilClose => {
                    return Ok(if buffer.is_empty() {
                        Decoded::More
                    } else {
                        Decoded::Data(buffer.split().freeze())
                    });
                }
                State::Length(rest) => {
                    let Some(data) = take(buffer, rest) else { return Ok(Decoded::More) };
                    if *rest == 0 {
                        self.state = State::Done;
                    }
                    return Ok(Decoded::Data(data));
                }
                State::ChunkData(rest) => {
                    let Some(data) = take(buffer, rest) else { return Ok(Decoded::More) };
                    if *rest == 0 {
                        self.state = State::ChunkEnd;
                    }
                    return Ok(Decoded::Data(data));
                }
                State::ChunkEnd => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        self.state = State::ChunkSize;
                    }
                    Some(_) => return Err(Malformed::Chunk),
                    None if buffer.first().is_some_and(|byte| *byte != b'\r') => {
                        return Err(Malformed::Chunk);
                    }
                    None => return Ok(Decoded::More),
                },
                State::ChunkSize => match take_chunk_size(buffer)? {
                    Some(0) => self.state = State::Trailers(HeadScan::default()),
                    Some(size) => self.state = State::ChunkData(size),
                    None => return Ok(Decoded::More),
                },
                State::Trailers(scan) => {
                    let Some(trailers) = take_trailers(buffer, scan)? else {
                        return Ok(Decoded::More);
                    };
                    self.state = State::Done;
                    return Ok(trailers);
                }
            }
        }
    }
}

fn take(buffer: &mut BytesMut, rest: &mut u64) -> Option<Bytes> {
    if buffer.is_empty() {
        return None;
    }
    let length = usize::try_from(*rest).unwrap_or(usize::MAX).min(buffer.len());
    *rest -= length as u64;
    Some(buffer.split_to(length).freeze())
}

/// RFC 9112 section 7.1: hexadecimal digits, then nothing or an extension, then CRLF.
fn take_chunk_size(buffer: &mut BytesMut) -> Result<Option<u64>, Malformed> {
    let Some(end) = memchr::memchr(b'\n', buffer) else {
        // Its CR may have come before its LF.
        return if buffer.len() > CHUNK_LINE + 1 { Err(Malformed::Chunk) } else { Ok(None) };
    };
    let line = buffer.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let size = line.filter(|line| line.len() <= CHUNK_LINE).and_then(chunk_size);
    buffer.advance(end + 1);
    size.map(Some).ok_or(Malformed::Chunk)
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, extension) = line.split_at(digits);
    // Sixteen digits fill 64 bits: no overflow is possible.
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let visible = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    let named = extension.trim_ascii_start().first().is_none_or(|byte| *byte == b';');
    // White space alone after the size is what two parsers have read in two ways.
    let spaced = !extension.is_empty() && extension.trim_ascii_start().is_empty();
    if spaced || !named || !extension.iter().all(visible) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn take_trailers(buffer: &mut BytesMut, scan: &mut HeadScan) -> Result<Option<Decoded>, Malformed> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Some(Decoded::End));
    }
    let end = scan.end(buffer).map_err(|_| Malformed::Trailer)?;
    if end.unwrap_or(buffer.len()) > TRAILER_BYTES {
        return Err(Malformed::Trailer);
    }
    let Some(end) = end else { return Ok(None) };
    let text = buffer.split_to(end).freeze();
    parse_trailers(&text, TRAILER_FIELDS).map(|fields| Some(Decoded::Trailers(fields)))
}

#[cfg(test)]
mod tests;

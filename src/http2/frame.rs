//! Frames on the wire, RFC 9113 sections 4 and 6: nine bytes of head, then what
//! the type says. Only the layout is known here, not what a frame does.

use bytes::{BufMut, BytesMut};

/// What a client sends before its first frame, RFC 9113 section 3.4.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The size of a frame's head.
pub const HEAD: usize = 9;
/// The largest payload that is sent unless the peer allows more, and the largest that is taken:
/// what every peer may send without asking, RFC 9113 section 4.2.
pub const MAX_PAYLOAD: usize = 16_384;
/// The largest payload that the format can say.
pub const LARGEST_PAYLOAD: u32 = (1 << 24) - 1;
/// The highest stream id.
pub const MAX_STREAM_ID: u32 = (1 << 31) - 1;

/// RFC 9113 section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Section 6.1.
    Data,
    /// Section 6.2.
    Headers,
    /// Section 6.3, deprecated: read and ignored.
    Priority,
    /// Section 6.4.
    ResetStream,
    /// Section 6.5.
    Settings,
    /// Section 6.6: nobody may send it to us.
    PushPromise,
    /// Section 6.7.
    Ping,
    /// Section 6.8.
    GoAway,
    /// Section 6.9.
    WindowUpdate,
    /// Section 6.10.
    Continuation,
    /// An extension, ignored by section 5.5.
    Unknown(u8),
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::ResetStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            other => Self::Unknown(other),
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Headers => 1,
            Self::Priority => 2,
            Self::ResetStream => 3,
            Self::Settings => 4,
            Self::PushPromise => 5,
            Self::Ping => 6,
            Self::GoAway => 7,
            Self::WindowUpdate => 8,
            Self::Continuation => 9,
            Self::Unknown(byte) => byte,
        }
    }
}

/// The last frame of a message half.
pub const END_STREAM: u8 = 0x1;
/// A SETTINGS or PING frame that answers one.
pub const ACK: u8 = 0x1;
/// The last frame of a field block.
pub const END_HEADERS: u8 = 0x4;
/// A payload that begins with the length of its padding.
pub const PADDED: u8 = 0x8;
/// A HEADERS payload that holds a deprecated priority.
pub const PRIORITY: u8 = 0x20;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes of payload.
    pub length: usize,
    /// The type.
    pub kind: Kind,
    /// The flags, whose meaning depends on the type.
    pub flags: u8,
    /// The stream, 0 for the connection.
    pub stream: u32,
}

impl Head {
    /// Reads a head if all of it is there.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; HEAD] = bytes.first_chunk()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        Some(Self {
            length: usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c),
            kind: Kind::of(*kind),
            flags: *flags,
            // The highest bit is reserved and ignored.
            stream: u32::from_be_bytes(*stream) & MAX_STREAM_ID,
        })
    }

    /// Whether a flag is set.
    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Writes it.
    pub fn put(self, out: &mut BytesMut) {
        let mut bytes = [0; HEAD];
        let length = u32::try_from(self.length).unwrap_or(LARGEST_PAYLOAD);
        bytes[..4].copy_from_slice(&(length << 8).to_be_bytes());
        bytes[3] = self.kind.byte();
        bytes[4] = self.flags;
        bytes[5..].copy_from_slice(&self.stream.to_be_bytes());
        out.put_slice(&bytes);
    }
}

/// Writes a frame whose payload is at hand.
pub fn put(out: &mut BytesMut, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
    Head { length: payload.len(), kind, flags, stream }.put(out);
    out.put_slice(payload);
}

/// The payload without its padding, RFC 9113 section 6.1; `None` if the padding
/// is longer than the payload.
pub fn unpadded(head: Head, payload: &[u8]) -> Option<&[u8]> {
    if !head.has(PADDED) {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

/// The four bytes at the start of a payload as a number.
pub fn number(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// An error code, RFC 9113 section 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u32);

impl Code {
    /// No error: an orderly end.
    pub const NO_ERROR: Self = Self(0x0);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    /// This side failed.
    pub const INTERNAL_ERROR: Self = Self(0x2);
    /// The peer sent more than its window.
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    /// A frame for a half that had ended.
    pub const STREAM_CLOSED: Self = Self(0x5);
    /// A frame of a size that its type forbids.
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    /// Not begun: the request may be sent again.
    pub const REFUSED_STREAM: Self = Self(0x7);
    /// The sender has lost its interest.
    pub const CANCEL: Self = Self(0x8);
    /// The field compression is out of step.
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    /// The peer asks for too much work.
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);

    /// Its name, for metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NO_ERROR => "no_error",
            Self::FLOW_CONTROL_ERROR => "flow_control_error",
            Self::FRAME_SIZE_ERROR => "frame_size_error",
            Self::STREAM_CLOSED => "stream_closed",
            Self::COMPRESSION_ERROR => "compression_error",
            Self::ENHANCE_YOUR_CALM => "enhance_your_calm",
            _ => "protocol_error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let head =
            Head { length: 70_000, kind: Kind::Headers, flags: END_STREAM, stream: 0x7fff_fffd };
        let mut out = BytesMut::new();
        head.put(&mut out);
        assert_eq!(out.len(), HEAD);
        assert_eq!(Head::parse(&out), Some(head));
        assert_eq!(Head::parse(&out[..8]), None);
    }

    #[test]
    fn the_reserved_bit_of_a_stream_id_is_ignored() {
        let bytes = [0, 0, 0, 0, 0, 0x80, 0, 0, 5];
        assert_eq!(Head::parse(&bytes).map(|head| head.stream), Some(5));
    }

    #[test]
    fn padding_is_cut_and_refused_where_it_is_longer_than_the_payload() {
        let head = |flags| Head { length: 0, kind: Kind::Data, flags, stream: 1 };
        assert_eq!(unpadded(head(0), b"abc"), Some(&b"abc"[..]));
        assert_eq!(unpadded(head(PADDED), b"\x02abc\0\0"), Some(&b"abc"[..]));
        assert_eq!(unpadded(head(PADDED), b"\x02\0\0"), Some(&b""[..]));
        assert_eq!(unpadded(head(PADDED), b"\x03\0\0"), None);
        assert_eq!(unpadded(head(PADDED), b""), None);
    }
}

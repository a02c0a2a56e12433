//! Field compression, RFC 7541, behind the two types that the rest of HTTP/2 needs.

use std::fmt;

use bytes::{BufMut, BytesMut};

/// Why a header block cannot be decoded: a connection error of the type
/// `COMPRESSION_ERROR`, RFC 9113 section 4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the field block is malformed")]
pub struct HpackError;

/// Decodes the blocks of one connection.
pub struct Decoder(fluke_hpack::Decoder<'static>);

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder whose table holds at most `table_bytes`.
    pub fn new(table_bytes: usize) -> Self {
        let mut decoder = fluke_hpack::Decoder::new();
        decoder.set_max_table_size(table_bytes);
        Self(decoder)
    }

    /// Decodes a whole block and gives its fields in order to `field`.
    pub fn decode(
        &mut self,
        block: &[u8],
        field: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), HpackError> {
        self.0.decode_with_cb(block, |name, value| field(&name, &value)).map_err(|_| HpackError)
    }
}

/// Encodes the blocks of one connection, without a table.
#[derive(Debug, Default)]
pub struct Encoder {}

impl Encoder {
    /// An encoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// The peer's limit of the table.
    pub fn set_max_table_size(&mut self, _bytes: usize) {}

    /// Begins a block.
    pub fn begin(&mut self, _out: &mut BytesMut) {}

    /// Writes a field, its name in lower case.
    pub fn field(&mut self, name: &[u8], value: &[u8], out: &mut BytesMut) {
        out.put_u8(0);
        put_text(&name.to_ascii_lowercase(), out);
        put_text(value, out);
    }
}

fn put_text(text: &[u8], out: &mut BytesMut) {
    let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    if text.len() < 127 {
        out.put_u8(byte(text.len()));
    } else {
        out.put_u8(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            out.put_u8(byte(rest % 128) | 128);
            rest /= 128;
        }
        out.put_u8(byte(rest));
    }
    out.put_slice(text);
}

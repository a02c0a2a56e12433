//! Field compression, RFC 7541: one encoder and one decoder for each
//! connection, whose tables mirror those of the peer's.
//!
//! A block comes from the peer, so nothing in it is believed: integers end,
//! strings lie within the block, a table holds what we allowed. An idle
//! connection holds no table: memory comes with the first field that needs it.

mod decode;
mod encode;
mod huffman;
mod integer;
mod names;
mod table;

pub use decode::Decoder;
pub use encode::Encoder;

/// Why a block cannot be decoded: a connection error of the type
/// `COMPRESSION_ERROR`, RFC 9113 section 4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the field block is malformed")]
pub struct HpackError;

#[cfg(test)]
mod tests;

//! Decoding field blocks, RFC 7541 sections 3.2 and 6.

use std::fmt;

use super::table::Table;
use super::{HpackError, huffman, integer};

/// A buffer for Huffman-coded strings that grew beyond this is given back after its block.
const KEPT: usize = 4096;
/// Changes of the table's size at most, and only before a block's first field, RFC 7541 section 4.2.
const UPDATES: usize = 2;

/// Decodes the blocks of one connection.
pub struct Decoder {
    table: Table,
    /// What the table may hold at most, whatever the peer says.
    limit: usize,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    /// A decoder whose table holds at most `table_bytes`.
    pub fn new(table_bytes: usize) -> Self {
        let table = Table::new(table_bytes);
        Self { table, limit: table_bytes, name: Vec::new(), value: Vec::new() }
    }

    /// Decodes a whole block and gives its fields in order to `field`.
    ///
    /// After an error the tables of both sides differ: the connection is lost.
    pub fn decode(
        &mut self,
        mut block: &[u8],
        mut field: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), HpackError> {
        self.take_updates(&mut block)?;
        while let Some(first) = block.first() {
            match first {
                0x80.. => {
                    let (name, value) = self.table.get(integer::take(&mut block, 7)?)?;
                    field(name, value);
                }
                0x40.. => self.literal(&mut block, 6, &mut field)?,
                0x20.. => return Err(HpackError),
                // Never to be indexed is said to whoever encodes the field again.
                _ => self.literal(&mut block, 4, &mut field)?,
            }
        }
        self.trim();
        Ok(())
    }

    fn take_updates(&mut self, block: &mut &[u8]) -> Result<(), HpackError> {
        for _ in 0..UPDATES {
            let Some(0x20..0x40) = block.first() else { break };
            let max = integer::take(block, 5)?;
            if max > self.limit {
                return Err(HpackError);
            }
            self.table.resize(max);
        }
        Ok(())
    }

    /// A literal, whose index has `bits` bits: six if it goes into the table.
    fn literal(
        &mut self,
        block: &mut &[u8],
        bits: u32,
        field: &mut impl FnMut(&[u8], &[u8]),
    ) -> Result<(), HpackError> {
        let index = integer::take(block, bits)?;
        if index == 0 {
            let name = text(block, &mut self.name)?;
            let value = text(block, &mut self.value)?;
            field(name, value);
            if bits == 6 {
                self.table.insert(name, value);
            }
            return Ok(());
        }
        let (name, _) = self.table.get(index)?;
        let value = text(block, &mut self.value)?;
        field(name, value);
        if bits == 6 {
            // The entry with the name may be the one that has to leave: RFC 7541 section 4.4.
            self.name.clear();
            self.name.extend_from_slice(name);
            self.table.insert(&self.name, value);
        }
        Ok(())
    }

    fn trim(&mut self) {
        for buffer in [&mut self.name, &mut self.value] {
            if buffer.capacity() > KEPT {
                *buffer = Vec::new();
            }
        }
    }
}

/// A string, RFC 7541 section 5.2: a part of the block, or of the buffer if it is encoded.
fn text<'a, 'b: 'a>(block: &mut &'b [u8], buffer: &'a mut Vec<u8>) -> Result<&'a [u8], HpackError> {
    let is_encoded = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer::take(block, 7)?;
    let (text, rest) = block.split_at_checked(length).ok_or(HpackError)?;
    *block = rest;
    if is_encoded { huffman::decode(text, buffer) } else { Ok(text) }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("table", &self.table).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

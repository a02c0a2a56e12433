//! Encoding field blocks, RFC 7541 section 6: an index for what repeats, a
//! literal for the rest, each string as Huffman code if that is shorter.

use std::fmt;

use bytes::{BufMut, BytesMut};

use super::names::{self, Form, Known};
use super::table::STATIC;
use super::{huffman, integer};

mod memory;

use memory::Memory;

/// What our table holds at most, however much a peer allows: enough for the fields that repeat, and
/// little for many connections.
const MOST: usize = 4096;
/// A longer value is not worth the entries that would have to leave for it.
const LONGEST: usize = 256;

/// An index of a whole field, and the first bits of each literal, RFC 7541 section 6.
const FIELD: u8 = 0x80;
const INDEXED: u8 = 0x40;
const UPDATE: u8 = 0x20;
const NEVER_INDEXED: u8 = 0x10;
const NOT_INDEXED: u8 = 0;

/// Encodes the blocks of one connection.
pub struct Encoder {
    memory: Memory,
    /// What the peer lets the table hold.
    allowed: usize,
    /// The least of what it has allowed since the last block.
    lowest: usize,
    /// A name in lower case; the room of a long one is given back with the next block.
    name: Vec<u8>,
}

impl Encoder {
    /// An encoder for a peer with a table of the default size.
    pub fn new() -> Self {
        Self { memory: Memory::new(MOST), allowed: MOST, lowest: MOST, name: Vec::new() }
    }

    /// The peer's limit of the table, from the next block on.
    pub fn set_max_table_size(&mut self, bytes: usize) {
        self.allowed = bytes;
        self.lowest = self.lowest.min(bytes);
    }

    /// Begins a block.
    pub fn begin(&mut self, out: &mut BytesMut) {
        // RFC 7541 section 4.2: the least in between is said too, because the peer may have dropped
        // what went beyond it.
        if self.lowest < self.memory.max() {
            self.resize(self.lowest, out);
        }
        let size = self.allowed.min(MOST);
        if size != self.memory.max() {
            self.resize(size, out);
        }
        self.lowest = self.allowed;
        self.name.shrink_to(LONGEST);
    }

    fn resize(&mut self, size: usize, out: &mut BytesMut) {
        self.memory.resize(size);
        integer::put(UPDATE, 5, size, out);
    }

    /// Writes a field, its name in lower case.
    pub fn field(&mut self, name: &[u8], value: &[u8], out: &mut BytesMut) {
        let Some(known) = names::find(name) else {
            self.name.clear();
            self.name.extend_from_slice(name);
            self.name.make_ascii_lowercase();
            put_repeating(&mut self.memory, 0, &self.name, value, out);
            return;
        };
        if known.form == Form::NeverIndexed {
            put_literal(NEVER_INDEXED, known.index, known.name, value, out);
        } else if let Some(index) = static_index(known, value) {
            integer::put(FIELD, 7, index, out);
        } else if known.form == Form::Indexed {
            put_repeating(&mut self.memory, known.index, known.name, value, out);
        } else if known.index > 0 {
            put_literal(NOT_INDEXED, known.index, known.name, value, out);
        } else {
            put_changing(&mut self.memory, known.name, value, out);
        }
    }
}

/// The index of a whole field in the static table.
fn static_index(known: &Known, value: &[u8]) -> Option<usize> {
    let first = known.index.checked_sub(1)?;
    let alike = STATIC.get(first..first + known.alike)?;
    alike.iter().position(|(_, text)| *text == value).map(|at| known.index + at)
}

/// Writes a field that will come again: once as a literal, then as its index.
fn put_repeating(memory: &mut Memory, index: usize, name: &[u8], value: &[u8], out: &mut BytesMut) {
    if value.len() > LONGEST || !memory.takes(name, value) {
        return put_literal(NOT_INDEXED, index, name, value, out);
    }
    let hash = memory::hash(name, value);
    if let Some(found) = memory.find(hash, |entry| entry == (name, value)) {
        return integer::put(FIELD, 7, found, out);
    }
    memory.insert(hash, name, value);
    put_literal(INDEXED, index, name, value, out);
}

/// Writes a field of which only the name will come again. One entry keeps the name; the values of
/// later ones stay out of the table.
fn put_changing(memory: &mut Memory, name: &[u8], value: &[u8], out: &mut BytesMut) {
    let hash = memory::hash(name, b"");
    if let Some(found) = memory.find(hash, |(entry, _)| entry == name) {
        put_literal(NOT_INDEXED, found, name, value, out);
    } else if value.len() > LONGEST || !memory.takes(name, value) {
        put_literal(NOT_INDEXED, 0, name, value, out);
    } else {
        memory.insert(hash, name, value);
        put_literal(INDEXED, 0, name, value, out);
    }
}

/// Writes a literal; its name as an index if that is above 0.
fn put_literal(form: u8, index: usize, name: &[u8], value: &[u8], out: &mut BytesMut) {
    integer::put(form, if form == INDEXED { 6 } else { 4 }, index, out);
    if index == 0 {
        put_text(name, out);
    }
    put_text(value, out);
}

/// Writes a string, RFC 7541 section 5.2.
fn put_text(text: &[u8], out: &mut BytesMut) {
    let length = huffman::length(text);
    if length < text.len() {
        integer::put(0x80, 7, length, out);
        huffman::encode(text, length, out);
    } else {
        integer::put(0, 7, text.len(), out);
        out.put_slice(text);
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("memory", &self.memory).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! What waits to be written on a connection: frames of all its streams, in the
//! order in which they must leave.
//!
//! Small pieces are copied together, large ones are kept where they lie and
//! leave by a vectored write.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Up to this size a piece is copied: cheaper than another slice of a vectored write.
const COPIED: usize = 4 << 10;
/// Slices of one write; the kernel takes more, but rarely more at once.
pub const SLICES: usize = 32;

/// Bytes to be written.
#[derive(Debug, Default)]
pub struct Out {
    /// Whole pieces, each before the next.
    pieces: VecDeque<Bytes>,
    /// What comes after all pieces.
    tail: BytesMut,
    length: usize,
}

impl Out {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Lets `write` add to the end.
    pub fn with(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let before = self.tail.len();
        write(&mut self.tail);
        self.length += self.tail.len() - before;
    }

    /// Adds a piece of content.
    pub fn push(&mut self, data: Bytes) {
        self.length += data.len();
        if data.len() <= COPIED {
            self.tail.extend_from_slice(&data);
            return;
        }
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
        self.pieces.push_back(data);
    }

    /// What is to be written next.
    pub fn slices(&self) -> ([IoSlice<'_>; SLICES], usize) {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let parts = self.pieces.iter().map(|piece| &piece[..]).chain([&self.tail[..]]);
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(parts.filter(|part| !part.is_empty())) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        (slices, count)
    }

    /// So many bytes were written.
    pub fn advance(&mut self, mut written: usize) {
        self.length -= written.min(self.length);
        while let Some(piece) = self.pieces.front_mut() {
            let taken = written.min(piece.len());
            piece.advance(taken);
            written -= taken;
            if !piece.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        self.tail.advance(written.min(self.tail.len()));
    }

    /// Gives its memory back, if nothing waits.
    pub fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(out: &Out) -> Vec<u8> {
        let (slices, count) = out.slices();
        slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn pieces_leave_in_the_order_in_which_they_came() {
        let mut out = Out::default();
        out.with(|tail| tail.extend_from_slice(b"head"));
        out.push(Bytes::from(vec![b'x'; COPIED + 1]));
        out.push(Bytes::from_static(b"small"));
        out.with(|tail| tail.extend_from_slice(b"end"));
        let mut wanted = b"head".to_vec();
        wanted.extend(vec![b'x'; COPIED + 1]);
        wanted.extend(b"smallend");
        assert_eq!(content(&out), wanted);
        for step in [1, 3, 5, COPIED - 10, 8] {
            out.advance(step);
            wanted.drain(..step);
            assert_eq!(content(&out), wanted);
            assert_eq!(out.len(), wanted.len());
        }
        out.advance(wanted.len());
        assert!(out.is_empty());
    }
}

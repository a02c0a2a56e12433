//! How much of a body one read takes: more and more, as long as reads are
//! filled and what they brought goes out at once.
//!
//! A large body in large pieces costs little more than half: 256 KiB instead of
//! 64 took 0.55 of the CPU time for 1 MiB answers, because the other side is
//! woken less often. But a piece that has to wait is memory held: the next is
//! small again, so a slow reader never holds more than one large piece.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::AsyncRead;

use super::{READ, READ_LARGE, poll_read_sized};

/// The most that one read asks for, and so the most of a body that is held in one direction.
const READ_WIDE: usize = 256 << 10;

/// What is known of how many bytes are still to come of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coming {
    /// So many, and nothing of this message behind them.
    Exactly(u64),
    /// So many, and perhaps more.
    AtLeast(u64),
}

/// The size of the next read of one body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stride {
    size: usize,
    /// The last read took all that it had asked for.
    filled: bool,
    /// The buffer was made as large as it ever is.
    wide: bool,
}

impl Default for Stride {
    fn default() -> Self {
        Self { size: READ, filled: false, wide: false }
    }
}

impl Stride {
    /// What was read could not be passed on at once.
    pub(crate) fn waited(&mut self) {
        *self = Self { wide: self.wide, ..Self::default() };
    }

    /// Reads once into `buffer`.
    pub(crate) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        buffer: &mut BytesMut,
        coming: Coming,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let size = if self.filled { larger(self.size) } else { self.size };
        let (least, wanted) = wanted(size, coming);
        if wanted <= READ_LARGE {
            self.end(buffer);
        } else {
            self.wide = true;
        }
        let count = ready!(poll_read_sized(stream, buffer, least, wanted, cx))?;
        self.filled = buffer.len() == buffer.capacity();
        self.size = wanted;
        if wanted > READ_LARGE && count < READ {
            self.waited();
        }
        Poll::Ready(Ok(count))
    }

    /// Gives the buffer up if it is larger than needed from here on.
    pub(crate) fn end(&mut self, buffer: &mut BytesMut) {
        if self.wide && buffer.is_empty() {
            self.wide = false;
            *buffer = BytesMut::new();
        }
    }
}

fn larger(size: usize) -> usize {
    if size < READ_LARGE { READ_LARGE } else { READ_WIDE }
}

/// The room that a read needs, and the room that is made where there is less.
fn wanted(size: usize, coming: Coming) -> (usize, usize) {
    match coming {
        Coming::Exactly(rest) => {
            let least = READ_LARGE.min(bounded(rest));
            (least, size.max(READ_LARGE).min(bounded(rest)))
        }
        // Chunks leave one by one, however many of them one read brings.
        Coming::AtLeast(rest) => {
            let least = READ_LARGE.min(bounded(rest));
            (least, size.clamp(least, READ_LARGE))
        }
    }
}

fn bounded(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Coming = Coming::Exactly(100 << 20);

    /// What one read of a stream that is always ready takes; nobody else holds the buffer.
    fn read(stride: &mut Stride, buffer: &mut BytesMut, coming: Coming) -> usize {
        let mut stream = tokio::io::repeat(b'x');
        drop(buffer.split());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match stride.poll_read(&mut stream, buffer, coming, &mut cx) {
            Poll::Ready(Ok(count)) => count,
            other => panic!("{other:?}"),
        }
    }

    /// What a read of a stream that has so much takes.
    fn read_of(mut stream: &[u8], stride: &mut Stride, buffer: &mut BytesMut) -> usize {
        drop(buffer.split());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match stride.poll_read(&mut stream, buffer, ALL, &mut cx) {
            Poll::Ready(Ok(count)) => count,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_grow_as_long_as_they_are_filled_and_no_further() {
        for (coming, sizes) in [
            (ALL, [READ_LARGE, READ_WIDE, READ_WIDE]),
            (Coming::AtLeast(0), [READ, READ_LARGE, READ_LARGE]),
            (Coming::AtLeast(16 << 10), [16 << 10, READ_LARGE, READ_LARGE]),
        ] {
            let (mut stride, mut buffer) = (Stride::default(), BytesMut::new());
            for size in sizes {
                assert_eq!(read(&mut stride, &mut buffer, coming), size, "{coming:?}");
                buffer = BytesMut::new();
            }
        }
    }

    #[test]
    fn nothing_is_asked_for_behind_the_end_of_a_known_length() {
        let (mut stride, mut buffer) = (Stride::default(), BytesMut::new());
        for _ in 0..3 {
            read(&mut stride, &mut buffer, ALL);
            buffer = BytesMut::new();
        }
        assert_eq!(read(&mut stride, &mut buffer, Coming::Exactly(100_000)), 100_000);
    }

    #[test]
    fn a_piece_that_had_to_wait_makes_the_next_small_and_gives_the_memory_back() {
        let (mut stride, mut buffer) = (Stride::default(), BytesMut::new());
        for _ in 0..3 {
            read(&mut stride, &mut buffer, ALL);
        }
        assert!(buffer.capacity() >= READ_WIDE);
        stride.waited();
        assert_eq!(read(&mut stride, &mut buffer, ALL), READ_LARGE);
        assert!(buffer.capacity() < READ_WIDE);
    }

    #[test]
    fn a_source_that_turned_slow_gives_the_memory_back() {
        let (mut stride, mut buffer) = (Stride::default(), BytesMut::new());
        for _ in 0..3 {
            read(&mut stride, &mut buffer, ALL);
        }
        assert_eq!(read_of(b"a word", &mut stride, &mut buffer), 6);
        assert_eq!(read_of(b"another", &mut stride, &mut buffer), 7);
        assert!(buffer.capacity() < READ_WIDE);
    }

    #[test]
    fn the_end_of_a_large_body_gives_the_memory_back() {
        let (mut stride, mut buffer) = (Stride::default(), BytesMut::new());
        for _ in 0..3 {
            read(&mut stride, &mut buffer, ALL);
        }
        buffer.clear();
        stride.end(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
    }
}

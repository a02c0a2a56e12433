//! Reads and writes that cost one system call each.

use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

pub(crate) mod departure;
pub(crate) mod stride;

pub(crate) use departure::Departure;
pub(crate) use stride::{Coming, Stride};

/// What a read asks for when nothing is known of what comes.
const READ: usize = 8 << 10;
/// What a read asks for when much is known to come: 64 KiB of content, and the head that may come
/// with it.
const READ_LARGE: usize = 65 << 10;
/// About what a head takes.
const HEAD: u64 = 1 << 10;
/// Room below which a buffer is renewed: short reads cost as much as long ones.
const ROOM: usize = 2 << 10;

/// How much is likely to come with the next message's head on a connection whose last message had
/// content of this `length`: alike follows alike, and a read that is large enough saves another one,
/// and a write.
pub(crate) fn expected_next(length: u64) -> u64 {
    if length > READ as u64 { length.saturating_add(HEAD) } else { 0 }
}

/// How much may wait in a socket before the kernel asks for no more. It asks again at half of that:
/// with its own limit, which grows to 4 MiB, a peer has to take more than 1 MiB before anybody sees
/// that it reads at all.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 << 10;

/// Makes the progress of a slow reader visible, and bounds what is kept for it; accepted sockets have
/// it from their listener.
pub(crate) fn bound_unsent<S: AsFd>(socket: &S) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(socket).set_tcp_notsent_lowat(UNSENT)?;
    Ok(())
}

/// Reads once into `buffer`; `expected` is how much is known to come.
pub(crate) fn poll_read<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    expected: u64,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let expected = usize::try_from(expected).unwrap_or(READ_LARGE).min(READ_LARGE);
    poll_read_sized(stream, buffer, expected, expected, cx)
}

/// Reads once into `buffer`; where there is no room for `least` bytes, room for `size` is made.
fn poll_read_sized<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    least: usize,
    size: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let room = buffer.capacity() - buffer.len();
    if room < ROOM.max(least) {
        buffer.reserve(size.max(READ));
    }
    // The future holds nothing between polls, so making it anew each time is free.
    pin!(stream.read_buf(buffer)).poll(cx)
}

/// Writes once as much of the slices as the kernel takes.
pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    slices: &[IoSlice<'_>],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    // Most messages are one piece, and a plain write costs the kernel less than a vectored one.
    let written = match slices {
        [only, rest @ ..] if rest.iter().all(|slice| slice.is_empty()) => {
            ready!(stream.poll_write(cx, only))?
        }
        slices => ready!(stream.poll_write_vectored(cx, slices))?,
    };
    if written == 0 {
        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
    }
    Poll::Ready(Ok(written))
}

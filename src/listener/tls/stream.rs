//! A TLS session over a socket: what callers speak HTTP over.
//!
//! Our own, because the usual adapter reads 4 KiB at a time and sends nothing
//! that a caller of it forgets to flush. Here a read asks the socket for as
//! much as there may be, an answer leaves in one system call with whatever the
//! session had to say besides, and an idle connection holds no buffer.

use std::io::{self, BufRead as _, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::io::{Departure, poll_read, poll_write};
use crate::listener::transport::Transport;

/// A socket and the TLS session on it.
pub struct TlsStream {
    socket: TcpStream,
    session: ServerConnection,
    /// What was read off the socket and not yet given to the session.
    received: BytesMut,
    /// The last read took all it had asked for: more is likely to come.
    burst: bool,
    acknowledged: bool,
}

impl TlsStream {
    /// A session that begins with what was already read off the socket.
    pub(super) fn new(socket: TcpStream, received: BytesMut, session: ServerConnection) -> Self {
        Self { socket, session, received, burst: false, acknowledged: false }
    }

    /// The session.
    pub(super) fn session(&self) -> &ServerConnection {
        &self.session
    }

    /// Whether the caller chose HTTP/2, RFC 9113 section 3.2.
    pub fn is_http2(&self) -> bool {
        self.session.alpn_protocol() == Some(b"h2")
    }

    /// The certificate that the caller showed, in DER, if it was asked for one.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.session.peer_certificates()?.first().map(AsRef::as_ref)
    }

    /// Whether everything that was read is with the session.
    pub(super) fn is_drained(&self) -> bool {
        self.received.is_empty()
    }

    /// Gives the session what was read, up to the first record that holds data, or the end of
    /// the handshake.
    pub(super) fn process(&mut self) -> Result<(), rustls::Error> {
        let was_handshaking = self.session.is_handshaking();
        while self.received.has_remaining() {
            let taken = self.session.read_tls(&mut (&mut self.received).reader());
            // It takes nothing after the caller's close_notify, whatever follows: RFC 8446
            // section 6.1.
            if !taken.is_ok_and(|taken| taken > 0) {
                self.received.clear();
            }
            let state = self.session.process_new_packets()?;
            if state.plaintext_bytes_to_read() > 0
                || was_handshaking != self.session.is_handshaking()
            {
                break;
            }
        }
        Ok(())
    }

    /// Reads once off the socket; 0 when the caller sends no more.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.received.is_empty() {
            // Memory only for what is there: an idle connection has none.
            if self.socket.poll_read_ready(cx)?.is_pending() {
                self.acknowledge();
                self.received = BytesMut::new();
                return Poll::Pending;
            }
        }
        let expected = if self.burst { u64::MAX } else { 0 };
        let count = ready!(poll_read(&mut self.socket, &mut self.received, expected, cx))?;
        self.burst = self.received.len() == self.received.capacity();
        if count == 0 {
            // The session has to know: without a close_notify before it, this is no end but a cut.
            self.session.read_tls(&mut io::empty())?;
        }
        Poll::Ready(Ok(count))
    }

    /// Tickets wait for the first answer to leave with, and so would the acknowledgement of the
    /// handshake's last message: a caller who leaves Nagle's algorithm on sends its request only
    /// then. Measured, handshake and first answer on loopback: 43 ms without this, 3 ms with it.
    fn acknowledge(&mut self) {
        if self.session.wants_write() && !self.acknowledged {
            self.acknowledged = true;
            #[cfg(target_os = "linux")]
            let _ = socket2::SockRef::from(&self.socket).set_tcp_quickack(true);
        }
    }

    /// Sends what the session has for the caller, in one system call if the socket takes it.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut socket = Records { socket: &mut self.socket, cx };
            match self.session.write_tls(&mut socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what the socket takes at once: before a close nobody waits for a caller.
    pub(super) fn send_at_once(&mut self) {
        let mut nobody = Context::from_waker(std::task::Waker::noop());
        let _ = self.poll_send(&mut nobody);
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        while buffer.remaining() > 0 {
            match this.session.reader().into_first_chunk() {
                // The caller's close_notify.
                Ok([]) => break,
                Ok(chunk) => {
                    let taken = chunk.len().min(buffer.remaining());
                    buffer.put_slice(chunk.get(..taken).unwrap_or(chunk));
                    this.session.reader().consume(taken);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if buffer.filled().len() == before => return Poll::Ready(Err(error)),
                Err(_) => break,
            }
            if this.received.is_empty() {
                if buffer.filled().len() > before {
                    break;
                }
                ready!(this.poll_fill(cx))?;
            }
            if let Err(error) = this.process() {
                // The alert that says why.
                this.send_at_once();
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    /// The session joins the slices into full records, and takes at most what its limit allows;
    /// what the socket does not take at once goes with the next write or flush.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let written = self.session.writer().write_vectored(slices)?;
            let sent = self.poll_send(cx)?;
            if written > 0 || slices.iter().all(|slice| slice.is_empty()) {
                return Poll::Ready(Ok(written));
            }
            ready!(sent);
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.send_close_notify();
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// In its box, so that it stays where it is while its owner moves.
impl Transport for Box<TlsStream> {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let chunk = self.session.reader().into_first_chunk();
        let waits = matches!(chunk, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        if !waits || !self.received.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let readable = self.socket.poll_read_ready(cx);
        if readable.is_pending() {
            self.acknowledge();
        }
        readable
    }

    fn departure(&self) -> Option<Departure> {
        self.socket.departure()
    }

    /// Without a `close_notify`: nothing may look like an end.
    fn abort(&mut self) {
        self.socket.abort();
    }

    fn close(&mut self) {
        self.session.send_close_notify();
        self.send_at_once();
    }
}

/// The socket as the session writes to it.
struct Records<'a, 'b> {
    socket: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl Write for Records<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match poll_write(self.socket, slices, self.cx) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! What a caller's connection needs of its byte stream.

use std::io;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;

use crate::io::Departure;

/// A byte stream that a caller speaks over.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Whether nothing but its socket has to be kept while nobody speaks.
    const CAN_BE_BARE: bool = false;

    /// Ready when a read may find something; the task is woken then. A buffer is made only after it.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Watches for the caller's end where what it sent is not read; `None` where nothing can.
    fn departure(&self) -> Option<Departure>;

    /// Makes the coming close a reset, so that a cut message cannot be taken
    /// for a whole one where only the close would end it.
    fn abort(&mut self);

    /// Says what the protocol asks for before a close, as far as that needs no waiting.
    fn close(&mut self);
}

impl Transport for TcpStream {
    const CAN_BE_BARE: bool = true;

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn departure(&self) -> Option<Departure> {
        // Where the system gives no second descriptor, time ends the wait.
        Departure::of(self).ok()
    }

    fn abort(&mut self) {
        // Without it the close is an ordinary one, which is all that is left to do then.
        let _ = socket2::SockRef::from(&*self).set_linger(Some(std::time::Duration::ZERO));
    }

    fn close(&mut self) {}
}

/// For benches and tests over memory.
impl Transport for DuplexStream {
    fn poll_readable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn departure(&self) -> Option<Departure> {
        None
    }

    fn abort(&mut self) {}

    fn close(&mut self) {}
}

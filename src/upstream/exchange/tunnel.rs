//! Both directions of a connection after `101 (Switching Protocols)`: bytes,
//! passed on as they come, until both sides have ended.
//!
//! Each side may end its own direction and go on listening. What neither side
//! has used for long enough ends; the protocol's own farewell is the app's
//! business.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::super::app::InFlight;
use super::super::pool::Connection;
use crate::body::{Body, Frame, Source};
use crate::error::Error;
use crate::io::{poll_read, poll_write};

/// A read that brought so much says that more is to come.
const MUCH: usize = 4 << 10;

/// The app's side of a switched connection; as a source, what the app sends.
pub(super) struct Tunnel {
    connection: Box<Connection>,
    _in_flight: InFlight,
    /// What the caller sends.
    incoming: Body,
    chunk: Bytes,
    /// How far the caller's direction is.
    upload: Upload,
    app_ended: bool,
    last_read: usize,
    patience: Patience,
}

/// How long silence may last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// In both directions.
    pub(super) open: Duration,
    /// In the caller's, when the app has ended its own: mostly nobody is there any more.
    pub(super) half_closed: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upload {
    Open,
    /// The caller ended; the app is told when it has everything.
    Ended,
    /// The app was told, or takes no more.
    Done,
}

impl Tunnel {
    /// Takes over a connection on which the app has agreed to another protocol.
    pub(super) fn new(
        mut connection: Box<Connection>,
        in_flight: InFlight,
        incoming: Body,
        patience: Patience,
    ) -> Self {
        connection.deadline.clear();
        Self {
            connection,
            _in_flight: in_flight,
            incoming,
            chunk: Bytes::new(),
            upload: Upload::Open,
            app_ended: false,
            last_read: 0,
            patience,
        }
    }

    /// Passes on what the caller sends. Ready when nothing more of it will be.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.upload != Upload::Done {
            while self.chunk.has_remaining() {
                let slices = [std::io::IoSlice::new(&self.chunk)];
                let Ok(written) = ready!(poll_write(&mut self.connection.stream, &slices, cx))
                else {
                    // What the app still has to say is worth reading; this direction is over.
                    self.upload = Upload::Done;
                    self.incoming = Body::empty();
                    return Poll::Ready(Ok(()));
                };
                self.chunk.advance(written);
                self.connection.deadline.clear();
            }
            // A slice of nothing would still hold its buffer.
            self.chunk = Bytes::new();
            if self.upload == Upload::Ended {
                // A failure shows to whoever reads.
                let _ = ready!(Pin::new(&mut self.connection.stream).poll_shutdown(cx));
                self.upload = Upload::Done;
                break;
            }
            match ready!(self.incoming.poll_frame(cx)).transpose()? {
                Some(Frame::Data(data)) => self.chunk = data,
                Some(Frame::Trailers(_)) | None => self.upload = Upload::Ended,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = &mut self.connection.deadline;
        if !deadline.is_set() {
            let Patience { open, half_closed } = self.patience;
            deadline.set_in(if self.app_ended { half_closed } else { open });
        }
        deadline.poll_passed(cx)
    }
}

impl Source for Tunnel {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        if let Poll::Ready(Err(error)) = self.poll_upload(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        if self.app_ended {
            return Poll::Ready(None);
        }
        let Connection { stream, read, .. } = &mut *self.connection;
        if read.is_empty() {
            let expected = if self.last_read >= MUCH { u64::MAX } else { 0 };
            match poll_read(stream, read, expected, cx) {
                Poll::Ready(Ok(0)) => {
                    self.app_ended = true;
                    self.connection.deadline.clear();
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(length)) => self.last_read = length,
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Some(Err(Error::AppClosed(Some(error)))));
                }
                Poll::Pending => {
                    return self.poll_idle(cx).map(|()| Some(Err(Error::UpgradeTimeout)));
                }
            }
        }
        self.connection.deadline.clear();
        Poll::Ready(Some(Ok(Frame::Data(self.connection.read.split().freeze()))))
    }

    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_upload(cx) {
            // A failure shows again when the next piece is asked for.
            Poll::Ready(_) => Poll::Ready(()),
            // While the app speaks, whoever listens to it has the patience.
            Poll::Pending if !self.app_ended => Poll::Pending,
            Poll::Pending => self.poll_idle(cx),
        }
    }
}

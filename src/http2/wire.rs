//! A session's byte stream: what both sides do alike with it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::frame::{Code, PREFACE};
use super::session::{Opened, Session};
use crate::clock::Deadline;
use crate::io::{poll_read, poll_write};

/// The peer has closed or broken the connection, or takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// A byte stream and what came on it.
pub struct Wire<S> {
    stream: S,
    input: BytesMut,
    stalled: Deadline,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A stream of which `input` came already.
    pub fn new(stream: S, input: BytesMut) -> Self {
        Self { stream, input, stalled: Deadline::new() }
    }

    /// Takes a client's preface; `false` while it is not whole.
    pub fn take_preface(&mut self) -> Result<bool, Code> {
        let came = self.input.len().min(PREFACE.len());
        if self.input.get(..came) != PREFACE.get(..came) {
            return Err(Code::PROTOCOL_ERROR);
        }
        if came < PREFACE.len() {
            return Ok(false);
        }
        self.input.advance(came);
        Ok(true)
    }

    /// Takes the frames that came, to the first that opens a stream.
    pub fn take_frames(&mut self, session: &Session) -> Result<Option<Opened>, Code> {
        session.receive(&mut self.input)
    }

    /// Reads once.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let expected = Session::expected(&self.input);
        match poll_read(&mut self.stream, &mut self.input, expected, cx) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(Gone)),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Writes all that waits; a peer who takes nothing for `patience` counts as gone.
    pub fn poll_write(
        &mut self,
        session: &Session,
        patience: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Gone>> {
        while !session.is_flushed() {
            let stream = &mut self.stream;
            match session.write(|slices| poll_write(stream, slices, cx)) {
                Poll::Ready(Ok(_)) => self.stalled.clear(),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Gone)),
                Poll::Pending => {
                    if !self.stalled.is_set() {
                        self.stalled.set_in(patience);
                    }
                    return self.stalled.poll_passed(cx).map(|()| Err(Gone));
                }
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx).map_err(|_| Gone)
    }

    /// Says that nothing more will be written, and reads on until the peer says so, too: what
    /// was written last would be lost to a reset otherwise.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A failing shutdown says no more than a good one: nothing goes out any more.
        let _ = std::task::ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        loop {
            self.input.clear();
            let read = poll_read(&mut self.stream, &mut self.input, 0, cx);
            if let Ok(0) | Err(_) = std::task::ready!(read) {
                return Poll::Ready(());
            }
        }
    }

    /// Gives memory back while nothing is under way.
    pub fn park(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }
}

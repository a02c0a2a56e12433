//! What a caller sends once its connection speaks another protocol: bytes as
//! they come, those that came early first.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::{Connection, Reader, Transport};
use crate::body::{Frame, Source};
use crate::error::Error;
use crate::io::poll_read;

/// A read that brought so much says that more is to come.
const MUCH: usize = 4 << 10;

/// The caller's side of a connection that may change its protocol. Nothing of it is read until
/// somebody asks for it, which is when it has changed.
pub(super) struct CallerBytes<S> {
    connection: Rc<Connection<S>>,
    last_read: usize,
    ended: bool,
}

impl<S> CallerBytes<S> {
    pub(super) fn new(connection: Rc<Connection<S>>) -> Self {
        Self { connection, last_read: 0, ended: false }
    }
}

impl<S: Transport> Source for CallerBytes<S> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        let inbound = &mut *self.connection.inbound.borrow_mut();
        // Whoever has ended its direction may well stay for the other: nobody else is to judge.
        inbound.reader = Reader::Waits;
        if inbound.buffer.is_empty() && !self.ended {
            let stream = &mut *self.connection.stream.borrow_mut();
            let expected = if self.last_read >= MUCH { u64::MAX } else { 0 };
            match ready!(poll_read(stream, &mut inbound.buffer, expected, cx)) {
                Ok(0) => self.ended = true,
                Ok(length) => self.last_read = length,
                Err(_) => return Poll::Ready(Some(Err(Error::CallerGone))),
            }
        }
        if inbound.buffer.is_empty() {
            return Poll::Ready(None);
        }
        inbound.received += inbound.buffer.len() as u64;
        Poll::Ready(Some(Ok(Frame::Data(inbound.buffer.split().freeze()))))
    }
}

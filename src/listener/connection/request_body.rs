//! The body of a caller's request, read off the connection when it is asked for.

use std::io::ErrorKind;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Buf;

use super::{Connection, Reader, Transport};
use crate::body::{Frame, Source};
use crate::error::{Error, Malformed};
use crate::http1::decode::Decoded;

/// RFC 9110 section 15.2.1.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The body of the request that its connection is at.
pub(super) struct CallerBody<S> {
    connection: Rc<Connection<S>>,
    /// What the caller had been sent when the wait for it began.
    written: u64,
}

impl<S> CallerBody<S> {
    pub(super) fn new(connection: Rc<Connection<S>>) -> Self {
        Self { connection, written: 0 }
    }
}

impl<S: Transport> Source for CallerBody<S> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        let connection = &*self.connection;
        if let Poll::Ready(told) = connection.poll_continue(cx) {
            told?;
        } else {
            // A caller who does not read what it waits for.
            let inbound = &mut *connection.inbound.borrow_mut();
            if !inbound.deadline.is_set() {
                inbound.deadline.set_in(inbound.idle_body);
            }
            let late = inbound.deadline.poll_passed(cx);
            return late.map(|()| Some(Err(Error::CallerTimeout)));
        }
        let inbound = &mut *connection.inbound.borrow_mut();
        inbound.reader = Reader::Busy;
        loop {
            match inbound.decoder.decode(&mut inbound.buffer).map_err(Error::Malformed)? {
                Decoded::Data(data) => {
                    inbound.received += data.len() as u64;
                    if inbound.limit > 0 && inbound.received > inbound.limit {
                        let error = Error::BodyTooLarge { limit: inbound.limit };
                        return Poll::Ready(Some(Err(error)));
                    }
                    inbound.deadline.clear();
                    if inbound.decoder.is_done() {
                        inbound.stride.end(&mut inbound.buffer);
                    }
                    return Poll::Ready(Some(Ok(Frame::Data(data))));
                }
                Decoded::Trailers(fields) => {
                    inbound.deadline.clear();
                    return Poll::Ready(Some(Ok(Frame::Trailers(fields))));
                }
                Decoded::End => {
                    inbound.deadline.clear();
                    return Poll::Ready(None);
                }
                Decoded::More => {}
            }
            let coming = inbound.decoder.coming();
            let stream = &mut *connection.stream.borrow_mut();
            match inbound.stride.poll_read(stream, &mut inbound.buffer, coming, cx) {
                // A stream that ended without saying so, as TLS has to, is no less cut.
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Some(Err(Error::Malformed(Malformed::Incomplete))));
                }
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Some(Err(Error::Malformed(Malformed::Incomplete))));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Some(Err(Error::CallerGone))),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    inbound.reader = Reader::Waits;
                    // In a conversation the side that listens is not late.
                    let written = connection.written.get();
                    if !inbound.deadline.is_set() || self.written != written {
                        self.written = written;
                        inbound.deadline.set_in(inbound.idle_body);
                    }
                    ready!(inbound.deadline.poll_passed(cx));
                    return Poll::Ready(Some(Err(Error::CallerTimeout)));
                }
            }
        }
    }

    fn drive(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        self.connection.inbound.borrow_mut().stride.waited();
        Poll::Ready(())
    }
}

impl<S: Transport> Connection<S> {
    /// Tells a caller who waits for it that the app wants the body.
    fn poll_continue(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        {
            let mut inbound = self.inbound.borrow_mut();
            if inbound.awaits_continue {
                inbound.awaits_continue = false;
                // A caller who sends without waiting has its answer already: RFC 9110
                // section 10.1.1 lets the server omit it then.
                if inbound.buffer.is_empty() {
                    self.out.borrow_mut().extend_from_slice(CONTINUE);
                    inbound.continuing = true;
                }
            }
            if !inbound.continuing {
                return Poll::Ready(Ok(()));
            }
        }
        while self.out.borrow().has_remaining() {
            ready!(self.poll_write_out(cx)).map_err(|_| Error::CallerGone)?;
        }
        self.inbound.borrow_mut().continuing = false;
        Poll::Ready(Ok(()))
    }

    fn poll_write_out(&self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let out = &mut *self.out.borrow_mut();
        let stream = &mut *self.stream.borrow_mut();
        let written = ready!(crate::io::poll_write(stream, &[std::io::IoSlice::new(out)], cx))?;
        out.advance(written);
        Poll::Ready(Ok(()))
    }
}

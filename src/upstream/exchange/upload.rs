//! The request's half of an exchange: head, then body, as fast as the app reads.
//!
//! A failed write does not end the exchange: an app that answers 413 and closes
//! has often answered before the write failed, and that answer is the caller's.

use std::io::IoSlice;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, StatusCode};

use super::super::pool::Connection;
use crate::body::{Body, Frame, Source};
use crate::clock::Deadline;
use crate::error::Error;
use crate::fields::{Fields, Known};
use crate::http1::encode;
use crate::http1::framing::Framing;
use crate::io::poll_write;
use crate::message::{Request, Upgrade};

/// How long an app that does not know `Expect` is waited for, RFC 9110 section 10.1.1.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// Up to this size a piece is copied behind what waits to be written: cheaper than a write.
const COPIED: usize = 4 << 10;
/// As much waits at most before it is written.
const JOINED: usize = 16 << 10;

/// How much of the request was handed to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Not a byte.
    Nothing,
    /// A part.
    Some,
    /// Everything.
    All,
}

#[expect(clippy::struct_excessive_bools, reason = "facts that change independently")]
pub(super) struct Upload {
    method: Method,
    target: Bytes,
    fields: Fields,
    framing: Framing,
    body: Body,
    body_ended: bool,
    body_begun: bool,
    chunk: Bytes,
    tail: &'static [u8],
    sent: Sent,
    /// Bytes that were written to the app.
    written: u64,
    broken: bool,
    opened: bool,
    /// The app has begun to answer: whoever reads the answer knows when it is late.
    answered: bool,
    gate: Gate,
    idle_body: Duration,
    waiting: Deadline,
}

/// Whether the body may be asked for: asking makes the caller send it.
enum Gate {
    Open,
    /// Until the app says `100 (Continue)`, or this passes.
    Continue(Deadline),
}

impl Upload {
    pub(super) fn new(request: &mut Request, idle_body: Duration) -> Self {
        let body = std::mem::take(&mut request.body);
        let gate = if request.expects_continue && !body.is_empty() {
            Gate::Continue(Deadline::new())
        } else {
            Gate::Open
        };
        Self {
            method: request.method.clone(),
            target: request.target.clone(),
            framing: framing(request, &body),
            fields: std::mem::take(&mut request.fields),
            body_ended: body.is_empty(),
            body,
            body_begun: false,
            chunk: Bytes::new(),
            tail: &[],
            sent: Sent::Nothing,
            written: 0,
            broken: false,
            opened: false,
            answered: false,
            gate,
            idle_body,
            waiting: Deadline::new(),
        }
    }

    /// Puts the head at the start of a try.
    pub(super) fn begin(&mut self, out: &mut BytesMut, upgrade: Option<&Upgrade>) {
        out.clear();
        let protocol = upgrade.map(|upgrade| &upgrade.protocol[..]);
        let (method, target) = (&self.method, &self.target);
        encode::request_head(out, method, target, &self.fields, self.framing, protocol);
        if self.framing == Framing::Chunked && !self.chunk.is_empty() {
            encode::chunk_start(out, self.chunk.len());
        }
    }

    pub(super) fn fields(&mut self) -> &mut Fields {
        &mut self.fields
    }

    pub(super) fn sent(&self) -> Sent {
        self.sent
    }

    /// The app's answer has begun: that it does not read is no failure as long as it speaks.
    pub(super) fn answered(&mut self) {
        self.answered = true;
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn is_done(&self) -> bool {
        self.sent == Sent::All || self.broken
    }

    /// Whether the request is still whole: nothing of the body was taken from
    /// the caller, or what was taken is still here, unsent.
    pub(super) fn can_rewind(&self) -> bool {
        !self.body_begun || (self.sent == Sent::Nothing && !self.chunk.is_empty())
    }

    pub(super) fn give_back(self, request: &mut Request) {
        request.fields = self.fields;
        let length = self.body.length();
        request.body = if self.chunk.is_empty() {
            self.body
        } else {
            let resumed = Resumed { first: self.chunk, rest: self.body };
            Body::stream(Box::new(resumed), length)
        };
    }

    pub(super) fn rewind(&mut self) {
        self.sent = Sent::Nothing;
        self.broken = false;
        self.opened = false;
        self.waiting.clear();
    }

    /// An interim response came.
    pub(super) fn interim(&mut self, status: StatusCode) {
        if status == StatusCode::CONTINUE {
            self.gate = Gate::Open;
        }
    }

    /// Sends what can be sent now. Only the caller's own failures are errors:
    /// that the app stopped reading shows in its response, or in the lack of one.
    pub(super) fn poll_beside_response(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Result<(), Error> {
        if self.is_done() {
            return Ok(());
        }
        match self.poll(connection, cx) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    fn poll(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        // A small body that is already there leaves with the head, in one write.
        if !self.opened {
            self.opened = true;
            if self.chunk.is_empty() {
                let _ = self.poll_piece(&mut connection.out, cx)?;
            }
        }
        loop {
            ready!(self.poll_flush(connection, cx)?);
            if self.broken {
                return Poll::Ready(Ok(()));
            }
            if self.body_ended {
                self.sent = Sent::All;
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_piece(&mut connection.out, cx)?);
            self.join(&mut connection.out, cx)?;
        }
    }

    /// Puts small pieces that are there already behind each other, so that they leave in one write:
    /// a caller may send a chunk for each byte. Only once something was sent: until then the first
    /// piece is kept for another try.
    fn join(&mut self, out: &mut BytesMut, cx: &mut Context<'_>) -> Result<(), Error> {
        while self.chunk.len() <= COPIED && out.len() < JOINED && !self.body_ended {
            out.extend_from_slice(&std::mem::take(&mut self.chunk));
            out.extend_from_slice(std::mem::take(&mut self.tail));
            match self.poll_piece(out, cx) {
                Poll::Ready(result) => result?,
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Takes the next piece of the body.
    fn poll_piece(&mut self, out: &mut BytesMut, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.body_ended || self.poll_gate(cx).is_pending() {
            return if self.body_ended { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        let frame = ready!(self.body.poll_frame(cx));
        self.body_begun = true;
        let chunked = self.framing == Framing::Chunked;
        match frame.transpose()? {
            Some(Frame::Data(data)) => {
                if chunked {
                    encode::chunk_start(out, data.len());
                    self.tail = encode::CHUNK_END;
                }
                self.chunk = data;
            }
            Some(Frame::Trailers(trailers)) => {
                self.body_ended = true;
                if chunked {
                    encode::last_chunk(out, Some(&trailers));
                }
            }
            None => {
                self.body_ended = true;
                if chunked {
                    encode::last_chunk(out, None);
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Gate::Continue(wait) = &mut self.gate {
            if !wait.is_set() {
                wait.set_in(CONTINUE_WAIT);
            }
            ready!(wait.poll_passed(cx));
            self.gate = Gate::Open;
        }
        Poll::Ready(())
    }

    /// Hands everything queued to the kernel; an app that reads nothing for
    /// too long counts as broken.
    fn poll_flush(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let Connection { stream, out, .. } = connection;
        while out.has_remaining() || self.chunk.has_remaining() || !self.tail.is_empty() {
            let slices = [IoSlice::new(out), IoSlice::new(&self.chunk), IoSlice::new(self.tail)];
            match poll_write(stream, &slices, cx) {
                Poll::Ready(Ok(mut written)) => {
                    self.waiting.clear();
                    self.sent = Sent::Some;
                    self.written += written as u64;
                    for part in [out as &mut dyn Buf, &mut self.chunk, &mut self.tail] {
                        let taken = written.min(part.remaining());
                        part.advance(taken);
                        written -= taken;
                    }
                }
                Poll::Ready(Err(_)) => {
                    self.broken = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => {
                    let _ = self.body.drive(cx);
                    if self.answered {
                        return Poll::Pending;
                    }
                    if !self.waiting.is_set() {
                        self.waiting.set_in(self.idle_body);
                    }
                    ready!(self.waiting.poll_passed(cx));
                    return Poll::Ready(Err(Error::ResponseTimeout));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A body of which the first piece was taken and not used.
struct Resumed {
    first: Bytes,
    rest: Body,
}

impl Source for Resumed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        if self.first.is_empty() {
            return self.rest.poll_frame(cx);
        }
        Poll::Ready(Some(Ok(Frame::Data(std::mem::take(&mut self.first)))))
    }
}

/// One framing of the gateway's own for what leaves.
fn framing(request: &Request, body: &Body) -> Framing {
    // RFC 9110 section 8.6: a method that expects content says that there is none.
    let expects = matches!(request.method, Method::POST | Method::PUT | Method::PATCH);
    // Content of a declared length cannot have trailers here: RFC 9112 section 6.1. Where HTTP/2
    // announces them, the length is given up for them.
    let trailers = body.may_have_trailers() && request.fields.has(Known::Trailer);
    match body.length().filter(|_| !trailers) {
        Some(0) if expects => Framing::Length(0),
        Some(0) => Framing::None,
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    }
}

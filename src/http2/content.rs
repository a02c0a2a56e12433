//! A stream's content as the gateway's bodies: read off a session piece by
//! piece, and written onto one.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::frame::Code;
use super::session::{Failure, Session};
use crate::body::{Body, Frame, Source};
use crate::clock::Deadline;
use crate::error::Error;

/// The content that a peer sends on one stream.
pub struct Incoming {
    session: Rc<Session>,
    id: u32,
    rules: Rules,
    received: u64,
    /// What had passed on the stream in both directions when the wait began.
    passed: u64,
    deadline: Deadline,
}

/// What holds for the content of one side.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The longest wait between two pieces of either direction; without it another has the patience.
    pub idle: Option<Duration>,
    /// What a wait that was too long means.
    pub late: fn() -> Error,
    /// What a failed stream means.
    pub failed: fn(Failure) -> Error,
    /// The most bytes; 0: no limit.
    pub limit: u64,
    /// The peer waits for `100 (Continue)` before it sends.
    pub awaits_continue: bool,
}

impl Incoming {
    /// The content of a stream.
    pub fn new(session: Rc<Session>, id: u32, rules: Rules) -> Self {
        Self { session, id, rules, received: 0, passed: 0, deadline: Deadline::new() }
    }

    /// Ready when nothing passed in either direction for too long: in a conversation the side that
    /// listens is not late.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(idle) = self.rules.idle else { return Poll::Pending };
        loop {
            if !self.deadline.is_set() {
                self.deadline.set_in(idle);
                self.passed = self.session.passed(self.id);
            }
            ready!(self.deadline.poll_passed(cx));
            if self.session.passed(self.id) == self.passed {
                return Poll::Ready(());
            }
            self.deadline.clear();
        }
    }
}

impl Source for Incoming {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        let Poll::Ready(frame) = self.session.poll_frame(self.id, cx) else {
            if std::mem::take(&mut self.rules.awaits_continue) {
                // A stream that failed meanwhile says so at the next look.
                let _ = self.session.interim(self.id, StatusCode::CONTINUE);
            }
            return self.poll_late(cx).map(|()| Some(Err((self.rules.late)())));
        };
        self.deadline.clear();
        self.rules.awaits_continue = false;
        let frame = frame.map(|frame| frame.map_err(self.rules.failed));
        if let Some(Ok(Frame::Data(data))) = &frame {
            self.received += data.len() as u64;
            if self.rules.limit > 0 && self.received > self.rules.limit {
                let error = Error::BodyTooLarge { limit: self.rules.limit };
                return Poll::Ready(Some(Err(error)));
            }
        }
        Poll::Ready(frame)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.session.stop_reading(self.id);
    }
}

/// A body on its way onto a stream.
pub struct Outgoing {
    session: Rc<Session>,
    id: u32,
    body: Body,
    chunk: Bytes,
    ahead: Option<Ahead>,
    ended: bool,
    touched: bool,
    idle: Duration,
    deadline: Deadline,
}

/// What follows the piece at hand, if that is known.
enum Ahead {
    Frame(Result<Frame, Error>),
    End,
}

/// Why a body did not leave whole.
#[derive(Debug)]
pub enum Stop {
    /// The stream failed.
    Stream(Failure),
    /// The peer takes nothing.
    Stalled,
    /// The body itself failed.
    Body(Error),
}

impl Outgoing {
    /// A body for a stream whose head was sent without ending it.
    pub fn new(session: Rc<Session>, id: u32, body: Body, idle: Duration) -> Self {
        Self {
            session,
            id,
            body,
            chunk: Bytes::new(),
            ahead: None,
            ended: false,
            touched: false,
            idle,
            deadline: Deadline::new(),
        }
    }

    /// A stream that was ended with its head.
    pub fn ended(session: Rc<Session>, id: u32) -> Self {
        Self { ended: true, ..Self::new(session, id, Body::empty(), Duration::ZERO) }
    }

    /// Whether everything was handed to the session.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// The body, if nothing of it was taken.
    pub fn untouched(&mut self) -> Option<Body> {
        (!self.touched).then(|| std::mem::take(&mut self.body))
    }

    /// Sends what can be sent now; `sent` is told of each piece. Ready when all is.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut sent: impl FnMut(usize),
    ) -> Poll<Result<(), Stop>> {
        while !self.ended {
            if self.chunk.is_empty() {
                ready!(self.poll_piece(cx)?);
                continue;
            }
            let Poll::Ready(room) = self.session.poll_room(self.id, cx) else {
                // The rest of it goes on when its turn comes again.
                let _ = self.body.drive(cx);
                if !self.deadline.is_set() {
                    self.deadline.set_in(self.idle);
                }
                return self.deadline.poll_passed(cx).map(|()| Err(Stop::Stalled));
            };
            self.deadline.clear();
            let part = self.chunk.split_to(room.map_err(Stop::Stream)?.min(self.chunk.len()));
            sent(part.len());
            if self.chunk.is_empty() {
                self.look_ahead(cx);
            }
            self.ended = matches!(self.ahead, Some(Ahead::End));
            self.session.send(self.id, part, self.ended).map_err(Stop::Stream)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next piece of the body, or ends the stream.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        let frame = match self.ahead.take() {
            Some(Ahead::Frame(frame)) => Some(frame),
            Some(Ahead::End) => None,
            None => ready!(self.body.poll_frame(cx)),
        };
        self.touched = true;
        match frame.transpose().map_err(Stop::Body)? {
            Some(Frame::Data(data)) => {
                self.chunk = data;
                return Poll::Ready(Ok(()));
            }
            Some(Frame::Trailers(trailers)) => self.session.trailers(self.id, &trailers),
            None => self.session.send(self.id, Bytes::new(), true),
        }
        .map_err(Stop::Stream)?;
        self.ended = true;
        Poll::Ready(Ok(()))
    }

    /// The last piece can end the stream itself, if it is known to be the last.
    fn look_ahead(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(frame) = self.body.poll_frame(cx) {
            self.ahead = Some(frame.map_or(Ahead::End, Ahead::Frame));
        }
    }

    /// What goes on beside the body when that has ended: see [`Source::drive`].
    pub fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.body.drive(cx)
    }

    /// Breaks the stream off, if it is not ended.
    pub fn abort(&self, code: Code) {
        if !self.ended {
            self.session.reset(self.id, code);
        }
    }
}

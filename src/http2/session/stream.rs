//! One stream: what came and waits to be read, what may be sent, who is to be
//! woken.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use tokio::task::AbortHandle;

use super::super::frame::Code;
use super::super::section::ResponseHead;
use crate::body::Frame;
use crate::fields::Fields;

/// Pieces below this size are copied: many small ones would hold many large read buffers.
const SMALL: usize = 4 << 10;

/// How a stream failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The peer reset it.
    Reset(Code),
    /// The peer broke a rule of HTTP, and we reset it.
    Malformed,
    /// The peer's head is over its limit.
    TooLarge,
    /// The peer had not begun with it and will not.
    Refused,
    /// The connection ended.
    Closed,
}

/// One stream.
#[expect(clippy::struct_excessive_bools, reason = "facts that change independently")]
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) inbox: Inbox,
    /// What the peer may still send.
    pub(super) receive_window: i64,
    /// What was read and not yet given back to the peer.
    pub(super) unclaimed: u32,
    /// Bytes of content that came.
    pub(super) received: u64,
    /// Bytes of content that were sent.
    pub(super) sent: u64,
    /// How much leaves the connection before the first byte of it, for one that we open.
    pub(super) begins: u64,
    /// What is to come by the declared length.
    pub(super) remaining: Option<u64>,
    /// The peer has ended its half.
    pub(super) received_all: bool,
    /// Nobody reads any more.
    pub(super) unread: bool,
    pub(super) reader: Option<Waker>,
    /// What we may still send; a change of settings can make it negative.
    pub(super) send_window: i64,
    /// We have ended our half.
    pub(super) sent_all: bool,
    pub(super) writer: Option<Waker>,
    pub(super) is_blocked: bool,
    pub(super) failure: Option<Failure>,
    /// A client's response.
    pub(super) head: Option<ResponseHead>,
    pub(super) has_head: bool,
    /// A client's request: the app has asked for its body.
    pub(super) continued: bool,
    /// Interim responses that came.
    pub(super) interim: u8,
    /// A server's request: the task that answers it.
    pub(super) task: Option<AbortHandle>,
}

impl Stream {
    pub(super) fn new(receive_window: u32, send_window: u32) -> Self {
        Self {
            inbox: Inbox::default(),
            receive_window: i64::from(receive_window),
            unclaimed: 0,
            received: 0,
            sent: 0,
            begins: 0,
            remaining: None,
            received_all: false,
            unread: false,
            reader: None,
            send_window: i64::from(send_window),
            sent_all: false,
            writer: None,
            is_blocked: false,
            failure: None,
            head: None,
            has_head: false,
            continued: false,
            interim: 0,
            task: None,
        }
    }

    pub(super) fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    pub(super) fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
        self.wake_reader();
        self.wake_writer();
    }
}

/// Content that waits to be read, and what ends it.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    trailers: Option<Fields>,
}

impl Inbox {
    pub(super) fn push(&mut self, data: Bytes) {
        if data.len() < SMALL {
            self.tail.extend_from_slice(&data);
            return;
        }
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
        self.pieces.push_back(data);
    }

    pub(super) fn end_with(&mut self, trailers: Fields) {
        self.trailers = Some(trailers);
    }

    pub(super) fn pop(&mut self) -> Option<Frame> {
        if let Some(piece) = self.pieces.pop_front() {
            return Some(Frame::Data(piece));
        }
        if !self.tail.is_empty() {
            return Some(Frame::Data(self.tail.split().freeze()));
        }
        self.trailers.take().map(Frame::Trailers)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.tail.is_empty() && self.trailers.is_none()
    }

    /// Bytes of content that wait.
    pub(super) fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum::<usize>() + self.tail.len()
    }
}

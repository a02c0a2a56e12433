//! What a stream's task reads: its peer's head, content and end; and the windows
//! that reading opens again.

use std::task::{Context, Poll};

use super::super::frame::{self, Code, Kind};
use super::super::section::ResponseHead;
use super::stream::Inbox;
use super::{Failure, Role, Session, State};
use crate::body::Frame;

impl Session {
    /// Takes the next piece of a stream's content.
    pub fn poll_frame(&self, id: u32, cx: &Context<'_>) -> Poll<Option<Result<Frame, Failure>>> {
        let state = &mut *self.0.borrow_mut();
        let Some(stream) = state.streams.get_mut(&id) else {
            return Poll::Ready(Some(Err(Failure::Closed)));
        };
        if let Some(frame) = stream.inbox.pop() {
            if let Frame::Data(data) = &frame {
                state.claim(id, data.len());
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(failure) = stream.failure {
            // A peer may end its half, and then reset what we still send, or leave. Whatever an app
            // does behind its answer's end takes nothing of the answer back.
            let left = matches!(failure, Failure::Reset(_) | Failure::Closed);
            let whole = stream.received_all && (left || state.role == Role::Client);
            return Poll::Ready((!whole).then_some(Err(failure)));
        }
        if stream.received_all {
            return Poll::Ready(None);
        }
        stream.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Nobody reads this stream any more: what still comes is dropped.
    pub fn stop_reading(&self, id: u32) {
        let state = &mut *self.0.borrow_mut();
        let Some(stream) = state.streams.get_mut(&id) else { return };
        stream.unread = true;
        let waiting = stream.inbox.len();
        stream.inbox = Inbox::default();
        state.claim_connection(waiting);
    }

    /// Whether the peer has ended its half of a stream.
    pub fn received_all(&self, id: u32) -> bool {
        self.0.borrow().streams.get(&id).is_none_or(|stream| stream.received_all)
    }

    /// Whether content waits to be read on a stream.
    pub fn has_content(&self, id: u32) -> bool {
        self.0.borrow().streams.get(&id).is_some_and(|stream| !stream.inbox.is_empty())
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.0.borrow().closed
    }

    /// How much content came on a stream.
    pub fn received(&self, id: u32) -> u64 {
        self.0.borrow().streams.get(&id).map_or(0, |stream| stream.received)
    }

    /// How much content passed on a stream in both directions.
    pub fn passed(&self, id: u32) -> u64 {
        let state = self.0.borrow();
        state.streams.get(&id).map_or(0, |stream| stream.received + stream.sent)
    }

    /// How a stream failed, if it did.
    pub fn failure(&self, id: u32) -> Option<Failure> {
        let state = self.0.borrow();
        let gone = state.closed.then_some(Failure::Closed);
        state.streams.get(&id).map_or(gone, |stream| stream.failure)
    }

    /// Waits for a response's head; `None` stands for `100 (Continue)`, told once.
    pub fn poll_head(
        &self,
        id: u32,
        cx: &Context<'_>,
    ) -> Poll<Result<Option<ResponseHead>, Failure>> {
        let state = &mut *self.0.borrow_mut();
        let Some(stream) = state.streams.get_mut(&id) else {
            return Poll::Ready(Err(Failure::Closed));
        };
        if let Some(head) = stream.head.take() {
            return Poll::Ready(Ok(Some(head)));
        }
        if let Some(failure) = stream.failure {
            return Poll::Ready(Err(failure));
        }
        if std::mem::take(&mut stream.continued) {
            return Poll::Ready(Ok(None));
        }
        stream.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether an interim response has come.
    pub fn has_interim(&self, id: u32) -> bool {
        self.0.borrow().streams.get(&id).is_some_and(|stream| stream.interim > 0)
    }

    /// A stream's task is done with it. What is not ended yet is reset.
    pub fn finish(&self, id: u32, code: Code) {
        let state = &mut *self.0.borrow_mut();
        let Some(stream) = state.streams.remove(&id) else { return };
        state.claim_connection(stream.inbox.len());
        let whole = stream.sent_all && stream.received_all;
        if !whole && stream.failure.is_none() && !state.closed {
            // RFC 9113 section 8.1: an answer that is complete asks for no more of the request.
            let code =
                if stream.sent_all && state.role == Role::Server { Code::NO_ERROR } else { code };
            state.put_reset(id, code);
        }
        // Its turn to write goes to the next.
        state.wake_blocked();
        if state.streams.is_empty() {
            state.wake_driver();
        }
    }
}

impl State {
    /// What was read may be sent again, on the stream and on the connection.
    pub(super) fn claim(&mut self, id: u32, length: usize) {
        self.claim_connection(length);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.received_all || stream.failure.is_some() {
            return;
        }
        stream.unclaimed = stream.unclaimed.saturating_add(u32::try_from(length).unwrap_or(0));
        if stream.unclaimed >= self.own.stream_window / 2 {
            let more = std::mem::take(&mut stream.unclaimed);
            stream.receive_window += i64::from(more);
            self.out.with(|out| frame::put(out, Kind::WindowUpdate, 0, id, &more.to_be_bytes()));
            self.wake_driver();
        }
    }

    pub(super) fn claim_connection(&mut self, length: usize) {
        self.unclaimed = self.unclaimed.saturating_add(u32::try_from(length).unwrap_or(0));
        // At half of what is not held by streams that nobody reads: those must not keep the others
        // from ever being granted more.
        if self.unclaimed > 0 && i64::from(self.unclaimed) >= self.receive_window {
            let more = std::mem::take(&mut self.unclaimed);
            self.receive_window += i64::from(more);
            self.out.with(|out| frame::put(out, Kind::WindowUpdate, 0, 0, &more.to_be_bytes()));
            self.wake_driver();
        }
    }
}

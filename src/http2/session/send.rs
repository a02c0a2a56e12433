//! What a stream's task sends: heads, content, trailers.

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};

use super::super::frame::{self, Code, END_HEADERS, END_STREAM, Head, Kind, MAX_STREAM_ID};
use super::super::section;
use super::budget::WORTH;
use super::{Failure, OUT_CONTENT, Role, Session, State, Stream};
use crate::fields::Fields;

impl Session {
    /// Opens a stream with a request's head; `None` when the connection takes no more.
    pub fn open(
        &self,
        method: &Method,
        target: &[u8],
        fields: &Fields,
        length: Option<u64>,
        ended: bool,
    ) -> Option<u32> {
        let state = &mut *self.0.borrow_mut();
        if !state.takes_streams() {
            return None;
        }
        let id = state.next_own;
        state.next_own += 2;
        let mut stream = Stream::new(state.own.stream_window, state.peer.window);
        stream.sent_all = ended;
        stream.begins = state.written + state.out.len() as u64;
        state.streams.insert(id, stream);
        state.budget.stream();
        let mut block = std::mem::take(&mut state.scratch);
        section::put_request(&mut block, &mut state.encoder, method, target, fields, length);
        state.put_block(id, block, ended);
        Some(id)
    }

    /// Whether a client may open another stream.
    pub fn takes_streams(&self) -> bool {
        self.0.borrow().takes_streams()
    }

    /// Whether the peer may have begun with a stream that failed; if not, the request may be sent
    /// again elsewhere: the peer has said that it will not serve it, or not a byte of it has left.
    pub fn is_served(&self, id: u32) -> bool {
        let state = self.0.borrow();
        let has_left = |stream: &Stream| state.written > stream.begins;
        id <= state.served_up_to && state.streams.get(&id).is_none_or(has_left)
    }

    /// Sends a response's head.
    pub fn respond(
        &self,
        id: u32,
        status: StatusCode,
        fields: &Fields,
        length: Option<u64>,
        ended: bool,
    ) -> Result<(), Failure> {
        let state = &mut *self.0.borrow_mut();
        state.sendable(id)?.sent_all = ended;
        let mut block = std::mem::take(&mut state.scratch);
        section::put_response(&mut block, &mut state.encoder, status, fields, length);
        state.put_block(id, block, ended);
        Ok(())
    }

    /// Sends an interim response without fields.
    pub fn interim(&self, id: u32, status: StatusCode) -> Result<(), Failure> {
        let state = &mut *self.0.borrow_mut();
        state.sendable(id)?;
        let mut block = std::mem::take(&mut state.scratch);
        let none = Fields::default();
        section::put_response(&mut block, &mut state.encoder, status, &none, None);
        state.put_block(id, block, false);
        Ok(())
    }

    /// Sends a trailer section, which ends our half.
    pub fn trailers(&self, id: u32, fields: &Fields) -> Result<(), Failure> {
        let state = &mut *self.0.borrow_mut();
        state.sendable(id)?.sent_all = true;
        let mut block = std::mem::take(&mut state.scratch);
        section::put_trailers(&mut block, &mut state.encoder, fields);
        state.put_block(id, block, true);
        Ok(())
    }

    /// Waits until content may be sent, and tells how much of it.
    pub fn poll_room(&self, id: u32, cx: &Context<'_>) -> Poll<Result<usize, Failure>> {
        let state = &mut *self.0.borrow_mut();
        let room = OUT_CONTENT.saturating_sub(state.out.len());
        let connection = usize::try_from(state.send_window).unwrap_or(0);
        let payload = state.peer.max_payload.min(frame::MAX_PAYLOAD);
        let stream = state.sendable(id)?;
        let window = usize::try_from(stream.send_window).unwrap_or(0);
        if window > 0 && connection > 0 && room > 0 {
            return Poll::Ready(Ok(window.min(connection).min(payload)));
        }
        stream.writer = Some(cx.waker().clone());
        // A stream without a window of its own must not hold a place among those that have one.
        if window == 0 {
            state.wake_blocked();
        } else if !std::mem::replace(&mut stream.is_blocked, true) {
            state.blocked.push_back(id);
        }
        Poll::Pending
    }

    /// Sends content that [`Self::poll_room`] has allowed.
    pub fn send(&self, id: u32, data: Bytes, ended: bool) -> Result<(), Failure> {
        let state = &mut *self.0.borrow_mut();
        let length = data.len();
        let spent = i64::try_from(length).unwrap_or(i64::MAX);
        let stream = state.sendable(id)?;
        stream.send_window -= spent;
        stream.sent += length as u64;
        stream.sent_all = ended;
        let window = stream.send_window;
        state.send_window -= spent;
        // Servers measure round trips by a ping for each piece, however small (grpc-go does).
        if length >= WORTH || state.role == Role::Client {
            state.budget.content();
        }
        // One who opens its window byte by byte makes a frame of each (CVE-2019-9511): that earns
        // nothing.
        if length > 0 && window.min(state.send_window) > 0 {
            state.budget.piece();
        }
        let flags = if ended { END_STREAM } else { 0 };
        state.out.with(|out| Head { length, kind: Kind::Data, flags, stream: id }.put(out));
        state.out.push(data);
        state.wake_driver();
        Ok(())
    }

    /// Breaks a stream off.
    pub fn reset(&self, id: u32, code: Code) {
        let state = &mut *self.0.borrow_mut();
        if let Ok(stream) = state.sendable(id) {
            stream.fail(Failure::Reset(code));
            state.put_reset(id, code);
        }
    }
}

impl State {
    fn takes_streams(&self) -> bool {
        !self.closed
            && self.served_up_to == MAX_STREAM_ID
            && self.next_own < MAX_STREAM_ID
            && self.streams.len() < self.peer.max_concurrent
    }

    /// A stream on which something may still be sent.
    fn sendable(&mut self, id: u32) -> Result<&mut Stream, Failure> {
        if self.closed {
            return Err(Failure::Closed);
        }
        let stream = self.streams.get_mut(&id).ok_or(Failure::Closed)?;
        match stream.failure {
            Some(failure) => Err(failure),
            None => Ok(stream),
        }
    }

    /// Cuts a block into a HEADERS frame and the CONTINUATION frames it needs.
    fn put_block(&mut self, id: u32, mut block: BytesMut, ended: bool) {
        let most = self.peer.max_payload.min(frame::MAX_PAYLOAD);
        let ended = if ended { END_STREAM } else { 0 };
        self.out.with(|out| {
            let mut kind = Kind::Headers;
            let mut rest = &block[..];
            loop {
                let (part, after) = rest.split_at(rest.len().min(most));
                rest = after;
                let last = if rest.is_empty() { END_HEADERS } else { 0 };
                let first = if kind == Kind::Headers { ended } else { 0 };
                frame::put(out, kind, last | first, id, part);
                kind = Kind::Continuation;
                if rest.is_empty() {
                    break;
                }
            }
        });
        block.clear();
        self.scratch = block;
        self.wake_driver();
    }
}

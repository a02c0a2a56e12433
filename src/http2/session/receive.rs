//! Frames as they come: what each may say, and when, RFC 9113 sections 5 and 6.
//!
//! A rule broken on the connection ends it with an error code; one broken on a
//! stream resets that stream alone.

use bytes::{Buf, Bytes, BytesMut};

use super::super::frame::{self, ACK, Code, END_STREAM, HEAD, Head, Kind, MAX_PAYLOAD};
use super::budget::WORTH;
use super::{Failure, Opened, Role, Session, State, Stream};

mod control;
mod sections;

pub(super) use sections::FieldBlock;

/// What ends a connection, or what one frame came to.
type Taken = Result<Option<Opened>, Code>;

impl Session {
    /// Takes frames off the buffer, to the first that opens a stream or to the last that is whole.
    ///
    /// An error ends the connection: the peer is told, and nothing more is read.
    pub fn receive(&self, buffer: &mut BytesMut) -> Taken {
        let state = &mut *self.0.borrow_mut();
        while let Some(head) = Head::parse(buffer) {
            if head.length > MAX_PAYLOAD {
                return Err(Code::FRAME_SIZE_ERROR);
            }
            if buffer.len() < HEAD + head.length {
                return Ok(None);
            }
            state.check_order(head)?;
            let opened = if head.kind == Kind::Data {
                buffer.advance(HEAD);
                let payload = buffer.split_to(head.length).freeze();
                state.data(head, &payload)?;
                None
            } else {
                let payload = buffer.get(HEAD..HEAD + head.length).unwrap_or_default();
                let opened = state.frame(head, payload)?;
                buffer.advance(HEAD + head.length);
                opened
            };
            if opened.is_some() {
                return Ok(opened);
            }
        }
        Ok(None)
    }

    /// How much of the next frame is still to come, to size a read by.
    pub fn expected(buffer: &[u8]) -> u64 {
        Head::parse(buffer).map_or(0, |head| (HEAD + head.length).saturating_sub(buffer.len()))
            as u64
    }
}

impl State {
    /// The first frame is SETTINGS, and a field block is not interrupted.
    fn check_order(&self, head: Head) -> Result<(), Code> {
        if !self.settled && (head.kind != Kind::Settings || head.has(ACK)) {
            return Err(Code::PROTOCOL_ERROR);
        }
        match &self.block {
            Some(block) if head.kind != Kind::Continuation || head.stream != block.stream => {
                Err(Code::PROTOCOL_ERROR)
            }
            None if head.kind == Kind::Continuation => Err(Code::PROTOCOL_ERROR),
            _ => Ok(()),
        }
    }

    fn frame(&mut self, head: Head, payload: &[u8]) -> Taken {
        match head.kind {
            Kind::Headers => return self.headers(head, payload),
            Kind::Continuation => return self.continuation(head, payload),
            Kind::Settings => self.settings(head, payload)?,
            Kind::Ping => self.ping(head, payload)?,
            Kind::WindowUpdate => self.window_update(head, payload)?,
            Kind::ResetStream => self.reset_stream(head, payload)?,
            Kind::GoAway => self.go_away(head, payload)?,
            Kind::Priority => self.priority(head, payload)?,
            Kind::Unknown(_) => self.budget.control_frame()?,
            Kind::PushPromise | Kind::Data => return Err(Code::PROTOCOL_ERROR),
        }
        Ok(None)
    }

    /// Whether a stream was never opened, by whomever it would be to open it.
    fn is_idle(&self, id: u32) -> bool {
        match (self.role, id % 2) {
            (Role::Server, 1) => id > self.last_peer,
            (Role::Client, 1) => id >= self.next_own,
            // Nobody pushes.
            _ => true,
        }
    }

    fn data(&mut self, head: Head, payload: &Bytes) -> Result<(), Code> {
        if self.is_idle(head.stream) {
            return Err(Code::PROTOCOL_ERROR);
        }
        let data = frame::unpadded(head, payload).ok_or(Code::PROTOCOL_ERROR)?;
        let ended = head.has(END_STREAM);
        if data.is_empty() && !ended {
            self.budget.control_frame()?;
        }
        // RFC 9113 section 6.9.1: padding counts, and so does what nobody will read.
        let length = i64::try_from(head.length).unwrap_or(i64::MAX);
        self.receive_window -= length;
        if self.receive_window < 0 {
            return Err(Code::FLOW_CONTROL_ERROR);
        }
        let Some(stream) = self.streams.get_mut(&head.stream) else {
            self.claim_connection(head.length);
            return self.for_a_closed_stream(head.stream, data.len());
        };
        if let Some(failure) = stream.failure {
            self.claim_connection(head.length);
            return self.for_a_failed_stream(head.stream, failure, data.len());
        }
        stream.receive_window -= length;
        let fault = if stream.received_all {
            Some(Code::STREAM_CLOSED)
        } else if self.role == Role::Client && !stream.has_head {
            Some(Code::PROTOCOL_ERROR)
        } else if stream.receive_window < 0 {
            Some(Code::FLOW_CONTROL_ERROR)
        } else {
            (!stream.counts_down(data.len(), ended)).then_some(Code::PROTOCOL_ERROR)
        };
        if let Some(code) = fault {
            self.claim_connection(head.length);
            return self.break_off(head.stream, code, Failure::Malformed);
        }
        stream.received_all = ended;
        stream.received += data.len() as u64;
        let unread = stream.unread;
        if !unread && !data.is_empty() {
            stream.inbox.push(payload.slice_ref(data));
        }
        stream.wake_reader();
        if unread {
            self.claim_connection(head.length);
        } else {
            self.claim(head.stream, head.length - data.len());
        }
        Ok(())
    }

    /// What comes for a stream that we broke off was under way; a peer who has reset a stream
    /// has no more to say on it. `length` is that of the frame's content.
    pub(super) fn for_a_failed_stream(
        &mut self,
        id: u32,
        failure: Failure,
        length: usize,
    ) -> Result<(), Code> {
        match failure {
            Failure::Reset(_) => self.break_off(id, Code::STREAM_CLOSED, failure),
            Failure::Malformed | Failure::TooLarge | Failure::Refused | Failure::Closed => {
                self.under_way(length)
            }
        }
    }

    fn for_a_closed_stream(&mut self, id: u32, length: usize) -> Result<(), Code> {
        if self.may_be_under_way(id) {
            return self.under_way(length);
        }
        self.put_reset(id, Code::STREAM_CLOSED);
        self.budget.reset()
    }

    /// Whether a frame for a closed stream may have been sent before our reset of it arrived. An
    /// app may answer any number of cancelled requests late, which must not cost the others.
    pub(super) fn may_be_under_way(&self, id: u32) -> bool {
        self.role == Role::Client || self.reset.contains(&id)
    }

    /// A frame for a stream that we reset, sent before the reset arrived. Content of some size costs
    /// its sender as much as an upload does; whatever else comes could come for ever.
    pub(super) fn under_way(&mut self, length: usize) -> Result<(), Code> {
        if length >= WORTH { Ok(()) } else { self.budget.control_frame() }
    }

    /// Resets a stream because of what the peer sent.
    fn break_off(&mut self, id: u32, code: Code, failure: Failure) -> Result<(), Code> {
        self.put_reset(id, code);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.fail(failure);
        }
        self.budget.reset()
    }
}

impl Stream {
    /// Whether this much content fits the declared length, RFC 9113 section 8.1.1.
    fn counts_down(&mut self, length: usize, ended: bool) -> bool {
        let Some(remaining) = &mut self.remaining else { return true };
        match remaining.checked_sub(length as u64) {
            Some(rest) => {
                *remaining = rest;
                !ended || rest == 0
            }
            None => false,
        }
    }
}

//! Field sections as they come: requests, responses, trailers. Whatever becomes
//! of a section, its block is decoded, so that the tables stay in step.

use bytes::BytesMut;
use http::StatusCode;

use super::super::super::frame::{self, Code, END_HEADERS, END_STREAM, Head, PRIORITY};
use super::super::super::hpack::HpackError;
use super::super::super::section::{self, Refusal, ResponseHead};
use super::super::{Failure, Opened, Role, State, Stream};
use super::Taken;
use crate::fields::Fields;

/// Interim responses before the final one: an app must not answer for ever without answering.
const MAX_INTERIM: u8 = 16;

/// CONTINUATION frames of one block. A tenth of them, if full, hold the largest block that is taken;
/// empty ones would come for ever.
const MAX_CONTINUATIONS: u8 = 128;

/// A field block whose end has not come.
#[derive(Debug)]
pub(in super::super) struct FieldBlock {
    pub(in super::super) stream: u32,
    ended: bool,
    /// The stream depends on itself, as RFC 7540 section 5.3.1 forbade.
    itself: bool,
    continuations: u8,
    block: BytesMut,
}

impl State {
    pub(super) fn headers(&mut self, head: Head, payload: &[u8]) -> Taken {
        let mut block = frame::unpadded(head, payload).ok_or(Code::PROTOCOL_ERROR)?;
        if head.stream.is_multiple_of(2) {
            return Err(Code::PROTOCOL_ERROR);
        }
        let mut itself = false;
        if head.has(PRIORITY) {
            let dependency = frame::number(block).ok_or(Code::FRAME_SIZE_ERROR)?;
            block = block.get(5..).ok_or(Code::FRAME_SIZE_ERROR)?;
            itself = dependency & frame::MAX_STREAM_ID == head.stream;
        }
        let ended = head.has(END_STREAM);
        if head.has(END_HEADERS) {
            return self.section(head.stream, ended, itself, block);
        }
        let block = BytesMut::from(block);
        let (stream, continuations) = (head.stream, 0);
        self.block = Some(FieldBlock { stream, ended, itself, continuations, block });
        Ok(None)
    }

    pub(super) fn continuation(&mut self, head: Head, payload: &[u8]) -> Taken {
        let Some(mut block) = self.block.take() else { return Err(Code::PROTOCOL_ERROR) };
        self.budget.control_frame()?;
        block.continuations += 1;
        block.block.extend_from_slice(payload);
        // Compressed it should be far smaller than what it holds; twice as much is an attack.
        let too_large = block.block.len() > 2 * self.own.field_section;
        if too_large || block.continuations > MAX_CONTINUATIONS {
            return Err(Code::ENHANCE_YOUR_CALM);
        }
        if !head.has(END_HEADERS) {
            self.block = Some(block);
            return Ok(None);
        }
        self.section(block.stream, block.ended, block.itself, &block.block)
    }

    /// A whole field section, whatever it is of.
    fn section(&mut self, id: u32, ended: bool, itself: bool, block: &[u8]) -> Taken {
        match self.role {
            Role::Server if id > self.last_peer => self.request(id, ended, itself, block),
            Role::Client if id >= self.next_own => Err(Code::PROTOCOL_ERROR),
            Role::Server | Role::Client => {
                self.later_section(id, ended, block)?;
                Ok(None)
            }
        }
    }

    fn request(&mut self, id: u32, ended: bool, itself: bool, block: &[u8]) -> Taken {
        let request =
            section::request(block, &mut self.decoder, &self.own).map_err(compression_error)?;
        self.last_peer = id;
        if id > self.serves_up_to {
            return self.budget.control_frame().map(|()| None);
        }
        self.budget.stream();
        if self.streams.len() >= self.own.max_concurrent as usize {
            self.put_reset(id, Code::REFUSED_STREAM);
            return self.budget.reset().map(|()| None);
        }
        let mut stream = Stream::new(self.own.stream_window, self.peer.window);
        stream.received_all = ended;
        let mut request = request;
        if let Ok(head) = &request {
            stream.remaining = head.length;
            if itself || (ended && head.length.is_some_and(|length| length > 0)) {
                request = Err(Refusal::Malformed);
            }
        }
        self.streams.insert(id, stream);
        if matches!(request, Err(Refusal::Malformed)) {
            self.break_off(id, Code::PROTOCOL_ERROR, Failure::Malformed)?;
        }
        Ok(Some(Opened { id, request, ended }))
    }

    /// A response's head, or a trailer section.
    fn later_section(&mut self, id: u32, ended: bool, block: &[u8]) -> Result<(), Code> {
        let Some(stream) = self.streams.get(&id) else {
            // The tables must stay in step whatever becomes of the section.
            drop(
                section::trailers(block, &mut self.decoder, &self.own)
                    .map_err(compression_error)?,
            );
            let known = self.may_be_under_way(id);
            return if known { self.under_way(0) } else { Err(Code::STREAM_CLOSED) };
        };
        if self.role == Role::Client && !stream.has_head && stream.failure.is_none() {
            let head = section::response(block, &mut self.decoder, &self.own)
                .map_err(compression_error)?;
            return self.response(id, ended, head);
        }
        let trailers =
            section::trailers(block, &mut self.decoder, &self.own).map_err(compression_error)?;
        self.trailers(id, ended, trailers)
    }

    fn trailers(
        &mut self,
        id: u32,
        ended: bool,
        trailers: Result<Fields, Refusal>,
    ) -> Result<(), Code> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if let Some(failure) = stream.failure {
            return self.for_a_failed_stream(id, failure, 0);
        }
        if stream.received_all {
            return self.break_off(id, Code::STREAM_CLOSED, Failure::Malformed);
        }
        match trailers {
            Ok(trailers) if ended && stream.counts_down(0, true) => {
                stream.received_all = true;
                if !stream.unread && !trailers.is_empty() {
                    stream.inbox.end_with(trailers);
                }
                stream.wake_reader();
                Ok(())
            }
            _ => self.break_off(id, Code::PROTOCOL_ERROR, Failure::Malformed),
        }
    }

    fn response(
        &mut self,
        id: u32,
        ended: bool,
        head: Result<ResponseHead, Refusal>,
    ) -> Result<(), Code> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let head = match head {
            Ok(head) => head,
            Err(refusal) => {
                let failure = match refusal {
                    Refusal::TooLarge => Failure::TooLarge,
                    Refusal::Malformed | Refusal::TargetTooLong => Failure::Malformed,
                };
                return self.break_off(id, Code::PROTOCOL_ERROR, failure);
            }
        };
        if head.status.is_informational() {
            stream.interim += 1;
            // RFC 9113 section 8.6: there is nothing to switch to.
            let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
            if ended || switches || stream.interim > MAX_INTERIM {
                return self.break_off(id, Code::PROTOCOL_ERROR, Failure::Malformed);
            }
            stream.continued |= head.status == StatusCode::CONTINUE;
        } else {
            stream.received_all = ended;
            stream.has_head = true;
            stream.remaining = head.length;
            stream.head = Some(head);
        }
        stream.wake_reader();
        Ok(())
    }
}

fn compression_error(_: HpackError) -> Code {
    Code::COMPRESSION_ERROR
}

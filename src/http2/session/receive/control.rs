//! Frames about the connection or a stream as a whole, RFC 9113 sections 6.3 to 6.9.

use super::super::super::frame::{self, ACK, Code, Head, Kind};
use super::super::{Failure, Role, State};

impl State {
    pub(super) fn settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Code> {
        if head.stream != 0 {
            return Err(Code::PROTOCOL_ERROR);
        }
        if head.has(ACK) {
            let rightly = payload.is_empty();
            return if rightly { self.budget.control_frame() } else { Err(Code::FRAME_SIZE_ERROR) };
        }
        if self.settled {
            self.budget.control_frame()?;
        }
        self.settled = true;
        let before = self.peer.window;
        self.peer.apply(payload)?;
        self.encoder.set_max_table_size(self.peer.header_table);
        // RFC 9113 section 6.9.2: streams that are open gain or lose the difference.
        let more = i64::from(self.peer.window) - i64::from(before);
        for stream in self.streams.values_mut() {
            stream.send_window += more;
            if stream.send_window > i64::from(frame::MAX_STREAM_ID) {
                return Err(Code::FLOW_CONTROL_ERROR);
            }
            if stream.send_window > 0 {
                stream.wake_writer();
            }
        }
        self.out.with(|out| frame::put(out, Kind::Settings, ACK, 0, &[]));
        self.wake_driver();
        Ok(())
    }

    pub(super) fn ping(&mut self, head: Head, payload: &[u8]) -> Result<(), Code> {
        if head.stream != 0 {
            return Err(Code::PROTOCOL_ERROR);
        }
        if payload.len() != 8 {
            return Err(Code::FRAME_SIZE_ERROR);
        }
        self.budget.control_frame()?;
        if head.has(ACK) {
            self.ping_answered = true;
            return Ok(());
        }
        self.out.with(|out| frame::put(out, Kind::Ping, ACK, 0, payload));
        self.wake_driver();
        Ok(())
    }

    pub(super) fn window_update(&mut self, head: Head, payload: &[u8]) -> Result<(), Code> {
        if payload.len() != 4 {
            return Err(Code::FRAME_SIZE_ERROR);
        }
        self.budget.window_update()?;
        let more = i64::from(frame::number(payload).unwrap_or(0) & frame::MAX_STREAM_ID);
        if head.stream == 0 {
            if more == 0 {
                return Err(Code::PROTOCOL_ERROR);
            }
            self.send_window += more;
            if self.send_window > i64::from(frame::MAX_STREAM_ID) {
                return Err(Code::FLOW_CONTROL_ERROR);
            }
            self.wake_blocked();
            return Ok(());
        }
        if self.is_idle(head.stream) {
            return Err(Code::PROTOCOL_ERROR);
        }
        let Some(stream) = self.streams.get_mut(&head.stream) else { return Ok(()) };
        if stream.failure.is_some() {
            return Ok(());
        }
        if more == 0 {
            return self.break_off(head.stream, Code::PROTOCOL_ERROR, Failure::Malformed);
        }
        stream.send_window += more;
        if stream.send_window > i64::from(frame::MAX_STREAM_ID) {
            return self.break_off(head.stream, Code::FLOW_CONTROL_ERROR, Failure::Malformed);
        }
        stream.wake_writer();
        Ok(())
    }

    pub(super) fn reset_stream(&mut self, head: Head, payload: &[u8]) -> Result<(), Code> {
        if payload.len() != 4 {
            return Err(Code::FRAME_SIZE_ERROR);
        }
        if self.is_idle(head.stream) {
            return Err(Code::PROTOCOL_ERROR);
        }
        let code = Code(frame::number(payload).unwrap_or(0));
        let Some(stream) = self.streams.get_mut(&head.stream) else {
            return self.budget.control_frame();
        };
        if stream.failure.is_some() {
            // It has failed already, and may be told so once more, but not for ever.
            return self.budget.control_frame();
        }
        let answered = stream.sent_all;
        // RFC 9113 section 5.4.2 asks for no reset in return.
        stream.fail(if code == Code::REFUSED_STREAM {
            Failure::Refused
        } else {
            Failure::Reset(code)
        });
        if let Some(task) = stream.task.take() {
            task.abort();
        }
        if answered || self.role == Role::Client { Ok(()) } else { self.budget.reset() }
    }

    pub(super) fn go_away(&mut self, head: Head, payload: &[u8]) -> Result<(), Code> {
        if head.stream != 0 {
            return Err(Code::PROTOCOL_ERROR);
        }
        if payload.len() < 8 {
            return Err(Code::FRAME_SIZE_ERROR);
        }
        self.budget.control_frame()?;
        if self.role == Role::Client {
            let last = frame::number(payload).unwrap_or(0) & frame::MAX_STREAM_ID;
            // Not the highest id, so that no new stream is opened after an announced one.
            self.served_up_to = self.served_up_to.min(last.min(frame::MAX_STREAM_ID - 1));
            for (id, stream) in &mut self.streams {
                if *id > last {
                    stream.fail(Failure::Refused);
                }
            }
        }
        Ok(())
    }

    /// RFC 9113 section 5.3 takes priorities out of use; their layout still counts.
    pub(super) fn priority(&mut self, head: Head, payload: &[u8]) -> Result<(), Code> {
        if head.stream == 0 {
            return Err(Code::PROTOCOL_ERROR);
        }
        self.budget.control_frame()?;
        let dependency = frame::number(payload).unwrap_or(0) & frame::MAX_STREAM_ID;
        let code = if payload.len() != 5 {
            Code::FRAME_SIZE_ERROR
        } else if dependency == head.stream {
            Code::PROTOCOL_ERROR
        } else {
            return Ok(());
        };
        // A reset of a stream that was never opened would itself break the protocol.
        if self.is_idle(head.stream) {
            return Err(code);
        }
        self.break_off(head.stream, code, Failure::Malformed)
    }
}

//! Whether the caller is still there, for whom the gateway works.
//!
//! What it sends is read ahead to some extent, to find its end. Where more is unread (it waits in
//! line, or its app does not read its upload) its end is seen beside it: the place
//! and the turn of somebody who left are another's.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::{Connection, Reader, Transport};
use crate::clock::Deadline;
use crate::io::{Departure, poll_read};

/// How much is read ahead of a request that nobody reads yet, to notice that its caller left.
const READ_AHEAD: usize = 16 << 10;
/// How long an app may not have read before its caller is watched: uploads stop for a moment all
/// the time.
const STALL: Duration = Duration::from_millis(500);

/// What is known of a caller who is not read.
#[derive(Default)]
pub(super) struct Watch {
    departure: Option<Departure>,
    /// For the app to read on.
    stall: Deadline,
    /// How much of the body had been read.
    received: u64,
}

impl<S: Transport> Connection<S> {
    /// Ready when the caller has left. While its body is being read the body itself tells.
    pub(super) fn poll_gone(&self, watch: &mut Watch, cx: &mut Context<'_>) -> Poll<()> {
        let inbound = &mut *self.inbound.borrow_mut();
        let in_body = inbound.reader != Reader::Nobody && !inbound.decoder.is_done();
        let stream = &mut *self.stream.borrow_mut();
        while !in_body && inbound.buffer.len() < READ_AHEAD {
            match ready!(poll_read(stream, &mut inbound.buffer, 0, cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        if in_body && inbound.reader == Reader::Waits {
            watch.end();
            return Poll::Pending;
        }
        if in_body && inbound.received != watch.received {
            watch.received = inbound.received;
            watch.end();
        }
        watch.poll(stream, in_body, cx)
    }
}

impl Watch {
    /// The app reads on.
    fn end(&mut self) {
        self.departure = None;
        self.stall.clear();
    }

    fn poll(&mut self, stream: &impl Transport, in_body: bool, cx: &mut Context<'_>) -> Poll<()> {
        if self.departure.is_none() {
            if in_body {
                if !self.stall.is_set() {
                    self.stall.set_in(STALL);
                }
                ready!(self.stall.poll_passed(cx));
            }
            self.departure = stream.departure();
        }
        self.departure.as_ref().map_or(Poll::Pending, |departure| departure.poll(cx))
    }
}

//! The wait for a caller's next request. A caller who is silent for a moment
//! costs no buffer, and its connection no more memory than that takes.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;

use super::super::LATE;
use super::{Connection, Inbound, Transport};
use crate::error::Error;
use crate::gateway::{Gateway, Settings};
use crate::http1::head::{self, RequestHead};
use crate::io::poll_read;
use crate::shutdown::DrainWatch;

/// What begins an HTTP/2 connection, as far as it looks like a request's head.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";
/// How long a caller is silent before its connection gives back its memory: most requests come
/// sooner, and a connection that just waits costs a fifth without it.
const PARK: Duration = Duration::from_secs(1);

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Its first request.
    First,
    /// The next request of a caller who may well be writing it.
    Busy,
    /// A request of a caller who was silent for [`PARK`].
    Idle,
}

/// What a wait for a request came to.
pub(super) enum Next {
    Request(Box<RequestHead>),
    Rest(Rest),
}

/// What becomes of a connection on which no request is under way.
pub(super) enum Rest {
    /// It waits, without buffers.
    Idle,
    Refused(Error),
    /// The caller speaks HTTP/2 without having asked, RFC 9113 section 3.3.
    Http2,
    /// It ends, and the caller is told so in peace.
    Over,
    /// The caller has closed it, or said nothing for too long.
    Closed,
    /// It is dropped as it is.
    Broken,
}

impl<S: Transport> Connection<S> {
    /// Waits for the next request head. It is judged by the settings that are in
    /// force when its first byte comes.
    pub(super) async fn next(&self, gateway: &Gateway, wait: Wait, drain: &mut DrainWatch) -> Next {
        let mut settings = gateway.settings();
        let (header, keepalive) = (settings.timeouts.header, settings.timeouts.keepalive);
        let (limit, patience) = match wait {
            Wait::First => (header, header),
            Wait::Busy => (keepalive, keepalive.min(PARK)),
            Wait::Idle => (keepalive, keepalive.saturating_sub(PARK)),
        };
        let (mut begun, mut hurried) = (false, false);
        let next = poll_fn(|cx| {
            let inbound = &mut *self.inbound.borrow_mut();
            loop {
                head::skip_empty_lines(&mut inbound.buffer, &mut inbound.scan);
                if wait == Wait::First && inbound.buffer.starts_with(HTTP2) {
                    return Poll::Ready(Next::Rest(Rest::Http2));
                }
                let limits = head_limits(&settings);
                match head::take_request(&mut inbound.buffer, &mut inbound.scan, &limits) {
                    Ok(Some(head)) => return Poll::Ready(Next::Request(Box::new(head))),
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Next::Rest(Rest::Refused(error))),
                }
                if !begun && !inbound.buffer.is_empty() {
                    begun = true;
                    inbound.deadline.set_in(header);
                }
                match inbound.poll_read(&mut *self.stream.borrow_mut(), cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Rest(Rest::Closed)),
                    Poll::Ready(Ok(_)) if !begun => settings = gateway.settings(),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break,
                }
            }
            if !begun && !hurried && drain.poll_draining(cx).is_ready() {
                // A request may be on its way: it is answered, as the last one.
                hurried = true;
                inbound.deadline.set_in(limit.min(drain.patience(LATE)));
            }
            // One that was in use a moment ago may have a request under way to us; it ends with the
            // next answer.
            let quiet = wait == Wait::Idle && !begun && !hurried;
            if quiet && drain.poll_unwanted(cx).is_ready() {
                return Poll::Ready(Next::Rest(Rest::Closed));
            }
            if !inbound.deadline.is_set() {
                inbound.deadline.set_in(patience);
            }
            ready!(inbound.deadline.poll_passed(cx));
            Poll::Ready(Next::Rest(match begun {
                true => Rest::Refused(Error::CallerTimeout),
                false if !hurried && patience < limit && wait == Wait::Busy => Rest::Idle,
                false if drain.is_draining() && drain.is_patient() => Rest::Over,
                false => Rest::Closed,
            }))
        })
        .await;
        self.inbound.borrow_mut().deadline.clear();
        if let Next::Rest(Rest::Idle) = next {
            self.park();
        }
        next
    }

    /// Gives its buffers back.
    fn park(&self) {
        let inbound = &mut *self.inbound.borrow_mut();
        inbound.buffer = BytesMut::new();
        inbound.expected = 0;
        *self.out.borrow_mut() = BytesMut::new();
    }
}

impl Inbound {
    /// Reads once. A connection that waits without a buffer gets one when there is something to read.
    fn poll_read<S: Transport>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() == 0 {
            ready!(stream.poll_readable(cx))?;
        }
        poll_read(stream, &mut self.buffer, self.expected, cx)
    }
}

fn head_limits(settings: &Settings) -> head::Limits {
    head::Limits {
        bytes: settings.limits.header_bytes,
        fields: settings.limits.headers,
        target: settings.limits.request_target_bytes,
    }
}

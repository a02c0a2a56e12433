//! One request for one response over one connection, driven by the request's
//! own task: no spawned task, no channel, no second wake-up.
//!
//! Upload and response run side by side, because an app may answer before it
//! has read everything, and a stream may run both ways for hours. The
//! connection goes back to the pool only when both directions ended as HTTP
//! says and not a byte is left over.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};

use super::app::InFlight;
use super::outlier::Fault;
use super::pool::{Connection, Pool};
use super::{Answer, Failure};
use crate::body::{Body, Frame, Source};
use crate::config::{Limits, Timeouts};
use crate::error::{Error, Malformed};
use crate::fields::Fields;
use crate::http1::decode::{Decoded, Decoder};
use crate::http1::framing::Framing;
use crate::http1::head::{self, HeadScan, ResponseHead};
use crate::http1::upgrade;
use crate::io::{Stride, expected_next, poll_read};
use crate::message::{Request, Upgrade};

mod tunnel;
mod upload;

use tunnel::{Patience, Tunnel};
use upload::{Sent, Upload};

/// The most 1xx heads before the final one: an app must not answer for ever without answering.
const MAX_INTERIM: u32 = 16;

/// A request on its way to an app, and its response on the way back.
pub struct Exchange {
    method: Method,
    upload: Upload,
    timeouts: Waits,
    limits: head::Limits,
    lease: Option<Lease>,
    decoder: Decoder,
    stride: Stride,
    /// What the app had been sent when the wait for more of its response began.
    written: u64,
    reusable: bool,
    upgrade: Option<Upgrade>,
}

/// The timeouts that an exchange needs: with all of them it would be a third larger.
struct Waits {
    response: Duration,
    idle_body: Duration,
    upgrade_idle: Duration,
    upstream_keepalive: Duration,
}

impl Waits {
    fn of(timeouts: &Timeouts) -> Self {
        Self {
            response: timeouts.response,
            idle_body: timeouts.idle_body,
            upgrade_idle: timeouts.upgrade_idle,
            upstream_keepalive: timeouts.upstream_keepalive,
        }
    }
}

struct Lease {
    connection: Box<Connection>,
    pool: Rc<Pool>,
    _in_flight: InFlight,
}

impl Exchange {
    /// Takes the body of a request whose fields are ready to be sent.
    pub fn new(request: &mut Request, timeouts: &Timeouts, limits: &Limits) -> Self {
        Self {
            method: request.method.clone(),
            upload: Upload::new(request, timeouts.idle_body),
            timeouts: Waits::of(timeouts),
            limits: head::Limits {
                bytes: limits.response_header_bytes,
                fields: limits.headers,
                target: 0,
            },
            lease: None,
            decoder: Decoder::new(Framing::None),
            stride: Stride::default(),
            written: 0,
            reusable: false,
            upgrade: request.upgrade.take(),
        }
    }

    /// The fields of the request's head.
    pub fn fields(&mut self) -> &mut Fields {
        self.upload.fields()
    }

    /// Whether another try could send the whole request again.
    pub fn can_rewind(&self) -> bool {
        self.upload.can_rewind()
    }

    /// Gives the request back, for an endpoint that speaks something else.
    pub fn give_back(self, request: &mut Request) {
        request.upgrade = self.upgrade;
        self.upload.give_back(request);
    }

    /// Gets ready for another try.
    pub fn rewind(&mut self) {
        self.lease = None;
        self.upload.rewind();
    }

    /// The response, with what is left of this exchange as its body.
    pub fn answer(self: Box<Self>, head: ResponseHead) -> Answer {
        let switched = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let takes_leave = !switched && !head.keep_alive && self.upload.sent() != Sent::All;
        Answer {
            takes_leave,
            status: head.status,
            reason: head.reason,
            fields: head.fields,
            declared_length: head.declared_length,
            body: if switched { self.into_tunnel() } else { self.into_body(head.framing) },
        }
    }

    /// Sends the request and waits for the response head.
    pub async fn run(
        &mut self,
        connection: Box<Connection>,
        in_flight: InFlight,
        pool: &Rc<Pool>,
    ) -> Result<ResponseHead, Failure> {
        let reused = connection.reused;
        let lease =
            self.lease.insert(Lease { connection, pool: pool.clone(), _in_flight: in_flight });
        let connection = &mut lease.connection;
        connection.deadline.clear();
        self.upload.begin(&mut connection.out, self.upgrade.as_ref());
        let mut scan = HeadScan::default();
        let (mut interim, mut timed) = (0, false);
        let (upload, timeouts) = (&mut self.upload, &self.timeouts);
        let (method, limits, upgrade) = (&self.method, &self.limits, self.upgrade.as_ref());
        let head = poll_fn(|cx| {
            loop {
                upload.poll_beside_response(connection, cx)?;
                match head::take_response(&mut connection.read, &mut scan, method, limits)? {
                    Some(head) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                        let asked = upgrade.filter(|_| upload.is_done());
                        let agreed = asked.is_some_and(|upgrade| is_agreed(&head, upgrade));
                        return Poll::Ready(agreed.then_some(head).ok_or(Error::AppUpgraded));
                    }
                    Some(head) if head.status.is_informational() => {
                        interim += 1;
                        if interim > MAX_INTERIM {
                            return Poll::Ready(Err(Error::AppMalformed(Malformed::StartLine)));
                        }
                        upload.interim(head.status);
                        continue;
                    }
                    Some(head) if head.status.is_success() && takes_any_success(upgrade) => {
                        return Poll::Ready(Err(Error::AppNotUpgraded));
                    }
                    Some(head) => return Poll::Ready(Ok(head)),
                    None => {}
                }
                match poll_head(connection, cx) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(closed_before_head(connection))),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Err(Error::AppClosed(Some(error))));
                    }
                    Poll::Pending => {
                        if upload.is_done() && !timed {
                            timed = true;
                            connection.deadline.set_in(timeouts.response);
                        }
                        return connection
                            .deadline
                            .poll_passed(cx)
                            .map(|()| Err(Error::ResponseTimeout));
                    }
                }
            }
        })
        .await;
        match head {
            Ok(head) => {
                self.begin_body(&head);
                Ok(head)
            }
            // An interim response is a response: the connection had not died before.
            Err(error) => Err(self.failed(error, reused && interim == 0)),
        }
    }

    fn failed(&mut self, error: Error, reused: bool) -> Failure {
        let sent = self.upload.sent();
        let closed = matches!(error, Error::AppClosed(_));
        let silent = self.lease.take().is_some_and(|lease| lease.connection.read.is_empty());
        let stale = closed && reused && silent;
        Failure {
            unsent: closed && sent == Sent::Nothing,
            stale,
            fault: Fault::of(&error).filter(|_| !stale),
            error,
        }
    }

    fn begin_body(&mut self, head: &ResponseHead) {
        let length = if let Framing::Length(length) = head.framing { length } else { 0 };
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            self.upgrade = None;
        }
        self.decoder = Decoder::new(head.framing);
        self.reusable = head.keep_alive;
        self.upload.answered();
        let Some(lease) = &mut self.lease else { return };
        lease.connection.deadline.clear();
        lease.connection.expected = expected_next(length);
        if let Some(timeout) = head.keep_alive_timeout {
            // A second less than the app says, so that its close and our request do not cross.
            let kept = timeout.saturating_sub(std::time::Duration::from_secs(1));
            lease.connection.keepalive = kept.min(self.timeouts.upstream_keepalive);
        }
    }

    /// Turns a connection that changed its protocol into what the app sends on it.
    fn into_tunnel(mut self: Box<Self>) -> Body {
        let (Some(lease), Some(upgrade)) = (self.lease.take(), self.upgrade.take()) else {
            return Body::empty();
        };
        let Lease { connection, _in_flight: in_flight, .. } = lease;
        let Waits { upgrade_idle: open, idle_body: half_closed, .. } = self.timeouts;
        let patience = Patience { open, half_closed };
        Body::raw(Box::new(Tunnel::new(connection, in_flight, upgrade.incoming, patience)))
    }

    /// Turns what is left into the response's body.
    fn into_body(mut self: Box<Self>, framing: Framing) -> Body {
        if self.decoder.is_done() {
            // An answer that is complete before its upload owes nothing to either side: the
            // connection goes, and with it the rest of the upload.
            self.settle();
            return Body::empty();
        }
        let length = match framing {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::UntilClose => None,
        };
        Body::stream(self, length)
    }

    /// The message ended clean: the connection may serve the next.
    fn settle(&mut self) {
        let Some(mut lease) = self.lease.take() else { return };
        let clean = self.reusable
            && self.decoder.is_done()
            && self.upload.sent() == Sent::All
            && lease.connection.read.is_empty();
        if clean {
            self.stride.end(&mut lease.connection.read);
            lease.pool.give_back(lease.connection);
        }
    }

    fn poll_decoded(&mut self, cx: &mut Context<'_>) -> Poll<Result<Decoded, Error>> {
        let Some(lease) = &mut self.lease else { return Poll::Ready(Ok(Decoded::End)) };
        let connection = &mut lease.connection;
        loop {
            match self.decoder.decode(&mut connection.read).map_err(Error::AppMalformed)? {
                Decoded::More => {}
                found => {
                    connection.deadline.clear();
                    return Poll::Ready(Ok(found));
                }
            }
            let coming = self.decoder.coming();
            let Connection { stream, read, .. } = &mut **connection;
            match self.stride.poll_read(stream, read, coming, cx) {
                Poll::Ready(Ok(0)) if self.decoder.ends_with_connection() => {
                    return Poll::Ready(Ok(Decoded::End));
                }
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(Error::AppMalformed(Malformed::Incomplete)));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Error::AppClosed(Some(error)))),
                Poll::Pending => {
                    // In a conversation the side that listens is not late.
                    let written = self.upload.written();
                    if !connection.deadline.is_set() || self.written != written {
                        self.written = written;
                        connection.deadline.set_in(self.timeouts.idle_body);
                    }
                    let passed = connection.deadline.poll_passed(cx);
                    return passed.map(|()| Err(Error::AppBodyTimeout));
                }
            }
        }
    }
}

impl Source for Exchange {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        if let Some(lease) = &mut self.lease
            && let Err(error) = self.upload.poll_beside_response(&mut lease.connection, cx)
        {
            self.lease = None;
            return Poll::Ready(Some(Err(error)));
        }
        match std::task::ready!(self.poll_decoded(cx)) {
            Ok(Decoded::Data(data)) => {
                // The last piece of a body of known length ends it: the connection is free
                // before the caller has read it.
                if self.decoder.is_done() {
                    self.settle();
                }
                Poll::Ready(Some(Ok(Frame::Data(data))))
            }
            Ok(Decoded::Trailers(fields)) => {
                self.settle();
                Poll::Ready(Some(Ok(Frame::Trailers(fields))))
            }
            Ok(Decoded::End | Decoded::More) => {
                self.settle();
                Poll::Ready(None)
            }
            Err(error) => {
                self.lease = None;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stride.waited();
        if let Some(lease) = &mut self.lease {
            // A failure shows again when the next piece is asked for.
            let _ = self.upload.poll_beside_response(&mut lease.connection, cx);
        }
        Poll::Ready(())
    }
}

/// Reads once while a head is awaited.
fn poll_head(connection: &mut Connection, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let Connection { stream, read, expected, .. } = connection;
    if *expected > 0 {
        // An app may need long: room for much is made when something came.
        std::task::ready!(stream.poll_read_ready(cx))?;
    }
    poll_read(stream, read, *expected, cx)
}

/// Whether the app switched to what the caller asked for, and proved that it understood.
fn is_agreed(head: &ResponseHead, upgrade: &Upgrade) -> bool {
    let proved = |expected: &HeaderValue| {
        let mut accepts = head.fields.named(b"sec-websocket-accept");
        accepts.next() == Some(expected.as_bytes()) && accepts.next().is_none()
    };
    upgrade::is_agreed(&head.fields, &upgrade.protocol)
        && upgrade.accept.as_ref().is_none_or(proved)
}

/// Whether the caller would take any success for the switch.
fn takes_any_success(upgrade: Option<&Upgrade>) -> bool {
    upgrade.is_some_and(|upgrade| upgrade.accept.is_some())
}

fn closed_before_head(connection: &Connection) -> Error {
    if connection.read.is_empty() {
        Error::AppClosed(None)
    } else {
        Error::AppMalformed(Malformed::Incomplete)
    }
}

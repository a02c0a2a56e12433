//! One caller's HTTP/1.1 connection: requests one after the other, each
//! answered before the next is looked at.
//!
//! Requests that a caller pipelines wait in the read buffer. A body is read
//! when the app asks for it, so `100 (Continue)` is said when the app is ready
//! to read, and a slow app slows its caller.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::transport::Transport;
use crate::body::Body;
use crate::clock::Deadline;
use crate::error::Error;
use crate::gateway::headers::forwarded::Peer;
use crate::gateway::headers::hop;
use crate::gateway::{Gateway, Settings};
use crate::http1::decode::Decoder;
use crate::http1::framing::Framing;
use crate::http1::head::{HeadScan, RequestHead};
use crate::io::{Stride, expected_next};
use crate::message::{Request, Upgrade};
use crate::shutdown::DrainWatch;
use bytes::BytesMut;
use http::StatusCode;

mod gone;
mod linger;
mod next;
mod request_body;
mod response;
mod upgrade;

use gone::Watch;
use next::{Next, Rest, Wait};
use request_body::CallerBody;
use response::{Call, End};
use upgrade::CallerBytes;

/// How long a caller is not read on whom the worker refused for being late. A refusal costs half of
/// what serving does, the kernel's part: who asks again at once would keep the worker as late.
const PENALTY: Duration = Duration::from_millis(100);

/// A caller's connection.
pub(super) struct Connection<S> {
    stream: RefCell<S>,
    out: RefCell<BytesMut>,
    inbound: RefCell<Inbound>,
    /// Bytes that were written to the caller.
    written: Cell<u64>,
}

/// What comes from the caller.
struct Inbound {
    buffer: BytesMut,
    scan: HeadScan,
    decoder: Decoder,
    stride: Stride,
    /// How much is likely to come with the next request's head.
    expected: u64,
    awaits_continue: bool,
    /// `100 (Continue)` waits to be written.
    continuing: bool,
    reader: Reader,
    received: u64,
    limit: u64,
    idle_body: Duration,
    deadline: Deadline,
}

/// Whether a request's body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// Nobody has asked for it yet.
    Nobody,
    /// What was read has not been passed on yet.
    Busy,
    /// It waits for more to come.
    Waits,
}

/// Serves a caller until either side is done, or the caller is silent for a moment on a stream that
/// can be kept without a task: then the stream is given back, for [`resume`].
pub async fn serve<S: Transport>(
    stream: S,
    peer: Rc<Peer>,
    gateway: Rc<Gateway>,
    drain: DrainWatch,
) -> Option<(S, Rc<Peer>)> {
    serve_from(stream, Wait::First, peer, gateway, drain).await
}

/// Serves on a stream that [`serve`] gave back.
pub async fn resume<S: Transport>(
    stream: S,
    peer: Rc<Peer>,
    gateway: Rc<Gateway>,
    drain: DrainWatch,
) -> Option<(S, Rc<Peer>)> {
    serve_from(stream, Wait::Idle, peer, gateway, drain).await
}

async fn serve_from<S: Transport>(
    stream: S,
    mut wait: Wait,
    peer: Rc<Peer>,
    gateway: Rc<Gateway>,
    mut drain: DrainWatch,
) -> Option<(S, Rc<Peer>)> {
    let mut connection = Rc::new(Connection::new(stream));
    let counts = gateway.load().connections();
    let open = counts.http1.enter();
    loop {
        // In boxes of their own, what requests need and all that is rare: it would otherwise be
        // part of every idle connection.
        let rest = match connection.next(&gateway, wait, &mut drain).await {
            Next::Request(head) => {
                let _busy = counts.http1_busy.enter();
                Box::pin(connection.answer_all(head, &peer, &gateway, &mut drain)).await
            }
            Next::Rest(rest) => rest,
        };
        match rest {
            Rest::Idle if S::CAN_BE_BARE && !drain.is_unwanted() => {
                match Rc::try_unwrap(connection) {
                    Ok(connection) => return Some((connection.stream.into_inner(), peer)),
                    Err(shared) => (connection, wait) = (shared, Wait::Idle),
                }
            }
            Rest::Idle => wait = Wait::Idle,
            Rest::Refused(error) => {
                Box::pin(connection.refuse(&error, &peer, &gateway, Some(&mut drain))).await;
                return None;
            }
            Rest::Http2 => {
                let connection = Rc::into_inner(connection)?;
                let (stream, input) = (connection.stream, connection.inbound);
                let (stream, input) = (stream.into_inner(), input.into_inner().buffer);
                drop(open);
                Box::pin(super::http2::serve(stream, input, peer, gateway, drain)).await;
                return None;
            }
            Rest::Over => {
                Box::pin(connection.close(Some(&mut drain))).await;
                return None;
            }
            Rest::Closed => {
                connection.stream.borrow_mut().close();
                return None;
            }
            Rest::Broken => return None,
        }
    }
}

/// Says why a caller cannot be served, whatever it sent, and closes.
pub(super) async fn refuse<S: Transport>(stream: S, error: &Error, peer: &Peer, gateway: &Gateway) {
    Rc::new(Connection::new(stream)).refuse(error, peer, gateway, None).await;
}

impl<S: Transport> Connection<S> {
    fn new(stream: S) -> Self {
        Self {
            stream: RefCell::new(stream),
            out: RefCell::new(BytesMut::new()),
            written: Cell::new(0),
            inbound: RefCell::new(Inbound {
                buffer: BytesMut::new(),
                scan: HeadScan::default(),
                decoder: Decoder::new(Framing::None),
                stride: Stride::default(),
                expected: 0,
                awaits_continue: false,
                continuing: false,
                reader: Reader::Nobody,
                received: 0,
                limit: 0,
                idle_body: Duration::ZERO,
                deadline: Deadline::new(),
            }),
        }
    }

    async fn refuse(
        self: &Rc<Self>,
        error: &Error,
        peer: &Peer,
        gateway: &Gateway,
        drain: Option<&mut DrainWatch>,
    ) {
        let (mut response, record) = gateway.refuse(error, peer);
        let (call, settings) = (Call::refused(), gateway.settings());
        if self.respond(&mut response, record, call, &settings).await != End::Broken {
            self.close(drain).await;
        }
    }

    /// Answers a request and those that follow it without a pause.
    async fn answer_all(
        self: &Rc<Self>,
        mut head: Box<RequestHead>,
        peer: &Peer,
        gateway: &Rc<Gateway>,
        drain: &mut DrainWatch,
    ) -> Rest {
        loop {
            let settings = gateway.settings();
            match self.call(head, peer, gateway, &settings, drain).await {
                End::KeepAlive => {}
                End::Close => return Rest::Over,
                End::Broken => return Rest::Broken,
            }
            match self.next(gateway, Wait::Busy, drain).await {
                Next::Request(next) => head = next,
                Next::Rest(rest) => return rest,
            }
        }
    }

    /// One request and its response.
    async fn call(
        self: &Rc<Self>,
        head: Box<RequestHead>,
        peer: &Peer,
        gateway: &Rc<Gateway>,
        settings: &Settings,
        drain: &DrainWatch,
    ) -> End {
        let mut call = Call {
            version: head.version,
            head_only: head.method == http::Method::HEAD,
            keep_alive: head.keep_alive,
            trailers: hop::accepts_trailers(&head.fields),
            upgrade: head.upgrade.clone(),
        };
        let mut request = self.request(*head, settings);
        let mut record = gateway.open(&request, peer, settings);
        let handled = {
            let mut handled = pin!(gateway.handle(&mut request, peer, &mut record, settings));
            let mut watch = Watch::default();
            poll_fn(|cx| {
                match catch_unwind(AssertUnwindSafe(|| handled.as_mut().poll(cx))) {
                    Ok(Poll::Ready(handled)) => return Poll::Ready(Some(Ok(handled))),
                    Ok(Poll::Pending) => {}
                    Err(_panic) => return Poll::Ready(Some(Err(()))),
                }
                self.poll_gone(&mut watch, cx).map(|()| None)
            })
            .await
        };
        // Its head lies in the read buffer, which is wanted for the next.
        drop(request);
        let mut response = match handled {
            Some(Ok(response)) => response,
            Some(Err(())) => gateway.crashed(&mut record),
            None => {
                record.received(self.inbound.borrow().received);
                return End::Broken;
            }
        };
        // Read only now: the signal may have come while the app worked.
        call.keep_alive &= !drain.is_unwanted() || (drain.is_patient() && self.has_pipelined());
        let switched = response.status == StatusCode::SWITCHING_PROTOCOLS;
        let _upgraded = switched.then(|| gateway.load().connections().upgraded.enter());
        let refused = record.is_of_a_late_worker();
        let end = self.respond(&mut response, record, call, settings).await;
        if refused && end == End::KeepAlive {
            Box::pin(tokio::time::sleep(PENALTY)).await;
        }
        end
    }

    /// Whether there is more than the request under way: it came before anybody could know that
    /// this connection ends.
    fn has_pipelined(&self) -> bool {
        let inbound = self.inbound.borrow();
        inbound.decoder.is_done() && !inbound.buffer.is_empty()
    }

    fn request(self: &Rc<Self>, head: RequestHead, settings: &Settings) -> Request {
        let body = self.expect_body(&head, settings);
        let upgrade = head.upgrade.map(|protocol| {
            let incoming = Body::raw(Box::new(CallerBytes::new(self.clone())));
            Upgrade { protocol, incoming, accept: None }
        });
        Request {
            method: head.method,
            target: head.target,
            authority: head.authority,
            version: head.version,
            fields: head.fields,
            body,
            expects_continue: head.expects_continue,
            upgrade,
        }
    }

    fn expect_body(self: &Rc<Self>, head: &RequestHead, settings: &Settings) -> Body {
        let mut inbound = self.inbound.borrow_mut();
        // Behind a request for another protocol is no second request, even if the app does not
        // switch: what looks like one could be anything.
        let rest = head.upgrade.as_ref().map(|_| Framing::UntilClose);
        inbound.decoder = Decoder::new(rest.unwrap_or(head.framing));
        inbound.stride = Stride::default();
        inbound.awaits_continue = head.expects_continue;
        inbound.reader = Reader::Nobody;
        inbound.received = 0;
        inbound.limit = settings.limits.request_body;
        inbound.idle_body = settings.timeouts.idle_body;
        inbound.expected = 0;
        let length = match head.framing {
            Framing::None => return Body::empty(),
            Framing::Length(length) => {
                inbound.expected = expected_next(length);
                Some(length)
            }
            Framing::Chunked | Framing::UntilClose => None,
        };
        Body::stream(Box::new(CallerBody::new(self.clone())), length)
    }
}

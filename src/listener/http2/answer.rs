//! One request of an HTTP/2 connection, from its head to the end of its answer,
//! in a task of its own.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;

use http::{Method, StatusCode};

use super::websocket;
use crate::body::Body;
use crate::error::{Error, Malformed};
use crate::gateway::headers::forwarded::Peer;
use crate::gateway::record::Record;
use crate::gateway::{Gateway, Settings};
use crate::http1::framing;
use crate::http2::content::{Incoming, Outgoing, Rules, Stop};
use crate::http2::frame::Code;
use crate::http2::section::{Refusal, RequestHead};
use crate::http2::session::{Failure, Opened, Session};
use crate::listener::panics;
use crate::message::{Request, Response, Version};

/// A stream, which ends with its task however that ends.
struct Stream {
    session: Rc<Session>,
    id: u32,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.session.finish(self.id, Code::INTERNAL_ERROR);
    }
}

/// A stream's record, which learns how much came on it however the request ends.
struct Told<'a> {
    stream: &'a Stream,
    record: Record,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.record.received(self.stream.session.received(self.stream.id));
    }
}

/// Answers what a caller opened a stream with.
///
/// The stream is held before the task first runs: a reset in the same segment as the request ends
/// the task before it ever does, and the stream must end with it all the same.
pub(super) fn answer(
    session: Rc<Session>,
    opened: Opened,
    peer: Rc<Peer>,
    gateway: Rc<Gateway>,
) -> impl Future<Output = ()> {
    let stream = Stream { session, id: opened.id };
    async move {
        let answered = pin!(stream.answer(opened, &peer, &gateway));
        panics::counted(answered, &gateway.shared().refusals).await;
    }
}

fn request(head: RequestHead, body: Body) -> Request {
    Request {
        method: head.method,
        target: head.target,
        authority: None,
        version: Version::Http2,
        fields: head.fields,
        body,
        expects_continue: false,
        upgrade: None,
    }
}

fn error_of(refusal: Refusal, settings: &Settings) -> Error {
    let limits = &settings.limits;
    match refusal {
        Refusal::Malformed => Error::Malformed(Malformed::Stream),
        Refusal::TooLarge => {
            Error::HeadTooLarge { bytes: limits.header_bytes, fields: limits.headers }
        }
        Refusal::TargetTooLong => Error::TargetTooLong { limit: limits.request_target_bytes },
    }
}

/// What a caller's failed stream means for whoever reads its content.
fn failed(failure: Failure) -> Error {
    match failure {
        Failure::Malformed | Failure::TooLarge => Error::Malformed(Malformed::Stream),
        Failure::Reset(_) | Failure::Refused | Failure::Closed => Error::CallerGone,
    }
}

impl Stream {
    async fn answer(self, opened: Opened, peer: &Peer, gateway: &Gateway) {
        let settings = gateway.settings();
        match opened.request {
            Ok(head) => {
                let head_only = head.method == Method::HEAD;
                let mut request = self.request(head, opened.ended, &settings);
                let record = gateway.open(&request, peer, &settings);
                let mut told = Told { stream: &self, record };
                // In a box of its own: the task stays small to move, and what the way to the app
                // needs is given back before a long answer begins.
                let handled = gateway.handle(&mut request, peer, &mut told.record, &settings);
                let handled = panics::caught(Box::pin(handled).as_mut()).await;
                drop(request);
                let mut response = handled.unwrap_or_else(|| gateway.crashed(&mut told.record));
                self.respond(&mut response, &mut told.record, head_only, &settings).await;
            }
            Err(refusal) => {
                let error = error_of(refusal, &settings);
                let (mut response, mut record) = gateway.refuse(&error, peer);
                // A malformed request was reset already: the record alone tells of it.
                if refusal != Refusal::Malformed {
                    self.respond(&mut response, &mut record, false, &settings).await;
                }
            }
        }
    }

    fn request(&self, mut head: RequestHead, ended: bool, settings: &Settings) -> Request {
        let expects_continue = framing::expects_continue(&head.fields, Version::Http2);
        let mut rules = Rules {
            idle: Some(settings.timeouts.idle_body),
            late: || Error::CallerTimeout,
            failed,
            limit: settings.limits.request_body,
            awaits_continue: expects_continue,
        };
        let content = |rules| Box::new(Incoming::new(self.session.clone(), self.id, rules));
        if websocket::is_asked(&head) {
            (rules.idle, rules.limit) = (None, 0);
            let upgrade = websocket::handshake(&mut head.fields, Body::raw(content(rules)));
            return Request {
                method: Method::GET,
                upgrade: Some(upgrade),
                expects_continue: false,
                ..request(head, Body::empty())
            };
        }
        let body = if ended {
            Body::empty()
        } else {
            Body::stream_with_trailers(content(rules), head.length)
        };
        Request { expects_continue, ..request(head, body) }
    }

    /// Sends a response, and notes in its record what became of it.
    async fn respond(
        &self,
        response: &mut Response,
        record: &mut Record,
        head_only: bool,
        settings: &Settings,
    ) {
        let switched = response.status == StatusCode::SWITCHING_PROTOCOLS;
        if switched {
            // RFC 8441 section 5: a success of CONNECT says as much.
            response.status = StatusCode::OK;
            websocket::drop_handshake(&mut response.fields);
        }
        let bodiless = head_only
            || response.status == StatusCode::NO_CONTENT
            || response.status == StatusCode::NOT_MODIFIED;
        let length = if bodiless { response.declared_length } else { response.body.length() };
        let ended = bodiless || response.body.is_empty();
        let (session, id) = (self.session.clone(), self.id);
        let begun = session.respond(id, response.status, &response.fields, length, ended);
        let result = match begun {
            Ok(()) if ended => Ok(()),
            Ok(()) => {
                let timeouts = &settings.timeouts;
                let idle = if switched { timeouts.upgrade_idle } else { timeouts.idle_body };
                let body = std::mem::take(&mut response.body);
                let mut outgoing = Outgoing::new(session, id, body, idle);
                let sent = poll_fn(|cx| outgoing.poll(cx, |length| record.sent(length))).await;
                if switched && sent.is_ok() {
                    // The caller may go on with its direction when the app has ended its own.
                    poll_fn(|cx| outgoing.drive(cx)).await;
                }
                sent
            }
            Err(failure) => Err(Stop::Stream(failure)),
        };
        if let Err(Stop::Body(Error::DeadlineExceeded)) = &result {
            // The caller knows its deadline and needs no error: RFC 9113 section 7.
            self.session.reset(self.id, Code::CANCEL);
        }
        match &result {
            Ok(()) => record.completed(),
            Err(Stop::Stream(_)) => record.failed(&Error::CallerGone),
            Err(Stop::Stalled) => record.failed(&Error::CallerTimeout),
            Err(Stop::Body(error)) => record.failed(error),
        }
    }
}

//! One request of an HTTP/2 connection, from its head to the end of its answer,
//! in a task of its own.

use std::future::poll_fn;
use std::rc::Rc;

use http::{Method, StatusCode};

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

/// Answers what a caller opened a stream with.
pub(super) async fn answer(
    session: Rc<Session>,
    opened: Opened,
    peer: Rc<Peer>,
    gateway: Rc<Gateway>,
) {
    let stream = Stream { session, id: opened.id };
    let settings = gateway.settings();
    match opened.request {
        Ok(head) => {
            let head_only = head.method == Method::HEAD;
            let request = stream.request(head, opened.ended, &settings);
            let handled = panics::caught(gateway.handle(request, &peer)).await;
            // The record of a request that failed in a panic closed itself in the unwinding.
            let (response, record) = handled.map_or_else(
                || (gateway.crashed(), None),
                |(answer, record)| (answer, Some(record)),
            );
            stream.respond(response, record, head_only, &settings).await;
        }
        Err(refusal) => {
            let error = error_of(refusal, &settings);
            let (response, record) = gateway.refuse(&error, &peer);
            // A malformed request was reset already: the record alone tells of it.
            if refusal != Refusal::Malformed {
                stream.respond(response, Some(record), false, &settings).await;
            }
        }
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
    fn request(&self, head: RequestHead, ended: bool, settings: &Settings) -> Request {
        let expects_continue = framing::expects_continue(&head.fields, Version::Http2);
        let body = if ended {
            Body::empty()
        } else {
            let rules = Rules {
                idle: settings.timeouts.idle_body,
                late: || Error::CallerTimeout,
                failed,
                limit: settings.limits.request_body,
                awaits_continue: expects_continue,
            };
            let content = Incoming::new(self.session.clone(), self.id, rules);
            Body::stream_with_trailers(Box::new(content), head.length)
        };
        Request {
            method: head.method,
            target: head.target,
            authority: None,
            version: Version::Http2,
            fields: head.fields,
            body,
            expects_continue,
        }
    }

    /// Sends a response; its record closes when this returns.
    async fn respond(
        &self,
        response: Response,
        mut record: Option<Record>,
        head_only: bool,
        settings: &Settings,
    ) {
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
                let idle = settings.timeouts.idle_body;
                let mut outgoing = Outgoing::new(session, id, response.body, idle);
                poll_fn(|cx| {
                    outgoing.poll(cx, |length| {
                        if let Some(record) = &mut record {
                            record.sent(length);
                        }
                    })
                })
                .await
            }
            Err(failure) => Err(Stop::Stream(failure)),
        };
        if let Some(record) = &mut record {
            record.received(self.session.received(self.id));
            if let Err(stop) = &result {
                record.failed(match stop {
                    Stop::Stream(_) => &Error::CallerGone,
                    Stop::Stalled => &Error::CallerTimeout,
                    Stop::Body(error) => error,
                });
            }
        }
    }
}

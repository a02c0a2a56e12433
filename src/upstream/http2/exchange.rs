//! One request for one response on a stream of a shared connection.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::super::app::InFlight;
use super::super::outlier::Fault;
use super::super::{Answer, Failure};
use super::Connection;
use crate::body::{Body, Frame, Source};
use crate::clock::Deadline;
use crate::config::Timeouts;
use crate::error::{Error, Malformed};
use crate::fields::Fields;
use crate::http2::content::{Incoming, Outgoing, Rules, Stop};
use crate::http2::section::ResponseHead;
use crate::http2::session::{self, Session};
use crate::message::Request;

/// How long an app that does not know `Expect` is waited for, RFC 9110 section 10.1.1.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// RFC 9113 section 5.1.1: the first stream that a client opens.
const FIRST_STREAM: u32 = 1;

/// A request on its way to an app.
pub struct Exchange {
    method: Method,
    target: Bytes,
    fields: Fields,
    length: Option<u64>,
    body: Option<Body>,
    expects_continue: bool,
    response_timeout: Duration,
    idle_body: Duration,
    head_limit: usize,
}

/// A stream, which ends with whoever holds it.
struct Stream {
    connection: Rc<Connection>,
    id: u32,
    outgoing: Outgoing,
    _in_flight: InFlight,
}

impl Stream {
    fn session(&self) -> &Rc<Session> {
        self.connection.session()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.finish(self.id);
    }
}

impl Exchange {
    /// Takes a request whose fields are ready to be sent.
    pub fn new(request: &mut Request, timeouts: &Timeouts, head_limit: usize) -> Self {
        let body = std::mem::take(&mut request.body);
        Self {
            method: request.method.clone(),
            target: request.target.clone(),
            fields: std::mem::take(&mut request.fields),
            length: body.length().filter(|length| *length > 0 || expects_content(&request.method)),
            expects_continue: request.expects_continue && !body.is_empty(),
            body: Some(body),
            response_timeout: timeouts.response,
            idle_body: timeouts.idle_body,
            head_limit,
        }
    }

    /// The fields of the request's head.
    pub fn fields(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// Whether another try could send the whole request again.
    pub fn can_rewind(&self) -> bool {
        self.body.is_some()
    }

    /// Gives the request back, for an endpoint that speaks something else.
    pub fn give_back(self, request: &mut Request) {
        request.fields = self.fields;
        request.body = self.body.unwrap_or_default();
    }

    /// Sends the request and waits for the response head.
    pub async fn run(
        &mut self,
        connection: &Rc<Connection>,
        in_flight: InFlight,
    ) -> Result<Answer, Failure> {
        let session = connection.session();
        let ended = self.body.as_ref().is_none_or(Body::is_empty);
        let opened = session.open(&self.method, &self.target, &self.fields, self.length, ended);
        let Some(id) = opened else {
            let error = Error::AppClosed(None);
            return Err(Failure { error, unsent: true, stale: false, fault: None });
        };
        let outgoing = if ended {
            Outgoing::ended(session.clone(), id)
        } else {
            let body = self.body.take().unwrap_or_default();
            Outgoing::new(session.clone(), id, body, self.idle_body)
        };
        let connection = connection.clone();
        let mut stream = Stream { connection, id, outgoing, _in_flight: in_flight };
        match self.wait(&mut stream).await {
            Ok(head) if is_whole(&head, &self.method, &stream) => Ok(self.answer(head, stream)),
            Ok(_) => Err(Failure {
                error: Error::AppMalformed(Malformed::Incomplete),
                unsent: false,
                stale: false,
                fault: Some(Fault::Malformed),
            }),
            Err(wait) => Err(self.failed(wait, stream)),
        }
    }

    /// Sends the body beside waiting for the head.
    async fn wait(&self, stream: &mut Stream) -> Result<ResponseHead, Wait> {
        let mut gate = Gate::new(self.expects_continue);
        let mut deadline = Deadline::new();
        poll_fn(|cx| {
            loop {
                match stream.session().poll_head(stream.id, cx) {
                    Poll::Ready(Ok(Some(head))) => return Poll::Ready(Ok(head)),
                    Poll::Ready(Ok(None)) => {
                        gate = Gate::Open;
                        continue;
                    }
                    Poll::Ready(Err(failure)) => return Poll::Ready(Err(Wait::Stream(failure))),
                    Poll::Pending => {}
                }
                if gate.is_open(cx) {
                    match stream.outgoing.poll(cx, |_| {}) {
                        Poll::Ready(Err(Stop::Body(error))) => {
                            return Poll::Ready(Err(Wait::Error(error)));
                        }
                        Poll::Ready(Err(Stop::Stalled)) => {
                            return Poll::Ready(Err(Wait::Error(Error::ResponseTimeout)));
                        }
                        // The stream's failure shows in its head.
                        Poll::Ready(Err(Stop::Stream(_)) | Ok(())) | Poll::Pending => {}
                    }
                }
                if stream.outgoing.is_ended() && !deadline.is_set() {
                    deadline.set_in(self.response_timeout);
                }
                let late = deadline.poll_passed(cx);
                return late.map(|()| Err(Wait::Error(Error::ResponseTimeout)));
            }
        })
        .await
    }

    fn failed(&mut self, wait: Wait, mut stream: Stream) -> Failure {
        // A body of which nothing was taken can be sent again.
        self.body = stream.outgoing.untouched();
        let served = stream.session().is_served(stream.id);
        // An interim response is a response: the app has begun.
        let silent = !stream.session().has_interim(stream.id);
        match wait {
            Wait::Error(error) => Failure { error, unsent: false, stale: false, fault: None },
            Wait::Stream(failure) => {
                let refused = silent && (failure == session::Failure::Refused || !served);
                // The connection was kept, and closed while nobody knew: with its first request it
                // would be the app that fails.
                let kept = stream.id > FIRST_STREAM && stream.connection.was_settled() && silent;
                let died = failure == session::Failure::Closed && kept;
                // An app takes leave of a connection, or says how few streams it takes, while a
                // request is under way to it: that says nothing against another connection.
                let full = refused && !stream.connection.takes_streams();
                let error = error_of(failure, self.head_limit);
                Failure {
                    fault: Fault::of(&error).filter(|_| !refused && !died),
                    error,
                    unsent: refused,
                    stale: died || full,
                }
            }
        }
    }

    fn answer(&self, head: ResponseHead, stream: Stream) -> Answer {
        let bodiless = self.method == Method::HEAD
            || head.status == StatusCode::NO_CONTENT
            || head.status == StatusCode::NOT_MODIFIED;
        let ended = stream.session().received_all(stream.id);
        let takes_leave = ended && !stream.outgoing.is_ended();
        let body = if ended && !stream.session().has_content(stream.id) {
            Body::empty()
        } else {
            let rules = Rules {
                idle: Some(self.idle_body),
                late: || Error::AppBodyTimeout,
                failed: |failure| error_of(failure, 0),
                limit: 0,
                awaits_continue: false,
            };
            let incoming = Incoming::new(stream.session().clone(), stream.id, rules);
            let length = head.length.filter(|_| !bodiless);
            Body::stream_with_trailers(Box::new(Content { incoming, stream }), length)
        };
        Answer {
            status: head.status,
            reason: None,
            fields: head.fields,
            declared_length: head.length.filter(|_| bodiless),
            body,
            takes_leave,
        }
    }
}

/// Why there is no head.
enum Wait {
    Stream(session::Failure),
    Error(Error),
}

/// Whether the body may be asked for: asking makes the caller send it.
enum Gate {
    Open,
    /// Until the app says `100 (Continue)`, or this passes.
    Continue(Deadline),
}

impl Gate {
    fn new(expects_continue: bool) -> Self {
        if !expects_continue {
            return Self::Open;
        }
        let mut wait = Deadline::new();
        wait.set_in(CONTINUE_WAIT);
        Self::Continue(wait)
    }

    fn is_open(&mut self, cx: &mut Context<'_>) -> bool {
        if let Self::Continue(wait) = self
            && wait.poll_passed(cx).is_ready()
        {
            *self = Self::Open;
        }
        matches!(self, Self::Open)
    }
}

/// A response's content, beside which the request's goes on.
struct Content {
    incoming: Incoming,
    stream: Stream,
}

impl Content {
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        match self.stream.outgoing.poll(cx, |_| {}) {
            Poll::Ready(Err(Stop::Body(error))) => Err(error),
            // The stream's failure shows in what comes. An app that answers without reading is
            // heard as long as it speaks.
            Poll::Ready(Err(Stop::Stream(_) | Stop::Stalled) | Ok(())) | Poll::Pending => Ok(()),
        }
    }
}

impl Source for Content {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        if let Err(error) = self.poll_upload(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        self.incoming.poll_frame(cx)
    }

    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A failure shows again when the next piece is asked for.
        let _ = self.poll_upload(cx);
        Poll::Ready(())
    }
}

/// RFC 9113 section 8.1.1: content that was declared and does not come.
fn is_whole(head: &ResponseHead, method: &Method, stream: &Stream) -> bool {
    let ended = stream.session().received_all(stream.id);
    let none = ended && !stream.session().has_content(stream.id);
    !none
        || *method == Method::HEAD
        || head.status == StatusCode::NOT_MODIFIED
        || head.length.is_none_or(|length| length == 0)
}

/// RFC 9110 section 8.6: a method that expects content says that there is none.
fn expects_content(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

fn error_of(failure: session::Failure, head_limit: usize) -> Error {
    match failure {
        session::Failure::Malformed => Error::AppMalformed(Malformed::Stream),
        session::Failure::TooLarge => Error::AppHeadTooLarge { limit: head_limit },
        session::Failure::Reset(_) | session::Failure::Refused | session::Failure::Closed => {
            Error::AppClosed(None)
        }
    }
}

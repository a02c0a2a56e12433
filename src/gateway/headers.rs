//! What the app gets to see of a request, and the caller of a response.
//!
//! The order is security. What a caller nominates in `Connection` goes first,
//! then every spelling of the reserved names, and only then are the gateway's
//! own fields added: nothing that a caller sends can remove or double them.
//! The fields that stay keep their bytes and their order.

use std::task::{Context, Poll, ready};

use crate::body::{Body, Frame, Source};
use crate::error::Error;
use crate::fields::{Fields, Known};
use crate::ids::ExecutionId;
use crate::message::{Request, Response};
use crate::telemetry::trace::Trace;
use crate::upstream::Answer;
use crate::upstream::app::Route;

pub mod forwarded;
pub mod hop;
pub mod reserved;
pub mod trace;

use forwarded::Peer;
use hop::Nominated;

/// Turns the caller's fields into those for the app.
pub fn rewrite_request(
    request: &mut Request,
    route: &Route,
    peer: &Peer,
    execution_id: &ExecutionId,
    trace: Option<&Trace>,
) -> Result<(), Error> {
    let accepts_trailers = hop::accepts_trailers(&request.fields);
    let nominated = hop::strip(&mut request.fields);
    hop::refuse_protected(&nominated, peer)?;
    reserved::strip(&mut request.fields);
    forwarded::strip(&mut request.fields, peer);
    // Where the protocol is to change, `Connection` has one thing to say.
    if accepts_trailers && request.upgrade.is_none() {
        hop::announce_trailers(&mut request.fields);
    }
    reserved::insert(&mut request.fields, route, execution_id);
    forwarded::insert(&mut request.fields, peer, request.version);
    if let Some(trace) = trace {
        trace::rewrite(&mut request.fields, trace);
    }
    filter_trailers(&mut request.body, nominated);
    Ok(())
}

/// Turns the app's response into the caller's.
pub fn rewrite_response(answer: Answer, execution_id: &ExecutionId) -> Response {
    let Answer { status, reason, mut fields, declared_length, mut body, takes_leave } = answer;
    let nominated = hop::strip(&mut fields);
    reserved::strip(&mut fields);
    reserved::insert_id(&mut fields, execution_id);
    filter_trailers(&mut body, nominated);
    // What is left of the request will not be read: its caller's connection ends, too.
    Response { status, reason, fields, declared_length, body, close: takes_leave }
}

/// Trailers are fields too, and come when the header section is long gone.
fn filter_trailers(body: &mut Body, nominated: Nominated) {
    if !body.may_have_trailers() {
        return;
    }
    let length = body.length();
    let inner = std::mem::take(body);
    let filtered = Box::new(FilteredTrailers { body: inner, nominated });
    *body = Body::stream_with_trailers(filtered, length);
}

struct FilteredTrailers {
    body: Body,
    nominated: Nominated,
}

impl Source for FilteredTrailers {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        let mut frame = ready!(self.body.poll_frame(cx));
        if let Some(Ok(Frame::Trailers(trailers))) = &mut frame {
            strip_trailers(trailers, &self.nominated);
        }
        Poll::Ready(frame)
    }

    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.body.drive(cx)
    }
}

/// RFC 9110 section 6.5.1: what frames, routes or authenticates a message has
/// no place behind it.
fn strip_trailers(trailers: &mut Fields, nominated: &Nominated) {
    let named = |name: &[u8]| nominated.iter().any(|other| other.eq_ignore_ascii_case(name));
    trailers.retain(|field| match field.known {
        Known::Other | Known::Via | Known::Date | Known::TraceParent | Known::TraceState => {
            !named(field.name)
        }
        Known::Host
        | Known::ContentLength
        | Known::TransferEncoding
        | Known::Connection
        | Known::KeepAlive
        | Known::HopByHop
        | Known::Te
        | Known::Upgrade
        | Known::Trailer
        | Known::Expect
        | Known::Credentials
        | Known::ForwardedFor
        | Known::ForwardedProto
        | Known::ForwardedHost
        | Known::ForwardedOther
        | Known::ClientCert
        | Known::Reserved
        | Known::Folded => false,
    });
}

#[cfg(test)]
mod tests;

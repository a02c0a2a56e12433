//! The only maker of answers that the gateway gives itself.
//!
//! `application/problem+json` (RFC 9457) for programs and people, `Proxy-Status`
//! (RFC 9209) for tools, and the execution id to quote. Never an address, a pod
//! or a version. A gRPC call gets a status of its own kind instead of the first.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::grpc::Call;
use super::headers::reserved;
use crate::body::Body;
use crate::error::Error;
use crate::fields::Fields;
use crate::ids::ExecutionId;
use crate::message::{Request, Response};

/// RFC 9457 section 3.1.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: String,
    execution_id: &'a str,
}

/// The answer to a request that failed; `request` if there was one to speak of.
pub fn problem(error: &Error, execution_id: &ExecutionId, request: Option<&Request>) -> Response {
    let status = error.status();
    let problem = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail: error.detail(),
        execution_id: execution_id.as_str(),
    };
    let mut fields = Fields::default();
    fields.add("content-type", HeaderValue::from_static("application/problem+json"));
    put_usual(&mut fields, error, execution_id);
    if matches!(error, Error::MethodNotAllowed) {
        // RFC 9110 section 15.5.6 asks for it; what the app allows beyond is not known here.
        fields
            .add("allow", HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    // A failing write to memory leaves an empty body; status and fields still tell.
    let body = Bytes::from(serde_json::to_vec(&problem).unwrap_or_default());
    let head_only = request.is_some_and(|request| request.method == http::Method::HEAD);
    Response {
        status,
        reason: None,
        fields,
        declared_length: head_only.then_some(body.len() as u64),
        body: if head_only { Body::empty() } else { Body::full(body) },
        close: error.closes_connection(),
    }
}

/// The answer to a gRPC call that failed: a head that is its trailers, in any version of HTTP.
pub fn trailers_only(error: &Error, execution_id: &ExecutionId, call: &Call) -> Response {
    let mut fields = Fields::default();
    call.fail(&mut fields, error);
    put_usual(&mut fields, error, execution_id);
    Response {
        status: StatusCode::OK,
        reason: None,
        fields,
        declared_length: None,
        body: Body::empty(),
        close: error.closes_connection(),
    }
}

/// What every answer of the gateway's own carries.
fn put_usual(fields: &mut Fields, error: &Error, execution_id: &ExecutionId) {
    fields.add("proxy-status", proxy_status(error));
    reserved::insert_id(fields, execution_id);
    if let Error::RateLimited(limited) = error {
        put_text(fields, "ratelimit-policy", &limited.policy());
        put_text(fields, "ratelimit", &limited.state());
    }
    if let Some(seconds) = error.retry_after() {
        fields.add("retry-after", HeaderValue::from(seconds));
    }
}

/// Where the text cannot stand in a field there is none.
fn put_text(fields: &mut Fields, name: &'static str, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        fields.add(name, value);
    }
}

fn proxy_status(error: &Error) -> HeaderValue {
    let text = format!("ignite-gateway; error={}", error.proxy_status());
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("ignite-gateway"))
}

//! The built-in app of `dev`: answers every request with what it received, so
//! that a person sees what an app behind the gateway sees.
//!
//! An app like any other: it knows the contract, not the gateway. It adds and
//! interprets nothing, and keeps at most [`MAX_BODY`] bytes of a body.

use std::io;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::handler::HandlerWithoutStateExt as _;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use tokio::net::TcpListener;

/// The most of a request's body that is shown; the rest is counted.
pub const MAX_BODY: usize = 1 << 20;

const HEALTH_PATH: &str = "/healthz";
const THROUGH_GATEWAY: &str = "This request came through the gateway, which added \
    x-ignite-execution-id (this one request), x-ignite-function-id (the app) and \
    x-ignite-organization-id (its owner), and removed any x-ignite-* that the caller had sent.";
const DIRECT: &str = "This request did not come through the gateway: it carries no \
    x-ignite-execution-id.";

/// Serves the echo app until `shutdown` resolves and the requests in flight are done.
pub async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, echo.into_make_service()).with_graceful_shutdown(shutdown).await
}

async fn echo(request: Request) -> Response {
    let (head, body) = request.into_parts();
    if head.method == Method::GET && head.uri.path() == HEALTH_PATH {
        return StatusCode::NO_CONTENT.into_response();
    }
    let received = match Received::read(body).await {
        Ok(received) => received,
        // The caller broke its body off and will hardly read this.
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let through_gateway = head.headers.contains_key("x-ignite-execution-id");
    let shown = Shown {
        message: if through_gateway { THROUGH_GATEWAY } else { DIRECT },
        method: head.method.as_str(),
        path: head.uri.to_string(),
        http_version: format!("{:?}", head.version),
        headers: Fields(&head.headers),
        body: shown_body(&received.kept, received.total > received.kept.len() as u64),
        body_bytes: received.total,
        trailers: received.trailers.as_ref().map(Fields),
    };
    match serde_json::to_string_pretty(&shown) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json + "\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The answer, in the order in which it is read.
#[derive(serde::Serialize)]
struct Shown<'a> {
    message: &'static str,
    method: &'a str,
    /// The request-target as it was received, with its query.
    path: String,
    http_version: String,
    headers: Fields<'a>,
    body: ShownBody,
    /// The length of the whole body, also of what is not shown.
    body_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trailers: Option<Fields<'a>>,
}

/// A body is text where it can be.
#[derive(Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
enum ShownBody {
    Text(String),
    Binary { base64: String },
}

/// Fields as an object in the order of arrival: name to value, or to a list when it came more than once.
struct Fields<'a>(&'a HeaderMap);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut object = serializer.serialize_map(Some(self.0.keys_len()))?;
        for name in self.0.keys() {
            let values: Vec<String> = self.0.get_all(name).iter().map(text).collect();
            match values.as_slice() {
                [one] => object.serialize_entry(name.as_str(), one)?,
                many => object.serialize_entry(name.as_str(), many)?,
            }
        }
        object.end()
    }
}

/// A body read to its end, and what was kept of it.
struct Received {
    kept: Vec<u8>,
    total: u64,
    trailers: Option<HeaderMap>,
}

impl Received {
    async fn read(mut body: Body) -> Result<Self, axum::Error> {
        let mut received = Self { kept: Vec::new(), total: 0, trailers: None };
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(data) => received.add(&data),
                Err(other) => received.trailers = other.into_trailers().ok(),
            }
        }
        Ok(received)
    }

    fn add(&mut self, data: &Bytes) {
        let room = MAX_BODY.saturating_sub(self.kept.len());
        self.kept.extend(data.iter().take(room));
        self.total += data.len() as u64;
    }
}

fn shown_body(kept: &[u8], cut: bool) -> ShownBody {
    match std::str::from_utf8(kept) {
        Ok(text) => ShownBody::Text(text.to_owned()),
        // Our own cut may have parted a character: that makes no text binary.
        Err(error) if cut && error.error_len().is_none() => {
            let (text, _) = kept.split_at(error.valid_up_to());
            ShownBody::Text(String::from_utf8_lossy(text).into_owned())
        }
        Err(_) => ShownBody::Binary { base64: base64(kept) },
    }
}

/// RFC 4648 section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit =
        |bits: u32| DIGITS.get((bits & 63) as usize).map_or('=', |digit| char::from(*digit));
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        text.push(digit(bits >> 18));
        text.push(digit(bits >> 12));
        text.push(if three.len() > 1 { digit(bits >> 6) } else { '=' });
        text.push(if three.len() > 2 { digit(bits) } else { '=' });
    }
    text
}

#[cfg(test)]
mod tests;

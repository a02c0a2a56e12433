//! The collector's side: OTLP as a gRPC call, or the same message in a POST.
//!
//! A unary call is a POST of one framed message over HTTP/2 whose outcome stands
//! in its trailers, so both ways share a client and need no other gRPC stack.

use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use thiserror::Error;

use crate::config::traces::Protocol;

const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const HTTP_PATH: &str = "/v1/traces";
/// The most that a collector's answer may have.
const ANSWER: usize = 64 << 10;
/// Whether a message is compressed, and its length.
const PREFIX: usize = 5;

/// A way to one collector; its connection is kept.
pub(super) struct Collector {
    uri: Uri,
    protocol: Protocol,
    way: Way,
}

enum Way {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

/// Why a collector did not take a batch.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    /// It was not reached.
    #[error("no connection")]
    Unreached(#[source] hyper_util::client::legacy::Error),
    /// Its answer broke off.
    #[error("the answer broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It did not answer in time.
    #[error("no answer in time")]
    Late,
    /// It answered something else than OTLP.
    #[error("the answer is not OTLP's")]
    Alien,
    /// By a status of HTTP.
    #[error("status {status}")]
    Status {
        /// The status.
        status: StatusCode,
        /// When it may be asked again.
        after: Option<Duration>,
    },
    /// By a status of gRPC.
    #[error("grpc-status {code}: {message}")]
    Call {
        /// The code.
        code: u32,
        /// What it says.
        message: String,
    },
}

impl Refusal {
    /// Whether the same batch may be taken later: the lists of the OTLP specification.
    pub(super) fn may_be_repeated(&self) -> bool {
        match self {
            Self::Unreached(_) | Self::Broken(_) | Self::Late => true,
            Self::Alien => false,
            Self::Status { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            // CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, OUT_OF_RANGE, UNAVAILABLE,
            // DATA_LOSS.
            Self::Call { code, .. } => matches!(code, 1 | 4 | 8 | 10 | 11 | 14 | 15),
        }
    }

    /// How long the collector wants to be left alone.
    pub(super) fn after(&self) -> Option<Duration> {
        if let Self::Status { after, .. } = self { *after } else { None }
    }
}

impl Collector {
    /// A way to the collector at `endpoint`; fails where the system's authorities cannot be read.
    pub(super) fn new(endpoint: &Uri, protocol: Protocol) -> io::Result<Self> {
        let path = match protocol {
            Protocol::Grpc => GRPC_PATH,
            Protocol::Http => HTTP_PATH,
        };
        let path = format!("{}{path}", endpoint.path().trim_end_matches('/'));
        let mut parts = endpoint.clone().into_parts();
        parts.path_and_query = Some(path.parse().map_err(io::Error::other)?);
        let uri = Uri::from_parts(parts).map_err(io::Error::other)?;
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).http2_only(protocol == Protocol::Grpc);
        let way = if endpoint.scheme_str() == Some("https") {
            Way::Tls(client.build(tls(protocol)?))
        } else {
            Way::Plain(client.build(HttpConnector::new()))
        };
        Ok(Self { uri, protocol, way })
    }

    /// Sends one message and tells how many of its spans the collector did not want.
    pub(super) async fn send(&self, message: &impl Message) -> Result<u64, Refusal> {
        let request = self.request(message);
        let response = match &self.way {
            Way::Plain(client) => client.request(request).await,
            Way::Tls(client) => client.request(request).await,
        };
        let (head, body) = response.map_err(Refusal::Unreached)?.into_parts();
        if head.status != StatusCode::OK {
            let after = seconds(&head.headers);
            return Err(Refusal::Status { status: head.status, after });
        }
        match self.protocol {
            Protocol::Http => {
                let content = collect(body).await?.0;
                // A body of another type was written by somebody who is not asked here.
                Ok(rejected(&content).unwrap_or(0))
            }
            Protocol::Grpc => called(Response::from_parts(head, body)).await,
        }
    }

    fn request(&self, message: &impl Message) -> Request<Full<Bytes>> {
        let length = message.encoded_len();
        let mut content = BytesMut::with_capacity(PREFIX + length);
        let mut request = Request::post(self.uri.clone());
        if self.protocol == Protocol::Grpc {
            content.put_u8(0);
            content.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
            request =
                request.header(header::CONTENT_TYPE, "application/grpc").header("te", "trailers");
        } else {
            request = request.header(header::CONTENT_TYPE, "application/x-protobuf");
        }
        content.extend_from_slice(&message.encode_to_vec());
        let agent = HeaderValue::from_static(concat!("ignite-gateway/", env!("CARGO_PKG_VERSION")));
        let request = request.header(header::USER_AGENT, agent);
        // The parts are good, each by itself.
        request.body(Full::new(content.freeze())).unwrap_or_default()
    }
}

fn tls(protocol: Protocol) -> io::Result<HttpsConnector<HttpConnector>> {
    let builder = HttpsConnectorBuilder::new().with_native_roots()?.https_only();
    Ok(match protocol {
        Protocol::Grpc => builder.enable_http2().build(),
        Protocol::Http => builder.enable_http1().build(),
    })
}

/// The outcome of a call, from the trailers, or the head where there is nothing else.
async fn called(response: Response<Incoming>) -> Result<u64, Refusal> {
    let (head, body) = response.into_parts();
    let (content, trailers) = collect(body).await?;
    let outcome = trailers.unwrap_or(head.headers);
    let code = outcome.get("grpc-status").and_then(|code| code.to_str().ok()?.parse::<u32>().ok());
    match code {
        None => Err(Refusal::Alien),
        Some(0) => {
            let message = content.get(PREFIX..).unwrap_or_default();
            rejected(message).ok_or(Refusal::Alien)
        }
        Some(code) => {
            let message =
                outcome.get("grpc-message").map(HeaderValue::as_bytes).unwrap_or_default();
            Err(Refusal::Call { code, message: message.escape_ascii().to_string() })
        }
    }
}

async fn collect(body: Incoming) -> Result<(Bytes, Option<HeaderMap>), Refusal> {
    let collected = Limited::new(body, ANSWER).collect().await.map_err(Refusal::Broken)?;
    let trailers = collected.trailers().cloned();
    Ok((collected.to_bytes(), trailers))
}

/// How many spans an answer says were not wanted; `None` where it is none.
fn rejected(content: &[u8]) -> Option<u64> {
    let answer = ExportTraceServiceResponse::decode(content).ok()?;
    let partial = answer.partial_success.unwrap_or_default();
    if !partial.error_message.is_empty() {
        let said = partial.error_message.escape_debug();
        tracing::warn!(rejected = partial.rejected_spans, %said, "the trace collector complains");
    }
    Some(u64::try_from(partial.rejected_spans).unwrap_or(0))
}

/// `Retry-After` in seconds; as a date it is not understood here.
fn seconds(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

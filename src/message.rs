//! A request and a response between the two sides, whatever protocol either
//! side speaks.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use crate::body::Body;
use crate::fields::Fields;

/// The HTTP version that a message came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Version {
    /// As in OpenTelemetry's `network.protocol.version`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }
}

/// A request as its caller sent it.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query, or `*`: taken once from what came, never rebuilt, decoded or normalised.
    pub target: Bytes,
    /// The authority of an absolute-form target.
    pub authority: Option<Bytes>,
    /// The version.
    pub version: Version,
    /// The header section.
    pub fields: Fields,
    /// The body.
    pub body: Body,
    /// The caller waits for `100 (Continue)` before it sends the body.
    pub expects_continue: bool,
    /// The switch to another protocol that the caller asks for.
    pub upgrade: Option<Upgrade>,
}

/// A switch to another protocol, RFC 9110 section 7.8.
#[derive(Debug)]
pub struct Upgrade {
    /// The protocol's name as the caller gave it.
    pub protocol: Bytes,
    /// What the caller sends after the switch. Nothing of it may be read before.
    pub incoming: Body,
    /// What the app must answer in `Sec-WebSocket-Accept`, if the caller cannot check it: it asked
    /// by an extended CONNECT, RFC 8441, and takes any success as the switch.
    pub accept: Option<HeaderValue>,
}

/// A response on its way to the caller.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The app's own reason phrase; `None` for the standard one.
    pub reason: Option<Bytes>,
    /// The header section without framing: that is the writer's.
    pub fields: Fields,
    /// What a response to HEAD, or a 304, says of the length of the body it does not have.
    pub declared_length: Option<u64>,
    /// The body.
    pub body: Body,
    /// The caller's connection ends with this response.
    pub close: bool,
}

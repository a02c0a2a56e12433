//! A request that has ended, as everything that tells of it gets to see it:
//! metrics, access log, traces, the list of recent executions.
//!
//! Plain values, lent for a moment. How a request ended is told in three words:
//! whose doing it was, at which stage, and why.

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;

use crate::clock::Instant;
use crate::error::Side;
use crate::telemetry::trace::Trace;

/// One request of a caller, from its head to the end of its response.
#[derive(Debug, Clone, Copy)]
pub struct Finished<'a> {
    /// The execution id.
    pub execution_id: &'a str,
    /// `organization/name`, empty if no app was found.
    pub function_id: &'a str,
    /// The organization, empty if no app was found.
    pub organization_id: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The host asked for as the caller wrote it, empty if none was understood.
    pub host: &'a [u8],
    /// Path and query as the caller wrote them.
    pub target: &'a [u8],
    /// HTTP version, by OpenTelemetry's names.
    pub version: &'static str,
    /// The caller's address.
    pub client: SocketAddr,
    /// What the caller got, if anything.
    pub status: Option<u16>,
    /// The status of a gRPC call, if it ended with one.
    pub grpc_status: Option<u32>,
    /// When its head was read.
    pub began: Instant,
    /// From there to the end of the response.
    pub took: Duration,
    /// The part of it spent waiting for a ready endpoint or a turn.
    pub queued: Duration,
    /// From `began` to the whole head of the app's response, if there was one.
    pub first_byte: Option<Duration>,
    /// How many tries there were.
    pub attempts: u32,
    /// The tries before the last; of very many only the first.
    pub earlier: &'a [Attempt],
    /// The last try, unless the request was waiting for another turn when it ended.
    pub last: Option<Attempt>,
    /// Bytes of the request body that came.
    pub bytes_in: u64,
    /// Bytes of the response body.
    pub bytes_out: u64,
    /// How it ended.
    pub termination: Termination,
    /// Why it did not end well; empty if it did.
    pub reason: &'static str,
    /// What else is known of that.
    pub detail: &'a str,
    /// It was one of those that its app may have under way.
    pub counted: bool,
    /// Refused for the gateway's own sake, as thousands may be.
    pub shed: bool,
    /// Its place in its trace, where there are traces.
    pub trace: Option<&'a Trace>,
}

impl Finished<'_> {
    /// Whether it did not end as its caller may expect; what the app itself says is wrong with the
    /// request, and says well, is no failure.
    pub fn is_failure(&self) -> bool {
        !self.reason.is_empty() || self.status.is_none_or(|status| status >= 500)
    }

    /// When the response ended.
    pub fn ended(&self) -> Instant {
        self.began + self.took
    }

    /// The path, and the query if there is one.
    pub fn path_and_query(&self) -> (&[u8], Option<&[u8]>) {
        let mut parts = self.target.splitn(2, |byte| *byte == b'?');
        (parts.next().unwrap_or_default(), parts.next())
    }

    /// The try that was made last, whether it was the last chance or not.
    pub fn latest(&self) -> Option<&Attempt> {
        self.last.as_ref().or_else(|| self.earlier.last())
    }
}

/// One try at one endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// Where.
    pub endpoint: SocketAddr,
    /// When it was chosen.
    pub began: Instant,
    /// When the try was over: it failed, or its response ended.
    pub ended: Instant,
    /// How long connecting took; nothing on a connection that was kept.
    pub connect: Option<Duration>,
    /// Why it failed; empty if it did not.
    pub reason: &'static str,
}

impl Attempt {
    /// How long it took.
    pub fn took(&self) -> Duration {
        self.ended.saturating_duration_since(self.began)
    }
}

/// How far a request got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// Its head is read, its app is looked up, it is admitted.
    #[default]
    Request,
    /// It waits for its turn at the app.
    Queue,
    /// It is connecting to an endpoint.
    Connect,
    /// It is sent, and the head of the response awaited.
    Response,
    /// The response's body is passed on.
    Body,
    /// Both sides speak another protocol.
    Tunnel,
}

/// How a request ended: well, or by whose doing and at which stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Termination {
    /// The whole response was passed on.
    Complete,
    /// Something else.
    By(Side, Stage),
}

impl Termination {
    /// The word for it in logs and traces: `<side>.<stage>`, or `complete`.
    pub fn as_str(self) -> &'static str {
        let Self::By(side, stage) = self else { return "complete" };
        match (side, stage) {
            (Side::Caller, Stage::Request) => "caller.request",
            (Side::Caller, Stage::Queue) => "caller.queue",
            (Side::Caller, Stage::Connect) => "caller.connect",
            (Side::Caller, Stage::Response) => "caller.response",
            (Side::Caller, Stage::Body) => "caller.body",
            (Side::Caller, Stage::Tunnel) => "caller.tunnel",
            (Side::Gateway, Stage::Request) => "gateway.request",
            (Side::Gateway, Stage::Queue) => "gateway.queue",
            (Side::Gateway, Stage::Connect) => "gateway.connect",
            (Side::Gateway, Stage::Response) => "gateway.response",
            (Side::Gateway, Stage::Body) => "gateway.body",
            (Side::Gateway, Stage::Tunnel) => "gateway.tunnel",
            (Side::App, Stage::Request) => "app.request",
            (Side::App, Stage::Queue) => "app.queue",
            (Side::App, Stage::Connect) => "app.connect",
            (Side::App, Stage::Response) => "app.response",
            (Side::App, Stage::Body) => "app.body",
            (Side::App, Stage::Tunnel) => "app.tunnel",
        }
    }
}

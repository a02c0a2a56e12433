//! What is known of a sampled request when it has ended, and the spans of it:
//! one of the call, as a server, and one of each try at an endpoint, as a client.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, SpanFlags, Status};

use super::attributes::Attributes;
use super::context::{Context, SpanId};
use super::query::redacted;
use crate::clock::Instant;
use crate::error::Side;
use crate::telemetry::finished::{Attempt, Finished, Termination};

/// The longest path and query together.
const LONGEST_TARGET: usize = 2048;
/// The longest of everything else that a caller chose.
const LONGEST_NAME: usize = 256;

/// The methods that have a span name of their own; others a caller could make up without end.
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];

/// A request's place in its trace, sampled or not.
#[derive(Debug)]
pub struct Trace {
    /// The server span's place.
    pub context: Context,
    /// The caller's span that it belongs to.
    pub parent: Option<SpanId>,
    /// Of which the ids of the client spans are made.
    pub seed: u64,
    /// What only spans tell; `None` where there will be none.
    pub seen: Option<Box<Seen>>,
}

/// What spans tell of a request, and nothing else does.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The `tracestate` of its caller.
    pub state: String,
    /// `User-Agent`.
    pub user_agent: String,
    /// Who sent it, as far as that is believed.
    pub client: IpAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
}

impl Trace {
    /// The client span's place of a try, counted from 0, as the app gets it.
    pub fn attempt(&self, number: u32) -> Context {
        // An odd step, so that no two tries of a request have the same.
        let step = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.context.continued(SpanId::of(self.seed.wrapping_add(step)), self.context.is_sampled())
    }
}

/// A sampled request that has ended.
#[derive(Debug)]
pub struct Recorded {
    context: Context,
    parent: Option<SpanId>,
    seen: Seen,
    execution_id: String,
    function_id: String,
    organization_id: String,
    method: String,
    host: String,
    target: String,
    version: &'static str,
    peer: SocketAddr,
    /// What the app's port speaks, if it is one version only.
    app_version: Option<&'static str>,
    status: Option<u16>,
    /// The status is the app's own.
    answered: bool,
    grpc_status: Option<u32>,
    reason: &'static str,
    termination: Termination,
    bytes_in: u64,
    bytes_out: u64,
    queued: Duration,
    attempts: u32,
    tries: Vec<(u32, SpanId, Attempt)>,
    began: Instant,
    /// When it ended, by the clock on the wall and by that which everything else goes by.
    ended: (SystemTime, Instant),
}

/// Text of a caller, cut where it goes on without end.
fn cut(text: &[u8], longest: usize) -> String {
    String::from_utf8_lossy(text.get(..longest).unwrap_or(text)).into_owned()
}

impl Seen {
    /// What spans may hold of a text that a caller chose.
    pub fn text(text: &[u8]) -> String {
        cut(text, LONGEST_NAME)
    }
}

impl Recorded {
    /// What is to be told of a request that has ended; `None` if it is not sampled.
    pub fn of(finished: &Finished<'_>, app_version: Option<&'static str>) -> Option<Self> {
        let trace = finished.trace?;
        let seen = trace.seen.as_deref()?;
        let id = |number: u32| trace.attempt(number).span_id;
        let last = finished.attempts.saturating_sub(1);
        let earlier = (0..).zip(finished.earlier).map(|(number, attempt)| (number, *attempt));
        let tries = earlier.chain(finished.last.map(|attempt| (last, attempt)));
        Some(Self {
            context: trace.context,
            parent: trace.parent,
            seen: seen.clone(),
            execution_id: finished.execution_id.to_owned(),
            function_id: finished.function_id.to_owned(),
            organization_id: finished.organization_id.to_owned(),
            method: cut(finished.method.as_str().as_bytes(), LONGEST_NAME),
            host: cut(finished.host, LONGEST_NAME),
            target: cut(finished.target, LONGEST_TARGET),
            version: finished.version,
            peer: finished.client,
            app_version,
            status: finished.status,
            answered: finished.first_byte.is_some(),
            grpc_status: finished.grpc_status,
            reason: finished.reason,
            termination: finished.termination,
            bytes_in: finished.bytes_in,
            bytes_out: finished.bytes_out,
            queued: finished.queued,
            attempts: finished.attempts,
            tries: tries.map(|(number, attempt)| (number, id(number), attempt)).collect(),
            began: finished.began,
            ended: (SystemTime::now(), finished.began + finished.took),
        })
    }

    /// How many spans it has.
    pub fn spans(&self) -> u64 {
        1 + self.tries.len() as u64
    }

    /// Turns it into spans.
    pub(super) fn into_spans(self, out: &mut Vec<Span>) {
        out.push(self.server());
        for (number, id, attempt) in &self.tries {
            out.push(self.client(*number, *id, attempt));
        }
    }

    fn server(&self) -> Span {
        let (path, query) = self.path_and_query();
        let mut attributes = Attributes::with_capacity(24);
        self.put_method(&mut attributes);
        attributes.text("url.scheme", self.seen.scheme);
        attributes.text("url.path", path);
        if let Some(query) = query {
            attributes.text("url.query", redacted(query));
        }
        let (host, port) = host_and_port(&self.host);
        attributes.some_text("server.address", host);
        attributes.some_number("server.port", port);
        attributes.text("network.protocol.name", "http");
        attributes.text("network.protocol.version", self.version);
        attributes.text("network.peer.address", self.peer.ip().to_canonical().to_string());
        attributes.number("network.peer.port", self.peer.port());
        attributes.text("client.address", self.seen.client.to_canonical().to_string());
        attributes.some_text("user_agent.original", &self.seen.user_agent);
        attributes.some_number("http.response.status_code", self.status);
        attributes.some_number("rpc.grpc.status_code", self.grpc_status);
        attributes.whole("http.request.body.size", self.bytes_in);
        attributes.whole("http.response.body.size", self.bytes_out);
        attributes.text("faas.trigger", "http");
        attributes.text("ignite.execution_id", self.execution_id.as_str());
        self.put_app(&mut attributes);
        attributes.number("ignite.attempts", self.attempts);
        attributes.seconds("ignite.queue.duration", self.queued);
        attributes.text("ignite.termination", self.termination.as_str());
        // 4xx is how a server should answer a bad request: no error of its span.
        let answered_badly = self.status.is_none_or(|status| status >= 500);
        let is_error = !self.is_cancelled() && (answered_badly || self.is_broken());
        attributes.some_text("error.type", &error_type(self.reason, self.status, 500));
        let parent_is_remote = self.parent.is_some();
        Span {
            parent_span_id: self.parent.map(|parent| parent.bytes().to_vec()).unwrap_or_default(),
            kind: SpanKind::Server as i32,
            start_time_unix_nano: self.nanos(self.began),
            end_time_unix_nano: self.nanos(self.ended.1),
            attributes: attributes.done(),
            status: is_error.then(|| error_status(self.reason)),
            ..self.span(self.context.span_id, parent_is_remote)
        }
    }

    fn client(&self, number: u32, id: SpanId, attempt: &Attempt) -> Span {
        let (path, query) = self.path_and_query();
        let query = query.map(|query| format!("?{}", redacted(query))).unwrap_or_default();
        let (ip, port) = (attempt.endpoint.ip().to_string(), attempt.endpoint.port());
        let is_last = number.saturating_add(1) == self.attempts;
        let status = self.status.filter(|_| is_last && self.answered);
        let mut attributes = Attributes::with_capacity(16);
        self.put_method(&mut attributes);
        attributes.text("url.full", format!("http://{}{path}{query}", attempt.endpoint));
        attributes.text("server.address", ip.as_str());
        attributes.number("server.port", port);
        attributes.text("network.peer.address", ip);
        attributes.number("network.peer.port", port);
        attributes.text("network.protocol.name", "http");
        attributes.some_text("network.protocol.version", self.app_version.unwrap_or_default());
        attributes.some_number("http.response.status_code", status);
        attributes.some_number("http.request.resend_count", Some(number).filter(|at| *at > 0));
        attributes.text("ignite.execution_id", self.execution_id.as_str());
        self.put_app(&mut attributes);
        if let Some(connect) = attempt.connect {
            attributes.seconds("ignite.connect.duration", connect);
        }
        // A caller who leaves is no failure of the app's.
        let cancelled = is_last && self.is_cancelled();
        let answered_badly = status.is_some_and(|status| status >= 400);
        let is_error = !cancelled && (answered_badly || !attempt.reason.is_empty());
        attributes.some_text("error.type", &error_type(attempt.reason, status, 400));
        Span {
            parent_span_id: self.context.span_id.bytes().to_vec(),
            kind: SpanKind::Client as i32,
            start_time_unix_nano: self.nanos(attempt.began),
            end_time_unix_nano: self.nanos(attempt.ended),
            attributes: attributes.done(),
            status: is_error.then(|| error_status(attempt.reason)),
            ..self.span(id, false)
        }
    }

    /// What all spans have alike.
    fn span(&self, id: SpanId, parent_is_remote: bool) -> Span {
        let mut flags = u32::from(self.context.flags()) | SpanFlags::ContextHasIsRemoteMask as u32;
        if parent_is_remote {
            flags |= SpanFlags::ContextIsRemoteMask as u32;
        }
        Span {
            trace_id: self.context.trace_id.bytes().to_vec(),
            span_id: id.bytes().to_vec(),
            trace_state: self.seen.state.clone(),
            flags,
            // Paths have no templates here, and a name must not be a caller's to choose.
            name: self.known_method().unwrap_or("HTTP").to_owned(),
            ..Span::default()
        }
    }

    fn known_method(&self) -> Option<&str> {
        METHODS.contains(&self.method.as_str()).then_some(self.method.as_str())
    }

    fn put_method(&self, attributes: &mut Attributes) {
        if let Some(method) = self.known_method() {
            attributes.text("http.request.method", method);
        } else {
            attributes.text("http.request.method", "_OTHER");
            attributes.text("http.request.method_original", self.method.as_str());
        }
    }

    fn put_app(&self, attributes: &mut Attributes) {
        attributes.some_text("ignite.function_id", &self.function_id);
        attributes.some_text("ignite.organization_id", &self.organization_id);
    }

    fn path_and_query(&self) -> (&str, Option<&str>) {
        match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&self.target, None),
        }
    }

    /// The response broke off after a good head.
    fn is_broken(&self) -> bool {
        !self.reason.is_empty() && self.status.is_none_or(|status| status < 400)
    }

    fn is_cancelled(&self) -> bool {
        matches!(self.termination, Termination::By(Side::Caller, _))
    }

    /// A moment on the wall's clock, told from the end: it is read once per request.
    fn nanos(&self, at: Instant) -> u64 {
        let (wall, end) = self.ended;
        let at = wall.checked_sub(end.saturating_duration_since(at)).unwrap_or(UNIX_EPOCH);
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The reason, else a status that is an error.
fn error_type(reason: &str, status: Option<u16>, errors: u16) -> String {
    match status {
        _ if !reason.is_empty() => reason.to_owned(),
        Some(status) if status >= errors => status.to_string(),
        _ => String::new(),
    }
}

fn error_status(reason: &str) -> Status {
    Status { message: reason.to_owned(), code: StatusCode::Error as i32 }
}

/// What a `Host` says, apart.
fn host_and_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (host, None),
        },
        None => (host, None),
    }
}

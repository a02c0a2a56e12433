//! One record per request, closed when its response has ended.
//!
//! It gathers what is known of the request and holds what it occupies. Closing
//! happens in `Drop`, so a request that was aborted or that panicked is told
//! like any other, to everybody in [`super::observers`].

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use super::Settings;
use super::grpc::Outcome;
use super::headers::forwarded::Peer;
use super::observers::Observers;
use super::overload::InFlight;
use crate::clock::{self, Instant};
use crate::config::{Limits, LogFormat};
use crate::error::{Error, Overload};
use crate::fields::Known;
use crate::ids::ExecutionId;
use crate::message::{Request, Version};
use crate::telemetry::finished::{Finished, Termination};
use crate::telemetry::metrics::RouteMetrics;
use crate::telemetry::trace::Trace;
use crate::upstream::Journey;
use crate::upstream::app::Route;

/// What is known of one request.
pub struct Record {
    observers: Rc<Observers>,
    execution_id: ExecutionId,
    method: Method,
    target: Bytes,
    host: Option<Bytes>,
    version: Version,
    client: std::net::SocketAddr,
    route: Option<Arc<Route>>,
    journey: Journey,
    status: Option<u16>,
    grpc: Option<Outcome>,
    /// How it ended, once that is known: a request whose end nobody noted was broken off.
    termination: Option<Termination>,
    reason: &'static str,
    detail: Option<Box<str>>,
    bytes_in: u64,
    bytes_out: u64,
    began: Instant,
    in_flight: Option<InFlight>,
    logged: bool,
    /// It is one of those that its app may have under way.
    counted: bool,
    /// Refused for the gateway's own sake.
    shed: Option<Overload>,
}

impl Record {
    /// Opens the record of a request.
    pub fn open(
        observers: &Rc<Observers>,
        execution_id: ExecutionId,
        peer: &Peer,
        request: &Request,
        settings: &Settings,
        trace: Option<Trace>,
    ) -> Self {
        let logged = is_logged(settings, &execution_id);
        let mut record = Self::blank(observers, execution_id, peer, logged);
        record.method = request.method.clone();
        record.target = request.target.clone();
        record.host = request.fields.shared(Known::Host);
        record.version = request.version;
        record.journey.trace = trace;
        record
    }

    /// Opens the record of something that was no request.
    pub fn of_refused(
        observers: &Rc<Observers>,
        execution_id: ExecutionId,
        peer: &Peer,
        settings: &Settings,
    ) -> Self {
        let logged = settings.access_log.format != LogFormat::Off;
        Self::blank(observers, execution_id, peer, logged)
    }

    fn blank(
        observers: &Rc<Observers>,
        execution_id: ExecutionId,
        peer: &Peer,
        logged: bool,
    ) -> Self {
        Self {
            observers: observers.clone(),
            execution_id,
            method: Method::GET,
            target: Bytes::new(),
            host: None,
            version: Version::Http11,
            client: peer.address,
            route: None,
            journey: Journey::default(),
            status: None,
            grpc: None,
            termination: None,
            reason: "",
            detail: None,
            bytes_in: 0,
            bytes_out: 0,
            began: clock::now(),
            in_flight: None,
            logged,
            counted: false,
            shed: None,
        }
    }

    /// The request's id.
    pub fn execution_id(&self) -> &ExecutionId {
        &self.execution_id
    }

    /// When its head was read.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// The request's place in its trace, where there are traces.
    pub fn trace(&self) -> Option<&Trace> {
        self.journey.trace.as_ref()
    }

    /// What the upstream side notes.
    pub fn journey(&mut self) -> &mut Journey {
        &mut self.journey
    }

    /// The request's app is known, and counts it to the end: as one of those that it may have under
    /// way, or it is refused.
    pub fn resolved(&mut self, route: &Arc<Route>, limits: &Limits) -> Result<(), Error> {
        let (worker, bound) = (self.observers.worker(), limits.of_an_app());
        self.route = Some(route.clone());
        self.counted = route.shared.metrics.begin_within(worker, bound)
            || route.turns.hosts.claim(&route.shared, worker, self.observers.workers(), bound);
        if self.counted { Ok(()) } else { Err(Error::AppInFlight) }
    }

    /// Counts the request as under way to the end.
    pub fn occupy(&mut self, in_flight: Option<InFlight>) {
        self.in_flight = in_flight;
    }

    /// Whether it was refused because the worker is late.
    pub fn is_of_a_late_worker(&self) -> bool {
        self.shed == Some(Overload::Lag)
    }

    /// The request failed, before or after its response began. What comes after its first failure
    /// follows from that.
    pub fn failed(&mut self, error: &Error) {
        if self.termination.is_some() {
            return;
        }
        self.termination = Some(Termination::By(error.side(), self.journey.stage));
        self.reason = error.reason();
        self.detail = error.cause().map(String::into_boxed_str);
        match error {
            Error::RateLimited(limited) => {
                self.metrics().limited(self.observers.worker(), limited.limit);
            }
            Error::Overloaded(by) => self.shed = Some(*by),
            other => self.observers.shared().refusals.count(other),
        }
    }

    /// The whole response was passed on.
    pub fn completed(&mut self) {
        self.termination.get_or_insert(Termination::Complete);
    }

    /// The request is a gRPC call, whose outcome is told there.
    pub fn called(&mut self, outcome: Outcome) {
        self.grpc = Some(outcome);
    }

    /// A response of this status goes to the caller. A gRPC call that failed counts by what any
    /// other request would have got.
    pub fn answered(&mut self, status: StatusCode) {
        self.status = Some(status.as_u16());
    }

    /// Bytes of the request body that came.
    pub fn received(&mut self, bytes: u64) {
        self.bytes_in = bytes;
    }

    /// Bytes of the response body that were taken off the app.
    pub fn sent(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    /// Where the request is counted: at its host, or with all that no app has.
    fn metrics(&self) -> &RouteMetrics {
        let unknown = &self.observers.shared().unknown;
        self.route.as_ref().map_or(unknown, |route| &route.shared.metrics)
    }

    /// Nobody noted how it ended: it was dropped where it was.
    fn broken_off(&mut self) {
        let error = if std::thread::panicking() {
            Error::Internal
        } else if self.observers.is_ending() {
            Error::ShutDown
        } else {
            Error::CallerGone
        };
        self.failed(&error);
    }

    fn finished(&self) -> Finished<'_> {
        let ended = clock::now();
        let route = self.route.as_deref();
        let since = |moment: Instant| moment.saturating_duration_since(self.began);
        Finished {
            execution_id: self.execution_id.as_str(),
            function_id: route.map_or("", |route| text(&route.function_id)),
            organization_id: route.map_or("", |route| text(&route.organization_id)),
            method: &self.method,
            host: self.host.as_deref().unwrap_or_default(),
            target: &self.target,
            version: self.version.as_str(),
            client: self.client,
            status: self.status,
            grpc_status: self.grpc.as_ref().and_then(|outcome| outcome.get()),
            began: self.began,
            took: since(ended),
            queued: self.journey.queued,
            first_byte: self.journey.head.map(since),
            attempts: self.journey.attempts,
            earlier: &self.journey.earlier,
            last: self.journey.last(ended, self.reason),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            termination: self.termination.unwrap_or(Termination::Complete),
            reason: self.reason,
            detail: self.detail.as_deref().unwrap_or_default(),
            counted: self.counted,
            shed: self.shed.is_some(),
            trace: self.trace(),
        }
    }

    /// Of what is refused by the thousand a sample is enough: a line costs as much as a refusal.
    fn is_wanted(&self, finished: &Finished<'_>) -> bool {
        self.logged
            || (finished.is_failure()
                && !finished.shed
                && self.observers.shared().settings.load().access_log.format != LogFormat::Off)
    }
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

/// Errors are always logged, so a request is only marked here; the sample is by
/// the execution id, whose last digits are random.
fn is_logged(settings: &Settings, execution_id: &ExecutionId) -> bool {
    let log = &settings.access_log;
    if log.format == LogFormat::Off {
        return false;
    }
    if log.sample >= 1.0 {
        return true;
    }
    let digits = execution_id.as_str().get(28..).unwrap_or_default();
    let random = u32::from_str_radix(digits, 16).unwrap_or(0);
    f64::from(random) / f64::from(u32::MAX) < log.sample
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.termination.is_none() {
            self.broken_off();
        }
        let finished = self.finished();
        let logged = self.is_wanted(&finished);
        self.observers.tell(&finished, self.route.as_deref(), logged);
    }
}

//! One record per request, closed when its response has ended.
//!
//! It owns everything that is counted: the request in its metrics, the turn at
//! the app, the line in the access log. Closing happens in `Drop`, so a request
//! that was aborted or that panicked is counted and logged like any other.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::grpc::Outcome;
use super::headers::forwarded::Peer;
use super::overload::InFlight;
use super::{Settings, Shared};
use crate::clock::{self, Instant};
use crate::config::LogFormat;
use crate::error::{Error, Overload};
use crate::fields::Known;
use crate::ids::ExecutionId;
use crate::message::{Request, Version};
use crate::telemetry::access_log::{self, Line};
use crate::telemetry::metrics::RouteMetrics;
use crate::upstream::Journey;
use crate::upstream::app::Route;

/// What is known of one request.
pub struct Record {
    shared: Arc<Shared>,
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
    reason: &'static str,
    bytes_in: u64,
    bytes_out: u64,
    started: Instant,
    in_flight: Option<InFlight>,
    logged: bool,
    /// Refused for the gateway's own sake.
    shed: Option<Overload>,
}

impl Record {
    /// Opens the record of a request.
    pub fn open(
        shared: &Arc<Shared>,
        execution_id: ExecutionId,
        peer: &Peer,
        request: &Request,
        settings: &Settings,
    ) -> Self {
        let logged = is_logged(settings, &execution_id);
        let mut record = Self::blank(shared, execution_id, peer, logged);
        record.method = request.method.clone();
        record.target = request.target.clone();
        record.host = request.fields.shared(Known::Host);
        record.version = request.version;
        record
    }

    /// Opens the record of something that was no request.
    pub fn of_refused(
        shared: &Arc<Shared>,
        execution_id: ExecutionId,
        peer: &Peer,
        settings: &Settings,
    ) -> Self {
        let logged = settings.access_log.format != LogFormat::Off;
        Self::blank(shared, execution_id, peer, logged)
    }

    fn blank(shared: &Arc<Shared>, execution_id: ExecutionId, peer: &Peer, logged: bool) -> Self {
        Self {
            shared: shared.clone(),
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
            reason: "",
            bytes_in: 0,
            bytes_out: 0,
            started: clock::now(),
            in_flight: None,
            logged,
            shed: None,
        }
    }

    /// The request's id.
    pub fn execution_id(&self) -> &ExecutionId {
        &self.execution_id
    }

    /// What the upstream side notes.
    pub fn journey(&mut self) -> &mut Journey {
        &mut self.journey
    }

    /// The request's app is known.
    pub fn resolved(&mut self, route: &Arc<Route>) {
        route.shared.metrics.begin();
        self.route = Some(route.clone());
    }

    /// Counts the request as under way to the end.
    pub fn occupy(&mut self, in_flight: Option<InFlight>) {
        self.in_flight = in_flight;
    }

    /// Whether it was refused because the worker is late.
    pub fn is_of_a_late_worker(&self) -> bool {
        self.shed == Some(Overload::Lag)
    }

    /// The request failed, before or after its response began.
    pub fn failed(&mut self, error: &Error) {
        self.reason = error.reason();
        match error {
            Error::RateLimited(limited) => self.metrics().limited(limited.limit),
            Error::Overloaded(by) => self.shed = Some(*by),
            _ => {}
        }
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
        let took = clock::now().saturating_duration_since(self.started);
        if self.status.is_none() && self.reason.is_empty() {
            // Dropped before there was an answer: either the gateway failed or nobody waits.
            let error = if std::thread::panicking() { Error::Internal } else { Error::CallerGone };
            self.failed(&error);
        }
        let metrics = if let Some(route) = &self.route {
            &route.shared.metrics
        } else {
            self.shared.unknown.begin();
            &self.shared.unknown
        };
        metrics.end(&self.method, self.status, took, (self.bytes_in, self.bytes_out));
        let failed = !self.reason.is_empty() || self.status.is_none_or(|status| status >= 500);
        // Of what is refused by the thousand a sample is enough: a line costs as much as a refusal.
        let wanted = self.logged
            || (failed
                && self.shed.is_none()
                && self.shared.settings.load().access_log.format != LogFormat::Off);
        if wanted {
            self.log(took);
        }
    }
}

impl Record {
    /// Where the request is counted: at its host, or with all that no app has.
    fn metrics(&self) -> &RouteMetrics {
        self.route.as_ref().map_or(&self.shared.unknown, |route| &route.shared.metrics)
    }

    fn log(&self, took: std::time::Duration) {
        let function_id = self.route.as_ref().map(|route| &route.function_id);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        access_log::write(&Line {
            execution_id: self.execution_id.as_str(),
            function_id: function_id.and_then(|id| id.to_str().ok()).unwrap_or_default(),
            method: self.method.as_str(),
            host: &self.host.as_deref().map(text).unwrap_or_default(),
            target: &text(&self.target),
            version: self.version.as_str(),
            status: self.status.unwrap_or(0),
            grpc_status: self.grpc.as_ref().and_then(|outcome| outcome.get()),
            client: self.client,
            upstream: self.journey.endpoint.as_ref().map(|endpoint| endpoint.address()),
            attempts: self.journey.attempts,
            took,
            waited: self.journey.waited,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            reason: self.reason,
        });
    }
}

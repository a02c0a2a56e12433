//! The nouns that all workers share: a route, its endpoints, their state.
//!
//! A [`Route`] never changes; a change of an app puts another route in its
//! place, made of the same [`Endpoint`]s and [`Shared`] state where those stay.
//! A request in flight keeps the route it began with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use http::HeaderValue;
use tokio::sync::Notify;

use super::health::hurry::Hurry;
use super::outlier::{Ejections, Outlier};
use super::retries::Budget;
use crate::config::{Protocol, Retries};
use crate::ids::{AppId, HostName};
use crate::rate_limit::AppRate;
use crate::telemetry::metrics::RouteMetrics;

use super::turns::Turns;

mod hosts;
mod state;

pub use hosts::Hosts;
use state::State;

/// One public host and where its calls go.
#[derive(Debug)]
pub struct Route {
    /// The app.
    pub app: AppId,
    /// The container's port.
    pub port: u16,
    /// The public host.
    pub host: HostName,
    /// The value of `x-ignite-function-id`.
    pub function_id: HeaderValue,
    /// The value of `x-ignite-organization-id`.
    pub organization_id: HeaderValue,
    /// What the app speaks.
    pub protocol: Protocol,
    /// Where the app listens.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// What outlives a change of the route.
    pub shared: Arc<Shared>,
    /// Turns at the app.
    pub turns: Arc<Turns>,
    /// The rate of all its callers together, common to all its ports; `None` without a limit.
    pub rate: Option<Arc<AppRate>>,
}

/// The state of a host that outlives changes of its route.
#[derive(Debug, Default)]
pub struct Shared {
    /// Counted per request.
    pub metrics: RouteMetrics,
    /// How often endpoints were ejected.
    pub ejections: Ejections,
    /// Retries that its requests may take.
    pub retries: Budget,
    /// Requests that wait for their turn.
    pub waiting: AtomicUsize,
}

impl Shared {
    /// Takes a retry of the budget, or one that it does not bound.
    pub(super) fn may_retry(&self, free: bool, rules: &Retries) -> bool {
        if free {
            self.retries.count_free();
            return true;
        }
        self.retries.take(self.metrics.begun(), rules)
    }
}

/// One address of one port of one app.
///
/// Its id is never used again in this process, and belongs to one app: a pool
/// keyed by it can never hand one app's connection to another.
#[derive(Debug)]
pub struct Endpoint {
    id: u64,
    address: SocketAddr,
    /// Whoever waits for the endpoint's app.
    turns: Option<Arc<Turns>>,
    state: State,
    /// Rung for whoever probes it: its state is to be known soon.
    asked: Notify,
    in_flight: AtomicU32,
    /// What the endpoint was found to speak.
    spoken: AtomicU8,
    outlier: Outlier,
}

/// An endpoint that was not asked yet what it speaks.
const UNKNOWN: u8 = 0;
const HTTP1: u8 = 1;
const HTTP2: u8 = 2;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Endpoint {
    /// An endpoint that counts as ready, or not yet.
    pub fn new(address: SocketAddr, ready: bool) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            address,
            turns: None,
            state: State::new(ready),
            asked: Notify::new(),
            in_flight: AtomicU32::new(0),
            spoken: AtomicU8::new(UNKNOWN),
            outlier: Outlier::default(),
        }
    }

    /// The same, for an app whose requests may wait for it.
    pub fn of(turns: &Arc<Turns>, address: SocketAddr, ready: bool) -> Self {
        Self { turns: Some(turns.clone()), ..Self::new(address, ready) }
    }

    /// The process-wide unique id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where the app listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether requests may be sent: never again once it has left its app, because its address may
    /// be another's by then.
    pub fn is_ready(&self) -> bool {
        self.state.is_ready()
    }

    /// Whether requests may be sent, and it does not drain.
    pub fn is_ready_to_stay(&self) -> bool {
        self.state.is_ready_to_stay()
    }

    /// Whether nothing speaks against it: it neither drains nor refuses nor fails requests.
    pub fn is_sound(&self) -> bool {
        self.state.is_sound() && !self.outlier.is_avoided()
    }

    /// Sets whether requests may be sent; whoever waits is woken by the caller.
    pub fn set_ready(&self, ready: bool) {
        if self.state.set_ready(ready) {
            self.outlier.reset();
        }
    }

    /// Whether the endpoint is about to leave: it finishes what it has, and gets something new only
    /// where no other endpoint is ready.
    pub fn is_draining(&self) -> bool {
        self.state.is_draining()
    }

    /// Marks the endpoint as about to leave, as it is still the app's.
    pub fn drain(&self) {
        self.state.set_draining(true);
    }

    /// Takes [`Self::drain`] back; whoever waits is woken by the caller.
    pub fn stay(&self) {
        self.state.set_draining(false);
    }

    /// Whether the endpoint has left its app: idle connections to it are closed.
    pub fn is_retired(&self) -> bool {
        self.state.is_retired()
    }

    /// Marks the endpoint as gone.
    pub fn retire(&self) {
        self.state.retire();
    }

    /// Says whether probes tell when the endpoint is ready.
    pub fn set_probed(&self, probed: bool) {
        self.state.set_probed(probed);
    }

    /// Whether it refused the last connection that was tried.
    pub fn is_refusing(&self) -> bool {
        self.state.is_refusing()
    }

    /// It refused a connection.
    pub(super) fn refused(&self) {
        if self.state.refused() {
            self.asked.notify_one();
        }
    }

    /// It refuses, as all do: not ready until a probe or a connection succeeds. True if it was.
    pub(super) fn take_down(&self) -> bool {
        let taken = self.state.take_down();
        if taken {
            // It may have refused long ago.
            self.asked.notify_one();
        }
        taken
    }

    /// Somebody waits who could go to it if it accepted connections: a probe is to look.
    pub(super) fn await_connections(&self) {
        if self.state.is_refusing() && self.state.is_probed() {
            self.asked.notify_one();
        }
    }

    /// It accepted a connection.
    pub(super) fn accepted(&self) {
        if self.state.accepted()
            && let Some(turns) = &self.turns
        {
            turns.serve();
        }
    }

    /// Whether the endpoint was found to speak HTTP/2; `None` if it was not asked yet.
    pub fn speaks_http2(&self) -> Option<bool> {
        match self.spoken.load(Ordering::Relaxed) {
            UNKNOWN => None,
            spoken => Some(spoken == HTTP2),
        }
    }

    /// Remembers whether the endpoint speaks HTTP/2.
    pub fn found_to_speak_http2(&self, http2: bool) {
        self.spoken.store(if http2 { HTTP2 } else { HTTP1 }, Ordering::Relaxed);
    }

    /// What is known of its failures.
    pub fn outlier(&self) -> &Outlier {
        &self.outlier
    }

    /// Requests under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl Hurry for Endpoint {
    async fn asked(&self) {
        self.asked.notified().await;
    }

    fn is_awaited(&self) -> bool {
        self.turns.as_ref().is_some_and(|turns| turns.queued.load(Ordering::Relaxed) > 0)
    }
}

/// Counts a request at its endpoint as long as it lives.
#[derive(Debug)]
pub struct InFlight(Arc<Endpoint>);

impl InFlight {
    /// Counts one more.
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(endpoint)
    }

    /// Counts one more, unless there are `limit` already.
    pub fn within(endpoint: Arc<Endpoint>, limit: u32) -> Option<Self> {
        let more = |count| (count < limit).then_some(count + 1);
        let counted = endpoint.in_flight.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        // Made only then: one that is dropped counts down.
        counted.is_ok().then(|| Self(endpoint))
    }

    /// Where it is counted.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // In one order with the look at who waits: either this sees them or they see it.
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
        if let Some(turns) = &self.0.turns
            && turns.queued.load(Ordering::SeqCst) > 0
        {
            turns.endpoint_freed();
        }
    }
}

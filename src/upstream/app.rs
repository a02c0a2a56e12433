//! The nouns that all workers share: a route, its endpoints, their state.
//!
//! A [`Route`] never changes; a change of an app puts another route in its
//! place, made of the same [`Endpoint`]s and [`Shared`] state where those stay.
//! A request in flight keeps the route it began with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use http::HeaderValue;
use tokio::sync::{Notify, Semaphore};

use super::outlier::{Ejections, Outlier};
use crate::config::Protocol;
use crate::ids::{AppId, HostName};
use crate::rate_limit::AppRate;
use crate::telemetry::metrics::RouteMetrics;

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
    /// Requests that wait for a ready endpoint.
    pub waiting: AtomicUsize,
    /// Rung when an endpoint turns ready, and when the route changes or goes.
    pub changed: Notify,
}

/// Turns at an app, common to all its ports.
#[derive(Debug)]
pub struct Turns {
    /// One for each request that the app works on; `None` without a limit.
    pub permits: Option<Arc<Semaphore>>,
    /// The limit that they were made with.
    pub concurrency: usize,
    /// Requests that wait for their turn.
    pub queued: AtomicUsize,
}

impl Turns {
    /// Turns at an app that works on at most `concurrency` requests at once; 0: no limit.
    pub fn new(concurrency: usize) -> Self {
        let permits = (concurrency > 0).then(|| Arc::new(Semaphore::new(concurrency)));
        Self { permits, concurrency, queued: AtomicUsize::new(0) }
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
    ready: AtomicBool,
    retired: AtomicBool,
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
            ready: AtomicBool::new(ready),
            retired: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            spoken: AtomicU8::new(UNKNOWN),
            outlier: Outlier::default(),
        }
    }

    /// The process-wide unique id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where the app listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether requests may be sent.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Sets whether requests may be sent; whoever waits is woken by the caller.
    pub fn set_ready(&self, ready: bool) {
        if !self.ready.swap(ready, Ordering::Relaxed) && ready {
            self.outlier.reset();
        }
    }

    /// Whether the endpoint has left its app: idle connections to it are closed.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Marks the endpoint as gone.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
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

/// Counts a request at its endpoint as long as it lives.
#[derive(Debug)]
pub struct InFlight(Arc<Endpoint>);

impl InFlight {
    /// Counts one more.
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(endpoint)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

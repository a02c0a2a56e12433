//! From a route to an answer: choose an endpoint, lease a connection, exchange
//! one request for one response, and try once more where that is safe.
//!
//! Everything here belongs to one worker and runs in the request's own task.
//! What workers share are the counters and flags of [`app::Endpoint`].
//!
//! What a request seldom waits for (a connection, a ready endpoint) waits in a
//! box of its own: the future of every request would be as large otherwise.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tracing::{info, warn};

use crate::body::Body;
use crate::clock::Instant;
use crate::config::{Limits, OutlierEjection, Protocol, Retries, Timeouts};
use crate::error::Error;
use crate::fields::Fields;
use crate::message::Request;
use crate::telemetry::finished::Stage;

pub mod app;
pub mod balance;
pub mod connect;
pub mod exchange;
mod exchanges;
pub mod health;
pub mod http2;
mod journey;
pub mod outlier;
pub mod pool;
mod refusals;
pub mod retries;
mod seeking;
pub mod turns;
pub mod wait;

use app::{Endpoint, InFlight, Route};
use exchanges::{Asked, Exchanges};
use outlier::Fault;
use pool::Pool;
use seeking::Seeking;
use turns::{Bounds, Seeker, Tried, Turn};

pub use journey::Journey;

/// One worker's way to the apps.
pub struct Upstream {
    pool: Rc<Pool>,
    http2: http2::Connections,
    random: RefCell<SmallRng>,
}

/// A response as the app gave it.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase, if it is not the standard one.
    pub reason: Option<Bytes>,
    /// The header section.
    pub fields: Fields,
    /// The length that a response without a body declares.
    pub declared_length: Option<u64>,
    /// The body, with which the exchange goes on.
    pub body: Body,
    /// The app takes leave with it, before it has read the whole request.
    pub takes_leave: bool,
}

/// What of the settings says how a request gets to its app.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// How long anything may take.
    pub timeouts: &'a Timeouts,
    /// How much anything may use.
    pub limits: &'a Limits,
    /// When it is tried again.
    pub retries: &'a Retries,
    /// When an endpoint that fails is left alone.
    pub ejection: &'a OutlierEjection,
}

/// How a try failed.
#[derive(Debug)]
pub struct Failure {
    /// What the caller is told if there is no other try.
    pub error: Error,
    /// The app did not begin with the request: not a byte of it was sent, or it says so.
    pub unsent: bool,
    /// A kept connection died before it brought a byte: the app closed it while idle. Or it takes
    /// no more requests: the same endpoint may, on another.
    pub stale: bool,
    /// What of it counts against the endpoint.
    pub fault: Option<Fault>,
}

impl Upstream {
    /// A worker's upstream side; `idle` is the most idle connections kept to one endpoint.
    pub fn new(idle: usize) -> Self {
        Self {
            pool: Rc::new(Pool::new(idle)),
            http2: http2::Connections::default(),
            random: RefCell::new(SmallRng::from_os_rng()),
        }
    }

    /// The worker's idle connections.
    pub fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    /// The worker's HTTP/2 connections.
    pub fn http2(&self) -> &http2::Connections {
        &self.http2
    }

    /// Sends a request whose fields are already rewritten, and waits for the response head.
    ///
    /// `find` looks the request's host up again: its route may change while it waits.
    pub async fn forward(
        &self,
        route: &mut Arc<Route>,
        find: &dyn Fn() -> Option<Arc<Route>>,
        request: &mut Request,
        rules: &Rules<'_>,
        journey: &mut Journey,
    ) -> Result<Answer, Error> {
        let Rules { timeouts, retries: budget, ejection, .. } = rules;
        let mut seeking = Seeking::default();
        let mut fresh = false;
        let mut exchanges = Exchanges { upgrade: Asked::of(request), ..Exchanges::default() };
        loop {
            let in_flight = self.choose(route, find, &mut seeking, rules, journey).await?;
            let endpoint = in_flight.endpoint().clone();
            journey.begin(&endpoint);
            if let Some(traceparent) = journey.traceparent() {
                exchanges.fields(request).change_added("traceparent", &traceparent);
            }
            let tried_once = self
                .attempt(
                    route,
                    &endpoint,
                    in_flight,
                    &mut exchanges,
                    fresh,
                    request,
                    rules,
                    journey,
                )
                .await;
            let failure = match tried_once {
                Ok(answer) => {
                    journey.answered(answer.status == StatusCode::SWITCHING_PROTOCOLS);
                    self.answered(route, &endpoint, answer.status, ejection);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            if let Some(fault) = failure.fault {
                self.failed(route, &endpoint, fault, ejection);
            }
            // One kept connection that died says that the others may have, too.
            fresh = failure.stale;
            if !failure.stale {
                let refused = failure.fault == Some(Fault::Connect);
                seeking.tried.push(Tried { id: endpoint.id(), refused });
            }
            let is_another = || {
                let is_tried = |one: &Endpoint| seeking.tried.iter().any(|it| it.is_against(one));
                let untried = |one: &&Arc<Endpoint>| !is_tried(one);
                route.endpoints.iter().filter(untried).any(|endpoint| endpoint.is_ready())
            };
            let retry = seeking.retries < budget.max
                && retries::is_safe(&failure, &request.method)
                && exchanges.can_rewind()
                && (failure.stale || is_another())
                && route.shared.may_retry(failure.stale, budget);
            if retry {
                seeking.retry();
            } else if exchanges.can_rewind() && refusals::may_wait(route, &failure) {
                // Whoever waits for the app does not work at it.
                journey.slot = None;
                seeking.go_back(timeouts.ready.saturating_sub(journey.queued));
            } else {
                return Err(failure.error);
            }
            journey.give_up(&failure.error);
            exchanges.rewind();
        }
    }

    /// One try at one endpoint.
    #[expect(clippy::too_many_arguments, reason = "a step of `forward`, which has them all")]
    async fn attempt(
        &self,
        route: &Route,
        endpoint: &Arc<Endpoint>,
        in_flight: InFlight,
        exchanges: &mut Exchanges,
        fresh: bool,
        request: &mut Request,
        rules: &Rules<'_>,
        journey: &mut Journey,
    ) -> Result<Answer, Failure> {
        let Rules { timeouts, limits, .. } = *rules;
        let unsent = |error| {
            // Before its turn there is over: the next in line must not meet the same.
            refusals::count(route, endpoint, &error);
            let fault = Fault::of(&error);
            Failure { error, unsent: true, stale: false, fault }
        };
        let http2 = match route.protocol {
            Protocol::Http1 => false,
            Protocol::H2c => true,
            // Only HTTP/1.1 has it.
            Protocol::Auto if exchanges.upgrade != Asked::No => false,
            Protocol::Auto => self.asks(endpoint, rules, journey).await.map_err(unsent)?,
        };
        if http2 && exchanges.upgrade == Asked::ByMethod {
            let error = Error::AppNotUpgraded;
            return Err(Failure { error, unsent: false, stale: false, fault: None });
        }
        if http2 {
            let connection = self.http2.lease(endpoint, rules, journey).await.map_err(unsent)?;
            journey.connected();
            return exchanges.http2(request, timeouts, limits).run(&connection, in_flight).await;
        }
        let connection = self.lease(endpoint, fresh, timeouts, journey).await.map_err(unsent)?;
        journey.connected();
        let exchange = exchanges.http1(request, timeouts, limits);
        let head = exchange.run(connection, in_flight, &self.pool).await?;
        let exchange = exchanges.http1.take().ok_or(Error::Internal).map_err(unsent)?;
        Ok(exchange.answer(head))
    }

    /// Whether an endpoint speaks HTTP/2, which it is asked once.
    async fn asks(
        &self,
        endpoint: &Arc<Endpoint>,
        rules: &Rules<'_>,
        journey: &mut Journey,
    ) -> Result<bool, Error> {
        if let Some(known) = endpoint.speaks_http2() {
            return Ok(known);
        }
        let found = Box::pin(self.http2.probe(endpoint, rules, journey)).await?;
        endpoint.found_to_speak_http2(found);
        Ok(found)
    }

    /// The endpoint answered: what it failed before counts no more, if this was none itself.
    fn answered(
        &self,
        route: &Route,
        endpoint: &Endpoint,
        status: StatusCode,
        rules: &OutlierEjection,
    ) {
        let server_error = rules.consecutive_5xx > 0 && status.is_server_error();
        if endpoint.outlier().answered(server_error) {
            // Those who wait for a busy endpoint may go to this one, too.
            route.turns.serve();
            info!(app = %route.app, port = route.port, endpoint = %endpoint.address(), "the endpoint answers again");
        }
        if server_error {
            self.failed(route, endpoint, Fault::ServerError, rules);
        }
    }

    /// The endpoint failed a request, and is ejected if it is its turn and others are left.
    fn failed(&self, route: &Route, endpoint: &Endpoint, fault: Fault, rules: &OutlierEjection) {
        let may = || route.shared.ejections.permit(&route.endpoints, endpoint, rules);
        let random = &mut *self.random.borrow_mut();
        let Some(time) = endpoint.outlier().failed(fault, rules, random, may) else { return };
        route.shared.ejections.count(fault);
        warn!(
            app = %route.app, port = route.port, endpoint = %endpoint.address(),
            reason = fault.label(), seconds = time.as_secs_f32(),
            "the endpoint is ejected: it failed several requests in a row"
        );
    }

    /// An endpoint that takes the request, which is counted there; waits for its turn where it
    /// must.
    async fn choose(
        &self,
        route: &mut Arc<Route>,
        find: &dyn Fn() -> Option<Arc<Route>>,
        seeking: &mut Seeking,
        rules: &Rules<'_>,
        journey: &mut Journey,
    ) -> Result<InFlight, Error> {
        let Rules { timeouts, limits, .. } = *rules;
        journey.stage = Stage::Queue;
        let needs_slot = journey.slot.is_none();
        let seeker = Seeker { standing: seeking.standing, needs_slot, tried: &seeking.tried };
        let at_once = route.turns.at_once(seeker, &route.endpoints, &mut *self.random.borrow_mut());
        let Turn { endpoint, slot, ticket } = if let Some(turn) = at_once {
            turn
        } else {
            let start = Instant::now();
            let left = seeking.left(timeouts.ready.saturating_sub(journey.queued));
            let bounds = Bounds { app: limits.app_queue, all: limits.queue };
            let turn = Box::pin(wait::for_turn(route, find, seeker, left, bounds)).await;
            journey.queued += start.elapsed();
            turn?
        };
        if needs_slot {
            journey.slot = slot;
        }
        seeking.ticket = ticket.or(seeking.ticket);
        Ok(endpoint)
    }

    async fn lease(
        &self,
        endpoint: &Arc<Endpoint>,
        fresh: bool,
        timeouts: &Timeouts,
        journey: &mut Journey,
    ) -> Result<Box<pool::Connection>, Error> {
        if !fresh && let Some(connection) = self.pool.lease(endpoint) {
            return Ok(connection);
        }
        journey.connecting();
        let stream = Box::pin(connect::connect(endpoint, timeouts.connect)).await?;
        Ok(Box::new(pool::Connection::new(stream, endpoint.clone(), timeouts.upstream_keepalive)))
    }
}

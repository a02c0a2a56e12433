//! From a route to an answer: choose an endpoint, lease a connection, exchange
//! one request for one response, and try once more where that is safe.
//!
//! Everything here belongs to one worker and runs in the request's own task.
//! What workers share are the counters and flags of [`app::Endpoint`].

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::clock::Instant;
use crate::config::{Limits, Timeouts};
use crate::error::Error;
use crate::http1::head::ResponseHead;
use crate::message::Request;

pub mod app;
pub mod balance;
pub mod connect;
pub mod exchange;
pub mod health;
pub mod pool;
pub mod wait;

use app::{Endpoint, InFlight, Route};
use exchange::{Exchange, Failure};
use pool::Pool;

/// The most retries of one request.
const MAX_RETRIES: u32 = 2;
/// What each request adds to the retry budget: a fifth of a retry.
const RETRY_SHARE: f32 = 0.2;
/// The most retries saved up, so that a burst of failures is not doubled.
const RETRY_RESERVE: f32 = 10.0;

/// One worker's way to the apps.
pub struct Upstream {
    pool: Rc<Pool>,
    random: RefCell<SmallRng>,
    retry_budget: Cell<f32>,
}

/// What became known of a request on its way, for its record.
#[derive(Debug, Default)]
pub struct Journey {
    /// The endpoint of the last try.
    pub endpoint: Option<Arc<Endpoint>>,
    /// How many tries there were.
    pub attempts: u32,
    /// How long the request waited for a ready endpoint.
    pub waited: Duration,
}

/// The start of a response and the rest of its exchange.
pub struct Answer {
    /// The response head.
    pub head: ResponseHead,
    /// The exchange, which goes on with the body.
    pub exchange: Exchange,
}

impl Upstream {
    /// A worker's upstream side; `idle` is the most idle connections kept to one endpoint.
    pub fn new(idle: usize) -> Self {
        Self {
            pool: Rc::new(Pool::new(idle)),
            random: RefCell::new(SmallRng::from_os_rng()),
            retry_budget: Cell::new(RETRY_RESERVE),
        }
    }

    /// The worker's idle connections.
    pub fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    /// Sends a request whose fields are already rewritten, and waits for the response head.
    ///
    /// `find` looks the request's host up again: its route may change while it waits.
    pub async fn forward(
        &self,
        route: &mut Arc<Route>,
        find: &dyn Fn() -> Option<Arc<Route>>,
        request: &mut Request,
        timeouts: &Timeouts,
        limits: &Limits,
        journey: &mut Journey,
    ) -> Result<Answer, Error> {
        self.retry_budget.set((self.retry_budget.get() + RETRY_SHARE).min(RETRY_RESERVE));
        let mut tried: Vec<u64> = Vec::new();
        let mut fresh = false;
        let mut exchange = Exchange::new(request, timeouts, limits);
        loop {
            let endpoint = self.choose(route, find, &tried, timeouts, limits, journey).await?;
            journey.attempts += 1;
            journey.endpoint = Some(endpoint.clone());
            let in_flight = InFlight::new(endpoint.clone());
            let failure = match self.lease(&endpoint, fresh, timeouts).await {
                Ok(connection) => match exchange.run(connection, in_flight, &self.pool).await {
                    Ok(head) => return Ok(Answer { head, exchange }),
                    Err(failure) => failure,
                },
                Err(error) => Failure { error, unsent: true, stale: false },
            };
            // One kept connection that died says that the others may have, too.
            fresh = failure.stale;
            if !failure.stale {
                tried.push(endpoint.id());
            }
            let retry = self.may_retry(&failure, &request.method, &exchange, journey.attempts)
                && (failure.stale
                    || balance::choose(&route.endpoints, &tried, &mut self.random.borrow_mut())
                        .is_some());
            if !retry {
                return Err(failure.error);
            }
            self.retry_budget.set(self.retry_budget.get() - 1.0);
            exchange.rewind();
        }
    }

    /// RFC 9110 section 9.2.2: what may have been acted on is sent again only if
    /// that makes no difference; what was never sent may always be.
    fn may_retry(
        &self,
        failure: &Failure,
        method: &Method,
        exchange: &Exchange,
        attempts: u32,
    ) -> bool {
        let safe = failure.unsent || (failure.stale && is_idempotent(method));
        safe && exchange.can_rewind()
            && attempts <= MAX_RETRIES
            && (failure.stale || self.retry_budget.get() >= 1.0)
    }

    async fn choose(
        &self,
        route: &mut Arc<Route>,
        find: &dyn Fn() -> Option<Arc<Route>>,
        tried: &[u64],
        timeouts: &Timeouts,
        limits: &Limits,
        journey: &mut Journey,
    ) -> Result<Arc<Endpoint>, Error> {
        if let Some(endpoint) =
            balance::choose(&route.endpoints, tried, &mut self.random.borrow_mut())
        {
            return Ok(endpoint);
        }
        let start = Instant::now();
        let ready = wait::for_ready_endpoint(route, find, timeouts.ready, limits.app_queue).await;
        journey.waited += start.elapsed();
        ready?;
        balance::choose(&route.endpoints, &[], &mut self.random.borrow_mut())
            .ok_or(Error::NoReadyEndpoint)
    }

    async fn lease(
        &self,
        endpoint: &Arc<Endpoint>,
        fresh: bool,
        timeouts: &Timeouts,
    ) -> Result<Box<pool::Connection>, Error> {
        if !fresh && let Some(connection) = self.pool.lease(endpoint) {
            return Ok(connection);
        }
        let stream = connect::connect(endpoint.address(), timeouts.connect)
            .await
            .inspect_err(|_| endpoint.connect_failed())?;
        endpoint.connected();
        Ok(Box::new(pool::Connection::new(stream, endpoint.clone(), timeouts.upstream_keepalive)))
    }
}

/// RFC 9110 section 9.2.2, and QUERY, which is safe by its definition.
fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent() || method.as_str() == "QUERY"
}

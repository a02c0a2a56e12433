//! The way of one request through the gateway, from its head to its answer.
//!
//! [`Gateway::handle`] opens the record and cannot fail; `Gateway::proxy` is
//! the ladder: each step is one line, and a step that refuses ends the climb
//! with an [`Error`] that becomes the answer.

use std::cell::{Ref, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Poll;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use ipnet::IpNet;

use crate::clock::Deadline;
use crate::config::load::{ClientRateLimit, Overload};
use crate::config::traces::Sampling;
use crate::config::{AccessLog, Config, Limits, OutlierEjection, Retries, Timeouts};
use crate::error::Error;
use crate::ids::ExecutionIds;
use crate::message::{Request, Response};
use crate::rate_limit::clients::Clients;
use crate::telemetry::access_log::Output;
use crate::telemetry::executions::Executions;
use crate::telemetry::load::Memory;
use crate::telemetry::metrics::{Cells, Http2Metrics, RouteMetrics, Traffic};
use crate::telemetry::refusals::Refusals;
use crate::telemetry::trace::Traces;
use crate::upstream::{Rules, Upstream};

pub mod admit;
pub mod date;
pub mod grpc;
pub mod headers;
pub mod host;
pub mod observers;
pub mod overload;
pub mod record;
pub mod reply;
pub mod routes;
mod tracer;

use date::DateClock;
use headers::forwarded::Peer;
use observers::Observers;
use overload::Load;
use record::Record;
use routes::RouteTable;
use tracer::Tracer;

/// The settings that a reload may change, read once per request.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How long anything may take.
    pub timeouts: Timeouts,
    /// How much anything may use.
    pub limits: Limits,
    /// Peers whose forwarding fields and PROXY protocol headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// When endpoints that fail are left alone.
    pub outlier_ejection: OutlierEjection,
    /// When a request is tried again.
    pub retries: Retries,
    /// The rate of each client.
    pub rate_limit: Option<ClientRateLimit>,
    /// When the gateway itself has too much to do.
    pub overload: Overload,
    /// The access log.
    pub access_log: AccessLog,
    /// Which requests are traced, where any are.
    pub sampling: Sampling,
}

impl Settings {
    /// What says how a request gets to its app.
    pub fn rules(&self) -> Rules<'_> {
        Rules {
            timeouts: &self.timeouts,
            limits: &self.limits,
            retries: &self.retries,
            ejection: &self.outlier_ejection,
        }
    }
}

impl Settings {
    /// The settings of a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            timeouts: config.timeouts,
            limits: config.limits,
            trusted_proxies: config.trusted_proxies.clone(),
            outlier_ejection: config.outlier_ejection,
            retries: config.retries,
            rate_limit: config.rate_limit,
            overload: config.overload,
            access_log: config.access_log,
            sampling: config.traces.sampling,
        }
    }
}

/// What all workers share: read by every request, written by a reload.
#[derive(Debug)]
pub struct Shared {
    /// Hosts and their routes.
    pub routes: RouteTable,
    /// The settings in force.
    pub settings: ArcSwap<Settings>,
    /// Counts of HTTP/2 connections that were ended because of an error.
    pub http2: Http2Metrics,
    /// Counts of requests that were refused for what their callers sent, and of panics.
    pub refusals: Refusals,
    /// Counts of requests for hosts that no app has.
    pub unknown: RouteMetrics,
    /// Counts of all requests together.
    pub traffic: Cells<Traffic>,
    /// The clients' rates, where they have a limit.
    pub clients: ArcSwapOption<Clients>,
    /// Whether the process has memory left.
    pub memory: Memory,
    /// Executions that are kept, all workers together.
    pub executions: usize,
    /// Whether it ends whatever is still under way.
    pub ending: AtomicBool,
    /// Where spans go, if anywhere.
    pub traces: Option<Arc<Traces>>,
    /// Where access logs are written.
    pub log: Output,
}

impl Shared {
    /// No routes yet, the settings of `config`, and no log.
    pub fn new(config: &Config) -> Self {
        let traces = &config.traces;
        Self {
            routes: RouteTable::new(),
            settings: ArcSwap::from_pointee(Settings::of(config)),
            http2: Http2Metrics::default(),
            refusals: Refusals::default(),
            unknown: RouteMetrics::default(),
            traffic: Cells::default(),
            clients: ArcSwapOption::new(
                config.rate_limit.map(|limit| Arc::new(Clients::new(limit))),
            ),
            memory: Memory::default(),
            executions: config.admin.executions,
            ending: AtomicBool::new(false),
            traces: traces.endpoint.as_ref().map(|_| Arc::new(Traces::new(traces.queue))),
            log: Output::default(),
        }
    }

    /// Puts the settings of `config` in force. Clients keep what they have used unless their limit
    /// is another.
    pub fn reconfigure(&self, config: &Config) {
        let same = self.clients.load().as_ref().map(|clients| *clients.settings());
        if same != config.rate_limit {
            self.clients.store(config.rate_limit.map(|limit| Arc::new(Clients::new(limit))));
        }
        self.settings.store(Arc::new(Settings::of(config)));
    }
}

/// One worker's gateway.
pub struct Gateway {
    shared: Arc<Shared>,
    observers: Rc<Observers>,
    tracer: Option<Tracer>,
    upstream: Upstream,
    ids: RefCell<ExecutionIds>,
    date: DateClock,
    settings: RefCell<(Arc<Settings>, Rc<Settings>)>,
    load: Rc<Load>,
}

impl Gateway {
    /// A gateway for one worker, whose load that is.
    pub fn new(shared: Arc<Shared>, load: Rc<Load>) -> Rc<Self> {
        let settings = shared.settings.load_full();
        let idle = settings.limits.upstream_idle;
        let own = Rc::new(Settings::clone(&settings));
        Rc::new(Self {
            settings: RefCell::new((settings, own)),
            observers: Observers::new(shared.clone(), load.clone()),
            tracer: Tracer::new(&shared),
            shared,
            upstream: Upstream::new(idle),
            ids: RefCell::new(ExecutionIds::new()),
            date: DateClock::default(),
            load,
        })
    }

    /// The settings in force.
    ///
    /// The worker keeps a copy of its own: to count references to the shared one would write to
    /// one cache line from every worker, twice per request.
    pub fn settings(&self) -> Rc<Settings> {
        let current = self.shared.settings.load();
        let (known, own) = &mut *self.settings.borrow_mut();
        if !Arc::ptr_eq(known, &current) {
            *known = Arc::clone(&current);
            *own = Rc::new(Settings::clone(&current));
        }
        own.clone()
    }

    /// This worker's way to the apps.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The last executions of this worker.
    pub fn executions(&self) -> Ref<'_, Executions> {
        self.observers.executions()
    }

    /// Who is told of this worker's requests.
    pub fn observers(&self) -> &Observers {
        &self.observers
    }

    /// What this worker has to do.
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// What all workers share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A record for a request that did not become one: its head was refused.
    pub fn refuse(&self, error: &Error, peer: &Peer) -> (Response, Record) {
        let settings = self.settings();
        let mut record =
            Record::of_refused(&self.observers, self.ids.borrow_mut().mint(), peer, &settings);
        record.failed(error);
        let mut response = reply::problem(error, record.execution_id(), None);
        self.date.ensure(&mut response);
        record.answered(response.status);
        (response, record)
    }

    /// The answer to a request in which the gateway itself failed.
    pub fn crashed(&self, record: &mut Record) -> Response {
        self.shared.refusals.panicked();
        record.failed(&Error::Internal);
        record.answered(Error::Internal.status());
        reply::problem(&Error::Internal, record.execution_id(), None)
    }

    /// Opens the record of a request. Whoever serves the caller keeps it, because it knows what
    /// becomes of the response, and of the request if nobody waits for one.
    pub fn open(&self, request: &Request, peer: &Peer, settings: &Settings) -> Record {
        let id = self.ids.borrow_mut().mint();
        let trace = self.tracer.as_ref().map(|tracer| tracer.begin(request, peer, &id, settings));
        Record::open(&self.observers, id, peer, request, settings, trace)
    }

    /// Answers a request, whatever becomes of it.
    pub async fn handle(
        &self,
        request: &mut Request,
        peer: &Peer,
        record: &mut Record,
        settings: &Settings,
    ) -> Response {
        let mut call = grpc::Call::of(&request.fields);
        if let Some(call) = &call {
            record.called(call.outcome());
        }
        let proxied = {
            // Pinned where it is made: it is large, and passed by value it would be there twice.
            let proxied = pin!(self.proxy(request, peer, record, settings));
            let proxied = pin!(grpc::in_time(call.as_mut(), proxied));
            within(settings.timeouts.request, proxied).await
        };
        let mut response = match proxied {
            Ok(mut response) => {
                record.answered(response.status);
                if let Some(call) = call {
                    call.follow(&mut response);
                }
                response
            }
            Err(error) => {
                record.failed(&error);
                record.answered(error.status());
                match call {
                    Some(call) => reply::trailers_only(&error, record.execution_id(), &call),
                    None => reply::problem(&error, record.execution_id(), Some(request)),
                }
            }
        };
        self.date.ensure(&mut response);
        response
    }

    async fn proxy(
        &self,
        request: &mut Request,
        peer: &Peer,
        record: &mut Record,
        settings: &Settings,
    ) -> Result<Response, Error> {
        // Whose request is it?
        admit::method(&request.method)?;
        let host = host::of_request(request)?;
        let route = self.shared.routes.find(&host);
        if let Some(route) = &route {
            record.resolved(route, &settings.limits)?;
        }

        // May it go on?
        record.occupy(self.load.admit(&self.shared, settings, record.began())?);
        // Before the host is refused: whoever tries names is limited, too.
        admit::client_rate(request, peer, &self.shared, settings)?;
        let mut route = route.ok_or(Error::UnknownHost)?;
        admit::app_rate(&route)?;
        admit::body_length(request, settings.limits.request_body)?;

        // What the app gets to see.
        headers::rewrite_request(request, &route, peer, record.execution_id(), record.trace())?;

        // To the app and back.
        let find = || self.shared.routes.find(&host);
        let rules = settings.rules();
        let answer =
            self.upstream.forward(&mut route, &find, request, &rules, record.journey()).await?;

        // What the caller gets to see.
        Ok(headers::rewrite_response(answer, record.execution_id()))
    }
}

/// Waits for an answer, but no longer than `limit`, if it is not zero.
async fn within<T>(
    limit: Duration,
    mut answer: Pin<&mut impl Future<Output = Result<T, Error>>>,
) -> Result<T, Error> {
    if limit.is_zero() {
        return answer.await;
    }
    let mut deadline = Deadline::new();
    deadline.set_in(limit);
    poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Pending => deadline.poll_passed(cx).map(|()| Err(Error::ResponseTimeout)),
        ready @ Poll::Ready(_) => ready,
    })
    .await
}

//! Whoever is told of every request that has ended, on one worker.
//!
//! Each is one line of [`Observers::tell`], runs on the request's own thread, and
//! may neither block nor lock nor allocate there.

use std::cell::{Ref, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use super::overload::Load;
use crate::config::Protocol;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::executions::Executions;
use crate::telemetry::finished::Finished;
use crate::telemetry::trace::Recorded;
use crate::upstream::app::Route;

/// One worker's observers.
#[derive(Debug)]
pub struct Observers {
    shared: Arc<Shared>,
    load: Rc<Load>,
    executions: RefCell<Executions>,
    access_log: AccessLog,
}

impl Observers {
    /// Those of a worker.
    pub fn new(shared: Arc<Shared>, load: Rc<Load>) -> Rc<Self> {
        let executions = Executions::new(shared.executions.div_ceil(load.workers()));
        let access_log = AccessLog::new(shared.log.clone());
        Rc::new(Self { shared, load, executions: RefCell::new(executions), access_log })
    }

    /// The last executions of this worker.
    pub fn executions(&self) -> Ref<'_, Executions> {
        self.executions.borrow()
    }

    /// The worker's number, by which it finds the cells that it alone writes to.
    pub fn worker(&self) -> usize {
        self.load.worker()
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.load.workers()
    }

    /// What all workers share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Whether requests are cut off because the gateway ends.
    pub fn is_ending(&self) -> bool {
        self.shared.ending.load(Ordering::Relaxed)
    }

    /// A request has ended; `route` was its app's, if it had one. `logged` says that the access
    /// log wants it.
    pub fn tell(&self, finished: &Finished<'_>, route: Option<&Route>, logged: bool) {
        let worker = self.worker();
        let metrics = if let Some(route) = route {
            &route.shared.metrics
        } else {
            self.shared.unknown.begin(worker);
            &self.shared.unknown
        };
        metrics.end(worker, finished);
        self.shared.traffic.of(worker).end(finished);
        self.load.latency(finished);
        self.executions.borrow_mut().keep(finished);
        if logged {
            self.access_log.write(finished);
        }
        if let Some(traces) = &self.shared.traces
            && let Some(recorded) = Recorded::of(finished, route.and_then(version_of))
        {
            traces.hand_over(Box::new(recorded));
        }
    }

    /// Hands over what was gathered; called some times a second by the worker.
    pub fn flush(&self) {
        self.access_log.flush();
    }
}

/// The version that all endpoints of a route speak.
fn version_of(route: &Route) -> Option<&'static str> {
    match route.protocol {
        Protocol::Http1 => Some("1.1"),
        Protocol::H2c => Some("2"),
        Protocol::Auto => None,
    }
}

//! Apps from the configuration file: their routes, and the probes of their
//! endpoints.
//!
//! A change is applied app by app; what stays the same is not touched, and an
//! endpoint that stays keeps its readiness, its counters and its connections.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::config::{App, Config, Limits, Protocol};
use crate::gateway::Shared;
use crate::gateway::routes::{AppSpec, PortSpec};
use crate::ids::HostName;
use crate::upstream::app::{Endpoint, Route};
use crate::upstream::health::{self, Speech, Timings};
use crate::upstream::turns::Concurrency;

/// Keeps the route table and the probes as the configuration says.
pub struct FileDiscovery {
    shared: Arc<Shared>,
    /// `None`: readiness is somebody else's to set.
    timings: Option<Timings>,
    probes: HashMap<u64, Probe>,
}

struct Probe {
    path: String,
    protocol: Protocol,
    task: AbortHandle,
    /// Whether its reports count. An abort is not at once: a report may be on its way on another
    /// thread, and must not undo what was decided since.
    counts: Arc<Mutex<bool>>,
    /// Whether it had a result.
    heard: Arc<AtomicBool>,
}

impl Probe {
    /// Ends it; nothing that it found takes effect from here on.
    fn stop(&self) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.task.abort();
    }
}

impl FileDiscovery {
    /// Probes by the contract's timings; endpoints of a file are there already, so at once.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self::with_timings(shared, Timings::CONTRACT.without_initial_delay())
    }

    /// Probes by other timings.
    pub fn with_timings(shared: Arc<Shared>, timings: Timings) -> Self {
        Self { shared, timings: Some(timings), probes: HashMap::new() }
    }

    /// Keeps only the routes: endpoints that are to be probed begin unready, and
    /// whoever asked for this makes them ready.
    pub fn without_probes(shared: Arc<Shared>) -> Self {
        Self { shared, timings: None, probes: HashMap::new() }
    }

    /// Makes `config` the truth. Its hosts are known not to collide.
    pub fn apply(&mut self, config: &Config) {
        self.register(None, config);
    }

    /// Makes `new` the truth in place of `old`, which is in force: an app that is the same in both is
    /// not registered again. With 100,000 apps that would keep a shard of the table locked against
    /// workers for most of half a second.
    pub fn change(&mut self, old: &Config, new: &Config) {
        self.register(Some(old), new);
    }

    fn register(&mut self, old: Option<&Config>, config: &Config) {
        let hosts: HashSet<_> = config
            .apps
            .iter()
            .flat_map(|app| app.ports.iter().map(move |port| (app, port)))
            .filter_map(|(app, port)| {
                let host = HostName::of_port(&app.id, port.port, &config.domain).ok()?;
                Some((host, app.id.clone()))
            })
            .collect();
        // What goes, goes first: its hosts may be another app's now.
        self.shared.routes.retain(|route| hosts.contains(&(route.host.clone(), route.app.clone())));
        // Of everything beside the app, its routes depend on these.
        let whole = |config: &Config| {
            let limits = &config.limits;
            (config.domain.clone(), limits.app_concurrency, limits.endpoint_concurrency)
        };
        let known: HashMap<_, _> = old
            .filter(|old| whole(old) == whole(config))
            .map(|old| old.apps.iter().map(|app| (&app.id, app)).collect())
            .unwrap_or_default();
        for app in config.apps.iter().filter(|app| known.get(&app.id) != Some(app)) {
            let spec = spec(app, &config.limits);
            for error in self.shared.routes.register(&spec, &config.domain) {
                tracing::error!(%error, "a port is not served");
            }
        }
        self.probe(config);
    }

    /// Waits until each endpoint was asked once whether it is ready.
    pub async fn all_heard(&self) {
        while self.probes.values().any(|probe| !probe.heard.load(Ordering::Relaxed)) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Starts the probes that are missing and ends those of nothing.
    fn probe(&mut self, config: &Config) {
        let Some(timings) = self.timings else { return };
        let mut wanted = HashSet::new();
        let apps: HashMap<_, _> = config.apps.iter().map(|app| (&app.id, app)).collect();
        for route in self.shared.routes.routes() {
            let Some(app) = apps.get(&route.app).filter(|app| app.health_check) else {
                for endpoint in &route.endpoints {
                    if let Some(probe) = self.probes.remove(&endpoint.id()) {
                        probe.stop();
                    }
                    endpoint.set_probed(false);
                    endpoint.set_ready(true);
                }
                route.turns.serve();
                continue;
            };
            for endpoint in &route.endpoints {
                wanted.insert(endpoint.id());
                endpoint.set_probed(true);
                let known = self.probes.get(&endpoint.id());
                let is_asked = |probe: &Probe| {
                    (&probe.path, probe.protocol) == (&app.health_path, route.protocol)
                };
                if !known.is_some_and(is_asked) {
                    let probe = start(&route, endpoint, &app.health_path, timings);
                    if let Some(old) = self.probes.insert(endpoint.id(), probe) {
                        old.stop();
                    }
                }
            }
        }
        self.probes.retain(|id, probe| {
            let wanted = wanted.contains(id);
            if !wanted {
                probe.stop();
            }
            wanted
        });
    }
}

impl Drop for FileDiscovery {
    fn drop(&mut self) {
        for probe in self.probes.values() {
            probe.task.abort();
        }
    }
}

fn start(route: &Route, endpoint: &Arc<Endpoint>, path: &str, timings: Timings) -> Probe {
    let (endpoint, turns) = (endpoint.clone(), route.turns.clone());
    let (app, path) = (route.app.clone(), path.to_owned());
    let (watched, protocol) = (path.clone(), route.protocol);
    let counts = Arc::new(Mutex::new(true));
    let counted = counts.clone();
    let heard = Arc::new(AtomicBool::new(false));
    let heard_now = heard.clone();
    let task = tokio::spawn(async move {
        let address = endpoint.address();
        let speech = || speech(protocol, &endpoint);
        health::watch(address, &watched, timings, speech, &*endpoint, |report| {
            let counts = counted.lock().unwrap_or_else(PoisonError::into_inner);
            if !*counts {
                return;
            }
            let (was_ready, was_sound) = (endpoint.is_ready(), endpoint.is_sound());
            // A ready app's first failures change nothing, nor do they say that it is up.
            if report.outcome.is_ok() || !report.ready {
                endpoint.set_ready(report.ready);
            }
            if endpoint.is_ready() && !was_ready {
                tracing::info!(%app, %address, "endpoint is ready");
            } else if let (false, true, Err(error)) = (report.ready, was_ready, &report.outcome) {
                tracing::warn!(%app, %address, path = watched, %error, "endpoint is not ready");
            }
            // Also one that was ready and refused: who waits for a busy one may go to it.
            if endpoint.is_sound() && !was_sound || endpoint.is_ready() && !was_ready {
                turns.serve();
            }
            heard_now.store(true, Ordering::Relaxed);
        })
        .await;
    });
    Probe { path, protocol, task: task.abort_handle(), counts, heard }
}

fn speech(protocol: Protocol, endpoint: &Endpoint) -> Speech {
    match (protocol, endpoint.speaks_http2()) {
        (Protocol::Http1, _) | (Protocol::Auto, Some(false)) => Speech::Http1,
        (Protocol::H2c, _) | (Protocol::Auto, Some(true)) => Speech::Http2,
        (Protocol::Auto, None) => Speech::Either,
    }
}

/// The app as the route table takes it.
pub fn spec(app: &App, limits: &Limits) -> AppSpec {
    let ports = app.ports.iter();
    AppSpec {
        id: app.id.clone(),
        ports: ports
            .map(|port| PortSpec {
                port: port.port,
                endpoints: port.endpoints.clone(),
                draining: port.draining.clone(),
                protocol: port.protocol,
            })
            .collect(),
        concurrency: Concurrency {
            app: app.concurrency.unwrap_or(limits.app_concurrency),
            endpoint: app.endpoint_concurrency.unwrap_or(limits.endpoint_concurrency),
        },
        rate_limit: app.rate_limit,
        ready: !app.health_check,
    }
}

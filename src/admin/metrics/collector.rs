//! Reads the counters at the moment of asking and writes them, family by family.
//!
//! Labels come from configured apps and fixed lists only. A host that never had
//! a request has rows for its endpoints and no others, so that many idle apps
//! cost a scrape little; what is counted of unknown hosts shares one row.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::family::{self, Family, Writer};
use super::{Format, traces};
use crate::admin::Admin;
use crate::admin::apps::{self, Load};
use crate::ids::AppId;
use crate::telemetry::metrics::{Http2Metrics, RouteMetrics, WorkerMetrics};
use crate::telemetry::refusals::Refusals;
use crate::telemetry::state::State;
use crate::telemetry::tls::{Certificate, Certificates, Handshakes};
use crate::upstream::app::{Endpoint, Route};
use crate::worker::Crew;

/// The organization, app and port of requests that no app was found for. No
/// label of DNS begins with `_`, so no app can have that name.
const UNKNOWN: &str = "_unknown";

/// All numbers of a gateway, in one format.
pub(super) struct Exposition {
    pub(super) admin: Admin,
    pub(super) format: Format,
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposition").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Admin { shared, crew, state, certificates, .. } = &self.admin;
        let mut out = Writer::new(encoder, self.format);
        let routes = apps::sorted(shared);
        hosts(&mut out, &routes, &shared.unknown)?;
        endpoints(&mut out, &routes)?;
        failures(&mut out, &routes)?;
        demand(&mut out, &routes)?;
        workers(&mut out, crew)?;
        load_of_workers(&mut out, crew)?;
        refusals(&mut out, &shared.refusals)?;
        http2(&mut out, &shared.http2)?;
        handshakes(&mut out, crew)?;
        certificates_in_force(&mut out, certificates)?;
        traces::spans(&mut out, shared.traces.as_ref())?;
        process(&mut out, state)
    }
}

/// How one number is read.
type Read<T> = fn(&T) -> u64;

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// A host that had requests.
struct Host<'a> {
    organization: &'a str,
    app: &'a str,
    port: String,
    metrics: &'a RouteMetrics,
}

impl<'a> Host<'a> {
    fn of(route: &'a Route) -> Self {
        Self {
            organization: route.app.organization.as_str(),
            app: route.app.name.as_str(),
            port: route.port.to_string(),
            metrics: &route.shared.metrics,
        }
    }

    fn labels(&self) -> [(&'static str, &str); 3] {
        [("organization", self.organization), ("app", self.app), ("port", &self.port)]
    }
}

fn hosts(out: &mut Writer<'_>, routes: &[Arc<Route>], unknown: &RouteMetrics) -> fmt::Result {
    let unknown =
        Host { organization: UNKNOWN, app: UNKNOWN, port: UNKNOWN.to_owned(), metrics: unknown };
    let used: Vec<_> = routes
        .iter()
        .filter(|route| route.shared.metrics.begun() > 0)
        .map(|route| Host::of(route))
        .chain((unknown.metrics.begun() > 0).then_some(unknown))
        .collect();

    let mut samples = out.begin(&family::DURATION)?;
    for host in &used {
        samples.add_durations(&host.labels(), &host.metrics.durations())?;
    }
    let mut samples = out.begin(&family::REQUESTS)?;
    for host in &used {
        let [organization, app, port] = host.labels();
        for (method, class, count) in host.metrics.requests() {
            let (method, class) =
                (("http_request_method", method), ("http_response_status_class", class));
            samples.add(&[organization, app, port, method, class], count)?;
        }
    }
    let each: [(&Family, Read<RouteMetrics>); 3] = [
        (&family::ACTIVE, RouteMetrics::in_flight),
        (&family::REQUEST_BYTES, |metrics| metrics.bytes().0),
        (&family::RESPONSE_BYTES, |metrics| metrics.bytes().1),
    ];
    for (family, value) in each {
        let mut samples = out.begin(family)?;
        for host in &used {
            samples.add(&host.labels(), value(host.metrics))?;
        }
    }
    let mut samples = out.begin(&family::RATE_LIMITED)?;
    for host in &used {
        let [organization, app, port] = host.labels();
        for (limit, count) in host.metrics.rate_limited() {
            samples.add(&[organization, app, port, ("limit", limit)], count)?;
        }
    }
    Ok(())
}

/// Of every host: an app that lost all endpoints must show a zero, not vanish.
fn endpoints(out: &mut Writer<'_>, routes: &[Arc<Route>]) -> fmt::Result {
    let mut samples = out.begin(&family::ENDPOINTS)?;
    for route in routes {
        let host = Host::of(route);
        let [organization, app, port] = host.labels();
        let count = |state| {
            let is = |endpoint: &&Arc<Endpoint>| state_of(endpoint) == state;
            route.endpoints.iter().filter(is).count()
        };
        for state in ["ready", "ejected", "draining", "unready"] {
            let count = count(state);
            samples.add(&[organization, app, port, ("state", state)], count as u64)?;
        }
    }
    Ok(())
}

fn state_of(endpoint: &Endpoint) -> &'static str {
    match (endpoint.is_ready(), endpoint.outlier().ejected()) {
        (false, _) => "unready",
        (true, _) if endpoint.is_draining() => "draining",
        (true, Some(_)) => "ejected",
        (true, None) => "ready",
    }
}

/// What failed, and was tried again.
fn failures(out: &mut Writer<'_>, routes: &[Arc<Route>]) -> fmt::Result {
    let mut samples = out.begin(&family::EJECTIONS)?;
    for route in routes {
        let host = Host::of(route);
        let [organization, app, port] = host.labels();
        for (fault, count) in route.shared.ejections.counts().filter(|(_, count)| *count > 0) {
            samples.add(&[organization, app, port, ("reason", fault.label())], count)?;
        }
    }
    let mut samples = out.begin(&family::RETRIES)?;
    for route in routes.iter().filter(|route| route.shared.metrics.begun() > 0) {
        let host = Host::of(route);
        let [organization, app, port] = host.labels();
        let (sent, refused) = route.shared.retries.counts();
        for (result, count) in [("sent", sent), ("over_budget", refused)] {
            samples.add(&[organization, app, port, ("result", result)], count)?;
        }
    }
    Ok(())
}

/// Of apps with requests now or ever: what an autoscaler goes by is the app's, not a port's.
fn demand(out: &mut Writer<'_>, routes: &[Arc<Route>]) -> fmt::Result {
    let apps = || apps::by_app(routes);
    let used: Vec<_> = apps()
        .filter(|app| app.iter().any(|route| route.shared.metrics.begun() > 0))
        .filter_map(|app| Some((&app.first()?.app, app, Load::of(app))))
        .collect();
    let each: [(&Family, Read<Load>); 2] =
        [(&family::IN_FLIGHT, |load| load.in_flight), (&family::WAITING, |load| load.waiting)];
    for (family, value) in each {
        let mut samples = out.begin(family)?;
        for (id, _, load) in &used {
            samples.add(&labels(id), value(load))?;
        }
    }
    let mut samples = out.begin(&family::OLDEST_WAIT)?;
    for (id, app, _) in &used {
        samples.add_seconds(&labels(id), apps::oldest_wait(app))?;
    }
    out.single(&family::APPS, apps().count() as u64)
}

fn labels(id: &AppId) -> [(&'static str, &str); 2] {
    [("organization", id.organization.as_str()), ("app", id.name.as_str())]
}

fn workers(out: &mut Writer<'_>, crew: &Crew) -> fmt::Result {
    let each: [(&Family, Read<WorkerMetrics>); 5] = [
        (&family::CONNECTIONS, |worker| load(&worker.connections)),
        (&family::IDLE, |worker| load(&worker.idle)),
        (&family::ACCEPTED, |worker| load(&worker.accepted)),
        (&family::HANDED_OVER, |worker| load(&worker.handed_over)),
        (&family::UPSTREAM_IDLE, |worker| load(&worker.pool_idle)),
    ];
    for (family, value) in each {
        let mut samples = out.begin(family)?;
        for (index, worker) in crew.metrics().enumerate() {
            samples.add(&[("worker", index.to_string())], value(worker))?;
        }
    }
    let mut samples = out.begin(&family::REFUSED)?;
    for (index, worker) in crew.metrics().enumerate() {
        let index = index.to_string();
        for (reason, counter) in
            [("total", &worker.refused_total), ("client", &worker.refused_client)]
        {
            samples.add(&[("worker", index.as_str()), ("reason", reason)], load(counter))?;
        }
    }
    let mut samples = out.begin(&family::PROXY_PROTOCOL_REFUSED)?;
    for (index, worker) in crew.metrics().enumerate() {
        let index = index.to_string();
        for (reason, count) in worker.proxy_protocol_refused.rows() {
            samples.add(&[("worker", index.as_str()), ("reason", reason)], count)?;
        }
    }
    let mut samples = out.begin(&family::UPSTREAM_REQUESTS)?;
    for (index, worker) in crew.metrics().enumerate() {
        let index = index.to_string();
        for (how, counter) in [("reused", &worker.pool_reused), ("new", &worker.pool_missed)] {
            samples.add(&[("worker", index.as_str()), ("connection", how)], load(counter))?;
        }
    }
    Ok(())
}

fn load_of_workers(out: &mut Writer<'_>, crew: &Crew) -> fmt::Result {
    let mut samples = out.begin(&family::SHED)?;
    for (index, worker) in crew.metrics().enumerate() {
        let index = index.to_string();
        for (reason, count) in worker.load.sheds() {
            samples.add(&[("worker", index.as_str()), ("reason", reason)], count)?;
        }
    }
    let mut samples = out.begin(&family::LAG)?;
    for (index, worker) in crew.metrics().enumerate() {
        samples.add_durations(&[("worker", index.to_string())], &worker.load.lag())?;
    }
    Ok(())
}

fn refusals(out: &mut Writer<'_>, refusals: &Refusals) -> fmt::Result {
    let mut samples = out.begin(&family::REFUSED_REQUESTS)?;
    for (reason, count) in refusals.refused() {
        samples.add(&[("reason", reason)], count)?;
    }
    out.single(&family::PANICS, refusals.panics())
}

fn http2(out: &mut Writer<'_>, metrics: &Http2Metrics) -> fmt::Result {
    let mut samples = out.begin(&family::HTTP2_ERRORS)?;
    for (reason, count) in metrics.errors() {
        samples.add(&[("reason", reason)], count)?;
    }
    Ok(())
}

/// Of all workers together: which of them a caller meets tells nothing.
fn handshakes(out: &mut Writer<'_>, crew: &Crew) -> fmt::Result {
    let each = || crew.metrics().map(|worker| &worker.handshakes);
    let mut samples = out.begin(&family::HANDSHAKES)?;
    for ((version, kind), count) in summed(each().map(Handshakes::done)) {
        samples.add(&[("version", version), ("handshake", kind)], count)?;
    }
    let mut samples = out.begin(&family::HANDSHAKE_FAILURES)?;
    for (reason, count) in summed(each().map(Handshakes::failed)) {
        samples.add(&[("reason", reason)], count)?;
    }
    out.single(&family::HANDSHAKES_UNDER_WAY, each().map(Handshakes::under_way).sum())
}

/// The rows of several workers, which come in the same order from each.
fn summed<K>(
    workers: impl Iterator<Item = impl Iterator<Item = (K, u64)>>,
) -> impl Iterator<Item = (K, u64)> {
    let mut sums: Vec<(K, u64)> = Vec::new();
    for worker in workers {
        for (index, (key, count)) in worker.enumerate() {
            match sums.get_mut(index) {
                Some((_, sum)) => *sum += count,
                None => sums.push((key, count)),
            }
        }
    }
    sums.into_iter()
}

fn certificates_in_force(out: &mut Writer<'_>, certificates: &Certificates) -> fmt::Result {
    let mut samples = out.begin(&family::CERTIFICATE_EXPIRY)?;
    for Certificate { name, file, not_after } in certificates.in_force() {
        samples.add(&[("name", name), ("file", file)], not_after)?;
    }
    let (succeeded, failed) = certificates.reloads();
    let mut samples = out.begin(&family::CERTIFICATE_RELOADS)?;
    samples.add(&[("result", "success")], succeeded)?;
    samples.add(&[("result", "failure")], failed)
}

fn process(out: &mut Writer<'_>, state: &State) -> fmt::Result {
    let (succeeded, failed) = state.reloads();
    let mut samples = out.begin(&family::RELOADS)?;
    samples.add(&[("result", "success")], succeeded)?;
    samples.add(&[("result", "failure")], failed)?;
    out.single(&family::LAST_SUCCESS, state.last_success())?;
    out.begin(&family::BUILD)?.add(&[("version", env!("CARGO_PKG_VERSION"))], 1)
}

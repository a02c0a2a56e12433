//! What is counted of each app, and of each of its ports.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::family::{self, Family};
use super::super::text::Text;
use crate::admin::apps::{self, Load};
use crate::error::REASONS;
use crate::ids::AppId;
use crate::telemetry::metrics::RouteMetrics;
use crate::telemetry::usage::Usage;
use crate::upstream::app::{Endpoint, Route};

/// The organization, app and port of requests that no app was found for. No
/// label of DNS begins with `_`, so no app can have that name.
const UNKNOWN: &str = "_unknown";

/// How one number is read.
type Read<T> = fn(&T) -> u64;

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

    fn labels(&self) -> [(&str, &str); 3] {
        [("organization", self.organization), ("app", self.app), ("port", &self.port)]
    }
}

/// Of every host that had requests, and of those that no host was found for.
pub(super) fn requests(text: &mut Text, routes: &[Arc<Route>], unknown: &RouteMetrics) {
    let unknown =
        Host { organization: UNKNOWN, app: UNKNOWN, port: UNKNOWN.to_owned(), metrics: unknown };
    let used: Vec<_> = routes
        .iter()
        .filter(|route| route.shared.metrics.begun() > 0)
        .map(|route| Host::of(route))
        .chain((unknown.metrics.begun() > 0).then_some(unknown))
        .collect();

    let mut samples = text.begin(&family::DURATION);
    for host in &used {
        let (durations, exemplars) = (host.metrics.durations(), host.metrics.exemplars());
        samples.add_durations_with(&host.labels(), &durations, exemplars);
    }
    let mut samples = text.begin(&family::REQUESTS);
    for host in &used {
        let [organization, app, port] = host.labels();
        for (method, class, count) in host.metrics.requests() {
            let (method, class) =
                (("http_request_method", method), ("http_response_status_class", class));
            samples.add(&[organization, app, port, method, class], count);
        }
    }
    let mut samples = text.begin(&family::FAILURES);
    for host in &used {
        let [organization, app, port] = host.labels();
        for (at, count) in host.metrics.failures() {
            let Some((side, reason)) = REASONS.get(at) else { continue };
            let (side, reason) = (("side", side.as_str()), ("reason", *reason));
            samples.add(&[organization, app, port, side, reason], count);
        }
    }
    let each: [(&Family, Read<RouteMetrics>); 3] = [
        (&family::ACTIVE, RouteMetrics::in_flight),
        (&family::REQUEST_BYTES, |metrics| metrics.bytes().0),
        (&family::RESPONSE_BYTES, |metrics| metrics.bytes().1),
    ];
    for (family, value) in each {
        let mut samples = text.begin(family);
        for host in &used {
            samples.add(&host.labels(), value(host.metrics));
        }
    }
    let mut samples = text.begin(&family::RATE_LIMITED);
    for host in &used {
        let [organization, app, port] = host.labels();
        for (limit, count) in host.metrics.rate_limited() {
            samples.add(&[organization, app, port, ("limit", limit)], count);
        }
    }
    times(text, &used);
}

/// Where the time of requests went, of hosts that had any.
fn times(text: &mut Text, used: &[Host<'_>]) {
    for (family, read) in [
        (&family::FIRST_BYTE, RouteMetrics::first_bytes as fn(&RouteMetrics) -> _),
        (&family::QUEUE, RouteMetrics::waits),
    ] {
        let mut samples = text.begin(family);
        for host in used {
            let durations = read(host.metrics);
            if durations.count() > 0 {
                samples.add_durations(&host.labels(), &durations);
            }
        }
    }
}

/// Of every host: an app that lost all endpoints must show a zero, not vanish.
pub(super) fn endpoints(text: &mut Text, routes: &[Arc<Route>]) {
    let mut samples = text.begin(&family::ENDPOINTS);
    for route in routes {
        let host = Host::of(route);
        let [organization, app, port] = host.labels();
        let count = |state| {
            let is = |endpoint: &&Arc<Endpoint>| state_of(endpoint) == state;
            route.endpoints.iter().filter(is).count()
        };
        for state in ["ready", "ejected", "draining", "unready"] {
            let count = count(state);
            samples.add(&[organization, app, port, ("state", state)], count as u64);
        }
    }
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
pub(super) fn failures(text: &mut Text, routes: &[Arc<Route>]) {
    let mut samples = text.begin(&family::EJECTIONS);
    for route in routes {
        let host = Host::of(route);
        let [organization, app, port] = host.labels();
        for (fault, count) in route.shared.ejections.counts().filter(|(_, count)| *count > 0) {
            samples.add(&[organization, app, port, ("reason", fault.label())], count);
        }
    }
    let mut samples = text.begin(&family::RETRIES);
    for route in routes.iter().filter(|route| route.shared.metrics.begun() > 0) {
        let host = Host::of(route);
        let [organization, app, port] = host.labels();
        let (sent, refused) = route.shared.retries.counts();
        for (result, count) in [("sent", sent), ("over_budget", refused)] {
            samples.add(&[organization, app, port, ("result", result)], count);
        }
    }
}

/// Of apps with requests now or ever: what an autoscaler goes by is the app's, not a port's.
pub(super) fn demand(text: &mut Text, routes: &[Arc<Route>]) {
    let apps = || apps::by_app(routes);
    let used: Vec<_> = apps()
        .filter(|app| app.iter().any(|route| route.shared.metrics.begun() > 0))
        .filter_map(|app| Some((&app.first()?.app, app, Load::of(app))))
        .collect();
    let each: [(&Family, Read<Load>); 2] =
        [(&family::IN_FLIGHT, |load| load.in_flight), (&family::WAITING, |load| load.waiting)];
    for (family, value) in each {
        let mut samples = text.begin(family);
        for (id, _, load) in &used {
            samples.add(&labels(id), value(load));
        }
    }
    let mut samples = text.begin(&family::OLDEST_WAIT);
    for (id, app, _) in &used {
        samples.add_seconds(&labels(id), apps::oldest_wait(app));
    }
    text.single(&family::APPS, apps().count() as u64);
}

/// Of every app that was ever called, gone or not: what is billed must not vanish.
pub(super) fn usage(text: &mut Text, apps: &BTreeMap<AppId, Usage>) {
    let each: [(&Family, Read<Usage>); 4] = [
        (&family::USAGE_INVOCATIONS, |usage| usage.invocations),
        (&family::USAGE_MILLISECONDS, |usage| usage.milliseconds),
        (&family::USAGE_REQUEST_BYTES, |usage| usage.bytes_in),
        (&family::USAGE_RESPONSE_BYTES, |usage| usage.bytes_out),
    ];
    for (family, value) in each {
        let mut samples = text.begin(family);
        for (id, usage) in apps {
            samples.add(&labels(id), value(usage));
        }
    }
}

fn labels(id: &AppId) -> [(&str, &str); 2] {
    [("organization", id.organization.as_str()), ("app", id.name.as_str())]
}

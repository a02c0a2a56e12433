//! The apps as JSON: what serves, what waits, what is under way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::upstream::app::Route;

/// One app.
#[derive(Serialize)]
pub(super) struct App {
    organization: String,
    name: String,
    /// Requests that wait for their turn at the app; null without a limit.
    queued: Option<usize>,
    ports: Vec<Port>,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names of the JSON document")]
struct Port {
    port: u16,
    host: String,
    in_flight: u64,
    /// Requests that wait for a ready endpoint.
    waiting: usize,
    endpoints: Vec<Endpoint>,
}

#[derive(Serialize)]
struct Endpoint {
    address: String,
    ready: bool,
    in_flight: u32,
}

/// The apps of these routes, by organization and name.
pub(super) fn list(routes: &[Arc<Route>]) -> Vec<App> {
    let mut apps = BTreeMap::new();
    for route in routes {
        let app = apps.entry(&route.app).or_insert_with(|| {
            let shared = &route.shared.app;
            App {
                organization: route.app.organization.to_string(),
                name: route.app.name.to_string(),
                queued: shared.turns.as_ref().map(|_| shared.queued.load(Ordering::Relaxed)),
                ports: Vec::new(),
            }
        });
        app.ports.push(port(route));
        app.ports.sort_by_key(|port| port.port);
    }
    apps.into_values().collect()
}

fn port(route: &Route) -> Port {
    let endpoints = route.endpoints.iter().map(|endpoint| Endpoint {
        address: endpoint.address().to_string(),
        ready: endpoint.is_ready(),
        in_flight: endpoint.in_flight(),
    });
    Port {
        port: route.port,
        host: route.host.to_string(),
        in_flight: route.shared.metrics.in_flight(),
        waiting: route.shared.waiting.load(Ordering::Relaxed),
        endpoints: endpoints.collect(),
    }
}

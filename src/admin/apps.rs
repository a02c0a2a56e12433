//! The apps as JSON: their hosts, their endpoints, and what they are at.
//!
//! Read from the route table at the moment of asking, sorted by organization,
//! name and port. Numbers are read one by one, so they may differ by a request.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Admin;
use super::large::Failed;
use crate::gateway::Shared;
use crate::upstream::app::{Endpoint, Route};

#[derive(Serialize)]
struct AppView<'a> {
    organization: &'a str,
    name: &'a str,
    /// Requests under way, those that wait included.
    in_flight: u64,
    /// Requests that wait for a ready endpoint.
    waiting: usize,
    /// Requests that wait for their turn at the app.
    queued: usize,
    ports: Vec<PortView<'a>>,
}

#[derive(Serialize)]
struct PortView<'a> {
    port: u16,
    host: &'a str,
    in_flight: u64,
    waiting: usize,
    endpoints: Vec<EndpointView>,
}

#[derive(Serialize)]
struct EndpointView {
    address: std::net::SocketAddr,
    ready: bool,
    in_flight: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    ejected: Option<EjectedView>,
}

/// An endpoint that is left alone because it failed requests.
#[derive(Serialize)]
struct EjectedView {
    reason: &'static str,
    /// Until one request tries it.
    seconds_left: f32,
}

/// RFC 9457.
#[derive(Serialize)]
struct Problem {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
}

/// `GET /apps`.
pub(super) async fn list(State(admin): State<Admin>) -> Result<Response, Failed> {
    let shared = admin.shared.clone();
    let content = admin.places.make(move || {
        let routes = sorted(&shared);
        line(&by_app(&routes).map(AppView::of).collect::<Vec<_>>())
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], content.await?).into_response())
}

/// `GET /apps/{organization}/{name}`.
pub(super) async fn one(
    State(admin): State<Admin>,
    Path((organization, name)): Path<(String, String)>,
) -> Result<Response, Failed> {
    let mut routes = admin.shared.routes.routes();
    routes.retain(|route| {
        route.app.organization.as_str() == organization && route.app.name.as_str() == name
    });
    if routes.is_empty() {
        return not_found(&organization, &name);
    }
    routes.sort_by_key(|route| route.port);
    let content = line(&AppView::of(&routes)).map_err(|_error| Failed)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], content).into_response())
}

fn not_found(organization: &str, name: &str) -> Result<Response, Failed> {
    let status = StatusCode::NOT_FOUND;
    let problem = Problem {
        r#type: "about:blank",
        title: "Not Found",
        status: status.as_u16(),
        detail: format!("there is no app {organization}/{name} here; /apps lists them"),
    };
    let content = line(&problem).map_err(|_error| Failed)?;
    Ok((status, [(header::CONTENT_TYPE, "application/problem+json")], content).into_response())
}

/// Every route, sorted by app and port.
pub(super) fn sorted(shared: &Shared) -> Vec<Arc<Route>> {
    let mut routes = shared.routes.routes();
    routes.sort_unstable_by(|a, b| a.app.cmp(&b.app).then(a.port.cmp(&b.port)));
    routes
}

/// The routes of one app after the other; none of the slices is empty.
pub(super) fn by_app(routes: &[Arc<Route>]) -> impl Iterator<Item = &[Arc<Route>]> {
    routes.chunk_by(|a, b| a.app == b.app)
}

/// Requests of an app that wait for a ready endpoint, and for their turn.
pub(super) fn waiting(app: &[Arc<Route>]) -> (usize, usize) {
    let waiting = app.iter().map(|route| route.shared.waiting.load(Ordering::Relaxed)).sum();
    // Ports share their app's queue: it counts once.
    let queued = app.first().map_or(0, |route| route.turns.queued.load(Ordering::Relaxed));
    (waiting, queued)
}

impl<'a> AppView<'a> {
    fn of(app: &'a [Arc<Route>]) -> Self {
        let id = app.first().map(|route| &route.app);
        let (waiting, queued) = waiting(app);
        Self {
            organization: id.map_or("", |id| id.organization.as_str()),
            name: id.map_or("", |id| id.name.as_str()),
            in_flight: app.iter().map(|route| route.shared.metrics.in_flight()).sum(),
            waiting,
            queued,
            ports: app.iter().map(|route| PortView::of(route)).collect(),
        }
    }
}

impl<'a> PortView<'a> {
    fn of(route: &'a Route) -> Self {
        Self {
            port: route.port,
            host: route.host.as_str(),
            in_flight: route.shared.metrics.in_flight(),
            waiting: route.shared.waiting.load(Ordering::Relaxed),
            endpoints: route.endpoints.iter().map(|endpoint| EndpointView::of(endpoint)).collect(),
        }
    }
}

impl EndpointView {
    fn of(endpoint: &Endpoint) -> Self {
        Self {
            address: endpoint.address(),
            ready: endpoint.is_ready(),
            in_flight: endpoint.in_flight(),
            ejected: endpoint.outlier().ejected().map(|ejected| EjectedView {
                reason: ejected.fault.label(),
                seconds_left: ejected.left.as_secs_f32(),
            }),
        }
    }
}

/// JSON with a line feed, which a terminal wants.
fn line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut content = serde_json::to_vec(value)?;
    content.push(b'\n');
    Ok(content)
}

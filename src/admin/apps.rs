//! The apps as JSON: their hosts, their endpoints, and what they are at.
//!
//! Read from the route table at the moment of asking, sorted by organization,
//! name and port. Numbers are read one by one, so they may differ by a request.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

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
    #[serde(flatten)]
    load: Load,
    /// How long the first of those who wait has waited.
    oldest_wait_seconds: f64,
    /// Requests that the app works on at once; 0: no limit.
    concurrency: usize,
    /// The same for each endpoint.
    endpoint_concurrency: u32,
    ports: Vec<PortView<'a>>,
}

#[derive(Serialize)]
struct PortView<'a> {
    port: u16,
    host: &'a str,
    #[serde(flatten)]
    load: Load,
    endpoints: Vec<EndpointView>,
}

/// What an autoscaler goes by.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Load {
    /// Requests at the app.
    pub(super) in_flight: u64,
    /// Requests that wait for their turn at it.
    pub(super) waiting: u64,
    /// Both.
    demand: u64,
}

#[derive(Serialize)]
struct EndpointView {
    address: std::net::SocketAddr,
    ready: bool,
    /// It gets nothing new while another is ready.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    draining: bool,
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

impl Load {
    /// Of these ports together.
    pub(super) fn of(routes: &[Arc<Route>]) -> Self {
        let waits = |route: &Arc<Route>| route.shared.waiting.load(Ordering::Relaxed) as u64;
        let waiting = routes.iter().map(waits).sum();
        let all: u64 = routes.iter().map(|route| route.shared.metrics.in_flight()).sum();
        let in_flight = all.saturating_sub(waiting);
        Self { in_flight, waiting, demand: in_flight + waiting }
    }
}

/// How long the first of those who wait for an app has waited; zero when nobody does.
pub(super) fn oldest_wait(app: &[Arc<Route>]) -> Duration {
    app.first().and_then(|route| route.turns.oldest_wait()).unwrap_or_default()
}

impl<'a> AppView<'a> {
    fn of(app: &'a [Arc<Route>]) -> Self {
        let (id, turns) = (app.first().map(|route| &route.app), app.first().map(|one| &one.turns));
        let concurrency = turns.map(|turns| turns.concurrency()).unwrap_or_default();
        Self {
            organization: id.map_or("", |id| id.organization.as_str()),
            name: id.map_or("", |id| id.name.as_str()),
            load: Load::of(app),
            oldest_wait_seconds: oldest_wait(app).as_secs_f64(),
            concurrency: concurrency.app,
            endpoint_concurrency: concurrency.endpoint,
            ports: app.iter().map(PortView::of).collect(),
        }
    }
}

impl<'a> PortView<'a> {
    fn of(route: &'a Arc<Route>) -> Self {
        Self {
            port: route.port,
            host: route.host.as_str(),
            load: Load::of(std::slice::from_ref(route)),
            endpoints: route.endpoints.iter().map(|endpoint| EndpointView::of(endpoint)).collect(),
        }
    }
}

impl EndpointView {
    fn of(endpoint: &Endpoint) -> Self {
        Self {
            address: endpoint.address(),
            ready: endpoint.is_ready(),
            draining: endpoint.is_draining(),
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

//! The apps as JSON: their hosts, their endpoints, their limits, and what they
//! are at.
//!
//! Read from the route table at the moment of asking, sorted by organization,
//! name and port. Numbers are read one by one, so they may differ by a request.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Admin;
use super::json;
use super::problem::Problem;
use crate::config::Protocol;
use crate::config::load::RateLimit;
use crate::gateway::Shared;
use crate::upstream::app::{Endpoint, Route};

mod page;

use page::{Page, Total};

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
    /// Requests that may wait for the app.
    queue_limit: usize,
    /// How often all callers together may call it.
    rate_limit: Option<RateLimitView>,
    ports: Vec<PortView<'a>>,
}

#[derive(Serialize)]
struct RateLimitView {
    requests: u32,
    per_seconds: f64,
    burst: u32,
}

#[derive(Serialize)]
struct PortView<'a> {
    port: u16,
    host: &'a str,
    protocol: &'static str,
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
    /// It accepted no connection when one was last tried.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    refusing: bool,
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

/// `GET /apps`.
pub(super) async fn list(
    State(admin): State<Admin>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let page = Page::asked(query.as_deref().unwrap_or_default())?;
    let (shared, total) = (admin.shared.clone(), Total::default());
    let counted = total.clone();
    let content = admin.places.make(move || {
        let (routes, queue) = (sorted(&shared), queue_limit(&shared));
        let apps = page.cut(by_app(&routes), &counted);
        json::line(&apps.into_iter().map(|app| AppView::of(app, queue)).collect::<Vec<_>>())
    });
    let content = content.await?;
    let mut headers = HeaderMap::new();
    total.write(&mut headers);
    Ok((json::TYPE, headers, content).into_response())
}

/// `GET /apps/{organization}/{name}`.
pub(super) async fn one(
    State(admin): State<Admin>,
    Path((organization, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let routes = of_app(&admin.shared, &organization, &name)?;
    json::answer(&AppView::of(&routes, queue_limit(&admin.shared)))
}

/// The routes of one app, by port.
pub(super) fn of_app(
    shared: &Shared,
    organization: &str,
    name: &str,
) -> Result<Vec<Arc<Route>>, Problem> {
    let mut routes = shared.routes.routes();
    routes.retain(|route| {
        route.app.organization.as_str() == organization && route.app.name.as_str() == name
    });
    if routes.is_empty() {
        // What is no name of an app is not repeated.
        let app = format!("{organization}/{name}").parse::<crate::ids::AppId>();
        let app = app.map_or_else(|_| "of that name".to_owned(), |app| app.to_string());
        let detail = format!("there is no app {app} here; /apps lists them");
        return Err(Problem::not_found(detail));
    }
    routes.sort_by_key(|route| route.port);
    Ok(routes)
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

fn queue_limit(shared: &Shared) -> usize {
    shared.settings.load().limits.app_queue
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
    fn of(app: &'a [Arc<Route>], queue_limit: usize) -> Self {
        let first = app.first();
        let concurrency = first.map(|route| route.turns.concurrency()).unwrap_or_default();
        let rate = first.and_then(|route| route.rate.as_ref());
        Self {
            organization: first.map_or("", |route| route.app.organization.as_str()),
            name: first.map_or("", |route| route.app.name.as_str()),
            load: Load::of(app),
            oldest_wait_seconds: oldest_wait(app).as_secs_f64(),
            concurrency: concurrency.app,
            endpoint_concurrency: concurrency.endpoint,
            queue_limit,
            rate_limit: rate.map(|rate| RateLimitView::of(rate.rate())),
            ports: app.iter().map(PortView::of).collect(),
        }
    }
}

impl RateLimitView {
    fn of(rate: &RateLimit) -> Self {
        let RateLimit { requests, per, burst } = *rate;
        Self { requests, per_seconds: per.as_secs_f64(), burst }
    }
}

impl<'a> PortView<'a> {
    fn of(route: &'a Arc<Route>) -> Self {
        Self {
            port: route.port,
            host: route.host.as_str(),
            protocol: match route.protocol {
                Protocol::Http1 => "http1",
                Protocol::H2c => "h2c",
                Protocol::Auto => "auto",
            },
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
            refusing: endpoint.is_refusing(),
            in_flight: endpoint.in_flight(),
            ejected: endpoint.outlier().ejected().map(|ejected| EjectedView {
                reason: ejected.fault.label(),
                seconds_left: ejected.left.as_secs_f32(),
            }),
        }
    }
}

//! The operator's own listener: probes, metrics, apps. Not for callers.
//!
//! It shows every app of every organization, so it is on loopback by default
//! and answers only requests that name it by address: a page in the operator's
//! browser that rebinds its own name to this address gets nothing.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use serde::Deserialize;

use crate::gateway::Shared;
use crate::telemetry::state::{Phase, State as ProcessState};
use crate::worker::Crew;

mod apps;
mod exposition;

/// What the operator's listener shows.
#[derive(Clone)]
pub struct Admin {
    shared: Arc<Shared>,
    state: Arc<ProcessState>,
    registry: Arc<Registry>,
}

impl Admin {
    /// Puts together what is shown.
    pub fn new(shared: Arc<Shared>, crew: Arc<Crew>, state: Arc<ProcessState>) -> Self {
        let registry = exposition::registry(shared.clone(), crew, state.clone());
        Self { shared, state, registry: Arc::new(registry) }
    }
}

const INDEX: &str = "ignite-gateway\n\n\
    /livez             the process runs\n\
    /readyz            calls should come here; ?verbose for why or why not\n\
    /metrics           Prometheus\n\
    /apps              hosts, endpoints, what is under way, as JSON\n\
    /apps/ORG/NAME     one app\n";

/// Serves until dropped.
pub async fn serve(listener: tokio::net::TcpListener, admin: Admin) {
    let router = Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/apps", get(all_apps))
        .route("/apps/{organization}/{name}", get(one_app))
        .layer(middleware::from_fn(only_by_address))
        .with_state(admin);
    // axum's accept loop passes over errors of single connections and waits out the others.
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the admin listener ended");
    }
}

/// Refuses a `Host` that is a name other than `localhost`: DNS rebinding.
async fn only_by_address(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or("?"));
    if host.is_none_or(is_address) {
        return next.run(request).await;
    }
    let text = "This listener answers only to an address or `localhost`, not to a name.\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

fn is_address(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok()
}

#[derive(Deserialize)]
struct Verbosity {
    verbose: Option<String>,
}

async fn ready(State(admin): State<Admin>, Query(query): Query<Verbosity>) -> Response {
    let (status, word) = match admin.state.phase() {
        Phase::Serving => (StatusCode::OK, "ready"),
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    if query.verbose.is_none() {
        return (status, format!("{word}\n")).into_response();
    }
    let sign = if status == StatusCode::OK { '+' } else { '-' };
    let mut text = format!("[{sign}] serving: {word}\n");
    match admin.state.reload_problem() {
        None => text.push_str("[+] config: the file is in force\n"),
        // Not a reason to send calls elsewhere: the running configuration is a good one.
        Some(problem) => {
            text.push_str("[-] config: the last change was refused; the running one stays\n");
            text.extend(problem.lines().map(|line| format!("    {line}\n")));
        }
    }
    (status, text).into_response()
}

/// The content type of OpenMetrics, which Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The content type of the older format, for tools that ask for nothing.
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let open = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, &admin.registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let content_type = if open { OPEN_METRICS } else { PLAIN };
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

async fn all_apps(State(admin): State<Admin>) -> Json<Vec<apps::App>> {
    Json(apps::list(&admin.shared.routes.routes()))
}

async fn one_app(
    State(admin): State<Admin>,
    Path((organization, name)): Path<(String, String)>,
) -> Response {
    let mut routes = admin.shared.routes.routes();
    routes.retain(|route| {
        route.app.organization.as_str() == organization && route.app.name.as_str() == name
    });
    match apps::list(&routes).pop() {
        Some(app) => Json(app).into_response(),
        None => (StatusCode::NOT_FOUND, "no such app\n").into_response(),
    }
}

#[cfg(test)]
mod tests;

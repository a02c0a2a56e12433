//! The operator's listener: probes, metrics, the apps and more as JSON, on an
//! address of its own. `docs/admin.md` describes it.
//!
//! It reads what the workers count; all that it changes is the level of the log.
//! It runs beside the workers, never on one, and bounds whatever a stranger could
//! make it use: connections, their time, their heads, and large answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tower_service::Service;

use crate::gateway::Shared;
use crate::listener::accept::accept;
use crate::shutdown::Drain;
use crate::telemetry::level::LogLevel;
use crate::telemetry::state::State;
use crate::telemetry::tls::Certificates;
use crate::worker::Crew;

mod apps;
mod config;
mod connections;
mod dashboard;
mod events;
mod executions;
mod guard;
mod health;
mod json;
mod large;
mod log_level;
mod metrics;
mod patience;
mod problem;

pub use config::InForce;
pub use events::Events;
pub use large::Places;
use patience::Patience;
use problem::Problem;

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// From accepting a connection to the end of its request head.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// From accepting a connection to its end: who reads slower than that is cut off. Who listens to
/// events has as long to read each.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
/// Bytes of a request head; also what hyper buffers of an answer.
const BUFFER: usize = 16 << 10;

const INDEX: &str = "\
ignite-gateway, the operator's listener

/                            the dashboard, in a browser
/events                      what each second was like, as Server-Sent Events
/livez                       the process runs
/readyz                      it takes calls; ?verbose lists the checks
/metrics                     OpenMetrics or Prometheus text, by Accept
/apps                        every app, its hosts and endpoints, as JSON; ?search=, ?limit=
/apps/{organization}/{name}  one app
/apps/{organization}/{name}/executions
                             its last executions; ?limit=, ?failed=true
/executions/{id}             one of the last executions
/config                      the configuration in force
/connections                 how many there are, by worker, protocol and state
/log-level                   which log lines are written; PUT changes it
";

/// What the operator's listener shows.
#[derive(Clone)]
pub struct Admin {
    /// What the workers share.
    pub shared: Arc<Shared>,
    /// The workers.
    pub crew: Arc<Crew>,
    /// What the process is at.
    pub state: Arc<State>,
    /// The certificates in force.
    pub certificates: Arc<Certificates>,
    /// The configuration in force.
    pub config: InForce,
    /// Which log lines are written, where this process decides that.
    pub log_level: Option<LogLevel>,
    /// Places for large answers.
    pub places: Places,
    /// Whoever listens.
    pub events: Events,
}

/// Serves until dropped; its connections end with it. After `stop` it accepts no more and ends with
/// the last connection.
pub async fn serve(listener: TcpListener, admin: Admin, stop: Drain) {
    let events = admin.events.clone();
    let watching = AbortOnDrop(tokio::spawn(events.clone().run(admin.clone())));
    let router = router(admin);
    let mut connections = JoinSet::new();
    loop {
        let (stream, _peer) = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = stop.begun() => break,
        };
        connections.spawn(connection(stream, router.clone()));
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
    }
    drop(listener);
    // They would not end by themselves.
    events.end();
    drop(watching);
    while connections.join_next().await.is_some() {}
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(dashboard::page))
        .route("/{file}", get(dashboard::file))
        .route("/events", get(events::listen))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .route("/apps", get(apps::list))
        .route("/apps/{organization}/{name}", get(apps::one))
        .route("/apps/{organization}/{name}/executions", get(executions::of_app))
        .route("/executions/{id}", get(executions::one))
        .route("/config", get(config::show))
        .route("/connections", get(connections::show))
        .route("/log-level", get(log_level::show).put(log_level::change))
        .fallback(async || Problem::not_found("no such path; / lists those there are"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Allow names the methods of this path")
        })
        .with_state(admin)
}

/// One request per connection: idle ones would take the places of probes, and
/// whoever asks here asks every few seconds.
async fn connection(stream: TcpStream, router: Router) {
    let patience = Patience::new(CONNECTION_TIME);
    let patient = patience.clone();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .keep_alive(false)
        .max_buf_size(BUFFER)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| answer(router.clone(), request, patient.clone())),
        );
    match patience.bound(connection).await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%error, "admin connection failed"),
        None => tracing::debug!("admin connection took too long"),
    }
}

async fn answer(
    mut router: Router,
    mut request: Request<Incoming>,
    patience: Patience,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(patience);
    // Before the routes, so that no path added later can be without it.
    let mut response = match guard::check(&request) {
        Ok(()) => router.call(request).await?,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

#[cfg(test)]
mod tests;

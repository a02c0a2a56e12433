//! The operator's listener: probes, metrics and the apps, on an address of its own.
//!
//! It reads what the workers count and changes nothing. It runs beside the
//! workers, never on one, and bounds whatever a stranger could make it use:
//! connections, their time, their heads, and large answers.

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
use tokio::task::JoinSet;
use tower_service::Service;

use crate::gateway::Shared;
use crate::listener::accept::accept;
use crate::shutdown::Drain;
use crate::telemetry::state::State;
use crate::telemetry::tls::Certificates;
use crate::worker::Crew;

mod apps;
mod guard;
mod health;
mod large;
mod metrics;

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// From accepting a connection to the end of its request head.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// From accepting a connection to its end: who reads slower than that is cut off.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
/// Bytes of a request head; also what hyper buffers of an answer.
const BUFFER: usize = 16 << 10;

const INDEX: &str = "\
ignite-gateway, the operator's listener

/livez                       the process runs
/readyz                      it takes calls; ?verbose lists the checks
/metrics                     OpenMetrics or Prometheus text, by Accept
/apps                        every app, its hosts and endpoints, as JSON
/apps/{organization}/{name}  one app
";

/// What the operator's listener shows.
#[derive(Clone)]
pub struct Admin {
    shared: Arc<Shared>,
    crew: Arc<Crew>,
    state: Arc<State>,
    certificates: Arc<Certificates>,
    places: large::Places,
}

impl Admin {
    /// Puts together what is shown.
    pub fn new(
        shared: Arc<Shared>,
        crew: Arc<Crew>,
        state: Arc<State>,
        certificates: Arc<Certificates>,
    ) -> Self {
        Self { shared, crew, state, certificates, places: large::Places::new() }
    }
}

/// Serves until dropped; its connections end with it. After `stop` it accepts no more and ends with
/// the last connection.
pub async fn serve(listener: TcpListener, admin: Admin, stop: Drain) {
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
    while connections.join_next().await.is_some() {}
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(async || INDEX))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .route("/apps", get(apps::list))
        .route("/apps/{organization}/{name}", get(apps::one))
        .fallback(async || (StatusCode::NOT_FOUND, "no such path; / lists those there are\n"))
        .with_state(admin)
}

/// One request per connection: idle ones would take the places of probes, and
/// whoever asks here asks every few seconds.
async fn connection(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .keep_alive(false)
        .max_buf_size(BUFFER)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| answer(router.clone(), request)),
        );
    match tokio::time::timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection failed"),
        Err(_elapsed) => tracing::debug!("admin connection took too long"),
    }
}

async fn answer(mut router: Router, request: Request<Incoming>) -> Result<Response, Infallible> {
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

//! `GET /connections`: how many there are, by worker, protocol and state.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::Admin;
use super::json;
use super::problem::Problem;
use crate::telemetry::metrics::WorkerMetrics;

#[derive(Serialize)]
struct View {
    /// Of callers, all workers together.
    open: usize,
    /// `limits.connections`.
    limit: usize,
    workers: Vec<WorkerView>,
}

#[derive(Serialize)]
struct WorkerView {
    worker: usize,
    /// As it was within the last second, as are the idle ones of HTTP/1.1; the rest is of this
    /// moment.
    open: u64,
    http1: ProtocolView,
    http2: ProtocolView,
    /// TLS handshakes under way.
    handshakes: u64,
    upstream: UpstreamView,
    /// Ever.
    accepted: u64,
    handed_over: u64,
    refused: u64,
}

#[derive(Serialize)]
struct ProtocolView {
    idle: u64,
    active: u64,
    /// Those of `active` that changed their protocol, as a `WebSocket` does.
    #[serde(skip_serializing_if = "Option::is_none")]
    upgraded: Option<u64>,
}

#[derive(Serialize)]
struct UpstreamView {
    idle: u64,
    /// Requests ever sent on a kept connection, and on one made for them.
    reused: u64,
    new: u64,
}

pub(super) async fn show(State(admin): State<Admin>) -> Result<Response, Problem> {
    json::answer(&View {
        open: admin.crew.open(),
        limit: admin.shared.settings.load().limits.connections,
        workers: admin
            .crew
            .metrics()
            .enumerate()
            .map(|(at, one)| WorkerView::of(at, one))
            .collect(),
    })
}

impl WorkerView {
    fn of(worker: usize, metrics: &WorkerMetrics) -> Self {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &metrics.load.connections;
        Self {
            worker,
            open: load(&metrics.connections),
            http1: ProtocolView::of(
                // Whoever is silent for a moment is no more than a socket, and counted apart.
                counts.http1.get() + load(&metrics.idle),
                counts.http1_busy.get(),
                Some(counts.upgraded.get()),
            ),
            http2: ProtocolView::of(counts.http2.get(), counts.http2_busy.get(), None),
            handshakes: metrics.handshakes.under_way(),
            upstream: UpstreamView {
                idle: load(&metrics.pool_idle),
                reused: load(&metrics.pool_reused),
                new: load(&metrics.pool_missed),
            },
            accepted: load(&metrics.accepted),
            handed_over: load(&metrics.handed_over),
            refused: load(&metrics.refused_total) + load(&metrics.refused_client),
        }
    }
}

impl ProtocolView {
    fn of(all: u64, active: u64, upgraded: Option<u64>) -> Self {
        Self { idle: all.saturating_sub(active), active, upgraded }
    }
}

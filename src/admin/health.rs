//! The probes: whether the process runs, and whether it takes calls.
//!
//! Neither asks anything outside of the process. A configuration that could not
//! be reloaded is shown and no reason to be unready: the running one serves.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use jiff::Timestamp;

use super::Admin;
use crate::telemetry::load::Memory;
use crate::telemetry::state::{self, Phase};
use crate::worker::Crew;

/// `GET /livez`.
pub(super) async fn live() -> &'static str {
    "ok"
}

/// `GET /readyz`.
pub(super) async fn ready(
    State(admin): State<Admin>,
    RawQuery(query): RawQuery,
) -> (StatusCode, String) {
    let phase = admin.state.phase();
    let (status, verdict) = match phase {
        Phase::Serving => (StatusCode::OK, "ready"),
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "not ready: starting"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "not ready: draining"),
    };
    if is_verbose(query.as_deref().unwrap_or_default()) {
        let load = load(&admin.shared.memory, &admin.crew);
        let checks = [serving(phase).to_owned(), config(&admin.state), load, verdict.to_owned()];
        (status, checks.join("\n") + "\n")
    } else {
        (status, verdict.to_owned())
    }
}

/// `?verbose`, as Kubernetes' own probes take it, with or without a value.
fn is_verbose(query: &str) -> bool {
    query.split('&').any(|pair| pair.split('=').next() == Some("verbose"))
}

fn serving(phase: Phase) -> &'static str {
    match phase {
        Phase::Serving => "[+]serving ok",
        Phase::Starting => "[-]serving: starting",
        Phase::Draining => "[-]serving: draining",
    }
}

/// No reason to be unready either: load balancers would send the same requests to gateways that
/// have as much to do.
fn load(memory: &Memory, crew: &Crew) -> String {
    let mut troubles = Vec::new();
    if let Some((resident, limit)) = memory.measured().filter(|_| memory.is_short()) {
        troubles.push(format!("memory {resident} of {limit} bytes: every request is refused"));
    }
    for (index, worker) in crew.metrics().enumerate() {
        let share = worker.load.refusing();
        if share > 0 {
            let (whole, tenths) = (share / 10, share % 10);
            troubles.push(format!("worker {index} is late: about {whole}.{tenths} % are refused"));
        }
    }
    if troubles.is_empty() {
        return "[+]load ok".to_owned();
    }
    format!("[-]load: {}", troubles.join("\n    "))
}

fn config(state: &state::State) -> String {
    let since = i64::try_from(state.last_success())
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(|| "an unknown time".to_owned(), |time| time.to_string());
    match (state.reload_problem(), state.reloads()) {
        (Some(problem), _) => {
            // A line that goes on is indented, so that every check begins a line.
            let problem = problem.trim_end().replace('\n', "\n    ");
            format!("[-]config: last reload failed: {problem}\n    in force: that of {since}")
        }
        (None, (0, _)) => format!("[+]config last reload none; started with it at {since}"),
        (None, _) => format!("[+]config last reload {since}"),
    }
}

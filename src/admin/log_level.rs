//! `/log-level`: which log lines are written, and the way to change it. The only
//! thing that can be changed here; until the next start.

use axum::body::{Bytes, to_bytes};
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::json;
use super::problem::Problem;
use crate::telemetry::level::{LONGEST, LogLevel};

#[derive(Serialize)]
struct View<'a> {
    level: &'a str,
    at_start: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    level: String,
}

/// `GET /log-level`.
pub(super) async fn show(State(admin): State<Admin>) -> Result<Response, Problem> {
    let level = of(&admin)?;
    json::answer(&View { level: &level.text(), at_start: level.at_start() })
}

/// `PUT /log-level`.
pub(super) async fn change(
    State(admin): State<Admin>,
    request: Request<axum::body::Body>,
) -> Result<Response, Problem> {
    let level = of(&admin)?;
    let content = to_bytes(request.into_body(), 2 * LONGEST).await;
    let content =
        content.map_err(|_| Problem::bad_request("the content is too long, or broken"))?;
    let wanted = wanted(&content)?;
    let before = level.text();
    level.set(&wanted).map_err(|bad| Problem::bad_request(bad.to_string()))?;
    // Said on the level that hides least: whoever reads the log later must see why it changed.
    tracing::error!(from = before, to = wanted, "the log level was changed at the admin listener");
    json::answer(&View { level: &wanted, at_start: level.at_start() })
}

fn of(admin: &Admin) -> Result<&LogLevel, Problem> {
    admin.log_level.as_ref().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "this process does not write its log by itself; whoever runs the gateway in it does",
        )
    })
}

fn wanted(content: &Bytes) -> Result<String, Problem> {
    let wanted: Wanted = serde_json::from_slice(content).map_err(|_| {
        Problem::bad_request("write the level as JSON, for example {\"level\": \"debug\"}")
    })?;
    Ok(wanted.level.trim().to_owned())
}

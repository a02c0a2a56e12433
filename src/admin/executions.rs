//! `/executions/{id}` and `/apps/{organization}/{name}/executions`: the last
//! executions, which the workers keep and are asked for.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::Admin;
use super::json;
use super::problem::Problem;
use crate::gateway::Gateway;
use crate::ids::AppId;
use crate::telemetry::executions::Execution;

/// How many are shown of an app at once.
const MOST: usize = 1000;
/// Unless more or fewer are asked for.
const USUAL: usize = 50;

#[derive(Serialize)]
struct View {
    execution_id: String,
    /// `organization/name`; empty if no app was found.
    function_id: String,
    method: String,
    path: String,
    protocol: &'static str,
    client: std::net::SocketAddr,
    upstream: Option<std::net::SocketAddr>,
    status: Option<u16>,
    grpc_status: Option<u32>,
    began_ms: u64,
    ended_ms: u64,
    duration_ms: f64,
    queued_ms: f64,
    connect_ms: Option<f64>,
    first_byte_ms: Option<f64>,
    attempts: u32,
    bytes_in: u64,
    bytes_out: u64,
    termination: &'static str,
    reason: &'static str,
}

/// `GET /executions/{id}`.
pub(super) async fn one(
    State(admin): State<Admin>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    if !is_id(&id) {
        return Err(Problem::bad_request("an execution id is a UUID, lower case with hyphens"));
    }
    let id: Arc<str> = id.into();
    let found = ask(&admin, move |gateway| gateway.executions().find(&id)).await?;
    let found = found.into_iter().flatten().next().ok_or_else(|| not_found(&admin))?;
    json::answer(&View::of(&found))
}

/// `GET /apps/{organization}/{name}/executions`.
pub(super) async fn of_app(
    State(admin): State<Admin>,
    Path((organization, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let app: AppId = format!("{organization}/{name}")
        .parse()
        .map_err(|_| Problem::not_found("no app can have that name"))?;
    let (most, failed) = wanted(query.as_deref().unwrap_or_default())?;
    let app = app.to_string();
    let asked = ask(&admin, move |gateway| gateway.executions().of_app(&app, most, failed));
    let mut found: Vec<_> = asked.await?.into_iter().flatten().map(|one| View::of(&one)).collect();
    if found.is_empty() && admin.config.load().admin.executions == 0 {
        return Err(not_found(&admin));
    }
    found.sort_by_key(|one| std::cmp::Reverse(one.ended_ms));
    found.truncate(most);
    json::answer(&found)
}

fn wanted(query: &str) -> Result<(usize, bool), Problem> {
    let (mut most, mut failed) = (USUAL, false);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("limit", text)) => match text.parse() {
                Ok(limit) if (1..=MOST).contains(&limit) => most = limit,
                _ => return Err(Problem::bad_request("`limit` is 1 to 1000")),
            },
            Some(("failed", "true")) => failed = true,
            Some(("failed", "false")) => failed = false,
            _ => return Err(Problem::bad_request("`limit` and `failed=true` are known")),
        }
    }
    Ok((most, failed))
}

fn is_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// Every worker's answer. One that does not answer has what is asked for, perhaps: to say that it
/// is not there would be wrong.
async fn ask<T: Send + 'static>(
    admin: &Admin,
    question: impl Fn(&Gateway) -> T + Clone + Send + 'static,
) -> Result<Vec<T>, Problem> {
    admin.crew.ask(question, Duration::from_secs(2)).await.ok_or_else(|| {
        let detail = "a worker does not answer: it has too much to do, or ends; try again";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })
}

fn not_found(admin: &Admin) -> Problem {
    Problem::not_found(match admin.config.load().admin.executions {
        0 => "no executions are kept: admin.executions is 0".to_owned(),
        kept => format!(
            "not among the last executions that ended here; each worker keeps its part of \
             admin.executions, {kept}. It may be under way still, older, or another gateway's: the \
             access log has them all"
        ),
    })
}

impl View {
    fn of(one: &Execution) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let took = u64::try_from(one.took.as_millis()).unwrap_or(u64::MAX);
        Self {
            execution_id: one.id().to_owned(),
            function_id: text(one.function_id.as_bytes()),
            method: text(one.method.as_bytes()),
            path: text(one.path()),
            protocol: one.version,
            client: one.client,
            upstream: one.endpoint,
            status: one.status,
            grpc_status: one.grpc_status,
            began_ms: one.began_millis(),
            ended_ms: one.began_millis().saturating_add(took),
            duration_ms: millis(one.took),
            queued_ms: millis(one.queued),
            connect_ms: one.connect.map(millis),
            first_byte_ms: one.first_byte.map(millis),
            attempts: one.attempts,
            bytes_in: one.bytes_in,
            bytes_out: one.bytes_out,
            termination: one.termination.as_str(),
            reason: one.reason,
        }
    }
}

/// To a microsecond.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

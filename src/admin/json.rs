//! Answers as JSON, with the line feed that a terminal wants.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::Problem;

pub(super) const TYPE: [(header::HeaderName, &str); 1] =
    [(header::CONTENT_TYPE, "application/json")];

/// The value's text.
pub(super) fn line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut content = serde_json::to_vec(value)?;
    content.push(b'\n');
    Ok(content)
}

/// The answer that is this value.
pub(super) fn answer(value: &impl Serialize) -> Result<Response, Problem> {
    let content = line(value).map_err(|_error| Problem::failed())?;
    Ok((TYPE, content).into_response())
}

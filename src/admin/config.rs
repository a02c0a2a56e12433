//! `GET /config`: the configuration in force.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::Admin;
use super::json;
use super::problem::Problem;
use crate::config::{Config, show};

/// What is in force, put there by whoever applies it.
pub type InForce = Arc<ArcSwap<Config>>;

pub(super) async fn show(State(admin): State<Admin>) -> Result<Response, Problem> {
    let config = admin.config.load_full();
    let content = admin.places.make(move || json::line(&show::show(&config))).await?;
    Ok((json::TYPE, content).into_response())
}

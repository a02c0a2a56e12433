//! The operator's listener (to be filled).

use std::sync::Arc;

use crate::gateway::Shared;
use crate::telemetry::state::State;
use crate::worker::Crew;

/// What the operator's listener shows.
#[derive(Clone)]
pub struct Admin {
    shared: Arc<Shared>,
    crew: Arc<Crew>,
    state: Arc<State>,
}

impl Admin {
    /// Puts together what is shown.
    pub fn new(shared: Arc<Shared>, crew: Arc<Crew>, state: Arc<State>) -> Self {
        Self { shared, crew, state }
    }
}

/// Serves until dropped.
pub async fn serve(listener: tokio::net::TcpListener, admin: Admin) {
    let _ = (listener, admin);
    std::future::pending::<()>().await;
}

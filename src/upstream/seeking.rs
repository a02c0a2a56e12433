//! A request on its search for an endpoint that takes it: what it has tried, and
//! with what right it gets its next turn.

use std::time::Duration;

use super::turns::{Standing, Ticket, Tried};
use crate::clock::Instant;

pub(super) struct Seeking {
    pub(super) standing: Standing,
    /// Endpoints that failed it.
    pub(super) tried: Vec<Tried>,
    /// How often it was sent again.
    pub(super) retries: u32,
    /// The place that it had in line, if it had to wait.
    pub(super) ticket: Option<Ticket>,
    /// When its time is up, once it was sent back.
    until: Option<Instant>,
}

impl Default for Seeking {
    fn default() -> Self {
        let (tried, standing) = (Vec::new(), Standing::New);
        Self { standing, tried, retries: 0, ticket: None, until: None }
    }
}

impl Seeking {
    /// It is sent again, to another endpoint.
    pub(super) fn retry(&mut self) {
        self.retries += 1;
        self.standing = Standing::Retry;
    }

    /// It found nobody there and waits in line, `left` at most. From here on connecting counts as
    /// waiting: an app that comes and goes must not hold it for ever.
    pub(super) fn go_back(&mut self, left: Duration) {
        self.until.get_or_insert_with(|| Instant::now() + left);
        self.standing = Standing::Back(self.ticket);
        self.tried.clear();
    }

    /// How long it may wait, if its time is not up before.
    pub(super) fn left(&self, most: Duration) -> Duration {
        self.until.map_or(most, |until| most.min(until.saturating_duration_since(Instant::now())))
    }
}

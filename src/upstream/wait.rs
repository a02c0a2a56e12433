//! A request's bounded wait for its turn at an app.
//!
//! The request's body stays unread meanwhile. A caller who leaves drops this
//! future and frees its place at once.

use std::sync::Arc;
use std::time::Duration;

use super::app::Route;
use super::turns::{Bounds, Seeker, Turn};
use crate::error::Error;

/// Waits in line until there is a turn; `route` is then the route in force, as `find` tells it.
pub async fn for_turn(
    route: &mut Arc<Route>,
    find: &dyn Fn() -> Option<Arc<Route>>,
    seeker: Seeker<'_>,
    timeout: Duration,
    bounds: Bounds,
) -> Result<Turn, Error> {
    let turns = route.turns.clone();
    let mut place = turns.queue_up(seeker, find, bounds)?;
    let told = async {
        loop {
            tokio::select! {
                biased;
                told = place.turn() => break told,
                () = turns.keep_pace() => {}
            }
        }
    };
    let Ok(told) = tokio::time::timeout(timeout, told).await else {
        let is_ready = |route: Arc<Route>| route.endpoints.iter().any(|one| one.is_ready());
        let at_limit = find().is_some_and(is_ready);
        return Err(if at_limit { Error::ConcurrencyTimeout } else { Error::NoReadyEndpoint });
    };
    let (turn, current) = told?;
    *route = current;
    Ok(turn)
}

//! Whether a request may go on: by its method, its declared size, and the
//! app's own limit.

use std::sync::Arc;

use http::Method;
use tokio::sync::OwnedSemaphorePermit;

use super::Settings;
use crate::clock::Instant;
use crate::error::Error;
use crate::message::Request;
use crate::upstream::Journey;
use crate::upstream::app::Route;
use crate::upstream::wait::Place;

/// TRACE would echo a caller's credentials to whoever made him send it, and
/// CONNECT asks for a forward proxy.
pub fn method(method: &Method) -> Result<(), Error> {
    match *method {
        Method::TRACE => Err(Error::MethodNotAllowed),
        Method::CONNECT => Err(Error::MethodNotImplemented),
        _ => Ok(()),
    }
}

/// Refuses a body that says itself that it is too large; one that does not is
/// counted as it comes.
pub fn body_length(request: &Request, limit: u64) -> Result<(), Error> {
    match request.body.length() {
        Some(length) if limit > 0 && length > limit => Err(Error::BodyTooLarge { limit }),
        Some(_) | None => Ok(()),
    }
}

/// A turn at the app, held to the end of the response.
pub type Turn = Option<OwnedSemaphorePermit>;

/// Waits for a turn, first in first out; at once where the app has no limit.
pub async fn turn(
    route: &Arc<Route>,
    settings: &Settings,
    journey: &mut Journey,
) -> Result<Turn, Error> {
    let app = &route.turns;
    let Some(turns) = &app.permits else { return Ok(None) };
    if let Ok(turn) = turns.clone().try_acquire_owned() {
        return Ok(Some(turn));
    }
    let _place = Place::take(&app.queued, settings.limits.app_queue)?;
    let start = Instant::now();
    // In a box: few requests wait, and the future of every other would be as large.
    let turn = tokio::time::timeout(settings.timeouts.ready, turns.clone().acquire_owned());
    let turn = Box::pin(turn).await;
    journey.waited += start.elapsed();
    match turn {
        Ok(Ok(turn)) => Ok(Some(turn)),
        Ok(Err(_closed)) => Err(Error::Internal),
        Err(_elapsed) => Err(Error::ConcurrencyTimeout),
    }
}

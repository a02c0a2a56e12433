//! Whether a request may go on: by its method, its declared size, its caller's
//! and its app's rate, and the app's own limit.

use std::sync::Arc;

use http::Method;
use tokio::sync::OwnedSemaphorePermit;

use super::headers::forwarded::{self, Peer};
use super::{Settings, Shared};
use crate::clock::Instant;
use crate::error::Error;
use crate::message::Request;
use crate::rate_limit::clients::Client;
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

/// Counts a request of its client, and refuses it beyond the client's rate.
pub fn client_rate(
    request: &Request,
    peer: &Peer,
    shared: &Shared,
    settings: &Settings,
) -> Result<(), Error> {
    if settings.rate_limit.is_none() {
        return Ok(());
    }
    let Some(clients) = &*shared.clients.load() else { return Ok(()) };
    let address = forwarded::client(&request.fields, peer, &settings.trusted_proxies);
    clients.take(Client::of(address)).map_err(Error::RateLimited)
}

/// Counts a request at its app, and refuses it beyond the app's rate.
pub fn app_rate(route: &Route) -> Result<(), Error> {
    route.rate.as_ref().map_or(Ok(()), |rate| rate.take()).map_err(Error::RateLimited)
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

//! Whether a request may go on: by its method, its declared size, its caller's
//! and its app's rate.
//!
//! Its turn at the app comes last, in [`crate::upstream::turns`].

use http::Method;

use super::headers::forwarded::{self, Peer};
use super::{Settings, Shared};
use crate::error::Error;
use crate::message::Request;
use crate::rate_limit::clients::Client;
use crate::upstream::app::Route;

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

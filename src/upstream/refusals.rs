//! Apps at which nobody accepts a connection: scaled to zero, or restarting.
//!
//! Nothing of the request was sent, so it can wait for the app like one that
//! came before its first start. Probes notice such an app after seconds only, so
//! what requests find out counts at once, and makes a probe look soon. Where
//! nobody probes, nobody would tell when the app is there again: the caller is
//! told at once that it is not.

use std::io::ErrorKind;
use std::sync::Arc;

use tracing::warn;

use super::Failure;
use super::app::{Endpoint, Route};
use crate::error::Error;

/// An endpoint was not connected to. If none of its port is left that is, none of them is ready.
pub(super) fn count(route: &Route, endpoint: &Endpoint, error: &Error) {
    if !is_the_endpoints(error) {
        return;
    }
    endpoint.refused();
    let is_left = |one: &Arc<Endpoint>| one.is_ready() && !one.is_refusing();
    if route.endpoints.iter().any(is_left) {
        return;
    }
    let taken = route.endpoints.iter().filter(|one| one.take_down()).count();
    if taken > 0 {
        warn!(
            app = %route.app, port = route.port, endpoints = taken,
            "no endpoint accepts connections: requests wait for a probe to succeed"
        );
    }
}

/// Whether a request whose try failed so may wait in line: no connection, so nothing was sent, and
/// nobody is left to be asked instead.
pub(super) fn may_wait(route: &Route, failure: &Failure) -> bool {
    let unconnected = matches!(failure.error, Error::ConnectRefused(_) | Error::ConnectTimeout);
    unconnected && failure.unsent && !route.endpoints.iter().any(|one| one.is_ready())
}

/// Whether the other side is why, and not a lack of sockets or ports on this one.
fn is_the_endpoints(error: &Error) -> bool {
    match error {
        Error::ConnectTimeout => true,
        Error::ConnectRefused(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionReset
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
        ),
        _ => false,
    }
}

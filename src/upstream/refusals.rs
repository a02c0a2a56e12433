//! Apps at which nobody accepts a connection: scaled to zero, or restarting.
//!
//! Nothing of the request was sent, so it can wait for the app like one that
//! came before its first start. Probes notice such an app after seconds only, so
//! what requests find out counts at once, and makes a probe look soon. Where
//! nobody probes, nobody would tell when the app is there again: the caller is
//! told at once that it is not.

use std::sync::Arc;

use tracing::warn;

use super::Failure;
use super::app::{Endpoint, Route};
use super::outlier::Fault;
use crate::error::Error;

/// An endpoint was not connected to. If none of its port is left that is, none of them is ready.
pub(super) fn count(route: &Route, endpoint: &Endpoint, error: &Error) {
    // Not where this side lacks sockets or ports.
    if Fault::of(error) != Some(Fault::Connect) {
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

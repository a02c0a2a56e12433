//! The bounded wait for the first ready endpoint of an app.
//!
//! The request's body stays unread meanwhile. A caller who leaves drops this
//! future and frees its place at once.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::app::Route;
use crate::error::Error;

/// Waits until the app has a ready endpoint; `route` is then the route in force,
/// as `find` tells it.
///
/// At most `queue` requests wait for one host, each at most `timeout`.
pub async fn for_ready_endpoint(
    route: &mut Arc<Route>,
    find: &dyn Fn() -> Option<Arc<Route>>,
    timeout: Duration,
    queue: usize,
) -> Result<(), Error> {
    let shared = route.shared.clone();
    let _place = Place::take(&shared.waiting, queue)?;
    let wait = async {
        loop {
            let mut changed = pin!(shared.changed.notified());
            // Registered before the look, so that no change falls between the two.
            changed.as_mut().enable();
            *route = find().ok_or(Error::UnknownHost)?;
            if route.endpoints.iter().any(|endpoint| endpoint.is_ready()) {
                return Ok(());
            }
            changed.await;
        }
    };
    tokio::time::timeout(timeout, wait).await.unwrap_or(Err(Error::NoReadyEndpoint))
}

/// A place in a bounded queue, given back on drop.
pub struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    /// Takes a place if fewer than `limit` are taken.
    pub fn take(taken: &'a AtomicUsize, limit: usize) -> Result<Self, Error> {
        let place = Self(taken);
        if taken.fetch_add(1, Ordering::Relaxed) >= limit {
            Err(Error::QueueFull)
        } else {
            Ok(place)
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

//! How long a connection may take: a while from its beginning, and again from
//! each time that its reader has taken what there was.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// The time of one connection.
#[derive(Clone)]
pub(super) struct Patience {
    until: Arc<Mutex<Instant>>,
    each: Duration,
}

impl Patience {
    pub(super) fn new(each: Duration) -> Self {
        Self { until: Arc::new(Mutex::new(Instant::now() + each)), each }
    }

    /// The time begins anew.
    pub(super) fn extend(&self) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + self.each;
    }

    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end; `None` if it does not come in time.
    pub(super) async fn bound<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let until = self.until();
            match timeout_at(until, work.as_mut()).await {
                Ok(done) => return Some(done),
                Err(_) if self.until() > until => {}
                Err(_) => return None,
            }
        }
    }
}

//! The hosts of one app, for what counts over all of them: an app must not have
//! more by declaring more ports.

use std::sync::{Arc, PoisonError, RwLock, Weak};

use super::Shared;

/// Every host that the app has, and those that are no more but have requests under way.
#[derive(Debug, Default)]
pub struct Hosts(RwLock<Vec<Weak<Shared>>>);

impl Hosts {
    /// The state of another host.
    pub fn open(&self) -> Arc<Shared> {
        let host = Arc::new(Shared::default());
        let mut hosts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        hosts.retain(|host| host.strong_count() > 0);
        hosts.push(Arc::downgrade(&host));
        host
    }

    /// Takes one more request at `host` on a worker whose share there is used up, if all hosts and
    /// workers together leave room within `bound`.
    #[cold]
    pub fn claim(&self, host: &Shared, worker: usize, workers: usize, bound: u64) -> bool {
        let hosts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let hosts: Vec<_> = hosts.iter().filter_map(Weak::upgrade).collect();
        let claimed = || hosts.iter().map(|host| host.metrics.claimed(bound)).sum();
        host.metrics.grow(worker, bound, (workers * hosts.len()) as u64, claimed)
    }
}

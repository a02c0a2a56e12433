//! What a worker does once a second, whatever its callers do.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Own;
use super::leisure::Leisure;
use crate::gateway::Gateway;

/// How often idle connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// Looks after idle connections and memory, and publishes this worker's counts.
pub(super) async fn keep_house(gateway: Rc<Gateway>, own: Rc<Own>) {
    let leisure = Leisure::default();
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        own.seen(own.crew.age());
        let pool = gateway.upstream().pool();
        pool.set_limit(gateway.shared().settings.load().limits.upstream_idle);
        pool.sweep();
        gateway.upstream().http2().sweep();
        gateway.observers().flush();
        own.idle.sweep().await;
        leisure.use_it(pool.counts().reused.get() + pool.counts().missed.get()).await;
        if let Some(member) = own.member() {
            let (counts, metrics) = (pool.counts(), &member.metrics);
            metrics.pool_idle.store(counts.idle.get(), Ordering::Relaxed);
            metrics.pool_reused.store(counts.reused.get(), Ordering::Relaxed);
            metrics.pool_missed.store(counts.missed.get(), Ordering::Relaxed);
            metrics.connections.store(own.load() as u64, Ordering::Relaxed);
            metrics.idle.store(own.idle.len() as u64, Ordering::Relaxed);
        }
    }
}

//! What is counted of each worker, and of all workers' handshakes together.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::family::{self, Family};
use super::super::text::Text;
use crate::telemetry::metrics::WorkerMetrics;
use crate::telemetry::tls::Handshakes;
use crate::worker::Crew;

/// How one number is read.
type Read<T> = fn(&T) -> u64;

fn value_of(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Each worker with its number.
fn numbered(crew: &Crew) -> impl Iterator<Item = (String, &WorkerMetrics)> {
    crew.metrics().enumerate().map(|(index, worker)| (index.to_string(), &**worker))
}

pub(super) fn connections(text: &mut Text, crew: &Crew) {
    let each: [(&Family, Read<WorkerMetrics>); 5] = [
        (&family::CONNECTIONS, |worker| value_of(&worker.connections)),
        (&family::IDLE, |worker| value_of(&worker.idle)),
        (&family::ACCEPTED, |worker| value_of(&worker.accepted)),
        (&family::HANDED_OVER, |worker| value_of(&worker.handed_over)),
        (&family::UPSTREAM_IDLE, |worker| value_of(&worker.pool_idle)),
    ];
    for (family, value) in each {
        let mut samples = text.begin(family);
        for (index, worker) in numbered(crew) {
            samples.add(&[("worker", &index)], value(worker));
        }
    }
    let mut samples = text.begin(&family::REFUSED);
    for (index, worker) in numbered(crew) {
        for (reason, counter) in
            [("total", &worker.refused_total), ("client", &worker.refused_client)]
        {
            samples.add(&[("worker", &index), ("reason", reason)], value_of(counter));
        }
    }
    let mut samples = text.begin(&family::PROXY_PROTOCOL_REFUSED);
    for (index, worker) in numbered(crew) {
        for (reason, count) in worker.proxy_protocol_refused.rows() {
            samples.add(&[("worker", &index), ("reason", reason)], count);
        }
    }
    let mut samples = text.begin(&family::UPSTREAM_REQUESTS);
    for (index, worker) in numbered(crew) {
        for (how, counter) in [("reused", &worker.pool_reused), ("new", &worker.pool_missed)] {
            samples.add(&[("worker", &index), ("connection", how)], value_of(counter));
        }
    }
}

pub(super) fn load(text: &mut Text, crew: &Crew) {
    let mut samples = text.begin(&family::SHED);
    for (index, worker) in numbered(crew) {
        for (reason, count) in worker.load.sheds() {
            samples.add(&[("worker", &index), ("reason", reason)], count);
        }
    }
    let mut samples = text.begin(&family::LAG);
    for (index, worker) in numbered(crew) {
        samples.add_durations(&[("worker", &index)], &worker.load.lag());
    }
}

/// Of all workers together: which of them a caller meets tells nothing.
pub(super) fn handshakes(text: &mut Text, crew: &Crew) {
    let each = || crew.metrics().map(|worker| &worker.handshakes);
    let mut samples = text.begin(&family::HANDSHAKES);
    for ((version, kind), count) in summed(each().map(Handshakes::done)) {
        samples.add(&[("version", version), ("handshake", kind)], count);
    }
    let mut samples = text.begin(&family::HANDSHAKE_FAILURES);
    for (reason, count) in summed(each().map(Handshakes::failed)) {
        samples.add(&[("reason", reason)], count);
    }
    text.single(&family::HANDSHAKES_UNDER_WAY, each().map(Handshakes::under_way).sum());
}

/// The rows of several workers, which come in the same order from each.
fn summed<K>(
    workers: impl Iterator<Item = impl Iterator<Item = (K, u64)>>,
) -> impl Iterator<Item = (K, u64)> {
    let mut sums: Vec<(K, u64)> = Vec::new();
    for worker in workers {
        for (index, (key, count)) in worker.enumerate() {
            match sums.get_mut(index) {
                Some((_, sum)) => *sum += count,
                None => sums.push((key, count)),
            }
        }
    }
    sums.into_iter()
}

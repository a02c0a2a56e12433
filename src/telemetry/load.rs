//! What each worker and the process tell of their load: written by one thread,
//! read by the others.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::connections::Connections;
use super::latency::Latency;
use super::metrics::{Durations, DurationsRead};
use crate::error::Overload;

/// The load of one worker, written by it alone. On lines of its own: each of the others has its
/// own counts to write, and reads these only near a limit.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerLoad {
    in_flight: AtomicU64,
    /// About the share of new requests that is too much for it, in thousandths.
    refusing: AtomicU32,
    shed: [AtomicU64; Overload::ALL.len()],
    lag: Durations,
    /// Whose connections it serves.
    pub connections: Connections,
    /// How long its requests take.
    pub latency: Latency,
}

impl WorkerLoad {
    /// A request began. No other thread adds, so no locked instruction is needed.
    pub fn begin(&self) {
        self.in_flight.store(self.in_flight() + 1, Ordering::Relaxed);
    }

    /// A request ended.
    pub fn end(&self) {
        self.in_flight.store(self.in_flight().saturating_sub(1), Ordering::Relaxed);
    }

    /// Requests under way that were counted.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// A request was refused.
    pub fn shed(&self, by: Overload) {
        if let Some(counter) = self.shed.get(by as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests ever refused, by reason.
    pub fn sheds(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Overload::ALL
            .iter()
            .zip(&self.shed)
            .map(|(by, counter)| (by.as_str(), counter.load(Ordering::Relaxed)))
    }

    /// The worker was this late, and refuses about this share of requests, in thousandths.
    pub fn measured(&self, lag: Duration, refusing: u32) {
        self.lag.add(lag);
        self.refusing.store(refusing, Ordering::Relaxed);
    }

    /// About the share of new requests that is refused, in thousandths.
    pub fn refusing(&self) -> u32 {
        self.refusing.load(Ordering::Relaxed)
    }

    /// How late the worker was each time that it measured.
    pub fn lag(&self) -> DurationsRead {
        self.lag.read()
    }
}

/// The memory of the process, measured every moment where there is a limit.
#[derive(Debug, Default)]
pub struct Memory {
    short: AtomicBool,
    resident: AtomicU64,
    limit: AtomicU64,
}

impl Memory {
    /// Whether there is too little left to begin anything.
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Resident bytes and their limit; `None` without one.
    pub fn measured(&self) -> Option<(u64, u64)> {
        let limit = self.limit.load(Ordering::Relaxed);
        (limit > 0).then(|| (self.resident.load(Ordering::Relaxed), limit))
    }

    /// Takes a measurement, 0 for no limit; says whether memory has become short or is no more.
    ///
    /// What is above the limit has to fall a twentieth below it: closing connections must show
    /// before new ones come.
    pub fn measure(&self, resident: u64, limit: u64) -> Option<bool> {
        self.resident.store(resident, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
        let was_short = self.is_short();
        let bound = if was_short { limit - limit / 20 } else { limit };
        let short = limit > 0 && resident > bound;
        self.short.store(short, Ordering::Relaxed);
        (short != was_short).then_some(short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_short_above_the_limit_until_it_is_well_below() {
        let memory = Memory::default();
        assert_eq!((memory.measure(100, 0), memory.measured()), (None, None));
        assert_eq!(memory.measure(100, 100), None);
        assert_eq!(memory.measure(101, 100), Some(true));
        assert_eq!(memory.measure(96, 100), None);
        assert!(memory.is_short());
        assert_eq!(memory.measure(95, 100), Some(false));
        assert_eq!(memory.measured(), Some((95, 100)));
        assert_eq!(memory.measure(200, 100), Some(true));
        assert_eq!(memory.measure(200, 0), Some(false), "the limit was taken away");
    }
}

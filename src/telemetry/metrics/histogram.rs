//! Histograms with fixed bounds, each written by one worker.

use std::time::Duration;

use super::cells::Count;

/// The upper bounds of durations in seconds, as OpenTelemetry's conventions for
/// `http.server.request.duration` give them.
pub const SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

const NANOS: [u64; 14] = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// The upper bounds of sizes in bytes: powers of four from 256 bytes to 64 MiB.
pub const BYTES: [u64; 10] =
    [1 << 8, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26];

/// Durations counted by their buckets; the last bucket is above every bound.
#[derive(Debug, Default)]
pub struct Durations {
    buckets: [Count; SECONDS.len() + 1],
    nanos: Count,
}

/// Sizes counted by their buckets; the last bucket is above every bound.
#[derive(Debug, Default)]
pub struct Sizes {
    buckets: [Count; BYTES.len() + 1],
    bytes: Count,
}

/// A reading of a histogram, or of several together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading<const BUCKETS: usize> {
    /// How many per bucket, not cumulated.
    pub buckets: [u64; BUCKETS],
    /// The sum of all, in nanoseconds or in bytes.
    pub sum: u64,
}

/// A reading of durations.
pub type DurationsRead = Reading<{ SECONDS.len() + 1 }>;
/// A reading of sizes.
pub type SizesRead = Reading<{ BYTES.len() + 1 }>;

impl<const BUCKETS: usize> Default for Reading<BUCKETS> {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], sum: 0 }
    }
}

impl<const BUCKETS: usize> Reading<BUCKETS> {
    fn add(&mut self, buckets: &[Count; BUCKETS], sum: &Count) {
        for (count, more) in self.buckets.iter_mut().zip(buckets) {
            *count += more.get();
        }
        self.sum = self.sum.wrapping_add(sum.get());
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// The bucket of a duration.
pub(super) fn bucket_of(nanos: u64) -> usize {
    NANOS.iter().position(|bound| nanos <= *bound).unwrap_or(NANOS.len())
}

/// Nanoseconds, as many as fit.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Durations {
    /// Counts one.
    pub fn add(&self, took: Duration) {
        let nanos = nanos(took);
        if let Some(count) = self.buckets.get(bucket_of(nanos)) {
            count.add(1);
        }
        self.nanos.add(nanos);
    }

    /// Those counted so far.
    pub fn read(&self) -> DurationsRead {
        Self::all([self])
    }

    /// Those that several counted so far.
    pub fn all<'a>(several: impl IntoIterator<Item = &'a Self>) -> DurationsRead {
        let mut all = Reading::default();
        several.into_iter().for_each(|one| all.add(&one.buckets, &one.nanos));
        all
    }
}

impl Sizes {
    /// Counts one.
    pub fn add(&self, bytes: u64) {
        let bucket = BYTES.iter().position(|bound| bytes <= *bound);
        if let Some(count) = self.buckets.get(bucket.unwrap_or(BYTES.len())) {
            count.add(1);
        }
        self.bytes.add(bytes);
    }

    /// Those that several counted so far.
    pub fn all<'a>(several: impl IntoIterator<Item = &'a Self>) -> SizesRead {
        let mut all = Reading::default();
        several.into_iter().for_each(|one| all.add(&one.buckets, &one.bytes));
        all
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let durations = Durations::default();
        for millis in [0, 5, 6, 10_000, 10_001] {
            durations.add(Duration::from_millis(millis));
        }
        let read = durations.read();
        assert_eq!((read.buckets[0], read.buckets[1], read.buckets[13]), (2, 1, 1));
        assert_eq!((read.buckets[14], read.count()), (1, 5));
        assert_eq!(read.sum, 20_012_000_000);

        let (one, other) = (Sizes::default(), Sizes::default());
        for bytes in [0, 256, 257] {
            one.add(bytes);
        }
        other.add((64 << 20) + 1);
        let read = Sizes::all([&one, &other]);
        assert_eq!((read.buckets[0], read.buckets[1], read.buckets[10]), (2, 1, 1));
        assert_eq!(read.sum, 513 + (64 << 20) + 1);
    }
}

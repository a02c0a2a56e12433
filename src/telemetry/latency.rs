//! How long requests take, counted finely enough to tell 200 µs from 250 µs.
//!
//! The histograms of the metrics have OpenTelemetry's bounds, the least of which
//! is 5 ms: an app that answers in one is somewhere below it. Here each doubling
//! has four steps, so a percentile is off by an eighth at most.

use std::time::Duration;

use super::connections::Count;

/// The end of the first bucket is this power of two in nanoseconds: 16 µs.
const LEAST: u32 = 14;
/// Doublings above it: up to a minute.
const OCTAVES: usize = 22;
const STEPS: usize = 4;
/// Buckets of a histogram.
pub const BUCKETS: usize = OCTAVES * STEPS + 1;

/// The durations of one worker's requests, written by it alone.
#[derive(Debug)]
pub struct Latency([Count; BUCKETS]);

impl Default for Latency {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Count::default()))
    }
}

impl Latency {
    /// Counts one.
    pub fn add(&self, took: Duration) {
        if let Some(count) = self.0.get(bucket(took)) {
            count.up();
        }
    }

    /// Adds what was counted so far.
    pub fn add_to(&self, counts: &mut [u64; BUCKETS]) {
        for (sum, count) in counts.iter_mut().zip(&self.0) {
            *sum += count.get();
        }
    }
}

fn bucket(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    let Some(octave) = (nanos >> LEAST).checked_ilog2() else { return 0 };
    // The two bits below the highest.
    let step = nanos >> (LEAST - 2 + octave) & 3;
    (1 + octave as usize * STEPS + usize::try_from(step).unwrap_or(0)).min(BUCKETS - 1)
}

/// Where a bucket begins, in nanoseconds.
fn begin(bucket: usize) -> u64 {
    let Some(above) = bucket.checked_sub(1) else { return 0 };
    let (octave, step) = (above / STEPS, (above % STEPS) as u64);
    ((4 + step) << LEAST >> 2) << octave
}

/// The duration below which a share of those counted is; `None` if there are none.
pub fn percentile(counts: &[u64; BUCKETS], share: f64) -> Option<Duration> {
    let all: u64 = counts.iter().sum();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "a rank needs no more than 52 bits"
    )]
    let rank = ((all as f64 * share).ceil() as u64).max(1);
    let mut below = 0;
    for (bucket, count) in counts.iter().enumerate() {
        if *count > 0 && below + count >= rank {
            // Those in a bucket are taken to be spread evenly over it.
            let (from, to) = (begin(bucket), begin(bucket + 1));
            let width = u128::from(to - from) * u128::from(rank - below) / u128::from(*count);
            return Some(Duration::from_nanos(from + u64::try_from(width).unwrap_or(0)));
        }
        below += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_in_its_bucket() {
        let mut last = 0;
        let lengths =
            std::iter::successors(Some(10_u64), |nanos| nanos.checked_mul(5).map(|n| n / 4));
        for nanos in lengths {
            let bucket = bucket(Duration::from_nanos(nanos));
            assert!(bucket >= last, "{nanos}");
            last = bucket;
            assert!(begin(bucket) <= nanos, "{nanos} in {bucket}");
            assert!(nanos < begin(bucket + 1) || bucket == BUCKETS - 1, "{nanos} in {bucket}");
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        assert_eq!(bucket(Duration::ZERO), 0);
    }

    #[test]
    fn percentiles_are_off_by_a_step_at_most() {
        let latency = Latency::default();
        (1..=1000).for_each(|micros| latency.add(Duration::from_micros(micros * 10)));
        let mut counts = [0; BUCKETS];
        latency.add_to(&mut counts);
        for (share, micros) in [(0.5, 5000.0), (0.95, 9500.0), (0.99, 9900.0)] {
            let found = percentile(&counts, share).map_or(0.0, |found| found.as_secs_f64() * 1e6);
            assert!((found / micros - 1.0).abs() < 0.125, "{share}: {found}");
        }
        assert_eq!(percentile(&[0; BUCKETS], 0.5), None);
    }
}

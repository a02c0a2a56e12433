//! For each bucket of a histogram one request that fell into it, so that a slow
//! bucket leads to an execution id, and that to a line of the access log.
//!
//! All workers share them, but each is written at most once a second: a request
//! reads one line that hardly ever changes and goes on.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use super::histogram::SECONDS;
use crate::clock::Instant;

/// A request that fell into a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemplar {
    /// Its execution id.
    pub execution_id: String,
    /// How long it took.
    pub took: Duration,
    /// When it began, in milliseconds since 1970: the id says so.
    pub began: u64,
}

/// One exemplar for each bucket.
#[derive(Debug)]
pub struct Exemplars {
    since: Instant,
    cells: [Cell; SECONDS.len() + 1],
}

/// One exemplar. `turn` is twice the second in which it was written, and one less while it is being
/// written; it only ever grows, so a reader that finds it even, and the same before and after, has
/// read what belongs together.
#[derive(Debug, Default)]
struct Cell {
    turn: AtomicU64,
    high: AtomicU64,
    low: AtomicU64,
    nanos: AtomicU64,
}

impl Default for Exemplars {
    fn default() -> Self {
        Self { since: Instant::now(), cells: Default::default() }
    }
}

impl Exemplars {
    /// Keeps a request, unless its bucket has one of this second.
    pub fn offer(&self, bucket: usize, execution_id: &str, nanos: u64, now: Instant) {
        let second = now.saturating_duration_since(self.since).as_secs() + 1;
        if let Some(cell) = self.cells.get(bucket)
            && cell.turn.load(Ordering::Relaxed) < 2 * second
        {
            cell.write(second, execution_id, nanos);
        }
    }

    /// What each bucket has.
    pub fn read(&self) -> impl Iterator<Item = Option<Exemplar>> {
        self.cells.iter().map(Cell::read)
    }
}

impl Cell {
    #[cold]
    fn write(&self, second: u64, execution_id: &str, nanos: u64) {
        let Some(id) = number(execution_id) else { return };
        let turn = self.turn.load(Ordering::Relaxed);
        // Somebody else is at it, or was: one of the two is enough.
        let is_mine = turn.is_multiple_of(2)
            && turn < 2 * second
            && self
                .turn
                .compare_exchange(turn, 2 * second - 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        if !is_mine {
            return;
        }
        fence(Ordering::Release);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of a number")]
        let (high, low) = ((id >> 64) as u64, id as u64);
        self.high.store(high, Ordering::Relaxed);
        self.low.store(low, Ordering::Relaxed);
        self.nanos.store(nanos, Ordering::Relaxed);
        self.turn.store(2 * second, Ordering::Release);
    }

    fn read(&self) -> Option<Exemplar> {
        let turn = self.turn.load(Ordering::Acquire);
        let (high, low) = (self.high.load(Ordering::Relaxed), self.low.load(Ordering::Relaxed));
        let nanos = self.nanos.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let is_whole =
            turn > 0 && turn.is_multiple_of(2) && self.turn.load(Ordering::Relaxed) == turn;
        is_whole.then(|| Exemplar {
            execution_id: uuid::Uuid::from_u64_pair(high, low).hyphenated().to_string(),
            took: Duration::from_nanos(nanos),
            // RFC 9562 section 5.7: version 7 begins with 48 bits of milliseconds.
            began: high >> 16,
        })
    }
}

/// An execution id as the number that it is.
fn number(execution_id: &str) -> Option<u128> {
    uuid::Uuid::try_parse(execution_id).ok().map(|id| id.as_u128())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const FIRST: &str = "01938f3a-7c55-7a3e-9b1f-000000000001";
    const SECOND: &str = "01938f3a-7c55-7a3e-9b1f-000000000002";

    fn kept(exemplars: &Exemplars, bucket: usize) -> Option<String> {
        exemplars.read().nth(bucket).unwrap().map(|exemplar| exemplar.execution_id)
    }

    #[test]
    fn a_bucket_keeps_the_first_request_of_each_second() {
        let exemplars = Exemplars::default();
        let start = exemplars.since;
        assert_eq!(kept(&exemplars, 3), None);
        exemplars.offer(3, FIRST, 40_000_000, start);
        exemplars.offer(3, SECOND, 41_000_000, start + Duration::from_millis(900));
        assert_eq!(kept(&exemplars, 3).as_deref(), Some(FIRST));
        exemplars.offer(3, SECOND, 41_000_000, start + Duration::from_secs(1));
        assert_eq!(kept(&exemplars, 3).as_deref(), Some(SECOND));
        assert_eq!(kept(&exemplars, 4), None);
        let read = exemplars.read().nth(3).unwrap().unwrap();
        assert_eq!((read.took, read.began), (Duration::from_millis(41), 0x0193_8f3a_7c55));
        exemplars.offer(99, FIRST, 0, start);
        exemplars.offer(0, "none", 0, start);
        assert_eq!(kept(&exemplars, 0), None);
    }

    #[test]
    fn whoever_reads_while_others_write_gets_what_belongs_together() {
        let exemplars = Exemplars::default();
        std::thread::scope(|scope| {
            for writer in 0..2_u64 {
                let exemplars = &exemplars;
                scope.spawn(move || {
                    for second in 0..20_000 {
                        let number = second * 2 + writer;
                        let id = uuid::Uuid::from_u64_pair(number, number).to_string();
                        let now = exemplars.since + Duration::from_secs(second);
                        exemplars.offer(0, &id, number, now);
                    }
                });
            }
            for _ in 0..20_000 {
                if let Some(Some(found)) = exemplars.read().next() {
                    let number = u64::try_from(found.took.as_nanos()).unwrap();
                    let id = uuid::Uuid::from_u64_pair(number, number).to_string();
                    assert_eq!(found.execution_id, id);
                }
            }
        });
    }
}

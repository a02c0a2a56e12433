//! Counts that one worker writes and anybody reads.
//!
//! A number that all workers wrote to would be one cache line that travels
//! between the cores at every request. Here each worker has a cell of its own,
//! made when it first needs one, and whoever asks adds the cells up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Cells to a page: most machines need one page.
const PAGE: usize = 8;

/// A count with one writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds. Nobody else does, so no locked instruction is needed.
    pub fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    /// Puts another number in its place; for what goes down, too.
    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A cell for each worker that ever asked for its own.
///
/// Until the first one does, it is one pointer: of 100,000 apps most are idle.
#[derive(Debug)]
pub struct Cells<T>(OnceLock<Box<Page<T>>>);

#[derive(Debug)]
struct Page<T> {
    cells: [OnceLock<Box<T>>; PAGE],
    next: OnceLock<Box<Self>>,
}

impl<T> Default for Cells<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> Page<T> {
    fn new() -> Box<Self> {
        Box::new(Self { cells: [const { OnceLock::new() }; PAGE], next: OnceLock::new() })
    }
}

impl<T: Default> Cells<T> {
    /// The cell of the worker of that number, which alone may write to it.
    pub fn of(&self, worker: usize) -> &T {
        let mut page = self.0.get_or_init(Page::new);
        let mut index = worker;
        loop {
            if let Some(cell) = page.cells.get(index) {
                return cell.get_or_init(Box::default);
            }
            (page, index) = (page.next.get_or_init(Page::new), index - PAGE);
        }
    }
}

impl<T> Cells<T> {
    /// The cells that there are.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let pages = std::iter::successors(self.0.get(), |page| page.next.get());
        pages.flat_map(|page| &page.cells).filter_map(|cell| cell.get().map(|cell| &**cell))
    }

    /// The sum of what each cell says.
    pub fn sum(&self, of: impl Fn(&T) -> u64) -> u64 {
        self.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_has_a_cell_of_its_own_however_many_there_are() {
        let cells = Cells::<Count>::default();
        assert_eq!(cells.iter().count(), 0);
        for round in 1..3 {
            for worker in [0, 7, 8, 23, 200] {
                cells.of(worker).add(worker as u64 + 1);
                assert_eq!(cells.of(worker).get(), round * (worker as u64 + 1));
            }
        }
        assert_eq!(cells.iter().count(), 5);
        assert_eq!(cells.sum(Count::get), 2 * (1 + 8 + 9 + 24 + 201));
    }

    #[test]
    fn nothing_is_lost_where_every_worker_counts_at_once() {
        let cells = Cells::<Count>::default();
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let cells = &cells;
                scope.spawn(move || (0..10_000).for_each(|_| cells.of(worker).add(1)));
            }
        });
        assert_eq!(cells.sum(Count::get), 40_000);
    }
}

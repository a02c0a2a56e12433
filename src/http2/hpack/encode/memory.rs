//! The encoder's table, and how it finds an entry in it.
//!
//! Each entry has a number and a link to the one before it whose hash fell into
//! the same bucket. Entries leave in the order in which they came, so a link to
//! one that has left shows by its number alone and nothing is ever unlinked.
//! A chain is as long as the table at most, whatever values a caller chooses.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use super::super::table::{FIRST, OVERHEAD, Table};
use super::MOST;

/// As many as a table can have entries, so that those in it have a link each.
const LINKS: usize = MOST / OVERHEAD;

/// What was sent in full, and stands in the peer's table too.
#[derive(Debug)]
pub(super) struct Memory {
    table: Table,
    /// None before the first entry.
    chains: Option<Box<Chains>>,
    /// The number of the newest entry; it may come round.
    newest: u32,
}

#[derive(Debug)]
struct Chains {
    /// The newest entry of each bucket.
    newest: [u32; LINKS],
    /// By an entry's number.
    links: [Link; LINKS],
}

#[derive(Debug, Clone, Copy)]
struct Link {
    hash: u32,
    older: u32,
}

/// The hash by which an entry is found.
pub(super) fn hash(name: &[u8], value: &[u8]) -> u32 {
    let mut hasher = FxHasher::default();
    hasher.write(name);
    hasher.write(value);
    let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

impl Memory {
    pub(super) fn new(max: usize) -> Self {
        Self { table: Table::new(max), chains: None, newest: 0 }
    }

    pub(super) fn max(&self) -> usize {
        self.table.max()
    }

    pub(super) fn resize(&mut self, max: usize) {
        self.table.resize(max);
        if max == 0 {
            self.chains = None;
        }
    }

    /// Whether the table is large enough for an entry.
    pub(super) fn takes(&self, name: &[u8], value: &[u8]) -> bool {
        name.len() + value.len() + OVERHEAD <= self.table.max()
    }

    /// The index of an entry with this hash that is the wanted one.
    pub(super) fn find(&self, hash: u32, is_it: impl Fn((&[u8], &[u8])) -> bool) -> Option<usize> {
        let chains = self.chains.as_ref()?;
        let mut number = *chains.newest.get(place(hash))?;
        let mut least = 0;
        loop {
            let age = self.newest.wrapping_sub(number) as usize;
            // It has left; or its number seems to be in use because the numbers came round.
            if age < least || age >= self.table.len() {
                return None;
            }
            let link = chains.links.get(place(number))?;
            if link.hash == hash && self.table.entry(age).is_some_and(&is_it) {
                return Some(FIRST + age);
            }
            number = link.older;
            least = age + 1;
        }
    }

    /// Inserts an entry that the table takes.
    pub(super) fn insert(&mut self, hash: u32, name: &[u8], value: &[u8]) {
        self.table.insert(name, value);
        self.newest = self.newest.wrapping_add(1);
        let chains = self.chains.get_or_insert_with(Chains::new);
        if let Some(newest) = chains.newest.get_mut(place(hash))
            && let Some(link) = chains.links.get_mut(place(self.newest))
        {
            *link = Link { hash, older: std::mem::replace(newest, self.newest) };
        }
    }
}

impl Chains {
    fn new() -> Box<Self> {
        let link = Link { hash: 0, older: 0 };
        Box::new(Self { newest: [0; LINKS], links: [link; LINKS] })
    }
}

fn place(number: u32) -> usize {
    number as usize % LINKS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(memory: &Memory, hash: u32, value: &[u8]) -> Option<usize> {
        memory.find(hash, |entry| entry == (b"x", value))
    }

    #[test]
    fn entries_are_found_while_their_numbers_come_round() {
        let mut memory = Memory { newest: u32::MAX - 150, ..Memory::new(MOST) };
        for value in 0..300_u32 {
            let value = value.to_be_bytes();
            memory.insert(hash(b"x", &value), b"x", &value);
            assert_eq!(found(&memory, hash(b"x", &value), &value), Some(FIRST));
        }
        for value in 0..300_u32 {
            let age = 299 - value as usize;
            let wanted = (age < memory.table.len()).then_some(FIRST + age);
            let value = value.to_be_bytes();
            assert_eq!(found(&memory, hash(b"x", &value), &value), wanted);
        }
    }

    #[test]
    fn values_chosen_to_have_one_hash_are_told_apart_in_one_pass_of_the_table() {
        let mut memory = Memory::new(MOST);
        for value in 0..300_u32 {
            memory.insert(7, b"x", &value.to_be_bytes());
        }
        assert_eq!(found(&memory, 7, &250_u32.to_be_bytes()), Some(FIRST + 49));
        let looked_at = std::cell::Cell::new(0);
        let none = memory.find(7, |_| {
            looked_at.set(looked_at.get() + 1);
            false
        });
        assert_eq!((none, looked_at.get()), (None, memory.table.len()));
    }
}

//! How many connections each client has: one client alone must not take them all.
//!
//! A client is an IPv4 address or an IPv6 /64, told by the socket, or by the PROXY
//! header where a listener has one. Counted when a connection is accepted and when
//! it ends, by all workers in one table: never for a request.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::rate_limit::clients::Client;

/// Parts of the table, each with a lock of its own, held for some nanoseconds.
const PARTS: usize = 64;
/// A part that had more than this gives its memory back when it is empty.
const KEPT: usize = 64;

type Counts = HashMap<Client, u32>;

/// The connections of all clients. It has an entry for each client that has one now, so it is no
/// larger than all connections together; the hash has a secret, so nobody chooses whom he meets.
#[derive(Debug)]
pub struct PerClient {
    hash: RandomState,
    parts: [Mutex<Counts>; PARTS],
}

/// One connection as its client's; given back when dropped.
#[derive(Debug)]
pub struct Counted {
    table: Arc<PerClient>,
    client: Client,
}

impl Default for PerClient {
    fn default() -> Self {
        Self { hash: RandomState::new(), parts: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl PerClient {
    /// Counts one more connection of a client, unless it has `limit` already.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, limit: usize) -> Option<Counted> {
        let client = Client::of(address);
        let mut counts = self.part(client)?;
        let count = counts.entry(client).or_insert(0);
        if usize::try_from(*count).is_ok_and(|count| count >= limit) {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Counted { table: self.clone(), client })
    }

    fn part(&self, client: Client) -> Option<MutexGuard<'_, Counts>> {
        let index = usize::try_from(self.hash.hash_one(client) % PARTS as u64).unwrap_or(0);
        // What a panic left is a number like any other.
        self.parts.get(index).map(|part| part.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(mut counts) = self.table.part(self.client) else { return };
        if let Entry::Occupied(mut entry) = counts.entry(self.client) {
            *entry.get_mut() = entry.get().saturating_sub(1);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
        if counts.is_empty() && counts.capacity() > KEPT {
            *counts = Counts::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn entries(table: &PerClient) -> usize {
        table.parts.iter().map(|part| part.lock().expect("a lock").len()).sum()
    }

    #[test]
    fn each_client_has_as_many_as_the_limit_and_gets_another_when_one_ends() {
        let table = Arc::new(PerClient::default());
        let enter = |text| table.enter(address(text), 2);
        let first = enter("192.0.2.1").expect("the first");
        let second = enter("::ffff:192.0.2.1").expect("the second, of the same client");
        assert!(enter("192.0.2.1").is_none());
        let other = enter("192.0.2.2").expect("another client");
        drop(first);
        let third = enter("192.0.2.1").expect("a place is free");
        assert!(enter("192.0.2.1").is_none());
        drop((second, third, other));
        assert_eq!(entries(&table), 0);
    }

    #[test]
    fn the_addresses_of_one_64_are_one_client() {
        let table = Arc::new(PerClient::default());
        let enter = |text| table.enter(address(text), 2);
        let kept = [enter("2001:db8::1"), enter("2001:db8::ffff:1")];
        assert!(kept.iter().all(Option::is_some));
        assert!(enter("2001:db8:0:0:1::").is_none());
        assert!(enter("2001:db8:0:1::1").is_some());
    }

    #[test]
    fn a_flood_leaves_no_memory_behind() {
        let table = Arc::new(PerClient::default());
        let many = (0..100_000_u32).map(|index| table.enter(IpAddr::V4(index.into()), 1));
        let kept: Vec<_> = many.map(|counted| counted.expect("a place")).collect();
        assert_eq!(entries(&table), 100_000);
        drop(kept);
        assert_eq!(entries(&table), 0);
        let held = |part: &Mutex<Counts>| part.lock().expect("a lock").capacity();
        assert!(table.parts.iter().all(|part| held(part) <= KEPT));
    }
}

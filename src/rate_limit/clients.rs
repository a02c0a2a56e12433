//! The buckets of clients, in a table of a fixed size.
//!
//! A client's bucket stands in one of a few places that its key's hash chooses;
//! a bucket that is full again gives its place to whoever needs it, so the table
//! is swept by its use. When all places of a hash are taken, the bucket that
//! is nearest to full goes: its client gains the least by it. The hash has a
//! secret of its own, so nobody can choose whom he meets there.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::{Pace, limited, since};
use crate::clock::Instant;
use crate::config::load::ClientRateLimit;
use crate::error::{Limit, Limited};

/// Places that one hash chooses. In a table half full one hash in three hundred has more clients
/// than that; of eight places it would be one in fifty.
const PLACES: usize = 16;

/// Who counts as one client: an IPv4 address, or a /64 of IPv6, of which the least that anybody
/// is given holds more addresses than any table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Client(u64);

impl Client {
    /// Whose address this is.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // Beyond ff00::/8, which is no source of anything.
            IpAddr::V4(address) => Self(0xffff_ffff << 32 | u64::from(address.to_bits())),
            IpAddr::V6(address) => Self(u64::try_from(address.to_bits() >> 64).unwrap_or(0)),
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    client: Client,
    /// In the past: the bucket is full, and its place is free.
    full_at: u64,
}

/// The places of one hash, on cache lines of their own: workers lock different ones.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Places(Mutex<[Bucket; PLACES]>);

/// The buckets of all clients, common to all workers.
#[derive(Debug)]
pub struct Clients {
    settings: ClientRateLimit,
    pace: Pace,
    start: Instant,
    hash: RandomState,
    places: Box<[Places]>,
}

impl Clients {
    /// Nobody has asked yet.
    pub fn new(settings: ClientRateLimit) -> Self {
        // Half full at the most.
        let count = (2 * settings.clients / PLACES).next_power_of_two();
        Self {
            settings,
            pace: Pace::of(&settings.rate),
            start: Instant::now(),
            hash: RandomState::new(),
            places: std::iter::repeat_with(Places::default).take(count).collect(),
        }
    }

    /// What it was made for.
    pub fn settings(&self) -> &ClientRateLimit {
        &self.settings
    }

    /// Counts a request of a client, or says why it comes too early.
    pub fn take(&self, client: Client) -> Result<(), Limited> {
        let now = since(self.start);
        let mask = self.places.len() as u64 - 1;
        let index = usize::try_from(self.hash.hash_one(client) & mask).unwrap_or(0);
        let Some(Places(places)) = self.places.get(index) else { return Ok(()) };
        // Held for some nanoseconds; what a panic left is a number like any other.
        let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
        let known = places.iter().position(|bucket| bucket.client == client);
        let least = || places.iter().enumerate().min_by_key(|(_, bucket)| bucket.full_at);
        let place = known.or_else(|| least().map(|(place, _)| place));
        let Some(bucket) = place.and_then(|place| places.get_mut(place)) else { return Ok(()) };
        let full_at = if bucket.client == client { bucket.full_at } else { 0 };
        match self.pace.take(full_at, now) {
            Ok(full_at) => {
                *bucket = Bucket { client, full_at };
                Ok(())
            }
            Err(wait) => Err(limited(Limit::Client, &self.settings.rate, wait)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;
    use crate::config::load::RateLimit;

    fn clients(burst: u32) -> Clients {
        let rate = RateLimit { requests: 1, per: Duration::from_secs(60), burst };
        Clients::new(ClientRateLimit { rate, clients: 1024 })
    }

    fn client(text: &str) -> Client {
        Client::of(text.parse().expect("an address"))
    }

    #[test]
    fn clients_are_told_apart_by_address_or_by_their_64_bits() {
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_eq!(client("2001:db8::1"), client("2001:db8:0:0:ffff:ffff:ffff:ffff"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_ne!(client("::1"), client("0.0.0.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn each_client_has_its_own_burst_and_the_same_one_gets_no_second() {
        let clients = clients(2);
        for address in ["192.0.2.1", "192.0.2.2", "2001:db8::1", "::1"] {
            let taken = (0..5).filter(|_| clients.take(client(address)).is_ok()).count();
            assert_eq!(taken, 2, "{address}");
        }
        advance(Duration::from_secs(60)).await;
        assert_eq!(clients.take(client("::1")), Ok(()));
        let limited = clients.take(client("::1")).expect_err("one a minute");
        assert_eq!((limited.limit, limited.retry_after), (Limit::Client, 60));
    }

    #[test]
    fn a_flood_of_clients_takes_no_more_memory_and_leaves_who_has_used_most() {
        let clients = clients(100);
        let places = clients.places.len();
        assert_eq!(places * PLACES, 2048);
        let busy = client("192.0.2.1");
        while clients.take(busy).is_ok() {}
        for address in 0..100_000_u32 {
            let _ = clients.take(Client::of(IpAddr::V4(address.into())));
        }
        assert_eq!(clients.places.len(), places);
        assert!(clients.take(busy).is_err(), "its bucket is the farthest from full");
    }

    #[test]
    fn as_many_clients_as_were_asked_for_are_remembered() {
        let clients = clients(1);
        let all = || (0..1024_u32).map(|address| Client::of(IpAddr::V4(address.into())));
        assert!(all().all(|client| clients.take(client).is_ok()));
        let refused = all().filter(|client| clients.take(*client).is_err()).count();
        // All but those in hashes that many share, which are 8 on average.
        assert!(refused > 900, "{refused} of 1024");
    }
}

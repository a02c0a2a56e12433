//! The last executions of one worker, so that one can be looked up by the id that
//! its caller quotes.
//!
//! A ring of entries of one size, owned by the worker: a request copies what is
//! known of it over the oldest, without a lock and without an allocation. Whoever
//! wants to look asks the worker. Ids and apps lie apart from the rest, so that a
//! search reads 48 bytes of each entry: 10,000 are gone through in some 20 µs.

use std::hash::Hasher;
use std::net::SocketAddr;
use std::time::Duration;

use rustc_hash::FxHasher;

use super::finished::{Finished, Termination};

/// The length of an execution id.
const ID: usize = 36;

/// The ring.
#[derive(Debug, Default)]
pub struct Executions {
    keys: Vec<Key>,
    entries: Vec<Execution>,
    /// Where the next one goes.
    next: usize,
    capacity: usize,
}

/// By what one is found.
#[derive(Debug, Clone, Copy)]
struct Key {
    id: [u8; ID],
    app: u64,
}

/// What is kept of an execution: 464 bytes.
#[derive(Debug, Clone, Copy)]
pub struct Execution {
    id: [u8; ID],
    /// `organization/name`, empty if no app was found.
    pub function_id: Text<127>,
    /// The method, of a very long one the beginning.
    pub method: Text<15>,
    /// The path, of a long one the beginning.
    target: Text<95>,
    /// HTTP version.
    pub version: &'static str,
    /// The caller.
    pub client: SocketAddr,
    /// The endpoint that was tried last.
    pub endpoint: Option<SocketAddr>,
    /// What the caller got, if anything.
    pub status: Option<u16>,
    /// The status of a gRPC call, if it ended with one.
    pub grpc_status: Option<u32>,
    /// From its head to the end of its response.
    pub took: Duration,
    /// The part of it spent waiting for its turn.
    pub queued: Duration,
    /// The time until the app's answer began.
    pub first_byte: Option<Duration>,
    /// The time that connecting took, the last try's; none on a kept connection.
    pub connect: Option<Duration>,
    /// How many tries there were.
    pub attempts: u32,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the response body.
    pub bytes_out: u64,
    /// How it ended.
    pub termination: Termination,
    /// Why it did not end well; empty if it did.
    pub reason: &'static str,
}

/// A short text in place.
#[derive(Debug, Clone, Copy)]
pub struct Text<const LONGEST: usize> {
    length: u8,
    bytes: [u8; LONGEST],
}

impl<const LONGEST: usize> Text<LONGEST> {
    const EMPTY: Self = Self { length: 0, bytes: [0; LONGEST] };

    fn set(&mut self, text: &[u8]) {
        let length = text.len().min(LONGEST).min(usize::from(u8::MAX));
        if let (Some(to), Some(from)) = (self.bytes.get_mut(..length), text.get(..length)) {
            to.copy_from_slice(from);
        }
        self.length = u8::try_from(length).unwrap_or(0);
    }

    /// Its bytes; where it was too long, the first of them.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl Execution {
    const BLANK: Self = Self {
        id: [0; ID],
        function_id: Text::EMPTY,
        method: Text::EMPTY,
        target: Text::EMPTY,
        version: "",
        client: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0),
        endpoint: None,
        status: None,
        grpc_status: None,
        took: Duration::ZERO,
        queued: Duration::ZERO,
        first_byte: None,
        connect: None,
        attempts: 0,
        bytes_in: 0,
        bytes_out: 0,
        termination: Termination::Complete,
        reason: "",
    };

    /// Its id.
    pub fn id(&self) -> &str {
        std::str::from_utf8(&self.id).unwrap_or_default()
    }

    /// The path without the query: that may hold what is nobody's to see.
    pub fn path(&self) -> &[u8] {
        let target = self.target.as_bytes();
        target.split(|byte| *byte == b'?').next().unwrap_or_default()
    }

    /// When it began, in milliseconds since 1970: its id says so, RFC 9562 section 5.7.
    pub fn began_millis(&self) -> u64 {
        let digits = self.id.iter().filter(|byte| **byte != b'-').take(12);
        digits.fold(0, |time, digit| {
            time * 16 + u64::from(char::from(*digit).to_digit(16).unwrap_or(0))
        })
    }

    /// Whether it did not end as its caller may expect.
    pub fn is_failure(&self) -> bool {
        !self.reason.is_empty() || self.status.is_none_or(|status| status >= 500)
    }

    fn set(&mut self, id: [u8; ID], finished: &Finished<'_>) {
        let latest = finished.latest();
        self.id = id;
        self.function_id.set(finished.function_id.as_bytes());
        self.method.set(finished.method.as_str().as_bytes());
        self.target.set(finished.target);
        self.version = finished.version;
        self.client = finished.client;
        self.endpoint = latest.map(|attempt| attempt.endpoint);
        self.status = finished.status;
        self.grpc_status = finished.grpc_status;
        self.took = finished.took;
        self.queued = finished.queued;
        self.first_byte = finished.first_byte;
        self.connect = latest.and_then(|attempt| attempt.connect);
        self.attempts = finished.attempts;
        self.bytes_in = finished.bytes_in;
        self.bytes_out = finished.bytes_out;
        self.termination = finished.termination;
        self.reason = finished.reason;
    }
}

impl Executions {
    /// Room for so many; 0: none is kept. What the room takes is taken once, and touched only as it
    /// fills.
    pub fn new(capacity: usize) -> Self {
        let (keys, entries) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        Self { keys, entries, next: 0, capacity }
    }

    /// A request has ended.
    pub fn keep(&mut self, finished: &Finished<'_>) {
        if self.capacity == 0 {
            return;
        }
        let Ok(id) = <[u8; ID]>::try_from(finished.execution_id.as_bytes()) else { return };
        let key = Key { id, app: hash(finished.function_id) };
        if self.entries.len() < self.capacity {
            // Within the room that was taken.
            self.keys.push(key);
            self.entries.push(Execution::BLANK);
        }
        if let (Some(at), Some(entry)) =
            (self.keys.get_mut(self.next), self.entries.get_mut(self.next))
        {
            *at = key;
            entry.set(id, finished);
        }
        self.next = if self.next + 1 < self.capacity { self.next + 1 } else { 0 };
    }

    /// The one with this id.
    pub fn find(&self, id: &str) -> Option<Execution> {
        let id = id.as_bytes();
        let at = self.keys.iter().position(|key| key.id == id)?;
        self.entries.get(at).copied()
    }

    /// The last of an app, the newest first.
    pub fn of_app(&self, function_id: &str, most: usize, failed: bool) -> Vec<Execution> {
        let app = hash(function_id);
        let newest_first = (0..self.next).rev().chain((self.next..self.keys.len()).rev());
        let ours = newest_first.filter(|at| self.keys.get(*at).is_some_and(|key| key.app == app));
        let entries = ours.filter_map(|at| self.entries.get(at));
        let wanted = entries.filter(|entry| {
            entry.function_id.as_bytes() == function_id.as_bytes()
                && (!failed || entry.is_failure())
        });
        wanted.take(most).copied().collect()
    }
}

fn hash(function_id: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(function_id.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use http::Method;

    use super::*;
    use crate::clock;
    use crate::telemetry::finished::Termination;

    fn keep(ring: &mut Executions, number: u16, app: &str, status: u16) -> String {
        let id = format!("0190a5e0-0000-7000-8000-{number:012}");
        ring.keep(&Finished {
            execution_id: &id,
            function_id: app,
            organization_id: "acme",
            method: &Method::GET,
            host: b"hello-acme.ignite.test",
            target: b"/orders?token=secret",
            version: "1.1",
            client: "127.0.0.1:1".parse().unwrap(),
            status: Some(status),
            grpc_status: None,
            began: clock::now(),
            took: Duration::from_millis(3),
            queued: Duration::ZERO,
            first_byte: None,
            attempts: 1,
            earlier: &[],
            last: None,
            bytes_in: 0,
            bytes_out: 7,
            termination: Termination::Complete,
            reason: "",
            detail: "",
            counted: false,
            shed: false,
            trace: None,
        });
        id
    }

    fn statuses(found: &[Execution]) -> Vec<u16> {
        found.iter().filter_map(|one| one.status).collect()
    }

    #[test]
    fn the_newest_go_over_the_oldest_and_nothing_grows() {
        let mut ring = Executions::new(3);
        let room = (ring.keys.capacity(), ring.entries.capacity());
        let ids: Vec<_> = (0..7).map(|n| keep(&mut ring, n, "acme/hello", 200 + n)).collect();
        assert_eq!((ring.keys.capacity(), ring.entries.capacity()), room);
        assert_eq!(statuses(&ring.of_app("acme/hello", 10, false)), [206, 205, 204]);
        assert_eq!(statuses(&ring.of_app("acme/hello", 2, false)), [206, 205]);
        assert!(ring.find(&ids[3]).is_none());
        let found = ring.find(&ids[4]).expect("one of the last three");
        assert_eq!((found.id(), found.path()), (&*ids[4], &b"/orders"[..]));
        assert_eq!(found.began_millis(), 0x0190_a5e0_0000);
    }

    #[test]
    fn each_app_sees_its_own_and_failures_alone_where_it_wants() {
        let mut ring = Executions::new(8);
        let kept = [("acme/a", 200), ("acme/b", 500), ("acme/a", 503), ("", 404)];
        for (number, (app, status)) in (0..).zip(kept) {
            keep(&mut ring, number, app, status);
        }
        assert_eq!(statuses(&ring.of_app("acme/a", 10, false)), [503, 200]);
        assert_eq!(statuses(&ring.of_app("acme/a", 10, true)), [503]);
        assert_eq!(statuses(&ring.of_app("acme/c", 10, false)), [0; 0]);
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let mut ring = Executions::new(0);
        let id = keep(&mut ring, 1, "acme/hello", 200);
        assert!(ring.find(&id).is_none());
    }

    #[test]
    fn an_entry_has_the_size_that_is_documented() {
        assert!(size_of::<Execution>() + size_of::<Key>() <= 520, "{}", size_of::<Execution>());
    }
}

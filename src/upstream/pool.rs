//! One worker's idle connections to endpoints, last in first out.
//!
//! A connection is keyed by its endpoint's id, which belongs to one port of one
//! app. It comes back only when its last exchange proved it clean, and is
//! looked at again before it is leased: one that was closed, or that carries
//! bytes nobody asked for, is thrown away.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::BytesMut;
use rustc_hash::FxHashMap;
use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use super::app::Endpoint;
use crate::clock::{self, Deadline, Instant};

/// From this idle time on, a connection is also asked by a system call whether
/// it still stands: what the runtime knows may be one turn old. Apps that close
/// idle connections do so after seconds, and a busy pool never gets here.
const PROBE_AFTER: Duration = Duration::from_secs(1);

/// A connection to an endpoint.
pub struct Connection {
    /// The socket.
    pub stream: TcpStream,
    /// Bytes that came and are not yet used.
    pub read: BytesMut,
    /// Bytes to be written.
    pub out: BytesMut,
    /// How much is likely to come with the next response's head.
    pub expected: u64,
    /// The timer of whatever this connection waits for.
    pub deadline: Deadline,
    /// How long it may stay idle; the app's `Keep-Alive` field shortens it.
    pub keepalive: Duration,
    /// Whether it served a request before.
    pub reused: bool,
    endpoint: Arc<Endpoint>,
    idle_since: Instant,
}

impl Connection {
    /// A connection just made.
    pub fn new(stream: TcpStream, endpoint: Arc<Endpoint>, keepalive: Duration) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
            out: BytesMut::new(),
            expected: 0,
            deadline: Deadline::new(),
            keepalive,
            reused: false,
            endpoint,
            idle_since: Instant::now(),
        }
    }

    fn is_usable(&mut self, now: Instant) -> bool {
        let idle = now.saturating_duration_since(self.idle_since);
        idle < self.keepalive
            && !self.endpoint.is_retired()
            && self.seems_quiet()
            && (idle < PROBE_AFTER || self.is_quiet())
    }

    /// Whether the runtime knows of nothing that came: no system call if so. A close shows
    /// here, and so do bytes behind a response, which would be taken for the next one.
    fn seems_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer).is_pending()
    }

    /// Whether the kernel knows of nothing either.
    fn is_quiet(&self) -> bool {
        let peeked = SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// The idle connections of one worker.
#[expect(clippy::vec_box, reason = "a lease moves a pointer, not the connection")]
pub struct Pool {
    idle: RefCell<FxHashMap<u64, Vec<Box<Connection>>>>,
    limit: Cell<usize>,
    counts: Counts,
}

/// What the pool did, for the metrics.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections idle now.
    pub idle: Cell<u64>,
    /// Leases of an idle connection.
    pub reused: Cell<u64>,
    /// Leases that had to connect.
    pub missed: Cell<u64>,
}

impl Pool {
    /// A pool that keeps at most `limit` idle connections to one endpoint.
    pub fn new(limit: usize) -> Self {
        Self { idle: RefCell::default(), limit: Cell::new(limit), counts: Counts::default() }
    }

    /// A defect, for tests: any use of the pool panics as long as this is held.
    #[cfg(test)]
    pub(crate) fn break_down(&self) -> impl Sized + '_ {
        self.idle.borrow_mut()
    }

    /// Changes the limit; what is above it goes as it is used.
    pub fn set_limit(&self, limit: usize) {
        self.limit.set(limit);
    }

    /// What the pool did so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The last returned connection to `endpoint` that still stands.
    pub fn lease(&self, endpoint: &Endpoint) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        let stack = idle.get_mut(&endpoint.id());
        let now = clock::recent();
        let found = stack.and_then(|stack| {
            while let Some(mut connection) = stack.pop() {
                self.counts.idle.set(self.counts.idle.get() - 1);
                if connection.is_usable(now) {
                    return Some(connection);
                }
            }
            None
        });
        let count = if found.is_some() { &self.counts.reused } else { &self.counts.missed };
        count.set(count.get() + 1);
        found
    }

    /// Takes back a connection whose exchange ended clean.
    pub fn give_back(&self, mut connection: Box<Connection>) {
        if connection.endpoint.is_retired() {
            return;
        }
        connection.reused = true;
        // An empty buffer would still hold the content that was read into it.
        if connection.expected > 0 {
            connection.read = BytesMut::new();
        }
        connection.idle_since = clock::recent();
        connection.deadline.clear();
        let mut idle = self.idle.borrow_mut();
        let stack = idle.entry(connection.endpoint.id()).or_default();
        if stack.len() < self.limit.get() {
            stack.push(connection);
            self.counts.idle.set(self.counts.idle.get() + 1);
        }
    }

    /// Closes what the peer closed, what was idle too long, and what leads to
    /// an endpoint that is gone; called now and then by the worker.
    pub fn sweep(&self) {
        let now = Instant::now();
        let mut kept = 0;
        self.idle.borrow_mut().retain(|_, stack| {
            stack.retain_mut(|connection| connection.is_usable(now));
            kept += stack.len() as u64;
            !stack.is_empty()
        });
        self.counts.idle.set(kept);
    }
}

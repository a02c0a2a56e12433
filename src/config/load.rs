//! How much is taken of whom, and by what the gateway knows that it has too much
//! to do.

use std::time::Duration;

/// A rate of requests, as a bucket that fills evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests in each period, in the long run; at least 1.
    pub requests: u32,
    /// The period.
    pub per: Duration,
    /// Requests that may come at once after a pause; at least 1.
    pub burst: u32,
}

impl RateLimit {
    /// The most requests that a period or a burst may have.
    pub const MOST: u32 = 1_000_000;
    /// The period unless another is given.
    pub const PER: Duration = Duration::from_secs(1);
}

/// The rate of each client, all apps together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientRateLimit {
    /// What each of them may do.
    pub rate: RateLimit,
    /// Clients that are remembered at once, which is what bounds the memory.
    pub clients: usize,
}

impl ClientRateLimit {
    /// Remembered unless configured: 2 MiB, where each has 16 bytes in a table half full.
    pub const CLIENTS: usize = 65_536;
}

/// Requests that one app may have under way, over all its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AppInFlight {
    /// Half of the connections that callers may have: whatever becomes of one app, the others have
    /// the other half.
    #[default]
    Auto,
    /// As many; 0: no limit.
    Requests(usize),
}

/// Resident memory of the process above which it takes no new requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryLimit {
    /// A share of what the control group may use; no limit where there is none.
    #[default]
    Auto,
    /// Bytes; 0: no limit.
    Bytes(u64),
}

/// By what a worker knows that it has too much to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overload {
    /// How late a worker may lastingly be with what it has to do; zero: however late.
    pub target_lag: Duration,
}

impl Default for Overload {
    /// Seven thousand requests that came at once: what a worker has to do in a tenth of a second.
    /// Below it are the bursts of an ordinary day.
    fn default() -> Self {
        Self { target_lag: Duration::from_millis(500) }
    }
}

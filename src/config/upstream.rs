//! How requests get past endpoints that fail: ejection and retries.

use std::time::Duration;

/// When endpoints that fail are left alone for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlierEjection {
    /// Failures in a row (no connection, no response head, no HTTP) that eject; 0: none do.
    pub consecutive_failures: u32,
    /// 5xx answers in a row that eject; 0: none do.
    pub consecutive_5xx: u32,
    /// The first ejection; each further one is twice as long.
    pub base_time: Duration,
    /// The longest.
    pub max_time: Duration,
    /// The share of an app's endpoints that may be ejected at once, in per cent.
    pub max_percent: u32,
}

/// When a request is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// The most retries of one request; 0: none.
    pub max: u32,
    /// The share of recent requests that may be tried again, in per cent.
    pub budget_percent: u32,
    /// Retries a second that are allowed whatever the share is, for each host.
    pub min_per_second: u32,
}

impl Default for OutlierEjection {
    fn default() -> Self {
        Self {
            consecutive_failures: 3,
            consecutive_5xx: 0,
            base_time: Duration::from_secs(1),
            max_time: Duration::from_secs(30),
            max_percent: 50,
        }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self { max: 2, budget_percent: 20, min_per_second: 3 }
    }
}

//! Why a request is refused that could be served at another time: its caller or
//! its app has had enough, or the gateway has.

use std::fmt;

/// Whose rate a request is beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// That of an app, by all its callers together.
    App,
    /// That of a client, at all apps together.
    Client,
}

impl Limit {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::App, Self::Client];

    /// Its name in fields and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request beyond a rate, with what its caller is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// Whose rate.
    pub limit: Limit,
    /// Requests in each period.
    pub requests: u32,
    /// The period in whole seconds, as far as it is some.
    pub window: Option<u64>,
    /// Seconds until one more will be taken.
    pub retry_after: u32,
}

impl Limited {
    /// `RateLimit-Policy`, draft-ietf-httpapi-ratelimit-headers-10 section 3: the quota and its
    /// window. The burst has no parameter there.
    pub fn policy(&self) -> String {
        let window = self.window.map(|window| format!(";w={window}")).unwrap_or_default();
        format!("\"{}\";q={}{window}", self.limit, self.requests)
    }

    /// `RateLimit`, section 4 of the same: nothing remains, and how long that lasts.
    pub fn state(&self) -> String {
        format!("\"{}\";r=0;t={}", self.limit, self.retry_after)
    }
}

/// By what the gateway knows that it has too much to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overload {
    /// Requests under way.
    InFlight,
    /// Resident memory.
    Memory,
    /// A worker that is late with its work.
    Lag,
}

impl Overload {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::InFlight, Self::Memory, Self::Lag];

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::Memory => "memory",
            Self::Lag => "lag",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_name_the_limit_its_quota_and_when_there_is_more() {
        let limited =
            Limited { limit: Limit::App, requests: 100, window: Some(60), retry_after: 3 };
        assert_eq!(limited.policy(), r#""app";q=100;w=60"#);
        assert_eq!(limited.state(), r#""app";r=0;t=3"#);
        // A window is an integer of seconds, and may be left out.
        let odd = Limited { limit: Limit::Client, window: None, ..limited };
        assert_eq!(odd.policy(), r#""client";q=100"#);
    }
}

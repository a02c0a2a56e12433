//! Every reason that a request can have not to end well, with whose doing it is:
//! the fixed list that metrics are labelled by.

use super::Side::{self, App, Caller, Gateway};

/// What [`super::Error::side`] and [`super::Error::reason`] can say.
pub const REASONS: [(Side, &str); 34] = [
    (Caller, "malformed_request"),
    (Caller, "bad_host"),
    (Caller, "transfer_coding"),
    (Caller, "target_too_long"),
    (Caller, "head_too_large"),
    (Caller, "body_too_large"),
    (Caller, "method_not_allowed"),
    (Caller, "method_not_implemented"),
    (Caller, "unknown_host"),
    (Caller, "caller_timeout"),
    (Caller, "caller_gone"),
    (Caller, "app_rate_limit"),
    (Caller, "client_rate_limit"),
    (Gateway, "app_in_flight"),
    (Gateway, "queue_full"),
    (Gateway, "concurrency_timeout"),
    (Gateway, "no_ready_endpoint"),
    (Gateway, "overloaded_in_flight"),
    (Gateway, "overloaded_memory"),
    (Gateway, "overloaded_lag"),
    (Gateway, "shutdown"),
    (Gateway, "internal"),
    (App, "connect_refused"),
    (App, "connect_timeout"),
    (App, "app_closed"),
    (App, "app_malformed"),
    (App, "app_head_too_large"),
    (App, "app_upgraded"),
    (App, "app_not_upgraded"),
    (App, "upgrade_timeout"),
    (App, "response_timeout"),
    (App, "deadline_exceeded"),
    (App, "app_body_timeout"),
    // Nothing that the gateway does today; kept so that no failure can go uncounted.
    (Gateway, "other"),
];

impl Side {
    /// Its name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Gateway => "gateway",
            Self::App => "app",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::every;
    use super::*;

    #[test]
    fn every_failure_has_its_reason_in_the_list_once() {
        let said: Vec<_> = every().iter().map(|error| (error.side(), error.reason())).collect();
        for row in &said {
            assert_eq!(REASONS.iter().filter(|known| *known == row).count(), 1, "{row:?}");
        }
        let unsaid: Vec<_> = REASONS.iter().filter(|row| !said.contains(row)).collect();
        assert_eq!(unsaid, [&(Gateway, "other")], "a reason that no failure has");
    }
}

//! Counts of what was refused for what its caller sent, and of the gateway's own
//! defects.
//!
//! The reasons are a fixed list: what an attack looks like from the inside, with
//! nothing of the caller's own in a label. They are no [`Error::reason`]s: of a
//! malformed request this list tells which rule was broken, of the rest less.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Malformed};

/// Why a request was refused.
pub const REASONS: [&str; 21] = [
    "bare_line_feed",
    "start_line",
    "version",
    "field",
    "target",
    "content_length",
    "transfer_encoding",
    "chunk",
    "trailer",
    "connection",
    "stream",
    "upgrade",
    "plain_http",
    "incomplete",
    "host",
    "transfer_coding",
    "target_too_long",
    "head_too_large",
    "body_too_large",
    "method",
    "timeout",
];

/// Counts of all workers together: a refusal is rare, or its caller is to be slowed down anyway.
#[derive(Debug, Default)]
pub struct Refusals {
    refused: [AtomicU64; REASONS.len()],
    panics: AtomicU64,
}

impl Refusals {
    /// A request failed. Counted if that was its caller's doing.
    pub fn count(&self, error: &Error) {
        let reason = reason(error);
        let index = reason.and_then(|reason| REASONS.iter().position(|known| *known == reason));
        if let Some(counter) = index.and_then(|index| self.refused.get(index)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Every reason and how often it was one.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.refused.iter().map(|counter| counter.load(Ordering::Relaxed));
        REASONS.into_iter().zip(counts)
    }

    /// A request or a connection ended in a panic.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that happened.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }
}

fn reason(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::Malformed(malformed) => match malformed {
            Malformed::BareLineFeed => "bare_line_feed",
            Malformed::StartLine => "start_line",
            Malformed::Version => "version",
            Malformed::Field => "field",
            Malformed::Target => "target",
            Malformed::ContentLength => "content_length",
            Malformed::TransferEncoding => "transfer_encoding",
            Malformed::Chunk => "chunk",
            Malformed::Trailer => "trailer",
            Malformed::Connection => "connection",
            Malformed::Stream => "stream",
            Malformed::Upgrade => "upgrade",
            Malformed::PlainHttp => "plain_http",
            Malformed::Incomplete => "incomplete",
        },
        Error::Host => "host",
        Error::TransferCoding
        | Error::TargetTooLong { .. }
        | Error::HeadTooLarge { .. }
        | Error::BodyTooLarge { .. } => error.reason(),
        Error::MethodNotAllowed | Error::MethodNotImplemented => "method",
        Error::CallerTimeout => "timeout",
        // Counted elsewhere, or nobody's fault that could be an attack.
        Error::UnknownHost
        | Error::CallerGone
        | Error::AppInFlight
        | Error::QueueFull
        | Error::ConcurrencyTimeout
        | Error::NoReadyEndpoint
        | Error::ConnectRefused(_)
        | Error::ConnectTimeout
        | Error::AppClosed(_)
        | Error::AppMalformed(_)
        | Error::AppHeadTooLarge { .. }
        | Error::AppUpgraded
        | Error::AppNotUpgraded
        | Error::UpgradeTimeout
        | Error::ResponseTimeout
        | Error::DeadlineExceeded
        | Error::AppBodyTimeout
        | Error::RateLimited(_)
        | Error::Overloaded(_)
        | Error::ShutDown
        | Error::Internal => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::error::{Side, every};

    #[test]
    fn what_a_caller_did_is_counted_by_reason_and_what_an_app_did_is_not() {
        let refusals = Refusals::default();
        refusals.count(&Error::Malformed(Malformed::Chunk));
        refusals.count(&Error::CallerTimeout);
        refusals.count(&Error::CallerTimeout);
        refusals.count(&Error::AppMalformed(Malformed::Chunk));
        let counted: Vec<_> = refusals.refused().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("chunk", 1), ("timeout", 2)]);
    }

    #[test]
    fn every_reason_in_the_list_is_some_failures_and_every_failures_is_in_the_list_once() {
        let said: Vec<_> = every().iter().filter_map(reason).collect();
        for word in &said {
            assert_eq!(REASONS.iter().filter(|known| *known == word).count(), 1, "{word}");
        }
        let unsaid: Vec<_> = REASONS.iter().filter(|word| !said.contains(word)).collect();
        assert!(unsaid.is_empty(), "reasons that no failure has: {unsaid:?}");
    }

    #[test]
    fn every_failure_by_a_caller_is_counted_but_those_that_others_count() {
        let elsewhere = ["unknown_host", "caller_gone", "app_rate_limit", "client_rate_limit"];
        for error in every() {
            let is_ours = error.side() == Side::Caller && !elsewhere.contains(&error.reason());
            assert_eq!(reason(&error).is_some(), is_ours, "{error:?}");
        }
    }

    #[test]
    fn every_rule_that_a_request_can_break_has_a_reason_of_its_own() {
        let all = every();
        let broken: Vec<_> =
            all.iter().filter(|error| matches!(error, Error::Malformed(_))).collect();
        let said: HashSet<_> = broken.iter().filter_map(|error| reason(error)).collect();
        assert_eq!(said.len(), broken.len(), "{said:?}");
    }
}

//! Counts of what was refused for what its caller sent, and of the gateway's own
//! defects.
//!
//! The reasons are a fixed list: what an attack looks like from the inside, with
//! nothing of the caller's own in a label.

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
        Error::TransferCoding => "transfer_coding",
        Error::TargetTooLong { .. } => "target_too_long",
        Error::HeadTooLarge { .. } => "head_too_large",
        Error::BodyTooLarge { .. } => "body_too_large",
        Error::MethodNotAllowed | Error::MethodNotImplemented => "method",
        Error::CallerTimeout => "timeout",
        // Counted elsewhere, or nobody's fault that could be an attack.
        Error::UnknownHost
        | Error::CallerGone
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
    use super::*;

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
    fn every_way_in_which_a_request_can_be_malformed_has_a_row() {
        let refusals = Refusals::default();
        for malformed in [
            Malformed::BareLineFeed,
            Malformed::StartLine,
            Malformed::Version,
            Malformed::Field,
            Malformed::Target,
            Malformed::ContentLength,
            Malformed::TransferEncoding,
            Malformed::Chunk,
            Malformed::Trailer,
            Malformed::Connection,
            Malformed::Stream,
            Malformed::Upgrade,
            Malformed::PlainHttp,
            Malformed::Incomplete,
        ] {
            refusals.count(&Error::Malformed(malformed));
        }
        assert_eq!(refusals.refused().filter(|(_, count)| *count == 1).count(), 14);
    }
}

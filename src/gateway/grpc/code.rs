//! What a failure of a call is in gRPC's terms.
//!
//! The basis is gRPC's own mapping for answers of proxies that know only HTTP
//! (`http-grpc-status-mapping.md`): 400 INTERNAL, 401 UNAUTHENTICATED, 403
//! `PERMISSION_DENIED`, 404 UNIMPLEMENTED, 429, 502, 503 and 504 UNAVAILABLE,
//! UNKNOWN for the rest. The gateway knows more than a status and says it.

use std::fmt::Write;

use crate::error::Error;

/// The status codes that the gateway itself gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The call was given up on the caller's side.
    Cancelled = 1,
    /// A time that was allowed has passed. The app may have acted; retries are the caller's choice.
    DeadlineExceeded = 4,
    /// Something is larger than is taken; it will not be smaller the next time.
    ResourceExhausted = 8,
    /// Nobody here does what is asked.
    Unimplemented = 12,
    /// A side broke the protocol, or the gateway has a defect.
    Internal = 13,
    /// It may work in a moment: what clients retry by their usual policies.
    Unavailable = 14,
}

impl Code {
    /// The code of a failure.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::Malformed(_)
            | Error::Host
            // 501 for the like of 400: no gRPC library sends it.
            | Error::TransferCoding
            // 502, but a broken protocol, too: the next try would be answered with the same.
            | Error::AppMalformed(_)
            | Error::AppUpgraded
            | Error::AppNotUpgraded
            | Error::Internal => Self::Internal,
            Error::UnknownHost
            // 405 and 501: refused for the method, and every call is a POST.
            | Error::MethodNotAllowed
            | Error::MethodNotImplemented => Self::Unimplemented,
            // What gRPC's own libraries say of messages and metadata over their limits.
            Error::TargetTooLong { .. }
            | Error::HeadTooLarge { .. }
            | Error::BodyTooLarge { .. }
            | Error::AppHeadTooLarge { .. }
            // A quota, the app's or the caller's.
            | Error::RateLimited(_) => Self::ResourceExhausted,
            // Nobody hears it any more.
            Error::CallerGone => Self::Cancelled,
            // Not UNAVAILABLE: by then the app may have done a part of the work or all of it.
            Error::CallerTimeout
            | Error::ResponseTimeout
            | Error::DeadlineExceeded
            | Error::UpgradeTimeout
            | Error::AppBodyTimeout => Self::DeadlineExceeded,
            // The app has not seen the call, and there is room again soon. RESOURCE_EXHAUSTED would
            // read as a quota of the caller's, and hardly anybody's policy retries it.
            Error::AppInFlight
            | Error::QueueFull
            | Error::ConcurrencyTimeout
            | Error::NoReadyEndpoint
            | Error::ShutDown
            | Error::Overloaded(_)
            | Error::ConnectRefused(_)
            | Error::ConnectTimeout
            // It may have seen this one. Clients say the same of a connection that breaks under
            // them, and leave it to the method's own policy whether to call again.
            | Error::AppClosed(_) => Self::Unavailable,
        }
    }
}

/// `grpc-message` as the protocol asks: printable ASCII but for `%`, everything else by its bytes.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Overload;

    #[test]
    fn a_message_is_encoded_by_its_bytes_where_it_is_not_printable_ascii() {
        assert_eq!(percent_encoded("a b~!\"<>{}"), "a b~!\"<>{}");
        assert_eq!(percent_encoded("100 %"), "100 %25");
        assert_eq!(percent_encoded("a\r\nb\u{7f}"), "a%0D%0Ab%7F");
        assert_eq!(percent_encoded("é☃"), "%C3%A9%E2%98%83");
    }

    #[test]
    fn what_the_app_has_not_seen_is_unavailable_and_what_timed_out_is_not() {
        assert_eq!(Code::of(&Error::QueueFull), Code::Unavailable);
        assert_eq!(Code::of(&Error::ConnectTimeout), Code::Unavailable);
        assert_eq!(Code::of(&Error::Overloaded(Overload::Memory)), Code::Unavailable);
        assert_eq!(Code::of(&Error::ResponseTimeout), Code::DeadlineExceeded);
        assert_eq!(Code::of(&Error::UnknownHost) as u16, 12);
    }
}

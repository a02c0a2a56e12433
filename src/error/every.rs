//! One of each failure, for tests that hold lists against all of them.

use super::{Error, Limit, Limited, Malformed, Overload};

/// Every failure, of those with values one for each that counts.
pub(crate) fn every() -> Vec<Error> {
    let refused = || std::io::ErrorKind::ConnectionRefused.into();
    let limited = |limit| Limited { limit, requests: 1, window: None, retry_after: 1 };
    let mut all = vec![
        Error::Host,
        Error::TransferCoding,
        Error::TargetTooLong { limit: 1 },
        Error::HeadTooLarge { bytes: 1, fields: 1 },
        Error::BodyTooLarge { limit: 1 },
        Error::MethodNotAllowed,
        Error::MethodNotImplemented,
        Error::UnknownHost,
        Error::CallerTimeout,
        Error::CallerGone,
        Error::AppInFlight,
        Error::QueueFull,
        Error::ConcurrencyTimeout,
        Error::NoReadyEndpoint,
        Error::ConnectRefused(refused()),
        Error::ConnectTimeout,
        Error::AppClosed(None),
        Error::AppMalformed(Malformed::StartLine),
        Error::AppHeadTooLarge { limit: 1 },
        Error::AppUpgraded,
        Error::AppNotUpgraded,
        Error::UpgradeTimeout,
        Error::ResponseTimeout,
        Error::DeadlineExceeded,
        Error::AppBodyTimeout,
        Error::ShutDown,
        Error::Internal,
    ];
    all.extend(MALFORMED.map(Error::Malformed));
    all.extend(Limit::ALL.map(|limit| Error::RateLimited(limited(limit))));
    all.extend(Overload::ALL.map(Error::Overloaded));
    all
}

/// Every rule that a message can break.
const MALFORMED: [Malformed; 14] = [
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
];

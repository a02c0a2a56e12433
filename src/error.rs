//! What can go wrong with one request: what happened, whose side it was on,
//! what the caller is told and what the operator sees.
//!
//! Every answer that the gateway makes itself begins as an [`enum@Error`]. Each of
//! its properties is an exhaustive match, so a new failure does not compile
//! until all of them are decided. No variant holds an address: what the caller
//! sees is made from here.

use std::io;

use http::StatusCode;
use thiserror::Error;

mod cause;
#[cfg(test)]
mod every;
mod limited;
mod reasons;
mod told;

#[cfg(test)]
pub(crate) use every::every;
pub use limited::{Limit, Limited, Overload};
pub use reasons::REASONS;

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The caller sent what cannot be served, or left.
    Caller,
    /// The gateway, or the platform behind it, cannot serve now.
    Gateway,
    /// The app failed to answer as HTTP asks.
    App,
}

/// Why a message's bytes are not HTTP/1.1 as RFC 9112 defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// RFC 9112 section 2.2 lets a recipient accept it; request smuggling lives on it.
    #[error("a line ends with a bare LF")]
    BareLineFeed,
    /// Method, target or version are not three words.
    #[error("the first line is malformed")]
    StartLine,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("the HTTP version is not 1.0 or 1.1")]
    Version,
    /// A name or value has a forbidden byte, or a line is folded.
    #[error("a header field is malformed")]
    Field,
    /// The target has a byte or a form that RFC 9112 section 3.2 forbids.
    #[error("the request-target is malformed")]
    Target,
    /// Not a plain decimal number, given twice, or beside `Transfer-Encoding`.
    #[error("Content-Length is malformed, repeated, or contradicts Transfer-Encoding")]
    ContentLength,
    /// `Transfer-Encoding` in HTTP/1.0.
    #[error("Transfer-Encoding is not allowed in HTTP/1.0")]
    TransferEncoding,
    /// A chunk's size line or end is not as RFC 9112 section 7.1 asks.
    #[error("the chunked body is malformed")]
    Chunk,
    /// The trailer section is malformed or too large.
    #[error("the trailer section is malformed or too large")]
    Trailer,
    /// `Connection` names a field that must stay.
    #[error("Connection names a field that is not its own to remove")]
    Connection,
    /// A stream that breaks RFC 9113 section 8: its content is not as long as declared, or it was
    /// reset for another reason of ours.
    #[error("the stream breaks the rules of HTTP/2")]
    Stream,
    /// Content on a request that asks for another protocol.
    #[error("a request to switch protocols has content")]
    Upgrade,
    /// HTTP in the clear where TLS is spoken.
    #[error("plain HTTP was sent to an HTTPS port")]
    PlainHttp,
    /// The message ended before its length or its last chunk.
    #[error("the message ended early")]
    Incomplete,
}

/// How one request failed.
#[derive(Debug, Error)]
pub enum Error {
    /// The request is not HTTP as the RFCs define it.
    #[error("malformed request: {0}")]
    Malformed(Malformed),
    /// No host, several, or two that disagree.
    #[error("the host is missing, malformed or contradictory")]
    Host,
    /// A transfer coding other than `chunked`.
    #[error("the transfer coding is not supported")]
    TransferCoding,
    /// The request-target is over its limit.
    #[error("the request-target is longer than {limit} bytes")]
    TargetTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The header section is over its limit.
    #[error("the header section is larger than {bytes} bytes or {fields} fields")]
    HeadTooLarge {
        /// The limit in bytes.
        bytes: usize,
        /// The limit in fields.
        fields: usize,
    },
    /// The request body is over its limit.
    #[error("the request body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// TRACE is refused: it echoes credentials.
    #[error("the method is not allowed")]
    MethodNotAllowed,
    /// CONNECT: this is no forward proxy.
    #[error("the method is not implemented")]
    MethodNotImplemented,
    /// No app has this host.
    #[error("no app has this host")]
    UnknownHost,
    /// The caller did not finish the request head or body in time.
    #[error("the request did not arrive in time")]
    CallerTimeout,
    /// The caller closed or broke the connection.
    #[error("the caller left")]
    CallerGone,
    /// The app has as many requests under way as it may.
    #[error("the app has as many requests under way as it may")]
    AppInFlight,
    /// As many requests wait as may, for the app or for all apps together.
    #[error("the queue for the app is full")]
    QueueFull,
    /// The request's turn at the app did not come in time.
    #[error("the app is at its limit")]
    ConcurrencyTimeout,
    /// No endpoint of the app became ready in time.
    #[error("no endpoint of the app is ready")]
    NoReadyEndpoint,
    /// Every endpoint tried refused the connection.
    #[error("the app refused the connection")]
    ConnectRefused(#[source] io::Error),
    /// No endpoint tried accepted the connection in time.
    #[error("the app did not accept the connection in time")]
    ConnectTimeout,
    /// The app closed the connection before its response head.
    #[error("the app closed the connection before it answered")]
    AppClosed(#[source] Option<io::Error>),
    /// The app's response is not HTTP as the RFCs define it.
    #[error("the app's response is malformed: {0}")]
    AppMalformed(Malformed),
    /// The app's response head is over its limit.
    #[error("the app's response head is larger than {limit} bytes")]
    AppHeadTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The app switched protocols without being asked, or to another one.
    #[error("the app switched to a protocol that nobody asked for")]
    AppUpgraded,
    /// The app took a request for another protocol as an ordinary one.
    #[error("the app did not switch protocols")]
    AppNotUpgraded,
    /// Nothing passed in either direction after a switch of protocols for too long.
    #[error("nothing was sent in either direction for too long")]
    UpgradeTimeout,
    /// The app did not begin to answer in time.
    #[error("the app did not answer in time")]
    ResponseTimeout,
    /// The deadline that the caller gave its gRPC call has passed.
    #[error("the call's deadline has passed")]
    DeadlineExceeded,
    /// The app's response body stalled.
    #[error("the app's response stalled")]
    AppBodyTimeout,
    /// More requests than the app's or the caller's rate allows.
    #[error("the rate limit of the {} is reached", .0.limit)]
    RateLimited(Limited),
    /// The gateway has too much to do.
    #[error("the gateway is overloaded")]
    Overloaded(Overload),
    /// It was still under way when the gateway ended.
    #[error("the gateway ended before the request did")]
    ShutDown,
    /// A defect of the gateway.
    #[error("the gateway failed")]
    Internal,
}

impl Error {
    /// Whose fault it is.
    pub fn side(&self) -> Side {
        match self {
            Self::Malformed(_)
            | Self::Host
            | Self::TransferCoding
            | Self::TargetTooLong { .. }
            | Self::HeadTooLarge { .. }
            | Self::BodyTooLarge { .. }
            | Self::MethodNotAllowed
            | Self::MethodNotImplemented
            | Self::UnknownHost
            | Self::CallerTimeout
            | Self::CallerGone
            | Self::RateLimited(_) => Side::Caller,
            Self::AppInFlight
            | Self::QueueFull
            | Self::ConcurrencyTimeout
            | Self::NoReadyEndpoint
            | Self::Overloaded(_)
            | Self::ShutDown
            | Self::Internal => Side::Gateway,
            Self::ConnectRefused(_)
            | Self::ConnectTimeout
            | Self::AppClosed(_)
            | Self::AppMalformed(_)
            | Self::AppHeadTooLarge { .. }
            | Self::AppUpgraded
            | Self::AppNotUpgraded
            | Self::UpgradeTimeout
            | Self::ResponseTimeout
            | Self::DeadlineExceeded
            | Self::AppBodyTimeout => Side::App,
        }
    }

    /// The status of the gateway's answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::Host | Self::CallerGone => StatusCode::BAD_REQUEST,
            Self::TransferCoding | Self::MethodNotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::TargetTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnknownHost => StatusCode::NOT_FOUND,
            Self::CallerTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::AppInFlight
            | Self::QueueFull
            | Self::ConcurrencyTimeout
            | Self::NoReadyEndpoint
            | Self::Overloaded(_)
            | Self::ShutDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::ConnectRefused(_)
            | Self::AppClosed(_)
            | Self::AppMalformed(_)
            | Self::AppHeadTooLarge { .. }
            | Self::AppUpgraded
            | Self::AppNotUpgraded => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout
            | Self::ResponseTimeout
            | Self::DeadlineExceeded
            | Self::AppBodyTimeout
            | Self::UpgradeTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The error type of the `Proxy-Status` field, RFC 9209 section 2.3.
    pub fn proxy_status(&self) -> &'static str {
        match self {
            Self::Malformed(_)
            | Self::Host
            | Self::TransferCoding
            | Self::TargetTooLong { .. }
            | Self::HeadTooLarge { .. }
            | Self::CallerGone
            | Self::CallerTimeout => "http_request_error",
            // Section 2.3.17: refused by policy and not sent on. `connection_limit_reached` would
            // speak of the next hop, which has nothing to do with either limit.
            Self::BodyTooLarge { .. }
            | Self::MethodNotAllowed
            | Self::MethodNotImplemented
            | Self::RateLimited(_)
            | Self::Overloaded(_) => "http_request_denied",
            Self::UnknownHost => "destination_not_found",
            Self::AppInFlight | Self::QueueFull | Self::ConcurrencyTimeout => {
                "connection_limit_reached"
            }
            Self::NoReadyEndpoint | Self::ShutDown => "destination_unavailable",
            Self::ConnectRefused(_) => "connection_refused",
            Self::ConnectTimeout => "connection_timeout",
            Self::AppClosed(_) => "connection_terminated",
            Self::AppMalformed(_) => "http_protocol_error",
            Self::AppHeadTooLarge { .. } => "http_response_header_section_size",
            Self::AppUpgraded | Self::AppNotUpgraded => "http_upgrade_failed",
            Self::ResponseTimeout
            | Self::DeadlineExceeded
            | Self::AppBodyTimeout
            | Self::UpgradeTimeout => "http_response_timeout",
            Self::Internal => "proxy_internal_error",
        }
    }

    /// One word for logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed_request",
            Self::Host => "bad_host",
            Self::TransferCoding => "transfer_coding",
            Self::TargetTooLong { .. } => "target_too_long",
            Self::HeadTooLarge { .. } => "head_too_large",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::MethodNotImplemented => "method_not_implemented",
            Self::UnknownHost => "unknown_host",
            Self::CallerTimeout => "caller_timeout",
            Self::CallerGone => "caller_gone",
            Self::AppInFlight => "app_in_flight",
            Self::QueueFull => "queue_full",
            Self::ConcurrencyTimeout => "concurrency_timeout",
            Self::NoReadyEndpoint => "no_ready_endpoint",
            Self::ConnectRefused(_) => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::AppClosed(_) => "app_closed",
            Self::AppMalformed(_) => "app_malformed",
            Self::AppHeadTooLarge { .. } => "app_head_too_large",
            Self::AppUpgraded => "app_upgraded",
            Self::AppNotUpgraded => "app_not_upgraded",
            Self::UpgradeTimeout => "upgrade_timeout",
            Self::ResponseTimeout => "response_timeout",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::AppBodyTimeout => "app_body_timeout",
            Self::RateLimited(limited) => match limited.limit {
                Limit::App => "app_rate_limit",
                Limit::Client => "client_rate_limit",
            },
            Self::Overloaded(by) => match by {
                Overload::InFlight => "overloaded_in_flight",
                Overload::Memory => "overloaded_memory",
                Overload::Lag => "overloaded_lag",
            },
            Self::ShutDown => "shutdown",
            Self::Internal => "internal",
        }
    }

    /// Whether the caller's connection is of no more use: the place where its
    /// next request begins is not known, or it must not be asked again.
    pub fn closes_connection(&self) -> bool {
        match self {
            Self::Malformed(_)
            | Self::Host
            | Self::TransferCoding
            | Self::TargetTooLong { .. }
            | Self::HeadTooLarge { .. }
            | Self::BodyTooLarge { .. }
            | Self::MethodNotImplemented
            | Self::CallerTimeout
            | Self::CallerGone
            // The connection itself is what takes the memory. In the other cases a new one, and its
            // handshake, would cost more than the request.
            | Self::Overloaded(Overload::Memory)
            | Self::ShutDown
            | Self::Internal => true,
            Self::MethodNotAllowed
            | Self::UnknownHost
            // Over HTTP/2, and behind a proxy, it may be other apps' callers' as well.
            | Self::AppInFlight
            | Self::QueueFull
            | Self::ConcurrencyTimeout
            | Self::NoReadyEndpoint
            | Self::ConnectRefused(_)
            | Self::ConnectTimeout
            | Self::AppClosed(_)
            | Self::AppMalformed(_)
            | Self::AppHeadTooLarge { .. }
            | Self::AppUpgraded
            | Self::AppNotUpgraded
            | Self::UpgradeTimeout
            | Self::ResponseTimeout
            | Self::DeadlineExceeded
            | Self::AppBodyTimeout
            | Self::RateLimited(_)
            | Self::Overloaded(Overload::InFlight | Overload::Lag) => false,
        }
    }
}

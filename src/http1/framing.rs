//! How a body is delimited and whether a connection goes on: what a head's
//! framing fields mean, and when they contradict each other.
//!
//! RFC 9112 section 6, read strictly: one `Content-Length` of plain digits, or
//! one `Transfer-Encoding: chunked`, or neither.

use std::time::Duration;

use http::{Method, StatusCode};

use crate::error::{Error, Malformed};
use crate::fields::{Fields, Known};
use crate::message::Version;

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// By `Content-Length`.
    Length(u64),
    /// By `Transfer-Encoding: chunked`.
    Chunked,
    /// By the end of the connection; responses only.
    UntilClose,
}

pub(super) fn request_framing(fields: &Fields, version: Version) -> Result<Framing, Error> {
    let malformed = |what| Err(Error::Malformed(what));
    let has_length = fields.has(Known::ContentLength);
    if fields.has(Known::TransferEncoding) {
        if version == Version::Http10 {
            return malformed(Malformed::TransferEncoding);
        }
        if has_length {
            return malformed(Malformed::ContentLength);
        }
        return match fields.only(Known::TransferEncoding) {
            Some(coding) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            _ => Err(Error::TransferCoding),
        };
    }
    if !has_length {
        return Ok(Framing::None);
    }
    match fields.only(Known::ContentLength).and_then(decimal) {
        Some(0) => Ok(Framing::None),
        Some(length) => Ok(Framing::Length(length)),
        None => malformed(Malformed::ContentLength),
    }
}

/// RFC 9112 section 6.3, and 502 where the app's framing could be read in two ways.
pub(super) fn response_framing(
    fields: &Fields,
    version: Version,
    status: StatusCode,
    method: &Method,
) -> Result<(Framing, Option<u64>), Error> {
    let malformed = |what| Err(Error::AppMalformed(what));
    let has_length = fields.has(Known::ContentLength);
    let length = match fields.only(Known::ContentLength).map(decimal) {
        Some(None) => return malformed(Malformed::ContentLength),
        None if has_length => return malformed(Malformed::ContentLength),
        Some(Some(length)) => Some(length),
        None => None,
    };
    let chunked = fields.has(Known::TransferEncoding);
    if chunked {
        let coding = fields.only(Known::TransferEncoding).unwrap_or_default();
        if has_length || version == Version::Http10 || !coding.eq_ignore_ascii_case(b"chunked") {
            return malformed(Malformed::TransferEncoding);
        }
    }
    let bodiless = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || *method == Method::HEAD;
    if bodiless {
        let declares = *method == Method::HEAD || status == StatusCode::NOT_MODIFIED;
        return Ok((Framing::None, length.filter(|_| declares)));
    }
    Ok(match (chunked, length) {
        (true, _) => (Framing::Chunked, None),
        (false, Some(0)) => (Framing::None, Some(0)),
        (false, Some(length)) => (Framing::Length(length), None),
        (false, None) => (Framing::UntilClose, None),
    })
}

/// Digits alone, without a leading zero: what every parser reads alike.
pub fn decimal(value: &[u8]) -> Option<u64> {
    let plain = value == b"0" || matches!(value.first(), Some(b'1'..=b'9'));
    if !plain || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// RFC 9112 section 9.3.
pub(super) fn keeps_alive(fields: &Fields, version: Version) -> bool {
    let mut keep_alive = version != Version::Http10;
    for line in fields.known(Known::Connection) {
        for option in options(line) {
            if option.eq_ignore_ascii_case(b"close") {
                return false;
            }
            keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    keep_alive
}

/// The members of a comma-separated field value.
pub fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|option| !option.is_empty())
}

/// RFC 9110 section 10.1.1: ignored in HTTP/1.0.
pub fn expects_continue(fields: &Fields, version: Version) -> bool {
    version != Version::Http10
        && fields.known(Known::Expect).any(|value| value.eq_ignore_ascii_case(b"100-continue"))
}

/// `Keep-Alive: timeout=5`, as Node, Apache and others announce it.
pub(super) fn keep_alive_timeout(fields: &Fields) -> Option<Duration> {
    let parameter = fields.known(Known::KeepAlive).flat_map(options).find_map(|parameter| {
        let (name, value) = parameter.split_at_checked(8)?;
        name.eq_ignore_ascii_case(b"timeout=").then_some(value)
    })?;
    std::str::from_utf8(parameter).ok()?.parse().ok().map(Duration::from_secs)
}

//! Message heads: where one ends, what it says, and how its body is framed.
//!
//! The lines are split by `httparse`; the rules of a gateway are added here:
//! CRLF alone ends a line, and a target is taken as it is or refused, never
//! repaired. What the fields say of the body is [`super::framing`]'s to judge.

use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use memchr::memchr_iter;

use super::framing::{
    Framing, expects_continue, keep_alive_timeout, keeps_alive, request_framing, response_framing,
};
use super::upgrade;
use crate::error::{Error, Malformed};
use crate::fields::Fields;
use crate::message::Version;

/// How many fields are parsed without an allocation; more are, if the limit allows them.
const FIELDS_ON_STACK: usize = 100;

/// What a head may measure.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the whole head.
    pub bytes: usize,
    /// Field lines.
    pub fields: usize,
    /// Bytes of a request-target.
    pub target: usize,
}

/// A request head.
#[derive(Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// Path and query as they came, or `*`.
    pub target: Bytes,
    /// The authority of an absolute-form target.
    pub authority: Option<Bytes>,
    /// The version.
    pub version: Version,
    /// The header section.
    pub fields: Fields,
    /// How the body is delimited.
    pub framing: Framing,
    /// The caller wants to send another request on this connection.
    pub keep_alive: bool,
    /// The caller waits for `100 (Continue)`.
    pub expects_continue: bool,
    /// The protocol that the caller asks to switch to.
    pub upgrade: Option<Bytes>,
}

/// A response head.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase, if it is not the standard one.
    pub reason: Option<Bytes>,
    /// The header section.
    pub fields: Fields,
    /// How the body is delimited.
    pub framing: Framing,
    /// The length that a response without a body declares.
    pub declared_length: Option<u64>,
    /// The app keeps the connection open.
    pub keep_alive: bool,
    /// How long the app says that it keeps an idle connection.
    pub keep_alive_timeout: Option<Duration>,
}

/// Looks for the end of a head in what has arrived so far.
///
/// Each byte is looked at once however slowly it comes, so a head sent byte by
/// byte costs no more than one sent whole.
#[derive(Debug, Default)]
pub struct HeadScan {
    scanned: usize,
    line: usize,
}

impl HeadScan {
    /// The length of the head including its empty line, once that has arrived.
    pub fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let fresh = bytes.get(self.scanned..).unwrap_or_default();
        for offset in memchr_iter(b'\n', fresh) {
            let at = self.scanned + offset;
            if at == 0 || bytes.get(at - 1) != Some(&b'\r') {
                return Err(Malformed::BareLineFeed);
            }
            if at == self.line + 1 {
                return Ok(Some(at + 1));
            }
            self.line = at + 1;
        }
        self.scanned = bytes.len();
        Ok(None)
    }

    /// Forgets what was scanned: a new head begins.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Drops the empty lines that RFC 9112 section 2.2 lets a caller send before a request.
///
/// The scan begins anew with each: it may have looked at a CR before its LF came, and would pass
/// over a byte of what follows.
pub fn skip_empty_lines(buffer: &mut BytesMut, scan: &mut HeadScan) {
    while buffer.starts_with(b"\r\n") {
        bytes::Buf::advance(buffer, 2);
        scan.reset();
    }
}

/// Takes a request head off the buffer, `None` while it is incomplete.
pub fn take_request(
    buffer: &mut BytesMut,
    scan: &mut HeadScan,
    limits: &Limits,
) -> Result<Option<RequestHead>, Error> {
    let end = scan.end(buffer).map_err(Error::Malformed)?;
    if end.unwrap_or(buffer.len()) > limits.bytes {
        // The first line tells which of the two limits the caller should know of.
        let line = buffer.iter().take(limits.bytes).position(|byte| *byte == b'\n');
        return Err(if line.is_none() && limits.target < limits.bytes {
            Error::TargetTooLong { limit: limits.target }
        } else {
            Error::HeadTooLarge { bytes: limits.bytes, fields: limits.fields }
        });
    }
    let Some(end) = end else { return Ok(None) };
    scan.reset();
    let text = buffer.split_to(end).freeze();
    parse_request(&text, limits).map(Some)
}

fn parse_request(text: &Bytes, limits: &Limits) -> Result<RequestHead, Error> {
    let mut stack = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
    let mut heap = Vec::new();
    let mut parsed = httparse::Request::new(&mut []);
    let lines = field_storage(&mut stack, &mut heap, limits);
    let status = parsed.parse_with_uninit_headers(text, lines).map_err(|e| refusal(e, limits))?;
    // The scan found the empty line; a parser that sees another end must not be believed.
    if status != httparse::Status::Complete(text.len()) {
        return Err(Error::Malformed(Malformed::Field));
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Error::Malformed(Malformed::StartLine));
    };
    if target.len() > limits.target {
        return Err(Error::TargetTooLong { limit: limits.target });
    }
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| Error::Malformed(Malformed::StartLine))?;
    let (authority, target) = split_target(text, target, &method)?;
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let fields = own_fields(text, parsed.headers);
    let framing = request_framing(&fields, version)?;
    Ok(RequestHead {
        keep_alive: keeps_alive(&fields, version),
        expects_continue: expects_continue(&fields, version),
        upgrade: upgrade::asked(&fields, version, framing)?,
        method,
        target,
        authority,
        version,
        fields,
        framing,
    })
}

/// Takes a response head off the buffer, `None` while it is incomplete.
pub fn take_response(
    buffer: &mut BytesMut,
    scan: &mut HeadScan,
    method: &Method,
    limits: &Limits,
) -> Result<Option<ResponseHead>, Error> {
    let end = scan.end(buffer).map_err(Error::AppMalformed)?;
    if end.unwrap_or(buffer.len()) > limits.bytes {
        return Err(Error::AppHeadTooLarge { limit: limits.bytes });
    }
    let Some(end) = end else { return Ok(None) };
    scan.reset();
    let text = buffer.split_to(end).freeze();
    parse_response(&text, method, limits).map(Some)
}

fn parse_response(text: &Bytes, method: &Method, limits: &Limits) -> Result<ResponseHead, Error> {
    let mut stack = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
    let mut heap = Vec::new();
    let mut parsed = httparse::Response::new(&mut []);
    let lines = field_storage(&mut stack, &mut heap, limits);
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, text, lines)
        .map_err(|error| app_refusal(error, limits))?;
    if status != httparse::Status::Complete(text.len()) {
        return Err(Error::AppMalformed(Malformed::Field));
    }
    let (Some(code), Some(minor)) = (parsed.code, parsed.version) else {
        return Err(Error::AppMalformed(Malformed::StartLine));
    };
    let status = StatusCode::from_u16(code)
        .ok()
        .filter(|status| status.as_u16() < 600)
        .ok_or(Error::AppMalformed(Malformed::StartLine))?;
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let reason = parsed.reason.filter(|reason| status.canonical_reason() != Some(reason));
    let fields = own_fields(text, parsed.headers);
    let (framing, declared_length) = response_framing(&fields, version, status, method)?;
    Ok(ResponseHead {
        status,
        reason: reason.map(|reason| text.slice_ref(reason.as_bytes())),
        keep_alive: keeps_alive(&fields, version) && framing != Framing::UntilClose,
        keep_alive_timeout: keep_alive_timeout(&fields),
        fields,
        framing,
        declared_length,
    })
}

/// Parses a trailer section that ends with its empty line.
pub fn parse_trailers(text: &Bytes, fields: usize) -> Result<Fields, Malformed> {
    let mut lines = vec![httparse::EMPTY_HEADER; fields];
    match httparse::parse_headers(text, &mut lines) {
        Ok(httparse::Status::Complete((end, lines))) if end == text.len() => {
            Ok(own_fields(text, lines))
        }
        Ok(_) | Err(_) => Err(Malformed::Trailer),
    }
}

fn field_storage<'s, 'b>(
    stack: &'s mut [MaybeUninit<httparse::Header<'b>>; FIELDS_ON_STACK],
    heap: &'s mut Vec<MaybeUninit<httparse::Header<'b>>>,
    limits: &Limits,
) -> &'s mut [MaybeUninit<httparse::Header<'b>>] {
    if limits.fields <= FIELDS_ON_STACK {
        stack.get_mut(..limits.fields).unwrap_or_default()
    } else {
        heap.resize_with(limits.fields, MaybeUninit::uninit);
        heap
    }
}

fn own_fields(text: &Bytes, lines: &[httparse::Header<'_>]) -> Fields {
    let mut fields = Fields::of_text(text.clone(), lines.len());
    for line in lines {
        fields.push_line(line.name.as_bytes(), line.value.trim_ascii_end());
    }
    fields
}

fn refusal(error: httparse::Error, limits: &Limits) -> Error {
    match error {
        httparse::Error::TooManyHeaders => {
            Error::HeadTooLarge { bytes: limits.bytes, fields: limits.fields }
        }
        other => Error::Malformed(kind(other)),
    }
}

fn app_refusal(error: httparse::Error, limits: &Limits) -> Error {
    match error {
        httparse::Error::TooManyHeaders => Error::AppHeadTooLarge { limit: limits.bytes },
        other => Error::AppMalformed(kind(other)),
    }
}

fn kind(error: httparse::Error) -> Malformed {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Malformed::Field,
        httparse::Error::Version => Malformed::Version,
        httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token
        | httparse::Error::TooManyHeaders => Malformed::StartLine,
    }
}

/// RFC 9112 section 3.2: origin-form, absolute-form, and `*` for OPTIONS.
///
/// A fragment is no part of a request-target: what would be cut off elsewhere
/// is refused here. Authority-form comes with CONNECT alone and is told apart
/// by the method later.
fn split_target(
    text: &Bytes,
    target: &str,
    method: &Method,
) -> Result<(Option<Bytes>, Bytes), Error> {
    let whole = text.slice_ref(target.as_bytes());
    if target.contains('#') {
        return Err(Error::Malformed(Malformed::Target));
    }
    if target.starts_with('/') || *method == Method::CONNECT {
        return Ok((None, whole));
    }
    if target == "*" && *method == Method::OPTIONS {
        return Ok((None, whole));
    }
    let rest = strip_scheme(target).ok_or(Error::Malformed(Malformed::Target))?;
    let path = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path);
    let target = match path.as_bytes().first() {
        Some(b'/') => text.slice_ref(path.as_bytes()),
        // RFC 9112 section 3.2.1: an empty path is sent as `/`.
        Some(_) => Bytes::from(format!("/{path}")),
        // Section 3.2.4: OPTIONS of a whole server is `*` for the server itself.
        None if *method == Method::OPTIONS => Bytes::from_static(b"*"),
        None => Bytes::from_static(b"/"),
    };
    Ok((Some(text.slice_ref(authority.as_bytes())), target))
}

fn strip_scheme(target: &str) -> Option<&str> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

#[cfg(test)]
mod tests;

//! Field sections: from a compressed block to a request or a response head,
//! and back.
//!
//! RFC 9113 section 8: what a head must hold, in which order, and which fields
//! HTTP/2 does not have. A section that breaks a rule is malformed, which ends
//! its stream; the block is decoded to its end all the same, because the tables
//! of both sides must stay in step.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};

use super::hpack::{Decoder, Encoder, HpackError};
use super::settings::OwnSettings;
use crate::fields::{Builder, Fields, Known};

/// Why a section is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It breaks a rule of RFC 9113 section 8.
    Malformed,
    /// It has too many fields, or too large ones.
    TooLarge,
    /// Its `:path` is too long.
    TargetTooLong,
}

/// The head of a request.
#[derive(Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// `:path` as it came; empty for CONNECT.
    pub target: Bytes,
    /// `:protocol` of an extended CONNECT, RFC 8441.
    pub protocol: Option<Bytes>,
    /// The fields; the first is `host`, made of `:authority`, if that came.
    pub fields: Fields,
    /// The declared length of the content.
    pub length: Option<u64>,
}

/// The head of a response.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub fields: Fields,
    /// The declared length of the content.
    pub length: Option<u64>,
}

/// Decodes a request's block.
pub fn request(
    block: &[u8],
    decoder: &mut Decoder,
    limits: &OwnSettings,
) -> Result<Result<RequestHead, Refusal>, HpackError> {
    Ok(Parts::decode(block, decoder, limits)?.into_request())
}

/// Decodes a response's block.
pub fn response(
    block: &[u8],
    decoder: &mut Decoder,
    limits: &OwnSettings,
) -> Result<Result<ResponseHead, Refusal>, HpackError> {
    Ok(Parts::decode(block, decoder, limits)?.into_response())
}

/// Decodes a trailer section's block.
pub fn trailers(
    block: &[u8],
    decoder: &mut Decoder,
    limits: &OwnSettings,
) -> Result<Result<Fields, Refusal>, HpackError> {
    Ok(Parts::decode(block, decoder, limits)?.into_trailers())
}

/// A section as far as it was decoded.
struct Parts<'a> {
    limits: &'a OwnSettings,
    size: usize,
    refusal: Option<Refusal>,
    builder: Builder,
    method: Option<Method>,
    scheme: bool,
    authority: bool,
    path: Option<Range<usize>>,
    protocol: Option<Range<usize>>,
    status: Option<StatusCode>,
    regular: bool,
    length: Option<u64>,
}

impl<'a> Parts<'a> {
    fn decode(
        block: &[u8],
        decoder: &mut Decoder,
        limits: &'a OwnSettings,
    ) -> Result<Self, HpackError> {
        let mut parts = Self::new(limits);
        decoder.decode(block, |name, value| parts.take(name, value))?;
        Ok(parts)
    }

    fn new(limits: &'a OwnSettings) -> Self {
        Self {
            limits,
            size: 0,
            refusal: None,
            builder: Builder::new(),
            method: None,
            scheme: false,
            authority: false,
            path: None,
            protocol: None,
            status: None,
            regular: false,
            length: None,
        }
    }

    fn take(&mut self, name: &[u8], value: &[u8]) {
        if self.refusal.is_some() {
            return;
        }
        // RFC 9113 section 10.5.1.
        self.size = self.size.saturating_add(name.len() + value.len() + 32);
        if self.size > self.limits.field_section || self.builder.len() >= self.limits.fields {
            self.refusal = Some(Refusal::TooLarge);
            return;
        }
        let taken = match name.split_first() {
            Some((b':', pseudo)) => self.pseudo(pseudo, value),
            Some(_) => self.field(name, value),
            None => Err(Refusal::Malformed),
        };
        self.refusal = taken.err();
    }

    /// RFC 9113 section 8.3: before all regular fields, each once, and none that is not known.
    fn pseudo(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if self.regular {
            return Err(Refusal::Malformed);
        }
        let repeated = match name {
            b"method" => {
                let method = Method::from_bytes(value).map_err(|_| Refusal::Malformed)?;
                self.method.replace(method).is_some()
            }
            b"scheme" => {
                if !value.eq_ignore_ascii_case(b"http") && !value.eq_ignore_ascii_case(b"https") {
                    return Err(Refusal::Malformed);
                }
                std::mem::replace(&mut self.scheme, true)
            }
            b"authority" => {
                if !is_value(value) {
                    return Err(Refusal::Malformed);
                }
                self.builder.push(b"host", value);
                std::mem::replace(&mut self.authority, true)
            }
            b"path" => {
                if value.len() > self.limits.target {
                    return Err(Refusal::TargetTooLong);
                }
                if !is_target(value) {
                    return Err(Refusal::Malformed);
                }
                let path = self.builder.put(value);
                self.path.replace(path).is_some()
            }
            b"protocol" => {
                if value.is_empty() || !is_value(value) {
                    return Err(Refusal::Malformed);
                }
                let protocol = self.builder.put(value);
                self.protocol.replace(protocol).is_some()
            }
            b"status" => {
                let status = StatusCode::from_bytes(value).map_err(|_| Refusal::Malformed)?;
                self.status.replace(status).is_some()
            }
            _ => return Err(Refusal::Malformed),
        };
        if repeated { Err(Refusal::Malformed) } else { Ok(()) }
    }

    /// RFC 9113 sections 8.2.1 and 8.2.2.
    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        self.regular = true;
        if !name.iter().all(|byte| is_name(*byte)) || !is_value(value) {
            return Err(Refusal::Malformed);
        }
        match Known::of(name) {
            Known::Connection | Known::KeepAlive | Known::TransferEncoding | Known::Upgrade => {
                return Err(Refusal::Malformed);
            }
            Known::HopByHop if name == b"proxy-connection" => return Err(Refusal::Malformed),
            Known::Te if !value.eq_ignore_ascii_case(b"trailers") => {
                return Err(Refusal::Malformed);
            }
            Known::ContentLength => {
                let length = crate::http1::framing::decimal(value).ok_or(Refusal::Malformed)?;
                if self.length.replace(length).is_some() {
                    return Err(Refusal::Malformed);
                }
            }
            // The same as `:authority` says nothing new; another one is refused as a second host
            // when the request is resolved.
            Known::Host
                if self.authority
                    && self.builder.first(Known::Host).is_some_and(|host| host == value) =>
            {
                return Ok(());
            }
            _ => {}
        }
        self.builder.push(name, value);
        Ok(())
    }

    fn into_request(mut self) -> Result<RequestHead, Refusal> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        let method = self.method.take().ok_or(Refusal::Malformed)?;
        if self.status.is_some() || !self.has_right_parts(&method) {
            return Err(Refusal::Malformed);
        }
        // RFC 9113 section 8.2.3: one field again for whoever does not speak HTTP/2.
        self.builder.join(b"cookie", b"; ");
        let (fields, text) = self.builder.finish();
        let target = self.path.map_or_else(Bytes::new, |path| text.slice(path));
        let is_asterisk = &target[..] == b"*" && method == Method::OPTIONS;
        if method != Method::CONNECT && !target.starts_with(b"/") && !is_asterisk {
            return Err(Refusal::Malformed);
        }
        Ok(RequestHead {
            method,
            target,
            protocol: self.protocol.map(|protocol| text.slice(protocol)),
            fields,
            length: self.length,
        })
    }

    /// RFC 9113 sections 8.3.1 and 8.5, RFC 8441 section 4.
    fn has_right_parts(&self, method: &Method) -> bool {
        let (scheme, path) = (self.scheme, self.path.is_some());
        if *method != Method::CONNECT {
            return scheme && path && self.protocol.is_none();
        }
        if self.protocol.is_some() {
            return scheme && path && self.authority;
        }
        !scheme && !path && self.authority
    }

    fn into_response(self) -> Result<ResponseHead, Refusal> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        let asks = self.method.is_some()
            || self.scheme
            || self.authority
            || self.path.is_some()
            || self.protocol.is_some();
        let status = self.status.filter(|status| !asks && (100..600).contains(&status.as_u16()));
        let status = status.ok_or(Refusal::Malformed)?;
        let (fields, _) = self.builder.finish();
        Ok(ResponseHead { status, fields, length: self.length })
    }

    fn into_trailers(self) -> Result<Fields, Refusal> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        let pseudo = self.method.is_some()
            || self.scheme
            || self.authority
            || self.path.is_some()
            || self.protocol.is_some()
            || self.status.is_some();
        if pseudo { Err(Refusal::Malformed) } else { Ok(self.builder.finish().0) }
    }
}

/// RFC 9110 section 5.6.2, without capitals: RFC 9113 section 8.2.1.
fn is_name(byte: u8) -> bool {
    matches!(
        byte,
        b'a'..=b'z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-'
            | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
    )
}

/// What HTTP/1.1 allows in a value, RFC 9110 section 5.5: more could not be passed on.
fn is_value(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !blank(value.first())
        && !blank(value.last())
        && value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..))
}

/// What HTTP/1.1 takes as a request-target here: visible bytes without `#`, and text.
fn is_target(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b'!'..=b'~' | 0x80..) && *byte != b'#')
        && (value.is_ascii() || std::str::from_utf8(value).is_ok())
}

/// Writes the block of a request without a body's framing fields.
pub fn put_request(
    out: &mut BytesMut,
    encoder: &mut Encoder,
    method: &Method,
    target: &[u8],
    fields: &Fields,
    length: Option<u64>,
) {
    encoder.begin(out);
    encoder.field(b":method", method.as_str().as_bytes(), out);
    encoder.field(b":scheme", b"http", out);
    if let Some(host) = fields.only(Known::Host) {
        encoder.field(b":authority", host, out);
    }
    encoder.field(b":path", target, out);
    put_fields(out, encoder, fields, length);
}

/// Writes the block of a response.
pub fn put_response(
    out: &mut BytesMut,
    encoder: &mut Encoder,
    status: StatusCode,
    fields: &Fields,
    length: Option<u64>,
) {
    encoder.begin(out);
    encoder.field(b":status", status.as_str().as_bytes(), out);
    put_fields(out, encoder, fields, length);
}

/// Writes the block of a trailer section.
pub fn put_trailers(out: &mut BytesMut, encoder: &mut Encoder, fields: &Fields) {
    encoder.begin(out);
    put_fields(out, encoder, fields, None);
}

fn put_fields(out: &mut BytesMut, encoder: &mut Encoder, fields: &Fields, length: Option<u64>) {
    for field in fields.iter() {
        // `:authority` says the host, and HTTP/2 has no `Connection`.
        if field.known == Known::Host || field.name == b"connection" {
            continue;
        }
        encoder.field(field.name, field.value, out);
    }
    if let Some(length) = length {
        let mut digits = itoa::Buffer::new();
        encoder.field(b"content-length", digits.format(length).as_bytes(), out);
    }
}

#[cfg(test)]
mod tests;

//! A switch to another protocol on the same connection, RFC 9110 section 7.8.
//!
//! Strict, because whatever follows a switch is no longer looked at: one
//! protocol, asked for by name, without content before it, and agreed to by the
//! same name.

use bytes::Bytes;

use super::framing::{Framing, options};
use crate::error::{Error, Malformed};
use crate::fields::{Fields, Known};
use crate::message::Version;

/// The protocol that a request asks to switch to; `None` if it is to be served as it is.
///
/// That is also the answer to a choice of several protocols, and to HTTP/2: RFC 9113 section 3.1
/// gave up its upgrade, and an app that took it would be sent requests that nobody looked at.
pub(super) fn asked(
    fields: &Fields,
    version: Version,
    framing: Framing,
) -> Result<Option<Bytes>, Error> {
    if version == Version::Http10 || !fields.has(Known::Upgrade) || !nominates(fields) {
        return Ok(None);
    }
    let Some(protocol) = fields.only(Known::Upgrade).filter(|protocol| is_protocol(protocol))
    else {
        return Ok(None);
    };
    if is_http(protocol) {
        return Ok(None);
    }
    // Where content ends and the other protocol begins must not be a matter of opinion.
    if framing != Framing::None {
        return Err(Error::Malformed(Malformed::Upgrade));
    }
    Ok(fields.shared(Known::Upgrade))
}

/// Whether a response with the status 101 switches to this protocol.
pub fn is_agreed(fields: &Fields, protocol: &[u8]) -> bool {
    nominates(fields)
        && fields.only(Known::Upgrade).is_some_and(|agreed| agreed.eq_ignore_ascii_case(protocol))
}

fn nominates(fields: &Fields) -> bool {
    fields
        .known(Known::Connection)
        .flat_map(options)
        .any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

/// `name` or `name/version`, both tokens.
fn is_protocol(value: &[u8]) -> bool {
    let mut parts = value.splitn(2, |byte| *byte == b'/');
    parts.all(|part| !part.is_empty() && part.iter().all(|byte| is_token(*byte)))
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_http(protocol: &[u8]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
    [&b"h2c"[..], b"h2", b"http"].iter().any(|http| name.eq_ignore_ascii_case(http))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut builder = crate::fields::Builder::new();
        for (name, value) in lines {
            builder.push(name.as_bytes(), value.as_bytes());
        }
        builder.finish().0
    }

    fn asked_by(lines: &[(&str, &str)]) -> Option<Bytes> {
        asked(&fields(lines), Version::Http11, Framing::None).unwrap()
    }

    #[test]
    fn one_protocol_that_connection_names_is_asked_for() {
        let fields = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
        assert_eq!(asked_by(&fields).as_deref(), Some(&b"WebSocket"[..]));
        let fields = [("connection", "upgrade"), ("upgrade", "SPDY/3.1")];
        assert_eq!(asked_by(&fields).as_deref(), Some(&b"SPDY/3.1"[..]));
    }

    #[test]
    fn what_is_no_clear_question_is_none() {
        assert_eq!(asked_by(&[("upgrade", "websocket")]), None);
        assert_eq!(asked_by(&[("connection", "close"), ("upgrade", "websocket")]), None);
        for value in ["websocket, foo", "web socket", "", "a/", "/1", "h2c", "H2C", "HTTP/2.0"] {
            let lines = [("connection", "upgrade"), ("upgrade", value)];
            assert_eq!(asked_by(&lines), None, "{value}");
        }
        let twice = [("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "websocket")];
        assert_eq!(asked_by(&twice), None);
        let once = fields(&twice[..2]);
        assert!(asked(&once, Version::Http10, Framing::None).unwrap().is_none());
    }

    #[test]
    fn the_settings_of_an_upgrade_to_http2_are_no_protocol() {
        let options = ("connection", "upgrade, http2-settings");
        assert_eq!(asked_by(&[options, ("http2-settings", "websocket")]), None);
        let beside = [options, ("upgrade", "websocket"), ("http2-settings", "AAMA")];
        assert_eq!(asked_by(&beside).as_deref(), Some(&b"websocket"[..]));
    }

    #[test]
    fn content_before_a_switch_is_refused() {
        let fields = fields(&[("connection", "upgrade"), ("upgrade", "websocket")]);
        for framing in [Framing::Length(1), Framing::Chunked] {
            let refused = asked(&fields, Version::Http11, framing);
            assert!(matches!(refused, Err(Error::Malformed(Malformed::Upgrade))));
        }
    }

    #[test]
    fn a_switch_is_agreed_to_by_its_name() {
        let agrees = |lines: &[(&str, &str)]| is_agreed(&fields(lines), b"websocket");
        assert!(agrees(&[("connection", "Upgrade"), ("upgrade", "WebSocket")]));
        assert!(!agrees(&[("upgrade", "websocket")]));
        assert!(!agrees(&[("connection", "upgrade"), ("upgrade", "h2c")]));
        assert!(!agrees(&[("connection", "upgrade")]));
    }
}

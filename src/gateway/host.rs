//! The host of a request: one authority, or a refusal.
//!
//! The authority of an absolute-form target and the `Host` field must agree,
//! because an app that believes the other one would serve another site than
//! the gateway chose. Port and one trailing dot say nothing about the app.

use bytes::Bytes;

use crate::error::Error;
use crate::fields::Known;
use crate::ids::MAX_HOST;
use crate::message::Request;

/// A host in lower case, ready to be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(Bytes);

impl Host {
    /// The host's text.
    pub fn as_str(&self) -> &str {
        // Only ASCII passes `normalise`.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The host that the request names.
pub fn of_request(request: &Request) -> Result<Host, Error> {
    let field = match request.fields.only(Known::Host) {
        Some(_) => request.fields.shared(Known::Host),
        None if request.fields.has(Known::Host) => return Err(Error::Host),
        None => None,
    };
    match (&request.authority, field) {
        // Most requests: the field, in lower case already, shared with the head.
        (None, Some(field)) => parse(&field),
        (Some(authority), Some(field)) => {
            let host = parse(authority)?;
            if host == parse(&field)? { Ok(host) } else { Err(Error::Host) }
        }
        // RFC 9112 section 3.2: HTTP/1.1 asks for the field beside any target.
        (Some(_) | None, None) => Err(Error::Host),
    }
}

/// `host[:port]` as RFC 3986 section 3.2 writes it, without userinfo.
fn parse(authority: &Bytes) -> Result<Host, Error> {
    let (name, port) = split_port(authority);
    let name = name.strip_suffix(b".").unwrap_or(name);
    let port_is_number =
        port.is_none_or(|port| port.len() <= 5 && port.iter().all(u8::is_ascii_digit));
    let kinds = name.iter().fold(0, |kinds, byte| kinds | kind(*byte));
    if name.is_empty() || name.len() > MAX_HOST || !port_is_number || kinds & FORBIDDEN != 0 {
        return Err(Error::Host);
    }
    Ok(Host(if kinds & UPPER == 0 {
        authority.slice_ref(name)
    } else {
        name.to_ascii_lowercase().into()
    }))
}

fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    // An address in brackets holds colons of its own; no app has such a host, so it
    // stays whole and is not found.
    if authority.starts_with(b"[") {
        return (authority, None);
    }
    match authority.iter().position(|byte| *byte == b':') {
        Some(colon) => {
            let (name, port) = authority.split_at(colon);
            (name, port.get(1..))
        }
        None => (authority, None),
    }
}

/// A byte that no host has.
const FORBIDDEN: u8 = 1;
/// A letter that has to be made small.
const UPPER: u8 = 2;

/// What each byte is in a host: looked up, because every byte of every request's host is asked for
/// it, twice with comparisons (808 instructions for 29 bytes).
#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "bounded by 256")]
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < kinds.len() {
        kinds[byte] = kind_of(byte as u8);
        byte += 1;
    }
    kinds
};

fn kind(byte: u8) -> u8 {
    KINDS.get(usize::from(byte)).copied().unwrap_or(FORBIDDEN)
}

/// RFC 3986 `reg-name` without percent-encoding, and the bytes of an IP literal.
const fn kind_of(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => UPPER,
        b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'[' | b']' | b':' => 0,
        _ => FORBIDDEN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Body;
    use crate::fields::Fields;
    use crate::message::Version;
    use http::Method;

    fn request(authority: Option<&str>, hosts: &[&str]) -> Request {
        let lines: Vec<String> = hosts.iter().map(|host| format!("Host:{host}\n")).collect();
        let text = Bytes::from(lines.concat());
        let mut fields = Fields::of_text(text.clone(), hosts.len());
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            fields.push_line(&line[..4], &line[5..]);
        }
        Request {
            method: Method::GET,
            target: Bytes::from_static(b"/"),
            authority: authority.map(|text| Bytes::copy_from_slice(text.as_bytes())),
            version: Version::Http11,
            fields,
            body: Body::empty(),
            expects_continue: false,
            upgrade: None,
        }
    }

    #[test]
    fn case_port_and_one_trailing_dot_do_not_matter() {
        for host in ["a-b.x.y", "A-b.X.y", "a-b.x.y:80", "a-b.x.y:", "a-b.x.y.", "A-B.X.Y.:8443"] {
            let found = of_request(&request(None, &[host])).expect(host);
            assert_eq!(found.as_str(), "a-b.x.y", "{host}");
        }
    }

    #[test]
    fn a_host_in_lower_case_is_not_copied() {
        let request = request(None, &["a-b.x.y:80"]);
        let field = request.fields.only(Known::Host).expect("one");
        let found = of_request(&request).expect("valid");
        assert_eq!(found.0.as_ptr(), field.as_ptr());
    }

    #[test]
    fn missing_several_malformed_and_disagreeing_hosts_are_refused() {
        let bad: &[(Option<&str>, &[&str])] = &[
            (None, &[]),
            (None, &[""]),
            (None, &["."]),
            (None, &["a", "a"]),
            (None, &["a", "b"]),
            (None, &["user@a"]),
            (None, &["a:b"]),
            (None, &["a:80:80"]),
            (None, &["a:123456"]),
            (None, &["a b"]),
            (None, &["a/b"]),
            (None, &["a,b"]),
            (None, &["a%41"]),
            (None, &["ä"]),
            (Some("a"), &[]),
            (Some("a"), &["b"]),
            (Some("a"), &["a", "a"]),
            (Some("u@a"), &["a"]),
            (Some(""), &["a"]),
        ];
        for (authority, hosts) in bad {
            let result = of_request(&request(*authority, hosts));
            assert!(matches!(result, Err(Error::Host)), "{authority:?} {hosts:?} {result:?}");
        }
    }

    #[test]
    fn an_absolute_target_that_agrees_is_accepted() {
        for (authority, host) in [("a.x", "A.x."), ("a.x:80", "a.x")] {
            let found = of_request(&request(Some(authority), &[host])).expect("agree");
            assert_eq!(found.as_str(), "a.x");
        }
    }
}

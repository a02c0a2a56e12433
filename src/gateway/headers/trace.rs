//! `traceparent` and `tracestate`, W3C Trace Context: read from the caller, and
//! written for the app, whose parent is the client span of the try.
//!
//! Where the gateway traces nothing both pass as they came. Where it does, a
//! `traceparent` that is malformed, or there twice, is none, and takes its
//! `tracestate` with it; the app gets one that is good in any case.

use http::HeaderValue;

use crate::fields::{Fields, Known};
use crate::telemetry::trace::Trace;
use crate::telemetry::trace::context::Context;

/// The field that is written.
pub const TRACEPARENT: &str = "traceparent";
/// Members of a `tracestate`, section 3.3.1.1.
const MEMBERS: usize = 32;

/// The caller's span, if it tells of one as it should.
pub fn parent(fields: &Fields) -> Option<Context> {
    fields.only(Known::TraceParent).and_then(Context::parse)
}

/// What the caller's vendors have to say of the trace, in one line; empty if nothing, or if it
/// cannot be read.
pub fn state(fields: &Fields) -> String {
    let lines: Vec<&[u8]> = fields.known(Known::TraceState).collect();
    let joined = lines.join(&b","[..]);
    if is_state(&joined) { String::from_utf8(joined).unwrap_or_default() } else { String::new() }
}

/// Puts the gateway's own span in the caller's place.
pub fn rewrite(fields: &mut Fields, trace: &Trace) {
    if fields.has(Known::TraceParent) || fields.has(Known::TraceState) {
        let continued = trace.parent.is_some();
        let keep = continued && fields.has(Known::TraceState) && !state(fields).is_empty();
        fields.retain(|field| match field.known {
            Known::TraceParent => false,
            Known::TraceState => keep,
            _ => true,
        });
    }
    if let Ok(value) = HeaderValue::from_bytes(&trace.attempt(0).text()) {
        fields.add(TRACEPARENT, value);
    }
}

/// Whether a list of members is one, section 3.3.1.
fn is_state(list: &[u8]) -> bool {
    let mut keys: Vec<&[u8]> = Vec::new();
    for member in list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        if member.is_empty() {
            continue;
        }
        let Some(equals) = member.iter().position(|byte| *byte == b'=') else { return false };
        let (key, value) = member.split_at(equals);
        let value = value.get(1..).unwrap_or_default();
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MEMBERS {
            return false;
        }
        keys.push(key);
    }
    true
}

/// `vendor`, or `tenant@vendor`.
fn is_key(key: &[u8]) -> bool {
    let rest = |rest: &[u8]| rest.iter().all(|byte| is_key_byte(*byte));
    let simple = |key: &[u8], most: usize| match key {
        [b'a'..=b'z', others @ ..] => others.len() < most && rest(others),
        _ => false,
    };
    match key.iter().position(|byte| *byte == b'@') {
        None => simple(key, 256),
        Some(at) => {
            let (tenant, system) = key.split_at(at);
            let tenant = match tenant {
                [b'a'..=b'z' | b'0'..=b'9', others @ ..] => others.len() <= 240 && rest(others),
                _ => false,
            };
            tenant && simple(system.get(1..).unwrap_or_default(), 14)
        }
    }
}

fn is_key_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/')
}

/// Visible ASCII and spaces, the last byte none, without the two that part members.
fn is_value(value: &[u8]) -> bool {
    let good = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    (1..=256).contains(&value.len()) && value.last() != Some(&b' ') && value.iter().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_specification_calls_a_state_is_one() {
        let long_key = format!("a{}=1", "b".repeat(255));
        let tenant = format!("{}@{}=1", "0".repeat(241), "v".repeat(14));
        let long_value = format!("a={}", "v".repeat(256));
        let many = (0..32).map(|number| format!("k{number}=v")).collect::<Vec<_>>().join(",");
        for list in [
            "",
            "a=1",
            " a=1 , b=2\t",
            "a=1,,b=2",
            "rojo=00f067aa0ba902b7",
            "0t@v=x y",
            "a/b*c_d-e=1",
            &long_key,
            &tenant,
            &long_value,
            &many,
        ] {
            assert!(is_state(list.as_bytes()), "{list}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        let long_key = format!("a{}=1", "b".repeat(256));
        let tenant = format!("{}@v=1", "0".repeat(242));
        let system = format!("t@{}=1", "v".repeat(15));
        let long_value = format!("a={}", "v".repeat(257));
        let many = (0..33).map(|number| format!("k{number}=v")).collect::<Vec<_>>().join(",");
        for list in [
            "a",
            "=1",
            "a=",
            "A=1",
            "0=1",
            "a=1=2",
            "a=\u{1}",
            "a=\u{e9}",
            "a=1,a=2",
            "a@=1",
            "@a=1",
            "a@b@c=1",
            "a b=1",
            &long_key,
            &tenant,
            &system,
            &long_value,
            &many,
        ] {
            assert!(!is_state(list.as_bytes()), "{list}");
        }
    }
}

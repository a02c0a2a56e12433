//! A WebSocket on a stream, RFC 8441, for apps that know it as an upgrade of
//! HTTP/1.1, RFC 6455.
//!
//! The two differ in the opening alone. HTTP/2 leaves out the proof that the
//! server understood, which an HTTP/1.1 app still expects to give; so the
//! gateway asks for it and checks it in the caller's place.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderValue, Method};

use crate::body::Body;
use crate::fields::Fields;
use crate::http2::section::RequestHead;
use crate::message::Upgrade;

/// RFC 6455 section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether a stream asks to be a WebSocket.
pub(super) fn is_asked(head: &RequestHead) -> bool {
    head.method == Method::CONNECT
        && head.protocol.as_ref().is_some_and(|it| it.eq_ignore_ascii_case(b"websocket"))
}

/// Turns the opening of a stream into a handshake of RFC 6455; `incoming` is what follows it.
pub(super) fn handshake(fields: &mut Fields, incoming: Body) -> Upgrade {
    let nonce: [u8; 16] = rand::random();
    let key = BASE64.encode(nonce);
    drop_handshake(fields);
    fields.add("sec-websocket-key", value(&key));
    let accept = Some(value(&accept(&key)));
    Upgrade { protocol: Bytes::from_static(b"websocket"), incoming, accept }
}

/// Base64 is a field value always; one that nobody sends would refuse every app.
fn value(base64: &str) -> HeaderValue {
    HeaderValue::from_str(base64).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Removes what only the handshake of RFC 6455 has.
pub(super) fn drop_handshake(fields: &mut Fields) {
    fields.retain(|field| {
        !field.name.eq_ignore_ascii_case(b"sec-websocket-key")
            && !field.name.eq_ignore_ascii_case(b"sec-websocket-accept")
    });
}

/// RFC 6455 section 4.2.2.
fn accept(key: &str) -> String {
    BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, [key, GUID].concat().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_the_one_of_the_standards_example() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}

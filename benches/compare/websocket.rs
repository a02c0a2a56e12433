//! As much of RFC 6455 as backend, load and check need: one handshake, unfragmented messages.

use crate::Fallible;
use crate::apps::CALLED;

/// Where the backend echoes messages, and where its first message is the request's head.
pub(crate) const ECHO: &str = "/websocket";
pub(crate) const HEAD_ECHO: &str = "/websocket/head";

/// The nonce that RFC 6455 section 1.3 takes as its example, and the answer that it derives from it:
/// with one nonce only, nobody here has to compute SHA-1.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const FINAL_TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;
/// In place of a length: it follows, in two bytes.
const EXTENDED: u8 = 126;
/// A caller may choose any mask, the same for all its messages: what passes on does not look.
const MASK: [u8; 4] = *b"mask";

/// The opening request; `more` are further fields, each line with its end.
pub(crate) fn opening(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n",
        CALLED.host()
    )
}

/// A message as a server sends it.
pub(crate) fn plain(message: &[u8]) -> Vec<u8> {
    let mut frame = opened(message.len(), 0);
    frame.extend_from_slice(message);
    frame
}

/// A message as a caller sends it.
pub(crate) fn masked(message: &[u8]) -> Vec<u8> {
    let mut frame = opened(message.len(), MASKED);
    frame.extend_from_slice(&MASK);
    frame.extend(unmask(message, MASK));
    frame
}

fn opened(length: usize, mask: u8) -> Vec<u8> {
    if let Some(short) = u8::try_from(length).ok().filter(|length| *length < EXTENDED) {
        return vec![FINAL_TEXT, mask | short];
    }
    // Longer messages than that are not sent here.
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    vec![FINAL_TEXT, mask | EXTENDED, high, low]
}

fn unmask(bytes: &[u8], mask: [u8; 4]) -> impl Iterator<Item = u8> {
    bytes.iter().zip(mask.into_iter().cycle()).map(|(byte, key)| byte ^ key)
}

/// The first message of `received`, and how many bytes it took; `None`: not all of it is there.
pub(crate) fn first(received: &[u8]) -> Fallible<Option<(Vec<u8>, usize)>> {
    let Some((&[opening, length], rest)) = received.split_first_chunk() else { return Ok(None) };
    if opening != FINAL_TEXT {
        return Err(format!("a frame that begins with {opening:#04x}").into());
    }
    let (masked, short) = (length & MASKED != 0, length & !MASKED);
    let (length, rest) = match (short, rest.split_first_chunk()) {
        (..EXTENDED, _) => (usize::from(short), rest),
        (EXTENDED, Some((long, rest))) => (usize::from(u16::from_be_bytes(*long)), rest),
        (EXTENDED, None) => return Ok(None),
        _ => return Err("a frame that is too long".into()),
    };
    let (mask, rest) = match (masked, rest.split_first_chunk()) {
        (false, _) => ([0; 4], rest),
        (true, Some((mask, rest))) => (*mask, rest),
        (true, None) => return Ok(None),
    };
    Ok(rest.get(..length).map(|payload| {
        let taken = received.len() - rest.len() + length;
        (unmask(payload, mask).collect(), taken)
    }))
}

//! HTTP/1.1 on the wire, RFC 9112: bytes to messages and back, without I/O.
//!
//! Both sides of the gateway use it, and it is stricter than the RFC asks
//! wherever two parsers are known to disagree: what is refused here cannot be
//! smuggled through. A message that leaves is framed anew, by exactly one of
//! `Content-Length` and `Transfer-Encoding`, whatever the framing it came in.

pub mod decode;
pub mod encode;
pub mod framing;
pub mod head;
pub mod upgrade;

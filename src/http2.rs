//! HTTP/2 on the wire, RFC 9113: frames, field sections, streams and windows,
//! without I/O. Both sides of the gateway use it, as they use [`crate::http1`].
//!
//! A library would put a channel or a lock between a connection and its
//! streams, and a map between the wire and the fields; here a stream's content
//! and fields pass as they came, all of it on the worker's own thread.

pub mod content;
pub mod frame;
pub mod hpack;
pub mod out;
pub mod section;
pub mod session;
pub mod settings;
pub mod wire;

//! What is fuzzed, in one place: cargo-fuzz calls these functions through `targets/`, and
//! `cargo test --test fuzz` calls the same ones with inputs of its own, on stable Rust.
//!
//! A target takes any bytes and panics when a promise is broken. It keeps nothing from one input
//! to the next that could change the verdict, so one input is enough to see a finding again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

pub mod config;
pub mod engine;
pub mod exchange;
pub mod grammar;
pub mod headers;
pub mod host;
pub mod hpack;
pub mod http1;
pub mod http2;
pub mod proxy_protocol;
pub mod reference;
pub mod requests;
pub mod responses;
pub mod stage;

/// A target's name and body.
pub type Target = (&'static str, fn(&[u8]));

/// All of them; each has a folder of seeds of its name.
pub const TARGETS: [Target; 9] = [
    ("config", config::run),
    ("headers", headers::run),
    ("host", host::run),
    ("hpack", hpack::run),
    ("http1", http1::run),
    ("http2", http2::run),
    ("proxy_protocol", proxy_protocol::run),
    ("requests", requests::run),
    ("responses", responses::run),
];

//! Hostile HTTP/2 peers, frame by frame: what ends a connection, what ends a
//! stream, and what must touch nobody else.

use ignite_gateway::config::{Config, Protocol};

use crate::support::frames::{self, Frames};
use crate::support::{Gateway, app};

mod apps;
mod drain;
mod fields;
mod floods;
mod frame_rules;
mod hygiene;
mod refusals;
mod streams;
mod waits;

/// How many connections ended for a reason, by the gateway's own count.
fn counted(gateway: &Gateway, reason: &str) -> u64 {
    let mut errors = gateway.shared().http2.errors();
    errors.find(|(known, _)| *known == reason).map_or(0, |(_, count)| count)
}

/// A gateway whose one app, `acme/hello`, speaks HTTP/2 at these addresses.
fn h2c(endpoints: &[std::net::SocketAddr], change: impl FnOnce(&mut Config)) -> Gateway {
    Gateway::with(|config| {
        let mut app = app("acme/hello", &[(80, endpoints)]);
        app.ports[0].protocol = Protocol::H2c;
        config.apps.push(app);
        change(config);
    })
}

/// Sends `bytes` on a connection of their own, which must end with `code` and be counted, while
/// another connection goes on unharmed.
#[track_caller]
fn expect_connection_error(gateway: &Gateway, bytes: &[u8], code: u32) {
    let reason = match code {
        frames::PROTOCOL_ERROR => "protocol_error",
        frames::FLOW_CONTROL_ERROR => "flow_control_error",
        frames::STREAM_CLOSED => "stream_closed",
        frames::FRAME_SIZE_ERROR => "frame_size_error",
        frames::COMPRESSION_ERROR => "compression_error",
        frames::ENHANCE_YOUR_CALM => "enhance_your_calm",
        other => panic!("no reason for {other}"),
    };
    let before = counted(gateway, reason);
    let mut other = Frames::call(gateway);
    let _ = other.ask(1, frames::get(1, "/before")).expect(200);
    let mut hostile = Frames::call(gateway);
    // The gateway may have seen enough before all of it is sent.
    let _ = hostile.try_send(bytes);
    hostile.expect_end(code);
    assert_eq!(counted(gateway, reason), before + 1, "connections that ended for {reason}");
    let _ = other.ask(3, frames::get(3, "/after")).expect(200);
}

/// Sends `bytes` on a connection of their own: stream 1 must be reset with `code` alone.
#[track_caller]
fn expect_stream_error(gateway: &Gateway, bytes: &[u8], code: u32) {
    let mut caller = Frames::call(gateway);
    let message = caller.ask(1, bytes);
    assert_eq!(message.reset, Some(code), "{message:?}");
    let _ = caller.ask(9, frames::get(9, "/next")).expect(200);
}

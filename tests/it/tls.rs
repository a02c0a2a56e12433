//! Callers over TLS.

use std::net::SocketAddr;

use ignite_gateway::config::Config;
use ignite_gateway::config::tls::Tls;

use crate::support::tls::{Authority, Files};
use crate::support::{Caller, Gateway, eventually};

mod authentication;
mod floods;
mod messages;
mod names;
mod reload;
mod sessions;
mod tools;

/// The names of every app's host.
const NAMES: &str = "*.ignite.test";

/// A gateway over TLS whose certificate `authority` issued, and its files.
fn gateway(authority: &Authority, app: SocketAddr) -> (Gateway, Files) {
    gateway_with(authority, app, |_| {})
}

/// The same with other settings.
fn gateway_with(
    authority: &Authority,
    app: SocketAddr,
    change: impl FnOnce(&mut Config),
) -> (Gateway, Files) {
    let files = Files::new();
    files.put("tls", &authority.issue(&[NAMES]));
    let gateway = Gateway::of_with(app, |config| {
        config.listeners[0].tls = Some(files.tls(&["tls"]));
        change(config);
    });
    (gateway, files)
}

/// The first listener's TLS.
fn tls(config: &mut Config) -> &mut Tls {
    config.listeners[0].tls.as_mut().expect("TLS")
}

/// A metric's value, summed over the rows that hold `labels`.
#[track_caller]
fn metric(gateway: &Gateway, name: &str, labels: &str) -> u64 {
    let mut caller = Caller::to(gateway.admin());
    caller.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let text = caller.read_response().expect(200).text();
    let rows = text.lines().filter(|line| line.starts_with(name) && line.contains(labels));
    let values: Vec<u64> = rows
        .filter_map(|row| row.rsplit_once(' '))
        .map(|(_, value)| value.parse().unwrap())
        .collect();
    assert!(!values.is_empty(), "no {name}{{{labels}}} in\n{text}");
    values.iter().sum()
}

/// Handshakes that failed for a reason.
#[track_caller]
fn failures(gateway: &Gateway, reason: &str) -> u64 {
    let labels = format!("reason=\"{reason}\"");
    metric(gateway, "ignite_gateway_tls_handshake_failures_total", &labels)
}

/// Waits until so many handshakes are counted: a caller hears of its failure before that.
#[track_caller]
fn expect_failures(gateway: &Gateway, reason: &str, count: u64) {
    eventually(reason, || failures(gateway, reason) >= count);
    assert_eq!(failures(gateway, reason), count);
}

//! Says in plain words how an app breaks the container contract, and the fix.
//!
//! Looks only at the app's own process group and changes nothing. The choice of
//! the message is a pure function of what was seen; where nothing can be seen (no
//! `/proc`) the probe's failure alone speaks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::upstream::health::{ProbeFailure, Timings};

mod proc;

pub use proc::listening;

/// One message: what is wrong, and what to do.
///
/// `listening` holds the addresses that the app's processes listen on, `failure`
/// is what the last probe of 127.0.0.1 at `expected_port` came to.
pub fn explain(
    expected_port: u16,
    listening: &[SocketAddr],
    failure: &ProbeFailure,
    health_path: &str,
) -> String {
    match failure {
        ProbeFailure::Refused | ProbeFailure::Unreachable(_) => {
            unreachable(expected_port, listening)
        }
        ProbeFailure::Status(status) => refused_health(*status, health_path),
        ProbeFailure::Timeout => {
            let limit = Timings::CONTRACT.timeout.as_secs_f32();
            format!(
                "GET {health_path} did not answer within {limit} s: answer it without waiting for \
                 databases or other services, and keep long work off the thread that accepts connections"
            )
        }
        ProbeFailure::Broken(error) => format!(
            "GET {health_path} got no valid HTTP/1.1 answer ({error}): serve plain HTTP on \
             $PORT={expected_port}; TLS ends at the gateway"
        ),
        ProbeFailure::Path(error) => {
            format!(
                "`{health_path}` is no path that can be requested ({error}): pass another --health-path"
            )
        }
    }
}

/// A warning about an app that is healthy here and will not be in its container,
/// where calls do not come from the same network namespace.
pub fn warning(expected_port: u16, listening: &[SocketAddr]) -> Option<String> {
    let mut addresses = at_port(expected_port, listening).peekable();
    addresses.peek()?;
    addresses.all(|ip| ip.is_loopback()).then(|| {
        format!(
            "listens on $PORT={expected_port} only at the loopback address: this works here, but not \
             in a container; listen on 0.0.0.0"
        )
    })
}

/// Nothing accepts connections at 127.0.0.1 and the port: say where the app listens instead.
fn unreachable(expected_port: u16, listening: &[SocketAddr]) -> String {
    let here: Vec<IpAddr> = at_port(expected_port, listening).collect();
    let Some(first) = here.first() else { return elsewhere(expected_port, listening) };
    let is_reached = |ip: &IpAddr| *ip == Ipv4Addr::LOCALHOST || *ip == Ipv4Addr::UNSPECIFIED;
    if here.iter().any(is_reached) {
        return format!(
            "listens on $PORT={expected_port} since a moment: the next probe should reach it"
        );
    }
    let addresses = list(here.iter());
    if here.iter().all(IpAddr::is_ipv6) {
        format!(
            "listens on $PORT={expected_port} only on IPv6 ({addresses}): listen on 0.0.0.0, \
             or on :: without IPV6_V6ONLY"
        )
    } else {
        let only = if here.len() == 1 { first.to_string() } else { addresses };
        format!("listens on $PORT={expected_port} only at {only}: listen on 0.0.0.0")
    }
}

fn elsewhere(expected_port: u16, listening: &[SocketAddr]) -> String {
    let mut ports: Vec<u16> = listening.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() {
        return format!(
            "does not listen on $PORT={expected_port}: start an HTTP server on 0.0.0.0 and the port \
             that the environment variable PORT names"
        );
    }
    let ports = list(ports.iter());
    format!("listens on {ports}, not on $PORT={expected_port}: read PORT from the environment")
}

fn refused_health(status: u16, health_path: &str) -> String {
    let asked = format!("GET {health_path} answered {status}");
    match status {
        300..=399 => format!(
            "{asked}, and redirects are not followed: serve it with 2xx itself, or pass --health-path"
        ),
        401 | 403 => format!(
            "{asked}, and a probe has no credentials: serve it with 2xx to anybody, or pass --health-path"
        ),
        500..=599 => format!(
            "{asked}: the app says that it is not ready, or fails; look at its output, \
             serve it with 2xx when ready, or pass --health-path"
        ),
        _ => format!("{asked}: serve it with 2xx, or pass --health-path"),
    }
}

/// The addresses of one port; IPv4 that is written as IPv6 counts as IPv4.
fn at_port(port: u16, listening: &[SocketAddr]) -> impl Iterator<Item = IpAddr> {
    listening.iter().filter(move |at| at.port() == port).map(|at| at.ip().to_canonical())
}

/// `a`, `a and b`, `a, b and c`.
fn list(items: impl ExactSizeIterator<Item = impl ToString>) -> String {
    let last = items.len().saturating_sub(1);
    let mut text = String::new();
    for (index, item) in items.enumerate() {
        match index {
            0 => {}
            _ if index == last => text.push_str(" and "),
            _ => text.push_str(", "),
        }
        text.push_str(&item.to_string());
    }
    text
}

#[cfg(test)]
mod tests;

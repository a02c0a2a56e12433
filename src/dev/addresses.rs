//! Chooses where `dev` listens, so that a first try never fails because port
//! 8080 is taken.
//!
//! The gateway's sockets share their port with others of the same user
//! (`SO_REUSEPORT`): two gateways would take each other's calls and neither would
//! know. So the port is tried here first, without sharing.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::free_port;
use super::settings::StartError;
use crate::app;

/// Where `dev` listens unless it is told otherwise.
pub(super) const DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// The same with TLS.
pub(super) const DEFAULT_TLS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);

/// How often a free port is chosen anew because the app needs it for itself.
const TRIES: u32 = 20;

/// The address to listen at, and why it is not the usual one, `default`.
///
/// `app_ports` are the ports at which the app itself listens.
pub(super) fn listen_at(
    wanted: Option<SocketAddr>,
    default: SocketAddr,
    app_ports: &[u16],
) -> Result<(SocketAddr, Option<String>), StartError> {
    if let Some(address) = wanted {
        if app_ports.contains(&address.port()) {
            return Err(StartError::AppPort { address });
        }
        return free(address).map(|()| (address, None)).map_err(|source| bind(address, source));
    }
    let port = default.port();
    let reason = if app_ports.contains(&port) {
        "is the app's own"
    } else {
        match free(default) {
            Ok(()) => return Ok((default, None)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => "is taken",
            Err(source) => return Err(bind(default, source)),
        }
    };
    let address = SocketAddr::new(default.ip(), port_besides(app_ports)?);
    Ok((address, Some(format!("Port {port} {reason}"))))
}

/// A free port that is none of these.
pub(super) fn port_besides(taken: &[u16]) -> Result<u16, StartError> {
    let mut port = free_port::choose().map_err(StartError::FreePort)?;
    for _ in 0..TRIES {
        if !taken.contains(&port) {
            break;
        }
        port = free_port::choose().map_err(StartError::FreePort)?;
    }
    Ok(port)
}

fn free(address: SocketAddr) -> io::Result<()> {
    TcpListener::bind(address).map(drop)
}

fn bind(address: SocketAddr, source: io::Error) -> StartError {
    app::StartError::Bind { what: "listener", address, source }.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn the_port_that_the_app_needs_is_not_taken_from_it() {
        let (address, notice) = listen_at(None, DEFAULT, &[8080]).unwrap();
        assert_ne!(address.port(), 8080);
        assert_eq!(notice.as_deref(), Some("Port 8080 is the app's own"));
        let refused = listen_at(Some(DEFAULT), DEFAULT, &[8080]).unwrap_err();
        assert!(refused.is_usage(), "{refused}");
    }

    #[test]
    fn an_address_that_was_asked_for_is_never_shared_nor_replaced() {
        let taken = crate::listener::accept::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let address = taken[0].local_addr().unwrap();
        let refused = listen_at(Some(address), DEFAULT, &[]).unwrap_err();
        assert!(refused.to_string().contains(&address.to_string()), "{refused}");
        assert!(!refused.is_usage());
    }
}

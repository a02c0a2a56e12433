//! Chooses the port that `dev` tells an app in `PORT`.
//!
//! The port is free when chosen, not reserved: somebody else can take it before
//! the app binds it. The app's own error and the probe then tell. It lies below
//! those that the system gives to outgoing connections (from 32768 on Linux),
//! one of which would otherwise take it now and then on a busy machine.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// Where few servers have their usual place.
const PORTS: Range<u16> = 20_000..32_768;
/// Tries before any port of the system's choice will do.
const TRIES: usize = 32;

/// A port that nobody listens on, at any address of this machine.
pub fn choose() -> io::Result<u16> {
    // Nothing ever connects to such a listener, so no TIME_WAIT keeps the port.
    let port = |wanted| TcpListener::bind((Ipv4Addr::UNSPECIFIED, wanted))?.local_addr();
    let tried = (0..TRIES).find_map(|_| port(rand::random_range(PORTS)).ok());
    tried.map_or_else(|| port(0), Ok).map(|address| address.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn the_chosen_port_can_be_bound() {
        // Another test may take one such port meanwhile, but not every one.
        let bound = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, choose().unwrap())).is_ok();
        assert!((0..20).any(bound));
    }
}

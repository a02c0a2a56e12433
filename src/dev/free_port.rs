//! Chooses the port that `dev` tells an app in `PORT`.
//!
//! The port is free when chosen, not reserved: somebody else can take it before
//! the app binds it. The app's own error and the probe then tell.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// A port that nobody listens on at 127.0.0.1, chosen by the system.
pub fn choose() -> io::Result<u16> {
    // Nothing ever connects to this listener, so no TIME_WAIT keeps the port.
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
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

//! From a listening socket to HTTP: accept, then whatever a listener asks of a
//! connection before its first request.

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::TcpStream;

use crate::config;
use crate::gateway::Gateway;
use crate::gateway::headers::forwarded::Peer;
use crate::shutdown::DrainWatch;

pub mod accept;
pub mod connection;
pub mod http2;
mod panics;
pub mod transport;

/// What one listener asks of its connections; shared by all workers.
#[derive(Debug)]
pub struct Listener {}

impl Listener {
    /// A listener as configured.
    pub fn new(_config: &config::Listener) -> Self {
        Self {}
    }

    /// Serves one connection to its end.
    pub async fn serve(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        gateway: Rc<Gateway>,
        drain: DrainWatch,
    ) {
        let peer = Peer::new(address, &gateway.shared().settings.load().trusted_proxies);
        connection::serve(stream, peer, gateway, drain).await;
    }
}

//! From a listening socket to HTTP: accept, then whatever a listener asks of a
//! connection before its first request.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::net::TcpStream;

use crate::error::{Error, Malformed};
use crate::gateway::Gateway;
use crate::gateway::headers::forwarded::Peer;
use crate::shutdown::DrainWatch;
use crate::telemetry::metrics::WorkerMetrics;

pub mod accept;
pub mod connection;
pub mod http2;
mod panics;
pub mod tls;
pub mod transport;

use tls::{Accepted, Acceptor, Turns};

/// What one listener asks of its connections; shared by all workers.
#[derive(Debug)]
pub struct Listener {
    tls: Option<Arc<Acceptor>>,
}

/// What the connections of one worker share before their first request.
#[derive(Debug, Default)]
pub struct Local {
    turns: Turns,
    metrics: Arc<WorkerMetrics>,
}

impl Local {
    /// For a worker that counts here.
    pub fn new(metrics: Arc<WorkerMetrics>) -> Self {
        Self { turns: Turns::default(), metrics }
    }
}

impl Listener {
    /// A listener that speaks TLS if somebody accepts for it.
    pub fn new(tls: Option<Arc<Acceptor>>) -> Self {
        Self { tls }
    }

    /// Serves one connection to its end.
    pub async fn serve(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        local: Rc<Local>,
        gateway: Rc<Gateway>,
        mut drain: DrainWatch,
    ) {
        let settings = gateway.settings();
        let peer = Peer::new(address, &settings.trusted_proxies);
        let Some(tls) = &self.tls else {
            return connection::serve(stream, peer, gateway, drain).await;
        };
        let counts = &local.metrics.handshakes;
        // In a box of its own: what a handshake needs would otherwise be part of every connection.
        let accepted = Box::pin(tls.accept(stream, &settings, &local.turns, counts, &mut drain));
        match accepted.await {
            Accepted::Session(stream) if stream.is_http2() => {
                http2::serve(*stream, BytesMut::new(), peer.over_tls(), gateway, drain).await;
            }
            Accepted::Session(stream) => {
                connection::serve(*stream, peer.over_tls(), gateway, drain).await;
            }
            Accepted::Plain(stream) => {
                let error = Error::Malformed(Malformed::PlainHttp);
                connection::refuse(stream, &error, &peer, &gateway).await;
            }
            Accepted::Failed => {}
        }
    }
}

//! TLS of a listener: from a socket to a session with a caller.
//!
//! The only door to rustls. A session is made of whatever configuration is in
//! force when its caller connects; a reload puts another one in its place and
//! touches no session. Handshakes are bounded in time, number and in what they
//! take of a worker at once.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::{Error, ServerConfig};
use thiserror::Error as ThisError;
use tokio::net::TcpStream;

use crate::config::file::ConfigErrors;
use crate::gateway::Settings;
use crate::shutdown::DrainWatch;
use crate::telemetry::tls::{Failure, Handshake, Handshakes};

mod doubt;
mod handshake;
mod keeper;
mod marks;
mod material;
mod pair;
mod resolver;
mod settings;
mod stream;
mod turns;

pub use doubt::Doubt;
pub use keeper::Keeper;
pub use stream::TlsStream;
pub use turns::Turns;

use handshake::Start;

/// How long a handshake may take once the gateway drains: two round trips to anywhere.
const LATE: Duration = Duration::from_secs(1);

/// Why TLS cannot be served.
#[derive(Debug, ThisError)]
pub enum TlsError {
    /// Files are not good.
    #[error(transparent)]
    Files(#[from] ConfigErrors),
    /// rustls refuses what was made of them.
    #[error("TLS cannot be set up")]
    Setup(#[from] Error),
}

/// TLS of one listener.
#[derive(Debug)]
pub struct Acceptor {
    current: ArcSwap<ServerConfig>,
}

/// What a caller's first words led to.
pub enum Accepted {
    /// A session.
    Session(Box<TlsStream>),
    /// The caller speaks HTTP in the clear, and may be told so.
    Plain(TcpStream),
    /// Nothing; it is counted.
    Failed,
}

impl Acceptor {
    fn new(config: Arc<ServerConfig>) -> Self {
        Self { current: ArcSwap::new(config) }
    }

    /// Whoever connects from now on gets another configuration.
    fn renew(&self, config: Arc<ServerConfig>) {
        self.current.store(config);
    }

    /// Shakes hands with a caller, within the time and among the number that are allowed.
    pub(super) async fn accept(
        &self,
        socket: TcpStream,
        settings: &Settings,
        turns: &Turns,
        counts: &Handshakes,
        drain: &mut DrainWatch,
    ) -> Accepted {
        let _under_way = counts.begin();
        let limit = settings.limits.handshakes;
        let late = async {
            poll_fn(|cx| drain.poll_draining(cx)).await;
            tokio::time::sleep(drain.patience(LATE)).await;
        };
        let start = tokio::select! {
            biased;
            start = handshake::shake(socket, self.current.load_full(), turns, limit) => start,
            () = tokio::time::sleep(settings.timeouts.handshake) => Start::Failed(Failure::Timeout),
            () = late => Start::Failed(Failure::Timeout),
        };
        match start {
            Start::Session(stream) => {
                counts.count(handshake::done(stream.session()));
                Accepted::Session(stream)
            }
            Start::Plain(socket) => {
                counts.count(Handshake::Failed(Failure::PlainHttp));
                Accepted::Plain(socket)
            }
            Start::Failed(failure) => {
                counts.count(Handshake::Failed(failure));
                Accepted::Failed
            }
        }
    }
}

//! The PROXY protocol: who called the load balancer in front of this listener.
//!
//! Where it is on, a header is required and never guessed: a listener that took
//! connections with and without one would let any caller write its own. The
//! header is read to its last byte and no further, so that what follows, HTTP
//! or TLS, is still in the socket.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;

use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::telemetry::metrics::WorkerMetrics;

pub mod header;

pub use header::Malformed;

/// Why a connection was closed for its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    /// The peer may not say who called.
    #[error("the peer is not in trusted_proxies")]
    Untrusted,
    /// What came is no header.
    #[error("no PROXY header")]
    Malformed(#[from] Malformed),
    /// The peer left before the header was whole, as a bare TCP health check does.
    #[error("closed before a whole PROXY header came")]
    Closed,
    /// The header was not whole in time.
    #[error("no whole PROXY header in time")]
    Timeout,
}

impl Refused {
    /// Where it is counted.
    pub fn counter(self, metrics: &WorkerMetrics) -> &AtomicU64 {
        let refused = &metrics.proxy_protocol_refused;
        match self {
            Self::Untrusted => &refused.untrusted,
            Self::Malformed(_) => &refused.malformed,
            Self::Closed => &refused.closed,
            Self::Timeout => &refused.timeout,
        }
    }
}

/// Takes the header off the stream; the address of the caller if it names one.
///
/// Looked at first and taken then: two system calls where the header comes in one piece, as it
/// is to be sent. Of an incomplete one all that came is taken, so that the next look waits for
/// more instead of seeing the same bytes for ever.
pub(super) async fn take_header(stream: &mut TcpStream) -> Result<Option<SocketAddr>, Refused> {
    let mut bytes = vec![0; header::LONGEST];
    let mut taken = 0;
    loop {
        let room = bytes.get_mut(taken..).unwrap_or_default();
        let came = stream.peek(room).await.map_err(|_| Refused::Closed)?;
        if came == 0 {
            return Err(Refused::Closed);
        }
        let seen = taken + came;
        let found = header::parse(bytes.get(..seen).unwrap_or_default())?;
        let end = found.map_or(seen, |header| header.length);
        let next = bytes.get_mut(taken..end).unwrap_or_default();
        stream.read_exact(next).await.map_err(|_| Refused::Closed)?;
        if let Some(header) = found {
            return Ok(header.source);
        }
        taken = end;
    }
}

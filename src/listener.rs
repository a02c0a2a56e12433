//! From a listening socket to HTTP: accept, then whatever a listener asks of a
//! connection before its first request.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;

use crate::clock::Deadline;
use crate::config;
use crate::error::{Error, Malformed};
use crate::gateway::Gateway;
use crate::gateway::headers::forwarded::Peer;
use crate::shutdown::DrainWatch;
use crate::telemetry::metrics::WorkerMetrics;

pub mod accept;
pub mod connection;
pub mod http2;
mod panics;
pub mod per_client;
pub mod proxy_protocol;
pub mod tls;
pub mod transport;

use per_client::{Counted, PerClient};
use proxy_protocol::Refused;
use tls::{Accepted, Acceptor, Turns};

/// How long a connection that waits for a request when the gateway begins to drain may take to bring
/// its last one.
const LATE: Duration = Duration::from_millis(200);

/// What one listener asks of its connections; shared by all workers.
#[derive(Debug)]
pub struct Listener {
    proxy_protocol: bool,
    tls: Option<Arc<Acceptor>>,
}

/// A connection whose caller has been silent for a moment after a request.
pub struct Silent {
    /// Its socket.
    pub stream: TcpStream,
    /// Who is silent.
    pub peer: Rc<Peer>,
    /// Its place among the client's connections.
    pub counted: Option<Counted>,
}

impl Silent {
    /// Serves it on, when its caller has spoken or left.
    pub async fn resume(self, gateway: Rc<Gateway>, drain: DrainWatch) -> Option<Self> {
        let Self { stream, peer, counted } = self;
        let shared = gateway.shared().clone();
        let served = pin!(connection::resume(stream, peer, gateway, drain));
        let silent = panics::counted(served, &shared.refusals).await?;
        Self::of(silent, counted)
    }

    /// The connection that is given back, if it is, with its place.
    fn of(given_back: Option<(TcpStream, Rc<Peer>)>, counted: Option<Counted>) -> Option<Self> {
        given_back.map(|(stream, peer)| Self { stream, peer, counted })
    }
}

/// What the connections of one worker share before their first request.
#[derive(Debug, Default)]
pub struct Local {
    turns: Turns,
    metrics: Arc<WorkerMetrics>,
    per_client: Arc<PerClient>,
}

/// A client has as many connections as it may.
struct TooMany;

impl Local {
    /// For a worker that counts here, and its callers' connections with all others there.
    pub fn new(metrics: Arc<WorkerMetrics>, per_client: Arc<PerClient>) -> Self {
        Self { turns: Turns::default(), metrics, per_client }
    }

    /// Counts a connection as its client's; an error where the client has too many. Proxies that
    /// are trusted speak for many clients, and so does whoever names none.
    fn count(&self, caller: &Peer, named: bool, limit: usize) -> Result<Option<Counted>, TooMany> {
        if limit == 0 || !named || caller.is_trusted() {
            return Ok(None);
        }
        let counted = self.per_client.enter(caller.address.ip(), limit);
        if counted.is_none() {
            self.metrics.refused_client.fetch_add(1, Ordering::Relaxed);
        }
        counted.map(Some).ok_or(TooMany)
    }
}

impl Listener {
    /// A listener as configured, that speaks TLS if somebody accepts for it.
    pub fn new(config: &config::Listener, tls: Option<Arc<Acceptor>>) -> Self {
        Self { proxy_protocol: config.proxy_protocol, tls }
    }

    /// Serves one connection to its end, or until its caller is silent for a moment where that may
    /// be waited for without a task; an error if it did not come as far as HTTP. A panic ends this
    /// connection alone.
    pub async fn serve(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        local: Rc<Local>,
        gateway: Rc<Gateway>,
        drain: DrainWatch,
    ) -> Result<Option<Silent>, Refused> {
        let shared = gateway.shared().clone();
        let served = pin!(self.receive(stream, address, local, gateway, drain));
        panics::counted(served, &shared.refusals).await.unwrap_or(Ok(None))
    }

    async fn receive(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        local: Rc<Local>,
        gateway: Rc<Gateway>,
        drain: DrainWatch,
    ) -> Result<Option<Silent>, Refused> {
        let peer = Peer::new(address, &gateway.settings().trusted_proxies);
        if self.proxy_protocol || self.tls.is_some() {
            // In a box of its own, as is within it what only a beginning or an end needs: it would
            // otherwise be part of every connection as long as it lives.
            return Box::pin(self.introduce(stream, peer, local, gateway, drain)).await;
        }
        let limit = gateway.settings().limits.connections_per_client;
        let Ok(counted) = local.count(&peer, true, limit) else { return Ok(None) };
        let silent = connection::serve(stream, Rc::new(peer), gateway, drain).await;
        Ok(Silent::of(silent, counted))
    }

    /// The same, where something is asked of the connection before its first request.
    async fn introduce(
        &self,
        mut stream: TcpStream,
        mut peer: Peer,
        local: Rc<Local>,
        gateway: Rc<Gateway>,
        mut drain: DrainWatch,
    ) -> Result<Option<Silent>, Refused> {
        let mut named = true;
        if self.proxy_protocol {
            let caller = Box::pin(announced(&mut stream, peer, &gateway, &mut drain)).await?;
            (peer, named) = (caller.peer, caller.named);
        }
        // Before the handshake, which costs the most.
        let limit = gateway.settings().limits.connections_per_client;
        let Ok(counted) = local.count(&peer, named, limit) else { return Ok(None) };
        let Some(tls) = &self.tls else {
            let silent = connection::serve(stream, Rc::new(peer), gateway, drain).await;
            return Ok(Silent::of(silent, counted));
        };
        let settings = gateway.settings();
        let counts = &local.metrics.handshakes;
        let accepted = Box::pin(tls.accept(stream, &settings, &local.turns, counts, &mut drain));
        match accepted.await {
            Accepted::Session(stream) if stream.is_http2() => {
                let peer = Rc::new(peer.over_tls(stream.certificate()));
                http2::serve(stream, BytesMut::new(), peer, gateway, drain).await;
            }
            Accepted::Session(stream) => {
                let peer = Rc::new(peer.over_tls(stream.certificate()));
                connection::serve(stream, peer, gateway, drain).await;
            }
            Accepted::Plain(stream) => {
                let error = Error::Malformed(Malformed::PlainHttp);
                Box::pin(connection::refuse(stream, &error, &peer, &gateway)).await;
            }
            Accepted::Failed => {}
        }
        Ok(None)
    }
}

/// Whom a PROXY header announces.
struct Announced {
    peer: Peer,
    /// The header names somebody: a health check's does not, nor do those of some balancers.
    named: bool,
}

/// Who called the load balancer that `peer` is.
///
/// Whether the caller's forwarding fields are believed is asked of the announced address: a load
/// balancer that sends this header relays bytes and adds no fields, so whatever comes is the
/// caller's own word. Where it names nobody, nobody is believed.
async fn announced(
    stream: &mut TcpStream,
    peer: Peer,
    gateway: &Gateway,
    drain: &mut DrainWatch,
) -> Result<Announced, Refused> {
    if !peer.is_trusted() {
        return Err(Refused::Untrusted);
    }
    let limit = gateway.settings().timeouts.header;
    let header = in_time(limit, drain, proxy_protocol::take_header(stream));
    match header.await.ok_or(Refused::Timeout)?? {
        Some(caller) => {
            let peer = Peer::new(caller, &gateway.settings().trusted_proxies);
            Ok(Announced { peer, named: true })
        }
        None => Ok(Announced { peer: Peer::new(peer.address, &[]), named: false }),
    }
}

/// Waits for a step before the first request; `None` if it takes longer than `limit`, or than a
/// drain has patience.
async fn in_time<T>(
    limit: Duration,
    drain: &mut DrainWatch,
    step: impl Future<Output = T>,
) -> Option<T> {
    let mut step = pin!(step);
    let mut deadline = Deadline::new();
    let mut hurried = false;
    poll_fn(|cx| {
        if let Poll::Ready(done) = step.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if !deadline.is_set() {
            deadline.set_in(limit);
        }
        if !hurried && drain.poll_draining(cx).is_ready() {
            hurried = true;
            deadline.set_in(limit.min(drain.patience(LATE)));
        }
        deadline.poll_passed(cx).map(|()| None)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::shutdown::Drain;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_step_that_is_never_done_is_given_up_at_the_limit() {
        let start = Instant::now();
        let mut drain = Drain::new().watch();
        assert_eq!(in_time(LIMIT, &mut drain, ready(7)).await, Some(7));
        assert_eq!(in_time(LIMIT, &mut drain, sleep(LIMIT / 2)).await, Some(()));
        assert_eq!(in_time(LIMIT, &mut drain, pending::<()>()).await, None);
        assert_eq!(start.elapsed().as_secs(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_leaves_a_step_a_moment_and_no_more() {
        let drain = Drain::new();
        let mut watch = drain.watch();
        let start = Instant::now();
        let begin = async {
            sleep(LIMIT / 2).await;
            drain.begin();
        };
        let ((), given_up) = tokio::join!(begin, in_time(LIMIT, &mut watch, pending::<()>()));
        assert_eq!(given_up, None);
        assert_eq!(start.elapsed().as_millis(), (LIMIT / 2 + LATE).as_millis());

        // One that begins during the drain has the same moment, or its limit if that is less.
        assert_eq!(in_time(LIMIT, &mut watch, sleep(LATE / 2)).await, Some(()));
        assert_eq!(in_time(LATE / 4, &mut watch, sleep(LATE / 2)).await, None);
    }
}

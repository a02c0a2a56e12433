//! Active health: one probe, the tally that turns results into readiness, and
//! the loop that repeats both.
//!
//! Runs on the control-plane runtime, never on a worker, and touches no route:
//! the caller hears of every result and acts on it. A probe trusts nothing that
//! it receives: its time and its bytes are bounded, and no redirect is followed,
//! which would let an app point the gateway at any address.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{self, Instant, MissedTickBehavior};

mod http2;
pub mod hurry;

use hurry::{Hurry, Pace};

/// What a probe calls itself, so that an app can leave it out of its logs.
const USER_AGENT: &str = "ignite-gateway-probe";
/// The most that is read of a response's head, and of its body.
const MAX_RESPONSE: usize = 64 << 10;

/// When an app is probed, and what the results mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// From the start of the watch to the first probe.
    pub initial_delay: Duration,
    /// From the start of one probe to the start of the next.
    pub period: Duration,
    /// All that one probe may take.
    pub timeout: Duration,
    /// Failures in a row that make a ready app unready.
    pub failures: u32,
    /// Successes in a row that make an unready app ready.
    pub successes: u32,
}

impl Timings {
    /// What the platform promises to every container.
    pub const CONTRACT: Self = Self {
        initial_delay: Duration::from_secs(2),
        period: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
        failures: 3,
        successes: 1,
    };

    /// The same for an endpoint that runs already: probed at once.
    #[must_use]
    pub const fn without_initial_delay(self) -> Self {
        Self { initial_delay: Duration::ZERO, ..self }
    }
}

/// What a probe speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// HTTP/1.1, and HTTP/2 where that is not understood: nobody has asked the app yet.
    Either,
}

/// Why a probe failed.
#[derive(Debug, Error)]
pub enum ProbeFailure {
    /// Nothing listens at the address.
    #[error("the connection was refused")]
    Refused,
    /// The address could not be reached.
    #[error("the address could not be reached")]
    Unreachable(#[source] io::Error),
    /// No complete answer came in time.
    #[error("no answer came in time")]
    Timeout,
    /// The answer's status was not 2xx.
    #[error("the answer was {0}, not 2xx")]
    Status(u16),
    /// The answer was no HTTP, or broke off.
    #[error("the answer was not valid HTTP or broke off")]
    Broken(#[source] hyper::Error),
    /// The health path cannot be written into a request.
    #[error("the health path cannot be requested")]
    Path(#[source] http::Error),
}

/// What one probe of [`watch`] came to.
#[derive(Debug)]
pub struct Report {
    /// Whether the app counts as ready after this probe.
    pub ready: bool,
    /// Set when this probe changed that.
    pub change: Option<Change>,
    /// The probe itself.
    pub outcome: Result<(), ProbeFailure>,
}

/// A change of readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Enough successes in a row.
    Ready,
    /// Enough failures in a row.
    Unready,
}

/// Probes `address` for ever and tells `on_result` of each probe; the app counts
/// as unready until a probe says otherwise. `speech` is asked before each probe, `hurry` asks for
/// some out of turn.
///
/// Ends only when dropped or aborted. A caller that wants liveness as well feeds
/// the outcomes to a second [`Tally`] that begins ready.
pub async fn watch(
    address: SocketAddr,
    path: &str,
    timings: Timings,
    speech: impl Fn() -> Speech,
    hurry: &impl Hurry,
    on_result: impl FnMut(Report),
) -> Infallible {
    repeat(timings, || probe(address, path, speech(), timings.timeout), hurry, on_result).await
}

async fn repeat<P>(
    timings: Timings,
    mut probe: impl FnMut() -> P,
    hurry: &impl Hurry,
    mut on_result: impl FnMut(Report),
) -> Infallible
where
    P: Future<Output = Result<(), ProbeFailure>>,
{
    let mut tally = Tally::new(timings, false);
    // An interval of zero panics; a busy loop of probes would be no better.
    let period = timings.period.max(Duration::from_millis(1));
    let mut ticks = time::interval_at(Instant::now() + timings.initial_delay, period);
    // After a pause of this process an app gets one probe, not a burst of them.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pace = Pace::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = pace.due(hurry) => {}
        }
        let outcome = probe().await;
        pace.probed(outcome.is_ok(), hurry);
        let change = tally.record(outcome.is_ok());
        on_result(Report { ready: tally.ready(), change, outcome });
    }
}

/// Asks once: `GET path` at `address`, where 2xx within `timeout` is success.
pub async fn probe(
    address: SocketAddr,
    path: &str,
    speech: Speech,
    timeout: Duration,
) -> Result<(), ProbeFailure> {
    let exchange = async {
        match speech {
            Speech::Http1 => over_http1(address, path).await,
            Speech::Http2 => http2::exchange(address, path).await,
            Speech::Either => match over_http1(address, path).await {
                Err(ProbeFailure::Broken(_)) => http2::exchange(address, path).await,
                known => known,
            },
        }
    };
    time::timeout(timeout, exchange).await.unwrap_or(Err(ProbeFailure::Timeout))
}

async fn over_http1(address: SocketAddr, path: &str) -> Result<(), ProbeFailure> {
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(ProbeFailure::Path)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_RESPONSE)
        .handshake(connect(address).await?)
        .await
        .map_err(ProbeFailure::Broken)?;

    // The connection is driven right here: dropping the probe closes it. It may
    // end first, with the answer already handed over: the answer decides then.
    let mut answer = pin!(judge(sender.send_request(request)));
    tokio::select! {
        biased;
        result = &mut answer => result,
        _ = connection => answer.await,
    }
}

async fn connect(address: SocketAddr) -> Result<TokioIo<TcpStream>, ProbeFailure> {
    let stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => ProbeFailure::Refused,
        _ => ProbeFailure::Unreachable(error),
    })?;
    Ok(TokioIo::new(stream))
}

async fn judge(
    response: impl Future<Output = hyper::Result<Response<Incoming>>>,
) -> Result<(), ProbeFailure> {
    let response = response.await.map_err(ProbeFailure::Broken)?;
    let status = response.status();
    if !status.is_success() {
        return Err(ProbeFailure::Status(status.as_u16()));
    }
    // The body is read, so that an app that promises 2xx and then breaks off does
    // not pass, but only so far: a health path that streams must not hold a probe.
    let mut body = response.into_body();
    let mut seen = 0;
    while seen < MAX_RESPONSE {
        match body.frame().await {
            None => break,
            Some(frame) => {
                let frame = frame.map_err(ProbeFailure::Broken)?;
                seen += frame.data_ref().map_or(0, Bytes::len);
            }
        }
    }
    Ok(())
}

/// Turns a row of results into readiness: only a run of contrary results that is
/// long enough changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    failures: u32,
    successes: u32,
    ready: bool,
    /// Results in a row that speak against `ready`.
    contrary: u32,
}

impl Tally {
    /// Begins with no results, by the thresholds of `timings`; a threshold of 0 counts as 1.
    pub fn new(timings: Timings, initially_ready: bool) -> Self {
        Self {
            failures: timings.failures.max(1),
            successes: timings.successes.max(1),
            ready: initially_ready,
            contrary: 0,
        }
    }

    /// Whether the app counts as ready.
    pub fn ready(&self) -> bool {
        self.ready
    }

    /// Counts one result; says so when it changed the readiness.
    pub fn record(&mut self, success: bool) -> Option<Change> {
        if success == self.ready {
            self.contrary = 0;
            return None;
        }
        self.contrary += 1;
        let needed = if success { self.successes } else { self.failures };
        if self.contrary < needed {
            return None;
        }
        self.ready = success;
        self.contrary = 0;
        Some(if success { Change::Ready } else { Change::Unready })
    }
}

#[cfg(test)]
mod tests;

//! Ten endpoints are restarted one after another on new ports while callers go
//! on: not a request fails, and no POST is done twice.
//!
//! What remains, and no gateway can take away: an endpoint that closes an idle
//! connection without notice may do so in the very moment in which a request
//! leaves on it. A GET is sent again. A POST is not, because a closed connection
//! does not tell whether it was read: its caller gets `502`, and the app has
//! not seen it.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ignite_gateway::config::Protocol;
use ignite_gateway::upstream::health::Timings;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::support::edge::{Edge, QUICK};
use crate::support::load::{Asker, ID, Ledger, Outcome, Row, Sightings, answer, question};
use crate::support::{HOST, app, eventually, show};

const ENDPOINTS: usize = 10;
const CALLERS: usize = 32;
/// Between two restarts: an endpoint has connections again before it goes.
const REQUESTS_BETWEEN: u64 = 150;
/// From leaving the configuration to the end: by then every worker has seen the change. It stands
/// for the time that a container's pre-stop hook waits.
const REQUESTS_BEFORE_THE_END: u64 = 200;

/// How an endpoint goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// The configuration names its successor first.
    Reload,
    /// It fails its probes first.
    Probe,
    /// It closes its idle connections, and tells nobody.
    Abrupt,
}

/// How far an endpoint's end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Serving,
    /// It finishes what it has, on each connection the request under way; idle ones are closed.
    Closing,
    /// It takes no new connections either.
    Gone,
}

/// An endpoint that ends like a good container: it finishes what it has.
struct Container {
    address: SocketAddr,
    state: Arc<State>,
    phase: watch::Sender<Phase>,
    task: JoinHandle<()>,
}

struct State {
    healthy: AtomicBool,
    working: AtomicUsize,
    sightings: Sightings,
}

impl Container {
    fn start(runtime: &Runtime, protocol: Protocol, sightings: &Sightings) -> Self {
        let state = Arc::new(State {
            healthy: AtomicBool::new(true),
            working: AtomicUsize::new(0),
            sightings: sightings.clone(),
        });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (phase, watched) = watch::channel(Phase::Serving);
        let task = runtime.spawn(accept(listener, protocol, state.clone(), watched));
        Self { address, state, phase, task }
    }

    /// Ends, and waits for the end.
    fn stop(self, runtime: &Runtime) {
        self.phase.send_replace(Phase::Gone);
        runtime.block_on(self.task).unwrap();
    }
}

async fn accept(
    listener: TcpListener,
    protocol: Protocol,
    state: Arc<State>,
    mut phase: watch::Receiver<Phase>,
) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        // What the kernel has accepted is served: a listener that closes resets it.
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            _ = phase.wait_for(|phase| *phase == Phase::Gone) => break,
        };
        let (stream, _) = accepted.unwrap();
        stream.set_nodelay(true).unwrap();
        connections.spawn(serve(stream, protocol, state.clone(), phase.clone()));
    }
    drop(listener);
    while let Some(served) = connections.join_next().await {
        served.unwrap();
    }
}

/// Serves a connection; told to end, it finishes what it has and closes what is idle.
async fn serve(
    stream: TcpStream,
    protocol: Protocol,
    state: Arc<State>,
    mut phase: watch::Receiver<Phase>,
) {
    let begun = Arc::new(Notify::new());
    let service = service_fn({
        let begun = begun.clone();
        move |request| {
            let state = state.clone();
            begun.notify_one();
            async move { Ok::<_, hyper::Error>(respond(request, &state).await) }
        }
    });
    let io = TokioIo::new(stream);
    let closing = async {
        drop(phase.wait_for(|phase| *phase >= Phase::Closing).await);
        // A new connection is no idle one: its request is under way.
        tokio::select! {
            () = begun.notified() => {}
            _ = phase.wait_for(|phase| *phase == Phase::Gone) => {}
        }
    };
    // What becomes of a connection shows at its callers.
    if protocol == Protocol::H2c {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let mut served = pin!(builder.timer(TokioTimer::new()).serve_connection(io, service));
        tokio::select! {
            _ = served.as_mut() => return,
            () = closing => {}
        }
        served.as_mut().graceful_shutdown();
        let _ = served.await;
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        let mut served = pin!(builder.serve_connection(io, service));
        tokio::select! {
            _ = served.as_mut() => return,
            () = closing => {}
        }
        served.as_mut().graceful_shutdown();
        let _ = served.await;
    }
}

async fn respond(request: Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
    let id = request.headers().get(ID).and_then(|id| id.to_str().ok()?.parse().ok());
    let Some(id) = id else {
        let healthy = state.healthy.load(Ordering::SeqCst);
        let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        return Response::builder().status(status).body(Full::default()).unwrap();
    };
    state.working.fetch_add(1, Ordering::SeqCst);
    let asked = if request.method() == "POST" { question(HOST, id) } else { Vec::new() };
    let content = request.into_body().collect().await.expect("the whole content").to_bytes();
    assert_eq!(show(&content), show(&asked), "the content of {id}");
    state.sightings.add(HOST, id);
    // Now and then so long that an endpoint's end finds it at work.
    let work = Duration::from_millis(if id % 16 == 0 { 60 } else { id % 4 });
    tokio::time::sleep(work).await;
    state.working.fetch_sub(1, Ordering::SeqCst);
    Response::builder().header(ID, id).body(Full::from(answer(HOST, id))).unwrap()
}

/// Ten endpoints behind a gateway.
struct Farm {
    runtime: Runtime,
    containers: Vec<Container>,
    edge: Edge,
    protocol: Protocol,
    ledger: Arc<Ledger>,
}

impl Farm {
    fn start(style: Style, protocol: Protocol) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let ledger = Arc::new(Ledger::default());
        let start = |_| Container::start(&runtime, protocol, &ledger.sightings);
        let containers: Vec<_> = (0..ENDPOINTS).map(start).collect();
        let addresses: Vec<_> = containers.iter().map(|container| container.address).collect();
        // Patient: a machine that is busy is no reason to call an endpoint dead.
        let timings = Timings { timeout: Duration::from_secs(5), ..QUICK };
        let edge = Edge::with(timings, |config| {
            config.workers = 2;
            let mut app = app("acme/hello", &[(80, &addresses)]);
            app.ports[0].protocol = protocol;
            app.health_check = style == Style::Probe;
            config.apps.push(app);
        });
        let farm = Self { runtime, containers, edge, protocol, ledger };
        farm.wait_ready();
        farm
    }

    fn wait_ready(&self) {
        eventually("every endpoint is ready", || {
            self.edge.route(HOST).endpoints.iter().all(|endpoint| endpoint.is_ready())
        });
    }

    /// Waits until the load has gone on by so many requests.
    fn wait_asked(&self, more: u64) {
        let before = self.ledger.asked();
        eventually("the load goes on", || self.ledger.asked() > before + more);
    }

    /// Restarts an endpoint; how many requests it was at work on when it was told to end.
    fn restart(&mut self, index: usize, style: Style) -> usize {
        let new = Container::start(&self.runtime, self.protocol, &self.ledger.sightings);
        let address = new.address;
        let old = std::mem::replace(&mut self.containers[index], new);
        let endpoint = self.edge.route(HOST).endpoints[index].clone();
        let working = old.state.working.load(Ordering::SeqCst);
        match style {
            Style::Reload => {}
            Style::Probe => {
                old.state.healthy.store(false, Ordering::SeqCst);
                eventually("the probes fail", || !endpoint.is_ready());
            }
            Style::Abrupt => drop(old.phase.send_replace(Phase::Closing)),
        }
        self.edge.reload(|config| config.apps[0].ports[0].endpoints[index] = address);
        self.wait_ready();
        self.wait_asked(REQUESTS_BEFORE_THE_END);
        old.stop(&self.runtime);
        working
    }
}

/// Asks until told to stop: GET and POST in turn, over HTTP/2 several at once.
fn call(
    address: SocketAddr,
    number: usize,
    ledger: &Ledger,
    pause: Option<Duration>,
    done: &AtomicBool,
) {
    let http2 = number.is_multiple_of(4);
    let mut asker = if http2 { Asker::http2(address) } else { Asker::http1(address) };
    let size = if http2 { 4 } else { 1 };
    let mut due = Instant::now();
    let mut post = number.is_multiple_of(2);
    while !done.load(Ordering::SeqCst) {
        let asks: Vec<_> = std::iter::repeat_with(|| {
            post = !post;
            ledger.open(HOST, post)
        })
        .take(size)
        .collect();
        let outcomes = asker.ask_all(&asks);
        ledger.close(&asks, outcomes);
        if let Some(pause) = pause {
            due += pause * u32::try_from(size).unwrap();
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}

/// Restarts every endpoint in turn, until `lasting` is over and at least once each.
fn roll(style: Style, protocol: Protocol, pause: Option<Duration>, lasting: Duration) {
    let mut farm = Farm::start(style, protocol);
    let done = AtomicBool::new(false);
    let start = Instant::now();
    let (mut restarts, mut finished) = (0, 0);
    let (address, ledger) = (farm.edge.address(), farm.ledger.clone());
    std::thread::scope(|scope| {
        for number in 0..CALLERS {
            let (ledger, done) = (&ledger, &done);
            scope.spawn(move || call(address, number, ledger, pause, done));
        }
        // A restart that fails must not leave the callers at it.
        let rolled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while restarts < ENDPOINTS || start.elapsed() < lasting {
                farm.wait_asked(REQUESTS_BETWEEN);
                finished += farm.restart(restarts % ENDPOINTS, style);
                restarts += 1;
            }
        }));
        done.store(true, Ordering::SeqCst);
        rolled.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let took = start.elapsed();
    let rows = ledger.rows();
    let failed: Vec<_> = rows.iter().filter(|row| row.outcome != Some(Outcome::Own)).collect();
    eprintln!(
        "{style:?} {protocol:?}: {} requests in {took:?}, {restarts} restarts, {finished} requests under way at \
         them, {} not answered",
        rows.len(),
        failed.len()
    );
    judge(style, &ledger, &failed, rows.len());
    assert!(finished > 0, "no restart found a request under way");
}

fn judge(style: Style, ledger: &Ledger, failed: &[&Row], all: usize) {
    ledger.balance(|ask| {
        let mut allowed = vec![(Outcome::Own, 1..=1)];
        if style == Style::Abrupt && ask.post {
            let lost = Outcome::Problem(502, "connection_terminated".to_owned());
            allowed.push((lost, 0..=0));
        }
        allowed
    });
    // Measured: one to five of 1,850 POSTs, at ten restarts.
    assert!(failed.len() < all / 50, "more than crossed a close: {failed:#?}");
}

#[test]
fn no_request_fails_while_endpoints_are_replaced_by_reloads() {
    roll(Style::Reload, Protocol::Http1, None, Duration::ZERO);
}

#[test]
fn no_request_fails_while_endpoints_fail_their_probes_before_they_end() {
    roll(Style::Probe, Protocol::Http1, None, Duration::ZERO);
}

#[test]
fn no_get_fails_and_no_post_is_done_twice_while_endpoints_end_without_notice() {
    roll(Style::Abrupt, Protocol::Http1, None, Duration::ZERO);
}

#[test]
fn no_request_fails_while_endpoints_that_speak_http2_are_replaced() {
    roll(Style::Reload, Protocol::H2c, None, Duration::ZERO);
}

#[test]
fn no_get_fails_and_no_post_is_done_twice_while_endpoints_that_speak_http2_end() {
    roll(Style::Abrupt, Protocol::H2c, None, Duration::ZERO);
}

#[test]
#[ignore = "a minute for each way: 2,000 requests a second, best in a release build"]
fn no_request_fails_in_a_minute_of_restarts_at_two_thousand_requests_a_second() {
    let pause = Duration::from_secs(CALLERS as u64) / 2000;
    for style in [Style::Reload, Style::Probe, Style::Abrupt] {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            roll(style, protocol, Some(pause), Duration::from_secs(60));
        }
    }
}

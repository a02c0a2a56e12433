//! Thousands of callers who say a byte now and then, and what the others notice of
//! them: nothing.
//!
//! The bar, in release and on a machine that does nothing else:
//! `cargo test --release --test it slow_floods -- --ignored --nocapture`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;

use crate::binary::{Folder, Serve, config};
use crate::support::gateway::metric;
use crate::support::many::Many;
use crate::support::{HOST, LIMIT};

/// Between two bytes of one slow caller.
const BEAT: Duration = Duration::from_secs(5);
/// Good callers, each on a connection of its own.
const GOOD: u32 = 50;

/// How a slow caller is slow.
#[derive(Debug, Clone, Copy)]
enum Slow {
    Head,
    Body,
}

impl Slow {
    fn beginning(self) -> String {
        match self {
            Self::Head => format!("GET /slow HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: "),
            Self::Body => {
                format!("POST /slow HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000000\r\n\r\n")
            }
        }
    }
}

/// Slow callers, who come again when they are turned away.
struct Flood {
    runtime: Option<Runtime>,
    open: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Flood {
    /// `each` callers of either kind, from several addresses of this machine.
    fn start(gateway: SocketAddr, each: u32) -> Self {
        let runtime = runtime();
        let (open, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for index in 0..2 * each {
            let slow = if index % 2 == 0 { Slow::Head } else { Slow::Body };
            let from = [127, 0, 0, u8::try_from(2 + index % 100).unwrap()];
            let (open, over) = (open.clone(), over.clone());
            // Not all in one moment, neither now nor at each byte, nor when heads are late: by default
            // after two beats.
            let start = 2 * BEAT * index / (2 * each);
            runtime.spawn(async move {
                tokio::time::sleep(start).await;
                while !over.load(Ordering::Relaxed) {
                    if let Ok(stream) = connect((from, 0).into(), gateway).await {
                        open.fetch_add(1, Ordering::Relaxed);
                        drip(stream, slow).await;
                        open.fetch_sub(1, Ordering::Relaxed);
                    }
                }
            });
        }
        Self { runtime: Some(runtime), open, over }
    }

    fn held(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

async fn connect(from: SocketAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(from)?;
    socket.connect(to).await
}

/// A byte at each beat, until the gateway has had enough.
async fn drip(mut stream: TcpStream, slow: Slow) {
    if stream.write_all(slow.beginning().as_bytes()).await.is_err() {
        return;
    }
    let mut answer = [0; 512];
    loop {
        tokio::select! {
            // Whatever it is: the end, or an answer before the end.
            _ = stream.read(&mut answer) => return,
            () = tokio::time::sleep(BEAT) => {
                if stream.write_all(b"x").await.is_err() {
                    return;
                }
            }
        }
    }
}

/// What became of the good callers' requests.
#[derive(Default)]
struct Traffic {
    took: Vec<Duration>,
    errors: Vec<String>,
}

impl Traffic {
    /// `rate` requests a second for some time, each due at its moment however late the last one
    /// was.
    fn run(gateway: SocketAddr, rate: u32, time: Duration) -> Self {
        let runtime = runtime();
        let every = Duration::from_secs(1) * GOOD / rate;
        let start = Instant::now();
        let callers: Vec<_> = (0..GOOD)
            .map(|index| {
                let first = start + every * index / GOOD;
                runtime.spawn(call(gateway, first, every, start + time))
            })
            .collect();
        let mut all = Self::default();
        for caller in callers {
            let Self { took, errors } = runtime.block_on(caller).unwrap();
            all.took.extend(took);
            all.errors.extend(errors);
        }
        all.took.sort();
        all
    }

    fn percentile(&self, percent: usize) -> Duration {
        self.took[((self.took.len() - 1) * percent).div_ceil(100)]
    }

    fn tell(&self, what: &str) {
        let [p50, p99, most] = [50, 99, 100].map(|percent| self.percentile(percent));
        let (count, errors) = (self.took.len(), self.errors.len());
        eprintln!(
            "{what}: {count} requests, {errors} errors, p50 {p50:?} p99 {p99:?} max {most:?}"
        );
    }

    #[track_caller]
    fn expect_no_error(&self) {
        let few = &self.errors[..self.errors.len().min(10)];
        assert!(few.is_empty(), "{} errors: {few:#?}", self.errors.len());
    }
}

async fn call(gateway: SocketAddr, first: Instant, every: Duration, end: Instant) -> Traffic {
    let mut traffic = Traffic::default();
    let mut kept = None;
    let mut due = first;
    while due < end {
        tokio::time::sleep_until(due.into()).await;
        match tokio::time::timeout(LIMIT, ask(gateway, &mut kept)).await {
            Ok(Ok(())) => traffic.took.push(due.elapsed()),
            Ok(Err(error)) => traffic.errors.push(error),
            Err(_) => traffic.errors.push("no answer".to_owned()),
        }
        due += every;
    }
    traffic
}

async fn ask(gateway: SocketAddr, kept: &mut Option<TcpStream>) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = if let Some(stream) = kept.take() {
        stream
    } else {
        let stream = TcpStream::connect(gateway).await.map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        stream
    };
    let request = format!("GET /good HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(text)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        if stream.read_buf(&mut answer).await.map_err(text)? == 0 {
            return Err(format!("cut: {}", answer.escape_ascii()));
        }
    }
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        return Err(format!("no 200: {}", answer.escape_ascii()));
    }
    *kept = Some(stream);
    Ok(())
}

/// A gateway in a process of its own, as it is by default.
fn serve(app: &Many, change: impl FnOnce(&mut String)) -> (Serve, Folder) {
    let folder = Folder::new();
    let mut text = config("off", &["hello"], app.address()).replace("workers = 1", "workers = 0");
    change(&mut text);
    let path = folder.write("gateway.toml", text);
    (Serve::start(&path), folder)
}

fn timeouts(gateway: &Serve) -> u64 {
    metric(gateway.admin, "ignite_gateway_refused_requests_total", "reason=\"timeout\"")
}

#[track_caller]
fn wait_held(flood: &Flood, count: usize, limit: Duration) {
    let start = Instant::now();
    while flood.held() < count {
        assert!(start.elapsed() < limit, "{} of {count} are held", flood.held());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn slow_callers_cost_the_others_no_request() {
    let app = Many::start();
    let (gateway, _folder) = serve(&app, |text| {
        // How much this machine has to do beside the tests decides nothing. And heads are late
        // within the test.
        text.push_str("\n[overload]\ntarget_lag = \"0s\"\n");
        *text = text.replace("[timeouts]\n", "[timeouts]\nheader = \"1s\"\n");
    });
    let flood = Flood::start(gateway.address, 100);
    wait_held(&flood, 150, LIMIT);
    let traffic = Traffic::run(gateway.address, 100, Duration::from_secs(3));
    traffic.expect_no_error();
    assert_eq!(traffic.took.len(), 300);
    assert!(timeouts(&gateway) > 0, "late heads are counted");
    drop(flood);
    gateway.finish();
}

#[test]
#[ignore = "a minute, in release, on a machine that does nothing else"]
fn ten_thousand_slow_callers_double_nobodys_latency() {
    const EACH: u32 = 5_000;
    const RATE: u32 = 1_000;
    let app = Many::start();
    let (gateway, _folder) = serve(&app, |_| {});
    let calm = |what| {
        let traffic = Traffic::run(gateway.address, RATE, Duration::from_secs(10));
        traffic.tell(what);
        traffic.expect_no_error();
        traffic.percentile(99)
    };
    // Connections, buffers, frequencies: the first seconds are not like the others.
    calm("warming up");
    let before = calm("undisturbed");
    let flood = Flood::start(gateway.address, EACH);
    wait_held(&flood, 2 * EACH as usize * 98 / 100, 6 * LIMIT);
    let traffic = Traffic::run(gateway.address, RATE, Duration::from_secs(20));
    let held = flood.held();
    traffic.tell(&format!("beside {held} slow callers, {} turned away so far", timeouts(&gateway)));
    drop(flood);
    std::thread::sleep(Duration::from_secs(2));
    let after = calm("undisturbed again");
    traffic.expect_no_error();
    assert!(held >= 2 * EACH as usize * 95 / 100, "{held} were held");
    assert!(timeouts(&gateway) > 0);
    // How quiet the machine was differs from minute to minute: the two around it bound that.
    let undisturbed = before.max(after);
    let ratio = traffic.percentile(99).as_secs_f64() / undisturbed.as_secs_f64();
    eprintln!("p99: {ratio:.2} times the undisturbed");
    assert!(ratio <= 2.0, "p99 is {ratio:.2} times the undisturbed {undisturbed:?}");
}

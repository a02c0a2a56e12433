//! Three times as much is asked as can be done, of an app and of the gateway itself: as
//! much is served as ever, about as quickly, and the rest is refused.
//!
//! Callers come when they come, however late the answers are: what a caller waits counts from
//! when it was due to ask.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, sleep_until};

use crate::binary::{Folder, Serve, config};
use crate::streaming_memory::peak;
use crate::support::LIMIT;

const LASTING: Duration = Duration::from_secs(8);
/// For the load to settle: what it begins with does not count.
const SETTLING: Duration = Duration::from_secs(3);
const TIMES: f64 = 3.0;
/// A refused connection may not be read for a moment: its caller does not come again at once.
const AGAIN: Duration = Duration::from_millis(200);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: hello-acme.ignite.test\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An app that takes so long for each request, however many there are, on a thread of its own.
fn app(delay: Duration) -> SocketAddr {
    let (sender, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        local(async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                spawn_local(async move {
                    let mut buffer = Vec::new();
                    while read_head(&mut stream, &mut buffer).await.is_ok() {
                        buffer.clear();
                        sleep(delay).await;
                        if stream.write_all(ANSWER).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
    });
    address.recv_timeout(LIMIT).unwrap()
}

fn local<T>(work: impl Future<Output = T>) -> T {
    LocalSet::new().block_on(&Builder::new_current_thread().enable_all().build().unwrap(), work)
}

/// Reads to the end of a head; where that is.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            return Ok(at + 4);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Asks once; the status.
async fn ask(stream: &mut TcpStream) -> io::Result<u16> {
    stream.write_all(REQUEST).await?;
    let mut buffer = Vec::new();
    let head = read_head(stream, &mut buffer).await?;
    let text = String::from_utf8_lossy(&buffer[..head]).to_lowercase();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    let length: usize =
        text.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
    while buffer.len() < head + length {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    assert!(status != 503 || text.contains("retry-after: "), "{text}");
    Ok(status)
}

/// What came of the requests that were due in the time that counts.
#[derive(Debug, Default)]
struct Tally {
    waits: RefCell<Vec<Duration>>,
    refused: Cell<usize>,
    failed: RefCell<Vec<String>>,
}

impl Tally {
    fn count(&self, due: Instant, outcome: &io::Result<u16>) {
        match outcome {
            Ok(200) => self.waits.borrow_mut().push(due.elapsed()),
            Ok(503) => self.refused.set(self.refused.get() + 1),
            other => self.failed.borrow_mut().push(format!("{other:?}")),
        }
    }

    fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.waits.borrow().len()).unwrap()) / LASTING.as_secs_f64()
    }

    fn p99(&self) -> Duration {
        let mut waits = self.waits.borrow_mut();
        waits.sort_unstable();
        waits[waits.len() * 99 / 100]
    }
}

/// As many callers as can be kept busy, each of whom asks again when it was answered: the capacity.
async fn in_turn(address: SocketAddr, callers: usize) -> Rc<Tally> {
    let (tally, start) = (Rc::new(Tally::default()), Instant::now());
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let tally = tally.clone();
            spawn_local(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                while start.elapsed() < SETTLING + LASTING {
                    let due = Instant::now();
                    let outcome = ask(&mut stream).await;
                    let ended = start.elapsed();
                    if (SETTLING..SETTLING + LASTING).contains(&ended) {
                        tally.count(due, &outcome);
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    tally
}

/// So many a second, whatever becomes of those before.
async fn at_rate(address: SocketAddr, rate: f64) -> Rc<Tally> {
    let (tally, start) = (Rc::new(Tally::default()), Instant::now());
    let idle: Rc<RefCell<VecDeque<(Instant, TcpStream)>>> = Rc::default();
    let mut tasks = Vec::new();
    for number in 0_u32.. {
        let after = Duration::from_secs_f64(f64::from(number) / rate);
        if after > SETTLING + LASTING {
            break;
        }
        let due = start + after;
        if due > Instant::now() {
            sleep_until(due.into()).await;
        }
        let (tally, idle) = (tally.clone(), idle.clone());
        let counts = after > SETTLING;
        tasks.push(spawn_local(async move {
            let stream = match rested(&idle) {
                Some(stream) => Ok(stream),
                None => TcpStream::connect(address).await,
            };
            let outcome = match stream {
                Ok(mut stream) => {
                    let outcome = ask(&mut stream).await;
                    let again = if matches!(outcome, Ok(503)) { AGAIN } else { Duration::ZERO };
                    if outcome.is_ok() {
                        idle.borrow_mut().push_back((Instant::now() + again, stream));
                    }
                    outcome
                }
                Err(error) => Err(error),
            };
            if counts {
                tally.count(due, &outcome);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    tally
}

/// A connection that may be asked on again.
fn rested(idle: &RefCell<VecDeque<(Instant, TcpStream)>>) -> Option<TcpStream> {
    let mut idle = idle.borrow_mut();
    let is_rested = idle.front().is_some_and(|(from, _)| *from <= Instant::now());
    is_rested.then(|| idle.pop_front().unwrap().1)
}

/// Lets a process work for a part of the time only: what it can do is then much less than what can
/// be asked on the same machine.
struct Brake {
    released: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Brake {
    fn on(pid: u32) -> Self {
        let released = Arc::new(AtomicBool::new(false));
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let thread = std::thread::spawn({
            let released = released.clone();
            move || {
                let signal = |signal| rustix::process::kill_process(pid, signal).unwrap();
                while !released.load(Ordering::SeqCst) {
                    signal(Signal::STOP);
                    std::thread::sleep(Duration::from_millis(9));
                    signal(Signal::CONT);
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        Self { released, thread: Some(thread) }
    }
}

impl Drop for Brake {
    fn drop(&mut self) {
        self.released.store(true, Ordering::SeqCst);
        let _ = self.thread.take().unwrap().join();
    }
}

/// Measures by `serve` what is the capacity and how long a request takes at a quarter of it, then
/// asks three times as much of what `overloaded` starts.
fn overload(what: &str, callers: usize, braked: bool, serve: &Serve, overloaded: &Serve) {
    let brake = braked.then(|| Brake::on(serve.pid()));
    let capacity = local(in_turn(serve.address, callers));
    let unloaded = local(at_rate(serve.address, capacity.rate() / 4.0));
    drop(brake);
    let brake = braked.then(|| Brake::on(overloaded.pid()));
    let before = peak(overloaded);
    let loaded = local(at_rate(overloaded.address, TIMES * capacity.rate()));
    drop(brake);
    let (grown, all) = (peak(overloaded) - before, TIMES * capacity.rate());
    eprintln!(
        "{what}: capacity {:.0} a second, unloaded p99 {:?}; asked {all:.0} a second: served {:.0} a second \
         ({:.0} %), p99 {:?} ({:.1} times), {} refused, {} failed, {} KiB more memory",
        capacity.rate(),
        unloaded.p99(),
        loaded.rate(),
        loaded.rate() / capacity.rate() * 100.0,
        loaded.p99(),
        loaded.p99().as_secs_f64() / unloaded.p99().as_secs_f64(),
        loaded.refused.get(),
        loaded.failed.borrow().len(),
        grown >> 10,
    );
    let none: &[String] = &[];
    assert_eq!((capacity.refused.get(), &capacity.failed.borrow()[..]), (0, none));
    let failed = loaded.failed.borrow();
    assert_eq!(&failed[..failed.len().min(5)], none);
    assert!(loaded.rate() > 0.9 * capacity.rate() && loaded.refused.get() > 0);
    assert!(loaded.p99() < 3 * unloaded.p99());
    assert!(grown < 64 << 20, "{grown} bytes more");
}

#[test]
#[ignore = "half a minute on a quiet machine, in a release build"]
fn at_three_times_an_apps_capacity_as_much_is_served_as_ever_and_about_as_quickly() {
    const CONCURRENCY: usize = 16;
    let text = config("off", &["hello"], app(Duration::from_millis(50)));
    let text =
        format!("{text}concurrency = {CONCURRENCY}\n\n[limits]\napp_queue = {CONCURRENCY}\n");
    let folder = Folder::new();
    let serve = Serve::start(&folder.write("gateway.toml", text));
    overload("app", CONCURRENCY, false, &serve, &serve);
    serve.finish();
}

#[test]
#[ignore = "half a minute in a release build, on a machine with cores to itself: on a busy one the callers are late"]
fn at_three_times_the_gateways_capacity_as_much_is_served_as_ever_and_about_as_quickly() {
    let text = config("off", &["hello"], app(Duration::from_millis(100)));
    let with = |lag: &str| {
        let folder = Folder::new();
        // All callers are of one address here.
        let text = format!(
            "{text}\n[overload]\ntarget_lag = \"{lag}\"\n\n[limits]\nconnections_per_client = 0\n"
        );
        Serve::start(&folder.write("gateway.toml", text))
    };
    let (serve, overloaded) = (with("0s"), with("50ms"));
    overload("gateway", 1024, true, &serve, &overloaded);
    serve.finish();
    overloaded.finish();
}

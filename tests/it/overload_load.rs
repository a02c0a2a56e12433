//! Three times as much is asked as can be done, of an app and of the gateway itself: about as
//! much is served as ever, about as quickly, and the rest is refused.
//!
//! Of an app, callers ask when they ask, however late the answers are: what a caller waits counts
//! from when it was due. Of the gateway itself, three times as many callers as fill it ask one
//! request after the other, and come again after a refusal when its `Retry-After` says so. A refusal
//! over a socket costs about half of what serving does: nobody could serve as much as ever and refuse
//! twice that in every moment.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command};
use std::rc::Rc;
use std::time::{Duration, Instant};

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
/// As long as a refusal says.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A refused connection may not be read for a moment: who asks when it is due asks on another.
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
                let Ok((mut stream, _)) = listener.accept().await else {
                    sleep(AGAIN).await;
                    continue;
                };
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
    assert!(status != 503 || text.contains("retry-after: 1\r\n"), "{text}");
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

    /// Within which so many of a hundred were served.
    fn part(&self, hundredths: usize) -> Duration {
        let mut waits = self.waits.borrow_mut();
        assert!(!waits.is_empty(), "nothing was served: {:?}", self.failed.borrow().first());
        waits.sort_unstable();
        waits[waits.len() * hundredths / 100]
    }
}

/// As many callers as can be kept busy, each of whom asks again when it was answered: the capacity.
/// A refused one rests as long as it is told to.
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
                    match outcome {
                        Ok(503) => sleep(RETRY_AFTER).await,
                        Ok(_) => {}
                        Err(_) => return,
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

/// A core that a process shares with somebody who is always busy and has ten times its weight: what
/// it can do is then much less than what can be asked from the other cores.
struct Brake(Child);

impl Brake {
    fn on(serve: &Serve) -> Self {
        run("taskset", ["-a", "-c", "-p", "0", &serve.pid().to_string()]);
        run("taskset", ["-a", "-c", "-p", "1-1023", &std::process::id().to_string()]);
        for thread in fs::read_dir(format!("/proc/{}/task", serve.pid())).unwrap() {
            let thread = thread.unwrap().file_name().into_string().unwrap();
            run("renice", ["-n", "10", "-p", &thread]);
        }
        let busy = ["-c", "0", "sh", "-c", "while :; do :; done"];
        Self(Command::new("taskset").args(busy).spawn().unwrap())
    }
}

impl Drop for Brake {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run<const N: usize>(program: &str, arguments: [&str; N]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// What a gateway that is not overloaded does, the measure of one that is.
struct Usual {
    capacity: f64,
    half: Duration,
    p99: Duration,
}

impl Usual {
    /// The capacity with so many callers, and how long a request takes at a quarter of it.
    fn of(what: &str, address: SocketAddr, callers: usize) -> Self {
        let full = local(in_turn(address, callers));
        let none: &[String] = &[];
        assert_eq!((full.refused.get(), &full.failed.borrow()[..]), (0, none));
        let capacity = full.rate();
        let quarter = local(at_rate(address, capacity / 4.0));
        let (half, p99) = (quarter.part(50), quarter.part(99));
        eprintln!(
            "{what}: capacity {capacity:.0} a second, p50 {half:?} and p99 {p99:?} at a quarter of it"
        );
        Self { capacity, half, p99 }
    }

    /// Holds what was done under three times the load against it.
    fn judge(&self, what: &str, loaded: &Tally, least: f64, grown: u64) {
        let (rate, p99) = (loaded.rate(), loaded.part(99));
        eprintln!(
            "{what}, overloaded: served {rate:.0} a second ({:.0} %), p99 {p99:?} ({:.1} times), {} refused, \
             {} failed, {} KiB more memory",
            rate / self.capacity * 100.0,
            p99.as_secs_f64() / self.p99.as_secs_f64(),
            loaded.refused.get(),
            loaded.failed.borrow().len(),
            grown >> 10,
        );
        let (failed, none): (_, &[String]) = (loaded.failed.borrow(), &[]);
        assert_eq!(&failed[..failed.len().min(5)], none);
        assert!(rate > least * self.capacity && loaded.refused.get() > 0);
        assert!(p99 < 3 * self.p99);
        assert!(grown < 64 << 20, "{grown} bytes more");
    }
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
    let usual = Usual::of("app", serve.address, CONCURRENCY);
    let before = peak(&serve);
    let loaded = local(at_rate(serve.address, TIMES * usual.capacity));
    usual.judge("app", &loaded, 0.9, peak(&serve) - before);
    serve.finish();
}

#[test]
#[ignore = "half a minute in a release build, on a machine with two cores to itself"]
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
    let (serve, overloaded) = (with("0s"), with("25ms"));
    let brake = Brake::on(&serve);
    let usual = Usual::of("gateway", serve.address, 1024);
    drop(brake);
    serve.finish();
    let brake = Brake::on(&overloaded);
    let before = peak(&overloaded);
    // By Little's law; three times as many want three times as much.
    let callers = (TIMES * usual.capacity * usual.half.as_secs_f64()).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hundred")]
    let loaded = local(in_turn(overloaded.address, callers as usize));
    // What refusing costs is not there for serving. Measured: 79 to 84 %.
    usual.judge("gateway", &loaded, 0.7, peak(&overloaded) - before);
    drop(brake);
    overloaded.finish();
}

//! Ten thousand requests while the configuration changes and apps
//! restart, each accounted for. None lost, none wrong, no POST done twice.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ignite_gateway::upstream::health::Timings;

use crate::support::edge::Edge;
use crate::support::wire::Head;
use crate::support::{Caller, HOST, LIMIT, app};

const REQUESTS: usize = 10_000;
const CALLERS: usize = 16;
const RELOAD: Duration = Duration::from_millis(100);
/// How long a restarting app runs, and how long it is away.
const UP: Duration = Duration::from_millis(250);
const AWAY: Duration = Duration::from_millis(60);

/// How often each id reached an app.
type Counts = Arc<Mutex<HashMap<usize, usize>>>;

/// An app that can be ended in the middle of everything and come back at its address.
struct Restartable {
    address: SocketAddr,
    counts: Counts,
    running: Option<Running>,
}

struct Running {
    stopping: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<Arc<TcpStream>>>>,
    thread: JoinHandle<()>,
}

impl Restartable {
    fn start(counts: &Counts) -> Self {
        // Not where callers' and the gateway's own ports come from: a port that is
        // free for a moment must not be taken by a connection.
        let listener = TcpListener::bind("127.0.0.2:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut app = Self { address, counts: counts.clone(), running: None };
        app.run(listener);
        app
    }

    fn run(&mut self, listener: TcpListener) {
        let (stopping, streams) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let thread = std::thread::spawn({
            let (stopping, counts) = (stopping.clone(), self.counts.clone());
            let streams: Arc<Mutex<Vec<Arc<TcpStream>>>> = Arc::clone(&streams);
            move || {
                let mut threads = Vec::new();
                while let Ok((stream, _)) = listener.accept() {
                    if stopping.load(Ordering::SeqCst) {
                        break;
                    }
                    let stream = Arc::new(stream);
                    streams.lock().unwrap().push(stream.clone());
                    let counts = counts.clone();
                    threads.push(std::thread::spawn(move || serve(&stream, &counts)));
                }
                drop(listener);
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            }
        });
        self.running = Some(Running { stopping, streams, thread });
    }

    fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        for stream in running.streams.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        running.thread.join().unwrap();
    }

    fn restart(&mut self) {
        self.stop();
        std::thread::sleep(AWAY);
        let start = Instant::now();
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(error) => assert!(start.elapsed() < LIMIT, "the address is gone: {error}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        self.run(listener);
    }
}

impl Drop for Restartable {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Answers with the id and the body that it got; health without an id.
fn serve(mut stream: &TcpStream, counts: &Counts) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    let mut piece = [0; 16 << 10];
    loop {
        let end = buffer.windows(4).position(|window| window == b"\r\n\r\n");
        let whole = end.map(|end| {
            let head = Head { raw: buffer[..end + 4].to_vec() };
            let length = head.content_length().unwrap_or(0);
            (head, end + 4, length)
        });
        let Some((head, start, length)) =
            whole.filter(|(_, start, length)| buffer.len() >= start + length)
        else {
            match stream.read(&mut piece) {
                Ok(0) => return,
                Ok(read) => buffer.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
            continue;
        };
        let body: Vec<u8> = buffer.drain(..start + length).skip(start).collect();
        let id = head.get("x-id").unwrap_or_default();
        if let Ok(id) = id.parse() {
            *counts.lock().unwrap().entry(id).or_default() += 1;
            // Work, so that a restart finds requests in flight.
            std::thread::sleep(Duration::from_millis(id as u64 % 8));
        }
        let answer =
            format!("HTTP/1.1 200 OK\r\nX-Id: {id}\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.write_all(&[answer.as_bytes(), &body].concat()).is_err() {
            return;
        }
    }
}

/// What became of the requests.
#[derive(Debug, Default, Clone)]
struct Account {
    get_right: usize,
    post_right: usize,
    /// Documented errors, by status and `Proxy-Status`.
    get_errors: HashMap<String, usize>,
    post_errors: HashMap<String, usize>,
    lost: Vec<String>,
    wrong: Vec<String>,
    posts: HashMap<usize, bool>,
}

impl Account {
    fn add(&mut self, other: Self) {
        self.get_right += other.get_right;
        self.post_right += other.post_right;
        for (into, from) in
            [(&mut self.get_errors, other.get_errors), (&mut self.post_errors, other.post_errors)]
        {
            for (error, count) in from {
                *into.entry(error).or_default() += count;
            }
        }
        self.lost.extend(other.lost);
        self.wrong.extend(other.wrong);
        self.posts.extend(other.posts);
    }

    fn errors(&self) -> (usize, usize) {
        (self.get_errors.values().sum(), self.post_errors.values().sum())
    }
}

/// Takes numbers until there are none, and asks for each once.
fn call(address: SocketAddr, next: &AtomicUsize) -> Account {
    let mut account = Account::default();
    let mut caller = Caller::to(address);
    loop {
        let id = next.fetch_add(1, Ordering::SeqCst);
        if id >= REQUESTS {
            return account;
        }
        let is_post = id % 2 == 1;
        let body =
            if is_post { format!("body of {id}").repeat(1 + id % 50) } else { String::new() };
        let request = if is_post {
            let length = body.len();
            format!(
                "POST /{id} HTTP/1.1\r\nHost: {HOST}\r\nX-Id: {id}\r\nContent-Length: {length}\r\n\r\n{body}"
            )
        } else {
            format!("GET /{id} HTTP/1.1\r\nHost: {HOST}\r\nX-Id: {id}\r\n\r\n")
        };
        let sent = caller.try_send(request);
        let response = sent
            .map_err(|error| error.to_string())
            .and_then(|()| caller.try_read_response(false).map_err(|ended| format!("{ended:?}")));
        let response = match response {
            Ok(response) => response,
            Err(why) => {
                account.lost.push(format!("{id}: {why}"));
                caller = Caller::to(address);
                continue;
            }
        };
        let right = response.status == 200;
        if is_post {
            account.posts.insert(id, right);
        }
        if right {
            let is_its_own = response.field("x-id") == Some(id.to_string())
                && response.body == body.as_bytes()
                && response.complete;
            if !is_its_own {
                account.wrong.push(format!("{id}: {response:?}"));
            } else if is_post {
                account.post_right += 1;
            } else {
                account.get_right += 1;
            }
        } else {
            let documented = matches!(response.status, 502..=504)
                && response.complete
                && response.field("content-type").as_deref() == Some("application/problem+json")
                && response.json()["status"] == response.status
                && response.json()["execution_id"].as_str()
                    == response.field("x-ignite-execution-id").as_deref();
            if documented {
                let why = response.field("proxy-status").unwrap_or_default();
                let why = why.trim_start_matches("ignite-gateway; error=").to_owned();
                let errors =
                    if is_post { &mut account.post_errors } else { &mut account.get_errors };
                *errors.entry(format!("{} {why}", response.status)).or_default() += 1;
            } else {
                account.wrong.push(format!("{id}: {response:?}"));
            }
        }
        if response.field("connection").is_some_and(|value| value.contains("close")) {
            caller = Caller::to(address);
        }
    }
}

struct Run {
    account: Account,
    counts: HashMap<usize, usize>,
    reloads: usize,
    restarts: usize,
}

fn run(name: &str, probes: bool) -> Run {
    let start = Instant::now();
    let counts = Counts::default();
    let steady = [Restartable::start(&counts), Restartable::start(&counts)];
    let mut restarting = Restartable::start(&counts);
    let addresses = [steady[0].address, restarting.address, steady[1].address];
    let timings = Timings {
        initial_delay: Duration::ZERO,
        period: Duration::from_millis(50),
        timeout: Duration::from_secs(1),
        failures: 3,
        successes: 1,
    };
    let mut edge = Edge::with(timings, |config| {
        config.workers = 2;
        let mut hello = app("acme/hello", &[(80, &addresses)]);
        hello.health_check = probes;
        config.apps.push(hello);
    });
    let next = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let restarter = std::thread::spawn({
        let done = done.clone();
        move || {
            let mut restarts = 0;
            while !done.load(Ordering::SeqCst) {
                std::thread::sleep(UP);
                restarting.restart();
                restarts += 1;
            }
            restarts
        }
    });
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (next, address) = (next.clone(), edge.address());
            std::thread::spawn(move || call(address, &next))
        })
        .collect();

    let mut reloads = 0;
    while callers.iter().any(|caller| !caller.is_finished()) {
        std::thread::sleep(RELOAD);
        reloads += 1;
        edge.reload(|config| {
            config.apps.truncate(1);
            for extra in 0..reloads % 5 {
                config.apps.push(app(&format!("acme/extra-{extra}"), &[(80, &addresses[..1])]));
            }
            config.limits.headers = 60 + reloads % 7;
            // Endpoints change their order, and now and then one of them is taken out.
            let mut endpoints = addresses.to_vec();
            endpoints.rotate_left(reloads % 3);
            if reloads.is_multiple_of(4) {
                endpoints.retain(|address| *address != addresses[2]);
            }
            config.apps[0].ports[0].endpoints = endpoints;
        });
    }
    let mut account = Account::default();
    callers.into_iter().for_each(|caller| account.add(caller.join().unwrap()));
    done.store(true, Ordering::SeqCst);
    let restarts = restarter.join().unwrap();
    drop(edge);
    drop(steady);
    let counts = counts.lock().unwrap().clone();
    let twice = counts.iter().filter(|(id, count)| *id % 2 == 0 && **count > 1).count();
    eprintln!(
        "{name}: {REQUESTS} requests in {:?}, {reloads} reloads, {restarts} restarts: \
         GET right {}, errors {:?}; POST right {}, errors {:?}; lost {}, wrong {}; \
         GETs that reached apps more than once: {twice}",
        start.elapsed(),
        account.get_right,
        account.get_errors,
        account.post_right,
        account.post_errors,
        account.lost.len(),
        account.wrong.len(),
    );
    Run { account, counts, reloads, restarts }
}

fn judge(run: &Run) {
    let Account { lost, wrong, posts, .. } = &run.account;
    assert!(lost.is_empty(), "lost: {lost:#?}");
    assert!(wrong.is_empty(), "wrong: {wrong:#?}");
    let (get_errors, post_errors) = run.account.errors();
    let all = run.account.get_right + run.account.post_right + get_errors + post_errors;
    assert_eq!(all, REQUESTS, "every request is accounted for");
    for (id, right) in posts {
        let count = run.counts.get(id).copied().unwrap_or(0);
        assert!(count <= 1, "POST {id} reached apps {count} times");
        assert!(!right || count == 1, "POST {id} was answered and never came");
    }
    for id in (0..REQUESTS).step_by(2) {
        let count = run.counts.get(&id).copied().unwrap_or(0);
        assert!(count <= 3, "GET {id} reached apps {count} times");
    }
    assert!(run.reloads >= 5 && run.restarts >= 3, "{} {}", run.reloads, run.restarts);
}

/// Each way once; both tests look at the same runs.
fn runs() -> &'static [Run; 2] {
    static RUNS: OnceLock<[Run; 2]> = OnceLock::new();
    RUNS.get_or_init(|| [run("without probes", false), run("with probes", true)])
}

#[test]
fn ten_thousand_requests_are_all_accounted_for_over_reloads_and_restarts() {
    runs().iter().for_each(judge);
}

#[test]
fn while_two_of_three_endpoints_stand_hardly_a_request_fails_and_no_get_does() {
    for run in runs() {
        let Account { get_errors, post_errors, .. } = &run.account;
        let (gets, posts) = run.account.errors();
        // What a restart cut off in the middle, and nothing else.
        assert!(posts < REQUESTS / 100, "POST: {post_errors:?}");
        assert!(gets < REQUESTS / 1000, "GET: {get_errors:?}");
    }
}

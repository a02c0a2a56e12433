//! Nothing is lost and nothing is mixed up while configuration and endpoints change under load.
//!
//! Every request has an id of its own that the app sends back, so each answer can be matched to
//! its question, and each app counts what it was asked, so a POST that arrived twice shows.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::Caller;
use crate::support::caller::{Response, request};
use crate::support::gateway::{Gateway, app};

const REQUESTS: usize = 10_000;
const CALLERS: usize = 8;
const RELOAD_EVERY: Duration = Duration::from_millis(100);
const RESTART_EVERY: Duration = Duration::from_millis(300);

/// How often each id arrived at any app.
type Arrivals = Arc<Mutex<HashMap<String, usize>>>;

/// An app that can be restarted on its port: it closes everything in the middle of whatever it
/// does, as a killed process would.
struct Restartable {
    address: SocketAddr,
    arrivals: Arrivals,
    running: Option<Running>,
}

struct Running {
    stop: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    accepting: JoinHandle<()>,
}

impl Restartable {
    fn start(arrivals: &Arrivals) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let running = Some(Running::start(listener, arrivals.clone()));
        Self { address, arrivals: arrivals.clone(), running }
    }

    fn restart(&mut self) {
        self.stop();
        let listener = TcpListener::bind(self.address).expect("the port is free again");
        self.running = Some(Running::start(listener, self.arrivals.clone()));
    }

    fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        running.accepting.join().unwrap();
        for stream in running.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Restartable {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Running {
    fn start(listener: TcpListener, arrivals: Arrivals) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let streams = Arc::new(Mutex::new(Vec::new()));
        let accepting = std::thread::spawn({
            let (stop, streams) = (stop.clone(), streams.clone());
            move || {
                while let Ok((stream, _)) = listener.accept() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    streams.lock().unwrap().push(stream.try_clone().unwrap());
                    let arrivals = arrivals.clone();
                    std::thread::spawn(move || answer_all(stream, &arrivals));
                }
            }
        });
        Self { stop, streams, accepting }
    }
}

/// Answers each request with its own id and body until the connection ends.
fn answer_all(mut stream: TcpStream, arrivals: &Arrivals) {
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    loop {
        while let Some((request, length)) = whole_request(&read) {
            *arrivals.lock().unwrap().entry(request.id.clone()).or_default() += 1;
            let text = format!("{}:{}", request.id, request.body);
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
            read.drain(..length);
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(count) => read.extend_from_slice(&piece[..count]),
        }
    }
}

struct Asked {
    id: String,
    body: String,
}

fn whole_request(bytes: &[u8]) -> Option<(Asked, usize)> {
    let text = std::str::from_utf8(bytes).unwrap();
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let field = |name: &str| {
        head.lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(str::to_owned))
    };
    let length = field("content-length: ").map_or(0, |length| length.parse().unwrap());
    let body = rest.get(..length)?.to_owned();
    let id = field("x-request: ").expect("every request has its id");
    Some((Asked { id, body }, head.len() + 4 + length))
}

#[derive(Default)]
struct Tally {
    right: AtomicUsize,
    refused: AtomicUsize,
    posts: Mutex<Vec<String>>,
}

fn ask(caller: &mut Option<Caller>, gateway: SocketAddr, index: usize, tally: &Tally) {
    let post = index.is_multiple_of(3);
    let id = format!("r{index}");
    let body = if post { format!("body of {id}") } else { String::new() };
    let fields = if post {
        format!("X-Request: {id}\r\nContent-Length: {}\r\n", body.len())
    } else {
        format!("X-Request: {id}\r\n")
    };
    let line = if post { "POST /" } else { "GET /" };
    let response = caller.get_or_insert_with(|| Caller::to(gateway));
    response.send(request(line, &fields, &body));
    let response = response.read_response();
    if post {
        tally.posts.lock().unwrap().push(id.clone());
    }
    if response.field("connection").is_some_and(|value| value == "close") {
        *caller = None;
    }
    judge(&response, &format!("{id}:{body}"), tally);
}

fn judge(response: &Response, right: &str, tally: &Tally) {
    assert!(response.complete, "a cut answer");
    if response.status == 200 {
        assert_eq!(response.text(), right, "an answer to another question");
        tally.right.fetch_add(1, Ordering::Relaxed);
    } else {
        assert!([502, 503, 504].contains(&response.status), "{}", response.status);
        let problem = response.json();
        assert_eq!(problem["status"], response.status);
        assert!(response.field("proxy-status").unwrap().starts_with("ignite-gateway; error="));
        tally.refused.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn ten_thousand_requests_survive_reloads_and_restarts_of_endpoints() {
    let arrivals = Arrivals::default();
    let mut apps: Vec<_> = (0..3).map(|_| Restartable::start(&arrivals)).collect();
    let addresses: Vec<_> = apps.iter().map(|app| app.address).collect();
    let configured = |config: &mut ignite_gateway::config::Config, round: usize| {
        // The order of endpoints, another app and a limit change with each reload.
        let mut turned = addresses.clone();
        turned.rotate_left(round % 3);
        config.apps = vec![app("acme/hello", &[(80, &turned)])];
        if !round.is_multiple_of(2) {
            config.apps.push(app("acme/other", &[(80, &turned[..1])]));
        }
        config.limits.app_queue = 1000 + round % 2;
    };
    let mut gateway = Gateway::with(|config| configured(config, 0));
    let address = gateway.address();
    let (tally, next) = (Arc::new(Tally::default()), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (tally, next) = (tally.clone(), next.clone());
            std::thread::spawn(move || {
                let mut caller = None;
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= REQUESTS {
                        return;
                    }
                    ask(&mut caller, address, index, &tally);
                    // Spread over some seconds, so that there is something to survive.
                    if index.is_multiple_of(4) {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
            })
        })
        .collect();
    let (mut reloads, mut restarts) = (0, 0);
    let started = std::time::Instant::now();
    while callers.iter().any(|caller| !caller.is_finished()) {
        std::thread::sleep(RELOAD_EVERY);
        reloads += 1;
        gateway.reload(|config| configured(config, reloads));
        if started.elapsed() > RESTART_EVERY * (restarts + 1) {
            apps[restarts as usize % 3].restart();
            restarts += 1;
        }
    }
    for caller in callers {
        caller.join().expect("every answer was right or a documented error");
    }
    let (right, refused) =
        (tally.right.load(Ordering::Relaxed), tally.refused.load(Ordering::Relaxed));
    eprintln!("{right} right, {refused} refused, {reloads} reloads, {restarts} restarts");
    assert_eq!(right + refused, REQUESTS, "every request was answered");
    // Only those caught in the middle of a restart may fail.
    assert!(refused <= restarts as usize * CALLERS, "{refused} refused in {restarts} restarts");
    let arrivals = arrivals.lock().unwrap();
    for id in tally.posts.lock().unwrap().iter() {
        let times = arrivals.get(id).copied().unwrap_or(0);
        assert!(times <= 1, "the POST {id} arrived {times} times");
    }
    assert!(reloads > 5 && restarts > 1, "{reloads} reloads, {restarts} restarts");
}

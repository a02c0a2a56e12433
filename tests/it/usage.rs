//! Usage counters against the books of a load generator that knows what it asked
//! for: they agree to the unit, whatever ends a call and whatever is reloaded.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::support::caller::request;
use crate::support::load::{Ask, Asker, ID, Outcome, answer, question};
use crate::support::{Caller, Gateway, HOST, LIMIT, ScriptedApp, Signal, app, eventually};

/// An app that stays as it is, one with two ports, and one that comes and goes.
const HOSTS: [(&str, &str); 4] = [
    ("acme/one", "one-acme.ignite.test"),
    ("other/two", "two-other.ignite.test"),
    ("other/two", "two-other-8080.ignite.test"),
    ("acme/flap", "flap-acme.ignite.test"),
];
/// The hosts of apps that stay.
const STAYING: usize = 3;
const CALLERS: usize = 8;
/// Every how many calls a caller makes one that does not end as usual.
const ODD: u64 = 8;
/// Bytes that pass of a body that breaks off.
const PART: usize = 400;
/// What an app says when it fails.
const SORRY: &[u8] = b"the app is sorry";

/// What an app is to have used.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Used {
    invocations: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Used {
    fn once(bytes_in: usize, bytes_out: usize) -> Self {
        Self { invocations: 1, bytes_in: bytes_in as u64, bytes_out: bytes_out as u64 }
    }
}

impl AddAssign for Used {
    fn add_assign(&mut self, more: Self) {
        self.invocations += more.invocations;
        self.bytes_in += more.bytes_in;
        self.bytes_out += more.bytes_out;
    }
}

/// What each app is to have used.
type Books = BTreeMap<&'static str, Used>;

/// Calls that an app has and does not answer.
#[derive(Default)]
struct Held(Mutex<HashSet<String>>);

/// An app whose request's path says how it behaves; it is for many requests, and so keeps nothing.
fn start_app(held: &Arc<Held>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let held = held.clone();
    // Both end with the process: a test's end closes what an app has.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let held = held.clone();
            std::thread::spawn(move || serve(&stream, &held));
        }
    });
    address
}

fn serve(stream: &TcpStream, held: &Held) -> Option<()> {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let text = read_head(&mut reader)?;
        let field =
            |name: &str| text.iter().find_map(|(key, value)| (key == name).then_some(value));
        let path = text.first()?.1.split(' ').next()?.to_owned();
        let length = field("content-length").map_or(0, |value| value.parse().unwrap());
        match path.split('/').nth(1)? {
            // A part of the body comes, and no more of anything.
            "held" => {
                let mut part = vec![0; field("x-part")?.parse().unwrap()];
                reader.read_exact(&mut part).ok()?;
                held.0.lock().unwrap().insert(path);
                return reader.read_to_end(&mut Vec::new()).ok().map(|_| ());
            }
            "part" => {
                let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 10 * PART);
                (&*stream).write_all(&[text.as_bytes(), &[b'x'; PART]].concat()).ok()?;
                return reader.read_to_end(&mut Vec::new()).ok().map(|_| ());
            }
            "close" => {
                reader.read_exact(&mut vec![0; length]).ok()?;
                return None;
            }
            "sorry" => {
                reader.read_exact(&mut vec![0; length]).ok()?;
                let status = "HTTP/1.1 500 Internal Server Error";
                let text = format!("{status}\r\nContent-Length: {}\r\n\r\n", SORRY.len());
                (&*stream).write_all(&[text.as_bytes(), SORRY].concat()).ok()?;
            }
            "chunked" => {
                let content = read_chunked(&mut reader)?;
                let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                (&*stream).write_all(&[text.as_bytes(), &chunked(&content)].concat()).ok()?;
            }
            _ => {
                let id: u64 = field(ID)?.parse().unwrap();
                let host = field("host")?;
                // A caller who speaks HTTP/2 need not tell the length.
                let body = if field("transfer-encoding").is_some() {
                    read_chunked(&mut reader)?
                } else {
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).ok()?;
                    body
                };
                assert!(body.is_empty() || body == question(host, id));
                let mut content = answer(host, id);
                let length = format!("Content-Length: {}", content.len());
                if text[0].0 == "head" {
                    content.clear();
                }
                let text = format!("HTTP/1.1 200 OK\r\n{ID}: {id}\r\n{length}\r\n\r\n");
                (&*stream).write_all(&[text.as_bytes(), &content].concat()).ok()?;
            }
        }
    }
}

/// The fields by lower-case name; first the rest of the first line, under its first word.
fn read_head(reader: &mut impl BufRead) -> Option<Vec<(String, String)>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let line = line.trim_end();
        if line.is_empty() {
            return Some(head);
        }
        let split = if head.is_empty() { line.split_once(' ') } else { line.split_once(':') };
        let (name, value) = split.expect("a line of a head");
        head.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_chunked(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let length = usize::from_str_radix(line.trim_end(), 16).expect("a chunk's length");
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk).ok()?;
        if length == 0 {
            return Some(content);
        }
        content.extend_from_slice(&chunk[..length]);
    }
}

/// In two chunks and the last.
fn chunked(content: &[u8]) -> Vec<u8> {
    let (first, second) = content.split_at(content.len() / 2);
    let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    [chunk(first), chunk(second), b"0\r\n\r\n".to_vec()].concat()
}

/// One who calls until there are no more calls, and keeps books.
struct Generator {
    address: SocketAddr,
    held: Arc<Held>,
    next: Arc<AtomicU64>,
    calls: u64,
    books: Books,
}

impl Generator {
    fn run(mut self, mut asker: Asker) -> Books {
        loop {
            // A few together, which HTTP/2 sends at once.
            let ids: Vec<_> = (0..4).map(|_| self.next.fetch_add(1, Ordering::Relaxed)).collect();
            let asks: Vec<_> = ids.into_iter().filter(|id| *id < self.calls).collect();
            if asks.is_empty() {
                return self.books;
            }
            let (odd, usual): (Vec<_>, Vec<_>) = asks.into_iter().partition(|id| id % ODD == 3);
            let ask = |id: u64| {
                let host = HOSTS[usize::try_from(id / 3).unwrap() % HOSTS.len()].1.to_owned();
                Ask { id, host, post: id % 2 == 1 }
            };
            let asks: Vec<_> = usual.into_iter().map(ask).collect();
            let outcomes = asker.ask_all(&asks);
            for (ask, outcome) in asks.iter().zip(outcomes) {
                self.account(ask, &outcome);
            }
            odd.into_iter().for_each(|id| self.odd(id));
        }
    }

    fn used(&mut self, host: &str, used: Used) {
        let (id, _) = HOSTS.iter().find(|(_, name)| *name == host).expect("a known host");
        *self.books.entry(id).or_default() += used;
    }

    fn account(&mut self, ask: &Ask, outcome: &Outcome) {
        let asked = if ask.post { question(&ask.host, ask.id).len() } else { 0 };
        match outcome {
            Outcome::Own => {
                let used = Used::once(asked, answer(&ask.host, ask.id).len());
                self.used(&ask.host, used);
            }
            // The app was gone at that moment.
            Outcome::Problem(404, _) if ask.host == HOSTS[STAYING].1 => {}
            other => panic!("{ask:?}: {other:?}"),
        }
    }

    /// A call that does not end as usual.
    fn odd(&mut self, id: u64) {
        let number = usize::try_from(id / ODD).unwrap();
        let host = HOSTS[number % STAYING].1;
        let post = |path: &str, more: &str, body: &[u8]| {
            let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n");
            [head.as_bytes(), body].concat()
        };
        let length = |length: usize| format!("Content-Length: {length}\r\n");
        let body = [b'b'; PART];
        let mut caller = TcpStream::connect(self.address).expect("the gateway accepts");
        caller.set_read_timeout(Some(LIMIT)).unwrap();
        let ask = |caller: &mut TcpStream, text: Vec<u8>| {
            caller.write_all(&text).unwrap();
            status(caller)
        };
        match (number / STAYING) % 10 {
            // The caller leaves while the app thinks, and in the middle of its body.
            0 | 1 => {
                let whole = if (number / STAYING).is_multiple_of(2) { PART } else { 10 * PART };
                let path = format!("/held/{id}");
                let more = format!("{}x-part: {PART}\r\n", length(whole));
                caller.write_all(&post(&path, &more, &body)).unwrap();
                let start = Instant::now();
                while !self.held.0.lock().unwrap().remove(&path) {
                    assert!(start.elapsed() < LIMIT, "the app never had {path}");
                    std::thread::sleep(Duration::from_millis(1));
                }
                self.used(host, Used::once(PART, 0));
                leave(caller, id);
            }
            // In the middle of the app's.
            2 => {
                caller.write_all(&post("/part", &length(PART), &body)).unwrap();
                let mut reader = BufReader::new(&caller);
                read_head(&mut reader).expect("a head");
                reader.read_exact(&mut [0; PART]).expect("a part of the body");
                drop(reader);
                self.used(host, Used::once(PART, PART));
                leave(caller, id);
            }
            // The app closes instead of answering; the gateway answers in its place.
            3 => {
                assert_eq!(ask(&mut caller, post("/close", &length(PART), &body)), 502);
                self.used(host, Used::once(PART, 0));
            }
            4 => {
                assert_eq!(ask(&mut caller, post("/sorry", &length(PART), &body)), 500);
                self.used(host, Used::once(PART, SORRY.len()));
            }
            5 => {
                let more = "Transfer-Encoding: chunked\r\n";
                assert_eq!(ask(&mut caller, post("/chunked", more, &chunked(&body))), 200);
                self.used(host, Used::once(PART, PART));
            }
            6 => {
                let text = format!("HEAD / HTTP/1.1\r\nHost: {host}\r\n{ID}: {id}\r\n\r\n");
                assert_eq!(ask(&mut caller, text.into_bytes()), 200);
                self.used(host, Used::once(0, 0));
            }
            // What never reaches an app.
            7 => assert_eq!(ask(&mut caller, post("/", &length(1 << 30), b"")), 413),
            8 => {
                let text = format!("TRACE / HTTP/1.1\r\nHost: {host}\r\n\r\n");
                assert_eq!(ask(&mut caller, text.into_bytes()), 405);
            }
            _ => {
                let text = b"GET / HTTP/1.1\r\nHost: nobody-acme.ignite.test\r\n\r\n";
                assert_eq!(ask(&mut caller, text.to_vec()), 404);
            }
        }
    }
}

/// The status of a response, whose body is read as well where its length is told.
fn status(caller: &TcpStream) -> u16 {
    let mut reader = BufReader::new(caller);
    let head = read_head(&mut reader).expect("a head");
    head[0].1.split(' ').next().unwrap().parse().unwrap()
}

/// In order or not.
fn leave(caller: TcpStream, id: u64) {
    if id.is_multiple_of(2) || (id / ODD).is_multiple_of(2) {
        SockRef::from(&caller).set_linger(Some(Duration::ZERO)).unwrap();
    }
    drop(caller);
}

/// What the gateway says that each app used, and how many milliseconds.
fn told(gateway: &Gateway) -> BTreeMap<String, (Used, u64)> {
    let mut admin = Caller::to(gateway.admin());
    admin.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let text = admin.read_response().expect(200).text();
    let mut told = BTreeMap::<String, (Used, u64)>::new();
    for line in text.lines() {
        let Some(line) = line.strip_prefix("ignite_gateway_usage_") else { continue };
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (what, labels) = series.split_once("_total{").unwrap();
        let labels: Vec<_> = labels.split('"').collect();
        let (used, millis) = told.entry(format!("{}/{}", labels[1], labels[3])).or_default();
        let slot = match what {
            "invocations" => &mut used.invocations,
            "request_bytes" => &mut used.bytes_in,
            "response_bytes" => &mut used.bytes_out,
            "milliseconds" => millis,
            other => panic!("{other}"),
        };
        *slot = value.parse().expect("an integer");
    }
    told
}

/// Runs a load while the configuration changes, and compares the books.
fn compare(calls: u64) {
    let held = Arc::new(Held::default());
    let addresses = [start_app(&held), start_app(&held)];
    let mut gateway = Gateway::with(|config| {
        config.workers = 2;
        config.limits.request_body = 1 << 20;
        for (id, ports) in
            [("acme/one", &[80][..]), ("other/two", &[80, 8080]), ("acme/flap", &[80])]
        {
            let ports: Vec<_> = ports.iter().map(|port| (*port, &addresses[..1])).collect();
            config.apps.push(app(id, &ports));
        }
    });
    let next = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let address = gateway.address();
            let (held, next) = (held.clone(), next.clone());
            let generator = Generator { address, held, next, calls, books: Books::new() };
            let asker = if number % 2 == 0 { Asker::http1(address) } else { Asker::http2(address) };
            std::thread::spawn(move || generator.run(asker))
        })
        .collect();
    let joined = std::thread::spawn({
        let done = done.clone();
        move || {
            let books: Vec<_> = callers.into_iter().map(std::thread::JoinHandle::join).collect();
            done.store(true, Ordering::SeqCst);
            books
        }
    });
    let mut reloads = 0;
    let mut turn = 0;
    while !done.load(Ordering::SeqCst) {
        // Another endpoint, another setting, an app that goes and comes back.
        turn += 1;
        gateway.reload(|config| {
            config.timeouts.keepalive = Duration::from_secs(60 + turn % 2);
            let one = config.apps.iter_mut().find(|app| app.id.to_string() == "acme/one");
            one.unwrap().ports[0].endpoints = vec![addresses[usize::from(turn % 2 == 0)]];
            match config.apps.iter().position(|app| app.id.to_string() == "acme/flap") {
                Some(at) => drop(config.apps.remove(at)),
                None => config.apps.push(app("acme/flap", &[(80, &addresses[..1])])),
            }
        });
        reloads += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut expected = BTreeMap::<String, Used>::new();
    for books in joined.join().unwrap() {
        for (app, used) in books.expect("a caller's books") {
            *expected.entry(app.to_owned()).or_default() += used;
        }
    }
    // The gateway counts a call when it has noticed its end.
    let start = Instant::now();
    let counted = loop {
        let told = told(&gateway);
        let counted: BTreeMap<_, _> =
            told.iter().map(|(app, (used, _))| (app.clone(), *used)).collect();
        if counted == expected || start.elapsed() > LIMIT {
            for (app, (used, millis)) in &told {
                assert!(*millis >= used.invocations, "{app}: {used:?} in {millis} ms");
            }
            break counted;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(counted, expected, "after {reloads} reloads");
    eprintln!("{calls} calls, {reloads} reloads: {counted:#?}");
}

#[test]
fn usage_is_what_a_load_with_aborted_calls_and_reloads_accounts_for() {
    compare(4000);
}

#[test]
#[ignore = "a million requests: cargo test --release --test it usage -- --ignored --nocapture"]
fn usage_is_what_a_million_requests_account_for() {
    compare(1_000_000);
}

#[test]
fn the_last_requests_of_a_removed_app_count_and_the_app_goes_on_from_there() {
    let (begun, go) = (Signal::new(), Signal::new());
    let slow = ScriptedApp::start({
        let (begun, go) = (begun.clone(), go.clone());
        move |connection| {
            while connection.next_request().is_some() {
                begun.give();
                go.wait();
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
            }
        }
    });
    let address = slow.address();
    let mut gateway = Gateway::of(address);
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", "Content-Length: 2\r\n", "ab"));
    begun.wait();
    gateway.reload(|config| config.apps.clear());
    let used = |gateway: &Gateway| told(gateway).get("acme/hello").map(|(used, _)| *used);
    assert_eq!(used(&gateway).unwrap_or_default(), Used::default());
    Caller::ask(&gateway, format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
        .expect_problem(404, "destination_not_found");
    go.give();
    caller.read_response().expect(200);
    eventually("the last request is counted", || used(&gateway) == Some(Used::once(2, 5)));
    gateway.reload(|config| config.apps.push(app("acme/hello", &[(80, &[address])])));
    assert_eq!(used(&gateway), Some(Used::once(2, 5)));
    caller.send(request("POST /", "Content-Length: 3\r\n", "abc"));
    caller.read_response().expect(200);
    let twice = Used { invocations: 2, bytes_in: 5, bytes_out: 10 };
    eventually("the returned app goes on", || used(&gateway) == Some(twice));
}

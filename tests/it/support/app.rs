//! Apps that do exactly what a test tells them, byte by byte.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

use super::Frames;
use super::wire::send_until_blocked;
use super::wire::{Chunked, Ended, Head, Wire};
use super::{eventually, show};

/// A raw TCP app, each of whose connections follows a script.
///
/// A script that meets what it does not expect panics, and so the test fails
/// when the app is dropped.
pub struct ScriptedApp {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    stopping: AtomicBool,
    running: AtomicUsize,
    failures: Mutex<Vec<String>>,
    records: Mutex<Vec<Arc<Mutex<Vec<u8>>>>>,
    streams: Mutex<Vec<Weak<TcpStream>>>,
}

impl ScriptedApp {
    /// Starts an app; each connection runs `script` on a thread of its own.
    pub fn start(script: impl Fn(&mut AppConnection) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), script)
    }

    /// The same on a listener of the test's own.
    pub fn on(
        listener: TcpListener,
        script: impl Fn(&mut AppConnection) + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let thread = std::thread::spawn({
            let state = state.clone();
            move || accept(&listener, &state, &Arc::new(script))
        });
        Self { address, state, thread: Some(thread) }
    }

    /// An app that answers each request on each connection with these bytes, after its head.
    pub fn answering(answer: impl AsRef<[u8]>) -> Self {
        let answer = answer.as_ref().to_vec();
        Self::start(move |connection| {
            while connection.next_request().is_some() {
                connection.send(&answer);
            }
        })
    }

    /// An app that answers the first request of each connection with these bytes and closes.
    pub fn answering_once(answer: impl AsRef<[u8]>) -> Self {
        let answer = answer.as_ref().to_vec();
        Self::start(move |connection| {
            connection.head();
            connection.send(&answer);
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it ever accepted.
    pub fn connections(&self) -> usize {
        self.state.records.lock().unwrap().len()
    }

    /// Every byte that came, a list for each connection.
    pub fn received(&self) -> Vec<Vec<u8>> {
        let records = self.state.records.lock().unwrap();
        records.iter().map(|record| record.lock().unwrap().clone()).collect()
    }

    /// Waits until `count` connections came and their scripts ended.
    #[track_caller]
    pub fn wait_finished(&self, count: usize) {
        eventually("the app's scripts ended", || {
            self.connections() >= count && self.state.running.load(Ordering::SeqCst) == 0
        });
        self.check();
    }

    fn check(&self) {
        let failures = std::mem::take(&mut *self.state.failures.lock().unwrap());
        let clean = failures.is_empty() || std::thread::panicking();
        assert!(clean, "the app met something unexpected: {failures:#?}");
    }
}

impl Drop for ScriptedApp {
    fn drop(&mut self) {
        self.state.stopping.store(true, Ordering::SeqCst);
        for stream in self.state.streams.lock().unwrap().iter().filter_map(Weak::upgrade) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.check();
    }
}

fn accept<F>(listener: &TcpListener, state: &Arc<State>, script: &Arc<F>)
where
    F: Fn(&mut AppConnection) + Send + Sync + 'static,
{
    let mut threads = Vec::new();
    for number in 0.. {
        let (stream, _) = listener.accept().expect("a connection");
        if state.stopping.load(Ordering::SeqCst) {
            break;
        }
        let stream = Arc::new(stream);
        let record = Arc::new(Mutex::new(Vec::new()));
        state.streams.lock().unwrap().push(Arc::downgrade(&stream));
        state.running.fetch_add(1, Ordering::SeqCst);
        state.records.lock().unwrap().push(record.clone());
        let (state, script) = (state.clone(), script.clone());
        threads.push(std::thread::spawn(move || {
            let wire = Wire::new(stream.clone(), Some(record));
            let mut connection = AppConnection { number, stream, wire };
            let result = catch_unwind(AssertUnwindSafe(|| script(&mut connection)));
            // What a script meets while its app is being stopped is no failure.
            if let (Err(panic), false) = (result, state.stopping.load(Ordering::SeqCst)) {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                state.failures.lock().unwrap().push(text.unwrap_or_default());
            }
            drop(connection);
            state.running.fetch_sub(1, Ordering::SeqCst);
        }));
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// One connection of an app; it closes in order when its script ends.
pub struct AppConnection {
    /// Counted from 0 in the order of accepting.
    pub number: usize,
    stream: Arc<TcpStream>,
    wire: Wire,
}

/// A request as an app saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The number of its connection.
    pub connection: usize,
    pub head: Head,
    /// The body as it was on the wire.
    pub raw_body: Vec<u8>,
    /// The body's content.
    pub content: Vec<u8>,
    /// The trailer lines as they came.
    pub trailers: Vec<String>,
}

/// Where a connection ended instead of a whole request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Between two requests.
    Between,
    /// Within one.
    Within,
}

impl Seen {
    /// A value of the head's only field with this name.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<String> {
        self.head.get(name)
    }
}

impl AppConnection {
    /// Reads a request head.
    #[track_caller]
    pub fn head(&mut self) -> Head {
        self.wire.head().expect("a request head")
    }

    /// Reads the next request head; `None` when the connection ended between two.
    #[track_caller]
    pub fn next_head(&mut self) -> Option<Head> {
        let head = self.wire.head().ok();
        let rest = self.wire.buffered();
        assert!(head.is_some() || rest.is_empty(), "a request broke off: {}", show(rest));
        head
    }

    /// Reads the next request with its body; `None` when the connection ended between two.
    #[track_caller]
    pub fn next_request(&mut self) -> Option<Seen> {
        match self.try_request() {
            Ok(seen) => Some(seen),
            Err(Broken::Between) => None,
            Err(Broken::Within) => panic!("a request broke off: {}", show(self.wire.buffered())),
        }
    }

    /// The same where a request may break off.
    pub fn try_request(&mut self) -> Result<Seen, Broken> {
        let head = self.wire.head().map_err(|_| match self.wire.buffered() {
            [] => Broken::Between,
            _ => Broken::Within,
        })?;
        let mut body = Chunked::default();
        if head.is_chunked() {
            self.wire.chunked(&mut body).map_err(|_| Broken::Within)?;
        } else if let Some(length) = head.content_length() {
            self.wire.exactly(length, &mut body.content).map_err(|_| Broken::Within)?;
            body.raw.clone_from(&body.content);
        }
        let Chunked { raw: raw_body, content, trailers } = body;
        Ok(Seen { connection: self.number, head, raw_body, content, trailers })
    }

    /// Reads this many bytes.
    #[track_caller]
    pub fn body(&mut self, length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        self.wire.exactly(length, &mut out).expect("the whole body");
        out
    }

    /// Reads this many bytes off whatever comes; `None` when the connection ended before.
    pub fn try_bytes(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.wire.exactly(length, &mut out).is_ok().then_some(out)
    }

    /// Reads a request head; `None` when the connection ended before.
    pub fn try_head(&mut self) -> Option<Head> {
        self.wire.head().ok()
    }

    /// Reads a chunked body with its trailers.
    #[track_caller]
    pub fn chunked(&mut self) -> Chunked {
        let mut body = Chunked::default();
        self.wire.chunked(&mut body).expect("the whole body");
        body
    }

    /// Reads one chunk; `None` for the last, whose trailers stay unread.
    #[track_caller]
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut body = Chunked::default();
        self.wire.chunk(&mut body).expect("a chunk").map(|_| body.content)
    }

    /// Reads whatever comes until the gateway closes.
    #[track_caller]
    pub fn read_to_close(&mut self) -> (Vec<u8>, Ended) {
        let mut out = Vec::new();
        let ended = self.wire.rest(&mut out);
        (out, ended)
    }

    /// Asserts that the gateway closes without another byte.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let (rest, _) = self.read_to_close();
        assert!(rest.is_empty(), "bytes before the close: {}", show(&rest));
    }

    /// Speaks HTTP/2 from here on, with these settings.
    #[track_caller]
    pub fn http2(&mut self, settings: &[(u16, u32)]) -> Frames {
        Frames::serve(self.stream.clone(), settings)
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the gateway takes the bytes");
    }

    /// Sends bytes to a gateway that may not want them any more.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        (&*self.stream).write_all(bytes.as_ref())
    }

    /// Sends `piece` again and again until no more is taken for `patience`, or `limit`
    /// bytes are gone; returns how many went.
    pub fn send_until_blocked(&mut self, piece: &[u8], limit: usize, patience: Duration) -> usize {
        send_until_blocked(&self.stream, piece, limit, patience)
    }

    /// Whether nothing came and the connection still stands.
    pub fn is_quiet(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        let waits = peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        waits && self.wire.buffered().is_empty()
    }

    /// Ends this side's direction; the other's goes on.
    pub fn finish_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("a connection");
    }

    /// Makes the close at the script's end a reset.
    pub fn reset(&mut self) {
        SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Takes in little, so that a gateway that goes on sending is felt soon.
    pub fn shrink_buffers(&mut self) {
        SockRef::from(&*self.stream).set_recv_buffer_size(4 << 10).unwrap();
        SockRef::from(&*self.stream).set_send_buffer_size(4 << 10).unwrap();
    }
}

/// An app that answers each request with the request itself, head and body as
/// they came, and keeps connections open.
pub struct EchoHeads {
    app: ScriptedApp,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl EchoHeads {
    pub fn start() -> Self {
        Self::with("")
    }

    /// With further field lines in each response, each ended by CRLF.
    pub fn with(fields: &str) -> Self {
        let (fields, seen) = (fields.to_owned(), Arc::new(Mutex::new(Vec::new())));
        let all: Arc<Mutex<Vec<Seen>>> = seen.clone();
        let app = ScriptedApp::start(move |connection| {
            // A request that broke off was none: what came of it stays in the record.
            while let Ok(request) = connection.try_request() {
                let body = [&request.head.raw[..], &request.raw_body].concat();
                let head =
                    format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
                let to_head = request.head.word(0) == b"HEAD";
                all.lock().unwrap().push(request);
                let mut answer = head.into_bytes();
                if !to_head {
                    answer.extend_from_slice(&body);
                }
                if connection.try_send(&answer).is_err() {
                    return;
                }
            }
        });
        Self { app, seen }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.app.address()
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The last request.
    #[track_caller]
    pub fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().cloned().expect("a request came to the app")
    }

    /// Every byte that came, a list for each connection.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.app.received()
    }

    /// Asserts that not a byte came.
    #[track_caller]
    pub fn expect_untouched(&self) {
        let received = self.received();
        assert!(received.iter().all(Vec::is_empty), "came: {}", show(&received.concat()));
    }
}

//! What the real binary holds of the streams that it relays, by the kernel's
//! account of its memory: a body of any size passes in the same few pages, and
//! a side that does not read stops the other.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use crate::binary::{Folder, Serve, config};
use crate::support::wire::{Chunked, Head, Wire};
use crate::support::{HOST, LIMIT, Signal, eventually};

/// What every body consists of, again and again. Its length is prime, so that a piece in a wrong
/// place shows.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(65_521).collect()
});

/// One side of an exchange: a caller, or the app.
struct Side {
    stream: Arc<TcpStream>,
    wire: Wire,
}

impl Side {
    fn of(stream: TcpStream) -> Self {
        let stream = Arc::new(stream);
        Self { wire: Wire::new(stream.clone(), None), stream }
    }

    fn connect(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect_timeout(&address, LIMIT).unwrap())
    }

    #[track_caller]
    fn say(&mut self, text: &str) {
        (&*self.stream).write_all(text.as_bytes()).expect("the gateway takes it");
    }

    #[track_caller]
    fn head(&mut self) -> Head {
        self.wire.head().expect("a head")
    }

    /// Sends a body of the pattern.
    #[track_caller]
    fn send_body(&mut self, length: u64, chunked: bool) {
        if !chunked {
            return self.send_from(0, length);
        }
        let (mut sent, mut chunk) = (0, Vec::new());
        while sent < length {
            let piece = piece(sent, length);
            chunk.clear();
            write!(chunk, "{:x}\r\n", piece.len()).unwrap();
            chunk.extend(piece);
            chunk.extend(b"\r\n");
            (&*self.stream).write_all(&chunk).expect("the gateway takes it");
            sent += piece.len() as u64;
        }
        self.say("0\r\n\r\n");
    }

    /// Sends what is left of a body of a declared length.
    #[track_caller]
    fn send_from(&mut self, mut sent: u64, length: u64) {
        while sent < length {
            let piece = piece(sent, length);
            (&*self.stream).write_all(piece).expect("the gateway takes it");
            sent += piece.len() as u64;
        }
    }

    /// Reads a body of the pattern and compares every byte.
    #[track_caller]
    fn expect_body(&mut self, length: u64, chunked: bool) {
        let mut come = 0;
        loop {
            let mut body = Chunked::default();
            if chunked {
                self.wire.chunk(&mut body).expect("a chunk");
            } else {
                let size = (length - come).min(64 << 10);
                self.wire.exactly(usize::try_from(size).unwrap(), &mut body.content).expect("more");
            }
            if body.content.is_empty() {
                break;
            }
            assert!(follows(&body.content, come), "another byte after {come}");
            come += body.content.len() as u64;
        }
        assert_eq!(come, length);
    }
}

/// What comes at this place of a body of the pattern, as far as the pattern goes.
fn piece(at: u64, length: u64) -> &'static [u8] {
    let place = usize::try_from(at % PATTERN.len() as u64).unwrap();
    let rest = &PATTERN[place..];
    let left = usize::try_from(length - at).unwrap();
    &rest[..rest.len().min(left)]
}

/// Whether these bytes are the pattern's at this place of a body.
fn follows(mut bytes: &[u8], mut at: u64) -> bool {
    while !bytes.is_empty() {
        let expected = piece(at, at + bytes.len() as u64);
        let Some(rest) = bytes.strip_prefix(expected) else { return false };
        at += expected.len() as u64;
        bytes = rest;
    }
    true
}

/// An app that serves this many connections, each by the script.
fn app<F>(connections: usize, script: F) -> (SocketAddr, JoinHandle<()>)
where
    F: Fn(Side) + Send + Sync + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        std::thread::scope(|scope| {
            for _ in 0..connections {
                let side = Side::of(listener.accept().unwrap().0);
                scope.spawn(|| script(side));
            }
        });
    });
    (address, thread)
}

fn serve(folder: &Folder, app: SocketAddr) -> Serve {
    Serve::start(&folder.write("gateway.toml", config("json", &["hello"], app)))
}

fn request(method: &str, fields: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n")
}

fn framing(length: u64, chunked: bool) -> String {
    if chunked {
        "Transfer-Encoding: chunked\r\n".to_owned()
    } else {
        format!("Content-Length: {length}\r\n")
    }
}

/// A line of the kernel's account of a process, in bytes.
fn memory(serve: &Serve, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", serve.pid())).unwrap();
    let value = status.lines().find_map(|found| found.strip_prefix(line)).expect("such a line");
    value.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// Its largest size ever.
pub fn peak(serve: &Serve) -> u64 {
    memory(serve, "VmHWM:")
}

// --- any size, the same memory ------------------------------------------------------------

/// What a first transfer of any size may take: buffers, and the pages of code that it touches.
pub const FIRST: u64 = 2 * ALLOCATOR;
/// What a longer one may take on top.
pub const SLACK: u64 = ALLOCATOR;

fn download(serve: &Serve, length: u64, chunked: bool) {
    let mut caller = Side::connect(serve.address);
    caller.say(&request("GET", &format!("X-Length: {length}\r\n")));
    let head = caller.head();
    assert_eq!((head.word(1), head.is_chunked()), (&b"200"[..], chunked));
    caller.expect_body(length, chunked);
}

fn upload(serve: &Serve, length: u64, chunked: bool) {
    let mut caller = Side::connect(serve.address);
    caller.say(&request("POST", &framing(length, chunked)));
    caller.send_body(length, chunked);
    assert_eq!(caller.head().word(1), b"204");
}

/// Sends as much as is asked for.
fn source(mut side: Side, chunked: bool) {
    while let Ok(head) = side.wire.head() {
        let length = head.get("x-length").unwrap().parse().unwrap();
        side.say(&format!("HTTP/1.1 200 OK\r\n{}\r\n", framing(length, chunked)));
        side.send_body(length, chunked);
    }
}

/// Reads what comes, which must be this much.
fn sink(mut side: Side, lengths: [u64; 2], chunked: bool) {
    for length in lengths {
        assert_eq!(side.head().is_chunked(), chunked);
        side.expect_body(length, chunked);
        side.say("HTTP/1.1 204 No Content\r\n\r\n");
    }
    assert!(side.wire.head().is_err(), "more came");
}

/// Lets a body pass and asserts that the gateway needed no more memory for it than for a short
/// one; `length` is the body's.
fn passes_in_flat_memory(what: &str, length: u64, chunked: bool) {
    let short = 4 << 20;
    let is_download = what == "download";
    let (address, app) = app(1, move |side| {
        if is_download { source(side, chunked) } else { sink(side, [short, length], chunked) }
    });
    let folder = Folder::new();
    let serve = serve(&folder, address);
    let transfer = if is_download { download } else { upload };
    let begun = peak(&serve);
    transfer(&serve, short, chunked);
    let first = peak(&serve);
    let start = Instant::now();
    transfer(&serve, length, chunked);
    let (last, took) = (peak(&serve), start.elapsed());
    let coding = if chunked { "in chunks" } else { "of a declared length" };
    let sizes = [begun, first, last].map(|size| size >> 10);
    eprintln!(
        "{what} of {} MiB {coding}: {took:?}; KiB at start, after {} MiB, at the end: {sizes:?}",
        length >> 20,
        short >> 20
    );
    assert!(first.saturating_sub(begun) <= FIRST, "{sizes:?} KiB");
    assert!(last.saturating_sub(first) <= SLACK, "{sizes:?} KiB");
    serve.finish();
    app.join().unwrap();
}

#[test]
fn a_download_passes_in_flat_memory() {
    passes_in_flat_memory("download", 256 << 20, false);
    passes_in_flat_memory("download", 64 << 20, true);
}

#[test]
fn an_upload_passes_in_flat_memory() {
    passes_in_flat_memory("upload", 256 << 20, false);
    passes_in_flat_memory("upload", 64 << 20, true);
}

#[test]
#[ignore = "5 GiB each way: run it by name in a release build"]
fn five_gib_pass_in_flat_memory_over_http_1() {
    for chunked in [false, true] {
        passes_in_flat_memory("download", 5 << 30, chunked);
        passes_in_flat_memory("upload", 5 << 30, chunked);
    }
}

// --- one side does not read ---------------------------------------------------------------

/// Streams that stand still at once: enough that a huge page more or less does not count.
const STALLED: usize = 24;
/// As many of them go on afterwards; the others are left.
const RESUMED: usize = 2;
/// What the gateway itself may hold of each, beside what the kernel's buffers do: one read of
/// 256 KiB and the place of the shorter one before it, what of it is joined for writing (16 KiB),
/// what is read ahead in the other direction (16 KiB), two connections and a task.
const HELD: u64 = 384 << 10;
/// What the allocator takes of the system in advance, in huge pages, however many streams there are.
const ALLOCATOR: u64 = 10 << 20;
/// How long nothing must be taken to be believed that nothing more will.
const PATIENCE: Duration = Duration::from_millis(500);

/// The most that a socket's buffer grows to by itself, the third number of a setting.
fn kernel_buffer(setting: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{setting}")).unwrap();
    text.split_whitespace().nth(2).unwrap().parse().unwrap()
}

/// What is taken at most for a side that does not read: what the gateway holds, and what the
/// kernel does in the gateway's two sockets. The other two sockets have small buffers.
fn taken_at_most() -> u64 {
    HELD + kernel_buffer("tcp_rmem") + kernel_buffer("tcp_wmem")
}

/// Streams that are to stand still: each is of one body, which its sender can send only in part.
#[derive(Clone)]
struct Stall {
    length: u64,
    stuck: Arc<AtomicUsize>,
    taken: Arc<AtomicU64>,
    go_on: Signal,
}

impl Stall {
    fn new() -> Self {
        let length = taken_at_most() + (1 << 20);
        Self { length, stuck: Arc::default(), taken: Arc::default(), go_on: Signal::new() }
    }

    /// Sends until nothing more is taken, then the rest once the other side reads, if it does.
    #[track_caller]
    fn send(&self, side: &mut Side, resumes: bool) {
        side.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut sent = 0;
        while let Ok(length) = (&*side.stream).write(piece(sent, self.length)) {
            sent += length as u64;
            assert!(sent < self.length, "all of it was taken");
        }
        side.stream.set_write_timeout(Some(LIMIT)).unwrap();
        self.taken.fetch_max(sent, Ordering::SeqCst);
        self.stuck.fetch_add(1, Ordering::SeqCst);
        self.go_on.wait();
        if resumes {
            widen(side);
            side.send_from(sent, self.length);
        }
    }

    /// Waits until every stream stands still, and asserts that little is held of them.
    #[track_caller]
    fn measure(&self, what: &str, serve: &Serve, before: u64) {
        eventually("every stream stands still", || self.stuck.load(Ordering::SeqCst) == STALLED);
        let held = memory(serve, "VmRSS:").saturating_sub(before);
        let taken = self.taken.load(Ordering::SeqCst);
        eprintln!(
            "{what}: {} KiB taken at most of one; the gateway holds {} KiB of all",
            taken >> 10,
            held >> 10
        );
        assert!(taken <= taken_at_most(), "{taken} bytes are somewhere");
        assert!(held <= ALLOCATOR + HELD * STALLED as u64, "{held} bytes are held");
    }
}

/// A connection with small buffers on this side.
fn reluctant(address: SocketAddr) -> Side {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    shrink(&socket);
    socket.connect(&address.into()).unwrap();
    Side::of(socket.into())
}

fn shrink(socket: &Socket) {
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.set_send_buffer_size(4 << 10).unwrap();
}

/// A side that goes on does so with usual buffers: with small ones every few kilobytes wait for an
/// acknowledgement that the other side's kernel delays.
fn widen(side: &Side) {
    SockRef::from(&*side.stream).set_recv_buffer_size(1 << 20).unwrap();
    SockRef::from(&*side.stream).set_send_buffer_size(1 << 20).unwrap();
}

#[test]
fn a_caller_who_does_not_read_stops_the_apps_writes_and_gets_everything_later() {
    let stall = Stall::new();
    let (address, app) = app(STALLED + 1, {
        let stall = stall.clone();
        move |mut side| {
            shrink(&SockRef::from(&*side.stream));
            let head = side.head();
            if head.has("x-warm") {
                return side.say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
            }
            side.say(&format!("HTTP/1.1 200 OK\r\n{}\r\n", framing(stall.length, false)));
            stall.send(&mut side, head.has("x-resume"));
        }
    });
    let folder = Folder::new();
    let serve = serve(&folder, address);
    let mut first = Side::connect(serve.address);
    first.say(&request("GET", "X-Warm: 1\r\nConnection: close\r\n"));
    first.head();
    let before = memory(&serve, "VmRSS:");
    let mut callers: Vec<_> = (0..STALLED).map(|_| reluctant(serve.address)).collect();
    for (number, caller) in callers.iter_mut().enumerate() {
        caller.say(&request("GET", if number < RESUMED { "X-Resume: 1\r\n" } else { "" }));
    }
    stall.measure("a caller does not read", &serve, before);
    stall.go_on.give();
    callers.truncate(RESUMED);
    for caller in &mut callers {
        widen(caller);
        assert_eq!(caller.head().word(1), b"200");
        caller.expect_body(stall.length, false);
    }
    drop(callers);
    serve.finish();
    app.join().unwrap();
}

#[test]
fn an_app_that_does_not_read_stops_its_callers_writes() {
    let stall = Stall::new();
    let (address, app) = app(STALLED + 1, {
        let stall = stall.clone();
        move |mut side| {
            shrink(&SockRef::from(&*side.stream));
            let head = side.head();
            if !head.has("x-warm") {
                return stall.go_on.wait();
            }
            side.say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        }
    });
    let folder = Folder::new();
    let serve = serve(&folder, address);
    let mut first = Side::connect(serve.address);
    first.say(&request("GET", "X-Warm: 1\r\nConnection: close\r\n"));
    first.head();
    let before = memory(&serve, "VmRSS:");
    std::thread::scope(|scope| {
        for _ in 0..STALLED {
            scope.spawn(|| {
                let mut caller = reluctant(serve.address);
                caller.say(&request("POST", &framing(stall.length, false)));
                stall.send(&mut caller, false);
            });
        }
        stall.measure("an app does not read", &serve, before);
        stall.go_on.give();
    });
    serve.finish();
    app.join().unwrap();
}

//! The apps behind every contender: threads that answer from memory, one for a proxy of one worker.
//!
//! `GET /65536` is answered with 65536 bytes, if that size was prepared; `/echo` with the head as it
//! arrived, plus a forged response field that a contender has to remove; `/received` with the length
//! and the checksum of the body; `/accepted` with the number of connections so far; `/websocket` with
//! a WebSocket; all else with the first size. It reads once and writes once per request, so that it
//! stays far cheaper than what stands in front of it. Beside it listens an app that speaks gRPC.

pub(crate) mod grpc;
mod websocket;

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{self, LocalSet};

use crate::Fallible;
use crate::websocket::ECHO as WEBSOCKET;

const READ_AT_ONCE: usize = 16 * 1024;
const READ_OF_A_BODY: usize = 256 * 1024;
const LARGEST_HEAD: usize = 256 * 1024;
const MOST_FIELDS: usize = 128;

/// Where the apps listen.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Backends {
    pub(crate) http1: SocketAddr,
    pub(crate) grpc: SocketAddr,
}

struct Shared {
    /// Whole responses, head and body in one buffer: one `write` each.
    canned: Vec<(String, Vec<u8>)>,
    /// By all threads.
    accepted: Arc<AtomicU64>,
}

/// Each thread with listeners of its own on the same addresses.
pub(crate) fn serve(at: Backends, sizes: &[usize], threads: usize) -> Fallible<()> {
    let canned = sizes.iter().map(|size| (format!("/{size}"), response("", &pattern(*size))));
    let (canned, accepted): (Vec<_>, _) = (canned.collect(), Arc::default());
    let threads: Vec<_> = (0..threads.max(1))
        .map(|_| {
            let (canned, accepted) = (canned.clone(), Arc::clone(&accepted));
            thread::spawn(move || on_a_thread(at, Shared { canned, accepted }))
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread of the backend panicked")??;
    }
    Ok(())
}

fn on_a_thread(at: Backends, shared: Shared) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shared = Rc::new(shared);
    let http1 = listen(at.http1, &shared, converse);
    let grpc = listen(at.grpc, &shared, |stream, _| grpc::converse(stream));
    let both = async { tokio::try_join!(http1, grpc) };
    LocalSet::new().block_on(&runtime, both).map(|_| ())
}

async fn listen<Talk: Future<Output = io::Result<()>> + 'static>(
    at: SocketAddr,
    shared: &Rc<Shared>,
    converse: impl Fn(TcpStream, Rc<Shared>) -> Talk,
) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(at)?;
    let listener = socket.listen(4096)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        // A connection ends as its peer likes: that is no failure of the backend.
        task::spawn_local(converse(stream, Rc::clone(shared)));
    }
}

async fn converse(mut stream: TcpStream, shared: Rc<Shared>) -> io::Result<()> {
    let mut received = Vec::with_capacity(READ_AT_ONCE);
    loop {
        while let Some(end) = memmem::find(&received, b"\r\n\r\n") {
            let head: Vec<u8> = received.drain(..end + 4).collect();
            let Some(Request { path, body }) = Request::parse(&head) else {
                return stream.write_all(REFUSAL).await;
            };
            if path.starts_with(WEBSOCKET) {
                return websocket::converse(stream, path, &head).await;
            }
            if path == "/received" {
                let mut sum = Checksum::new();
                read_body(&mut stream, &mut received, body, |part| sum.add(part)).await?;
                stream.write_all(&response("", sum.describe().as_bytes())).await?;
            } else {
                read_body(&mut stream, &mut received, body, |_| ()).await?;
                stream.write_all(&shared.answer(path, &head)).await?;
            }
        }
        if received.len() > LARGEST_HEAD || stream.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
    }
}

/// Chunked bodies are refused: no scenario has one, and a silent wrong answer would cost a day.
const REFUSAL: &[u8] =
    b"HTTP/1.1 501 Not Implemented\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

struct Request<'head> {
    path: &'head str,
    body: usize,
}

impl<'head> Request<'head> {
    fn parse(head: &'head [u8]) -> Option<Self> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut parsed = httparse::Request::new(&mut fields);
        parsed.parse(head).ok()?;
        let mut body = 0;
        for field in parsed.headers.iter() {
            if field.name.eq_ignore_ascii_case("content-length") {
                body = std::str::from_utf8(field.value).ok()?.trim().parse().ok()?;
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                return None;
            }
        }
        Some(Self { path: parsed.path?, body })
    }
}

async fn read_body(
    stream: &mut TcpStream,
    received: &mut Vec<u8>,
    mut left: usize,
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    loop {
        let here = left.min(received.len());
        each(received.get(..here).unwrap_or_default());
        received.drain(..here);
        left -= here;
        if left == 0 {
            return Ok(());
        }
        received.reserve(left.min(READ_OF_A_BODY));
        if stream.read_buf(received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

impl Shared {
    fn answer(&self, path: &str, head: &[u8]) -> Cow<'_, [u8]> {
        if path == "/echo" {
            return response("X-Ignite-Organization-Id: evil\r\n", head).into();
        }
        if path == "/accepted" {
            return response("", self.accepted.load(Ordering::Relaxed).to_string().as_bytes())
                .into();
        }
        let known = self.canned.iter().find(|(of, _)| of == path).or_else(|| self.canned.first());
        known.map_or(REFUSAL, |(_, whole)| whole).into()
    }
}

fn response(fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut whole = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n{fields}content-length: {length}\r\n\r\n"
    )
    .into_bytes();
    whole.extend_from_slice(body);
    whole
}

/// Bytes of which no block of a buffer's size equals its neighbour: a lost or doubled one shows.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    (0..=250).cycle().take(size).collect()
}

/// Length and FNV-1a of a body that came in parts.
pub(crate) struct Checksum {
    length: usize,
    hash: u64,
}

impl Checksum {
    pub(crate) fn new() -> Self {
        Self { length: 0, hash: 0xcbf2_9ce4_8422_2325 }
    }

    pub(crate) fn add(&mut self, part: &[u8]) {
        self.length += part.len();
        for byte in part {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(crate) fn describe(&self) -> String {
        format!("{} bytes, {:016x}", self.length, self.hash)
    }
}

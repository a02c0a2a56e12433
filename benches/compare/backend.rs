//! The app behind every contender: one thread that answers from memory.
//!
//! `GET /65536` is answered with 65536 bytes, if that size was prepared; `/echo` with the head as it
//! arrived, plus a forged response field that a contender has to remove; `/accepted` with the number
//! of connections so far; all else with the first size. It reads once and writes once per request,
//! so that it stays far cheaper than what stands in front of it.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const READ_AT_ONCE: usize = 16 * 1024;
const LARGEST_HEAD: usize = 256 * 1024;
const MOST_FIELDS: usize = 128;

struct Shared {
    /// Whole responses, head and body in one buffer: one `write` each.
    canned: Vec<(String, Vec<u8>)>,
    accepted: AtomicU64,
}

pub(crate) async fn serve(listen: SocketAddr, sizes: &[usize]) -> io::Result<()> {
    let canned = sizes.iter().map(|size| (format!("/{size}"), response("", &vec![b'x'; *size])));
    let shared = Arc::new(Shared { canned: canned.collect(), accepted: AtomicU64::new(0) });
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        // A connection ends as its peer likes: that is no failure of the backend.
        tokio::spawn(converse(stream, Arc::clone(&shared)));
    }
}

async fn converse(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut received = Vec::with_capacity(READ_AT_ONCE);
    loop {
        while let Some(end) = memmem::find(&received, b"\r\n\r\n") {
            let head = received.get(..end + 4).unwrap_or_default();
            let Some(request) = Request::parse(head) else {
                return stream.write_all(REFUSAL).await;
            };
            let (answer, body) = (shared.answer(request.path, head), request.body);
            received.drain(..end + 4);
            discard_body(&mut stream, &mut received, body).await?;
            stream.write_all(&answer).await?;
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

async fn discard_body(
    stream: &mut TcpStream,
    received: &mut Vec<u8>,
    mut left: usize,
) -> io::Result<()> {
    loop {
        let here = left.min(received.len());
        received.drain(..here);
        left -= here;
        if left == 0 {
            return Ok(());
        }
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
            let count = self.accepted.load(Ordering::Relaxed).to_string();
            return response("", count.as_bytes()).into();
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

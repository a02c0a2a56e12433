//! HTTP/1.1 apps that fail at a place and in a way that their test chooses.
//!
//! Each knows a request by its id and answers with what belongs to that id, as
//! far as its fault lets it.

use std::net::TcpListener;

use super::app::{AppConnection, Broken, ScriptedApp};
use super::load::{ID, Sightings, answer, question};
use super::wire::Head;

/// What of a request is read before the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// So many bytes.
    Bytes(usize),
    /// The head alone.
    Head,
    /// All of it.
    Whole,
}

/// Where an answer stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Before its first byte.
    Nothing,
    /// Within the status line.
    StatusLine,
    /// Before the last byte of the head.
    Head,
    /// Behind the head.
    HeadEnd,
    /// Within the body.
    Body,
    /// Before the last byte of all.
    LastByte,
    /// Nowhere.
    End,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The connection is closed.
    Close,
    /// It is reset.
    Reset,
    /// Nothing, until the gateway has enough.
    Stall,
    /// The next request.
    Next,
}

/// An answer's bytes, by its app's host and the request's id.
pub type Bytes = fn(&str, u64) -> Vec<u8>;

/// An app's fault.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// The first request of each connection is served well: the fault meets a kept connection.
    pub kept: bool,
    pub reads: Reads,
    pub answer: Bytes,
    pub until: Until,
    pub then: Then,
    /// Byte by byte, in both directions.
    pub slowly: bool,
}

impl Fault {
    /// An app without a fault.
    pub const NONE: Self = Self {
        kept: false,
        reads: Reads::Whole,
        answer: by_length,
        until: Until::End,
        then: Then::Next,
        slowly: false,
    };

    /// Starts an app with this fault, which serves `host`.
    pub fn start(self, host: &str, sightings: &Sightings) -> ScriptedApp {
        self.on(TcpListener::bind("127.0.0.1:0").unwrap(), host, sightings)
    }

    /// The same on a listener of the test's own.
    pub fn on(self, listener: TcpListener, host: &str, sightings: &Sightings) -> ScriptedApp {
        let (host, sightings) = (host.to_owned(), sightings.clone());
        ScriptedApp::on(listener, move |connection| {
            let app = Serving { connection, host: &host, sightings: &sightings };
            app.serve(self);
        })
    }
}

/// An answer of a declared length.
pub fn by_length(host: &str, id: u64) -> Vec<u8> {
    let body = answer(host, id);
    with_fields(&format!("Content-Length: {}\r\n", body.len()), id, &body)
}

/// A chunked answer.
pub fn chunked(host: &str, id: u64) -> Vec<u8> {
    let body = answer(host, id);
    let (first, last) = body.split_at(body.len() / 3);
    let mut out = Vec::new();
    for part in [first, last] {
        out.extend(format!("{:x}\r\n", part.len()).into_bytes());
        out.extend([part, b"\r\n"].concat());
    }
    out.extend(b"0\r\n\r\n");
    with_fields("Transfer-Encoding: chunked\r\n", id, &out)
}

/// An answer with these framing fields and this body, right or wrong.
pub fn with_fields(fields: &str, id: u64, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{ID}: {id}\r\n{fields}\r\n");
    [head.as_bytes(), body].concat()
}

struct Serving<'a> {
    connection: &'a mut AppConnection,
    host: &'a str,
    sightings: &'a Sightings,
}

impl Serving<'_> {
    fn serve(mut self, fault: Fault) {
        if fault.kept {
            let Some(id) = self.take(Reads::Whole) else { return };
            if self.connection.try_send(by_length(self.host, id)).is_err() {
                return;
            }
        }
        loop {
            if fault.slowly {
                // Nothing shows this to the other side but windows that open late.
                self.connection.shrink_buffers();
            }
            let id = match fault.reads {
                Reads::Bytes(length) => {
                    let read = self.connection.try_bytes(length);
                    let Some(_) = read else { return };
                    None
                }
                reads => {
                    let Some(id) = self.take(reads) else { return };
                    Some(id)
                }
            };
            if let Some(id) = id {
                let answer = (fault.answer)(self.host, id);
                self.send(cut(&answer, fault.until), fault.slowly);
            }
            match fault.then {
                Then::Next => {}
                Then::Close => return,
                Then::Reset => return self.connection.reset(),
                Then::Stall => return drop(self.connection.read_to_close()),
            }
        }
    }

    /// Reads a request and books it; `None` when there are no more.
    fn take(&mut self, reads: Reads) -> Option<u64> {
        if reads == Reads::Head {
            return self.connection.try_head().map(|head| self.book(&head));
        }
        let seen = match self.connection.try_request() {
            Ok(seen) => seen,
            Err(Broken::Between | Broken::Within) => return None,
        };
        let id = self.book(&seen.head);
        let asked = if seen.head.word(0) == b"POST" { question(self.host, id) } else { Vec::new() };
        assert!(seen.content == asked, "the content of {id} is another: {seen:?}");
        Some(id)
    }

    fn book(&self, head: &Head) -> u64 {
        let id = head.get(ID).and_then(|id| id.parse().ok()).expect("a request with its id");
        self.sightings.add(self.host, id);
        id
    }

    /// The gateway may not want it any more.
    fn send(&mut self, bytes: &[u8], slowly: bool) {
        let size = if slowly { 1 } else { bytes.len().max(1) };
        for piece in bytes.chunks(size) {
            if self.connection.try_send(piece).is_err() {
                return;
            }
        }
    }
}

fn cut(answer: &[u8], until: Until) -> &[u8] {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let end = match until {
        Until::Nothing => 0,
        Until::StatusLine => 5,
        Until::Head => head - 1,
        Until::HeadEnd => head,
        Until::Body => usize::midpoint(head, answer.len()),
        Until::LastByte => answer.len() - 1,
        Until::End => answer.len(),
    };
    &answer[..end]
}

//! A load of which every request is accounted for: what it asked, what came
//! back, and how often an app saw it.
//!
//! Question and answer are made from the request's id and its app's host alone,
//! so a byte that belongs to somebody else shows wherever it turns up.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::frames::{self, Message};
use super::{Caller, Frames, show};

/// The field by which an app knows a request, and a caller its answer.
pub const ID: &str = "x-id";

/// One request of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    pub id: u64,
    pub host: String,
    pub post: bool,
}

/// What a POST says: no two requests say the same at the same place.
pub fn question(host: &str, id: u64) -> Vec<u8> {
    format!("{host} is asked {id}, ").repeat(1 + usize::try_from(id % 31).unwrap()).into_bytes()
}

/// What an app answers.
pub fn answer(host: &str, id: u64) -> Vec<u8> {
    format!("{host} answers {id}; ").repeat(2 + usize::try_from(id % 37).unwrap()).into_bytes()
}

/// What became of a request, as its caller saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The whole answer that belongs to this request.
    Own,
    /// The same without its last bytes, said to be whole.
    Short(usize),
    /// The beginning of it, visibly broken off.
    Broken,
    /// An answer of the gateway's own, with its `Proxy-Status` error.
    Problem(u16, String),
    /// The connection or the stream ended without an answer.
    Nothing,
    /// Anything else, above all what belongs to another request.
    Wrong(String),
}

impl Outcome {
    /// What a response amounts to, its head's fields looked up by `field`.
    fn of(
        ask: &Ask,
        status: u16,
        field: impl Fn(&str) -> Option<String>,
        body: &[u8],
        whole: bool,
    ) -> Self {
        let wrong = |why: &str| Self::Wrong(format!("{why}: {status} {}", show(body)));
        if let Some(error) = field("proxy-status") {
            let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            let told =
                problem["execution_id"].as_str() == field("x-ignite-execution-id").as_deref();
            if !whole || !told || problem["status"] != status || field(ID).is_some() {
                return wrong("no problem as documented");
            }
            let error = error.trim_start_matches("ignite-gateway; error=");
            return Self::Problem(status, error.to_owned());
        }
        let own = answer(&ask.host, ask.id);
        if status != 200 || field(ID) != Some(ask.id.to_string()) {
            return wrong("another answer");
        }
        match (own.strip_prefix(body).map(<[u8]>::len), whole) {
            (Some(0), true) => Self::Own,
            (Some(missing), true) => Self::Short(missing),
            (Some(_), false) => Self::Broken,
            (None, _) => wrong("other bytes"),
        }
    }
}

/// One caller: a connection that is made again when it ends.
pub enum Asker {
    Http1(SocketAddr, Option<Caller>),
    Http2(Box<Frames>, u32),
}

impl Asker {
    /// A caller that speaks HTTP/1.1.
    pub fn http1(address: SocketAddr) -> Self {
        Self::Http1(address, None)
    }

    /// A caller that speaks HTTP/2; its connection must never end.
    #[track_caller]
    pub fn http2(address: SocketAddr) -> Self {
        Self::Http2(Box::new(Frames::call_at(address)), 1)
    }

    /// Asks for everything, over HTTP/2 at once; an outcome for each.
    #[track_caller]
    pub fn ask_all(&mut self, asks: &[Ask]) -> Vec<Outcome> {
        match self {
            Self::Http1(address, kept) => {
                asks.iter().map(|ask| ask_http1(*address, kept, ask)).collect()
            }
            Self::Http2(frames, next) => {
                let streams: Vec<u32> =
                    (0..).step_by(2).map(|step| *next + step).take(asks.len()).collect();
                *next += 2 * u32::try_from(asks.len()).unwrap();
                for (ask, stream) in asks.iter().zip(&streams) {
                    frames.send(http2_request(ask, *stream));
                }
                let outcome = |(ask, stream): (&Ask, &u32)| {
                    let message = frames.answer(*stream);
                    frames.streams.remove(stream);
                    outcome_of_stream(ask, &message)
                };
                asks.iter().zip(&streams).map(outcome).collect()
            }
        }
    }
}

fn ask_http1(address: SocketAddr, kept: &mut Option<Caller>, ask: &Ask) -> Outcome {
    let mut caller = kept.take().unwrap_or_else(|| Caller::to(address));
    let Ask { id, host, post } = ask;
    let method = if *post { "POST" } else { "GET" };
    let mut request = format!("{method} /{id} HTTP/1.1\r\nHost: {host}\r\n{ID}: {id}\r\n");
    let question = if *post { question(host, *id) } else { Vec::new() };
    if *post {
        request.push_str(&format!("Content-Length: {}\r\n", question.len()));
    }
    // An answer that came before all was sent is read all the same.
    let _ = caller.try_send([request.as_bytes(), b"\r\n", &question].concat());
    let Ok(response) = caller.try_read_response(false) else { return Outcome::Nothing };
    let closes = response.field("connection").is_some_and(|value| value.contains("close"));
    if response.complete && !closes {
        *kept = Some(caller);
    }
    let field = |name: &str| response.field(name);
    Outcome::of(ask, response.status, field, &response.body, response.complete)
}

fn http2_request(ask: &Ask, stream: u32) -> Vec<u8> {
    let (path, id) = (format!("/{}", ask.id), ask.id.to_string());
    let method = if ask.post { "POST" } else { "GET" };
    let fields = [
        (":method", method),
        (":scheme", "http"),
        (":authority", &ask.host),
        (":path", &path),
        (ID, &id),
    ];
    if !ask.post {
        return frames::headers(stream, frames::END_STREAM, &fields);
    }
    let question = question(&ask.host, ask.id);
    // In two frames, so that no end comes with the head.
    let (first, last) = question.split_at(question.len() / 2);
    [
        frames::headers(stream, 0, &fields),
        frames::frame(frames::DATA, 0, stream, first),
        frames::frame(frames::DATA, frames::END_STREAM, stream, last),
    ]
    .concat()
}

fn outcome_of_stream(ask: &Ask, message: &Message) -> Outcome {
    if message.sections.is_empty() {
        return Outcome::Nothing;
    }
    let whole = message.whole && message.reset.is_none_or(|code| code == frames::NO_ERROR);
    let field = |name: &str| message.field(name).map(ToOwned::to_owned);
    Outcome::of(ask, message.status(), field, &message.content, whole)
}

/// Every id that apps saw, with the host that each was seen at.
#[derive(Debug, Clone, Default)]
pub struct Sightings(Arc<Mutex<HashMap<u64, Vec<String>>>>);

impl Sightings {
    /// An app that serves `host` saw a request.
    pub fn add(&self, host: &str, id: u64) {
        self.0.lock().unwrap().entry(id).or_default().push(host.to_owned());
    }

    /// How often apps saw an id.
    pub fn count(&self, id: u64) -> usize {
        self.0.lock().unwrap().get(&id).map_or(0, Vec::len)
    }
}

/// The book of a load.
#[derive(Default)]
pub struct Ledger {
    next: AtomicU64,
    rows: Mutex<HashMap<u64, Row>>,
    pub sightings: Sightings,
}

/// One request in the book.
#[derive(Debug, Clone)]
pub struct Row {
    pub ask: Ask,
    pub outcome: Option<Outcome>,
}

/// What may become of a request, and how often its app may have seen it then.
pub type Allowed = Vec<(Outcome, RangeInclusive<usize>)>;

impl Ledger {
    /// Opens the row of one more request.
    pub fn open(&self, host: &str, post: bool) -> Ask {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let ask = Ask { id, host: host.to_owned(), post };
        self.rows.lock().unwrap().insert(id, Row { ask: ask.clone(), outcome: None });
        ask
    }

    /// Closes rows with what became of their requests.
    pub fn close(&self, asks: &[Ask], outcomes: Vec<Outcome>) {
        let mut rows = self.rows.lock().unwrap();
        for (ask, outcome) in asks.iter().zip(outcomes) {
            rows.get_mut(&ask.id).expect("an opened row").outcome = Some(outcome);
        }
    }

    /// How many rows were opened.
    pub fn asked(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Every row.
    pub fn rows(&self) -> Vec<Row> {
        self.rows.lock().unwrap().values().cloned().collect()
    }

    /// Asserts that every request came to an end that is allowed for it, was seen by its own app
    /// alone and as often as allowed, and that apps saw nothing else.
    #[track_caller]
    pub fn balance(&self, allowed: impl Fn(&Ask) -> Allowed) {
        let rows = self.rows();
        let sightings = self.sightings.0.lock().unwrap();
        let mut unexplained = Vec::new();
        for Row { ask, outcome } in &rows {
            let at = sightings.get(&ask.id).map_or(&[][..], Vec::as_slice);
            let allowed = allowed(ask);
            let explained = allowed.iter().any(|(allowed, seen)| {
                outcome.as_ref() == Some(allowed) && seen.contains(&at.len())
            });
            if !explained || at.iter().any(|host| *host != ask.host) {
                let got = format!("{ask:?}: {outcome:?}, seen at {at:?}");
                unexplained.push(format!("{got}; allowed: {allowed:?}"));
            }
        }
        unexplained.sort();
        assert!(
            unexplained.is_empty(),
            "{} of {}: {unexplained:#?}",
            unexplained.len(),
            rows.len()
        );
        // Ids are given out in turn.
        let asked = self.next.load(Ordering::Relaxed);
        let strange: Vec<_> = sightings.keys().filter(|id| **id >= asked).collect();
        assert!(strange.is_empty(), "nobody asked: {strange:?}");
    }
}

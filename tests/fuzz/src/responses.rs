//! Responses, differentially: an app answers with any bytes, and what the
//! caller reads is held against what a second parser reads of them.
//!
//! A whole response arrives whole and unchanged, a malformed one becomes a 502,
//! a cut one is visibly cut; and whatever the app wrote behind it never becomes
//! the answer to the next request.
//!
//! The first byte of an input says how it is played, the rest is what the app writes.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::exchange::{self, From, show};
use super::reference::{self, Content, Fault, Field, Limits, Response};
use super::stage::{App, LIMITS, PerThread, Reply, Stage, cuts, fnv};

const LONGEST: usize = 16 << 10;
const NO_LIMITS: Limits = Limits { bytes: usize::MAX, fields: 200, target: usize::MAX };
/// As many 1xx heads are taken before a final one.
const MAX_INTERIM: usize = 16;

/// The request is HEAD.
const HEAD: u8 = 1;
/// The caller takes trailers.
const TRAILERS: u8 = 2;
/// The app closes the connection behind the bytes, whatever they are.
const CLOSES: u8 = 4;

#[derive(Debug, Default)]
struct Script {
    pieces: Vec<Vec<u8>>,
    closes: bool,
    /// A connection on which the bytes were written may carry another request.
    reusable: bool,
    /// What the app answers to the second request; no input can know it.
    secret: String,
    turn: u64,
}

type Shared = Rc<RefCell<Script>>;

thread_local! {
    static STAGE: PerThread<(Stage, Shared)> = const { PerThread::new() };
}

/// The target.
pub fn run(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first().filter(|_| input.len() <= LONGEST) else {
        return;
    };
    let method = if mode & HEAD == 0 { "GET" } else { "HEAD" };
    let (outcome, end, leftover) = expect(bytes, method.as_bytes());
    let needs_close = match &outcome {
        Outcome::Answer(response) => response.until_close || response.end != Content::Whole,
        Outcome::Cut => true,
        Outcome::Refused => false,
    };
    let (stage, script) = STAGE.with(|stage| stage.get(stage_of_a_script));
    let secret = {
        let script = &mut *script.borrow_mut();
        script.turn += 1;
        script.secret = format!("{:016x}", fnv(&script.turn.to_le_bytes()));
        script.pieces = pieces(bytes, end);
        script.closes = needs_close || mode & CLOSES != 0;
        script.reusable = !script.closes && leftover == 0;
        script.secret.clone()
    };
    let te = if mode & TRAILERS == 0 { "" } else { "TE: trailers\r\nConnection: te\r\n" };
    let host = exchange::HOST;
    let asked = format!(
        "{method} /1 HTTP/1.1\r\nHost: {host}\r\n{te}\r\n\
         GET /2 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    );
    let came = stage.run(async |caller| converse(caller, asked.as_bytes()).await);
    let told = || format!("mode {mode}: {}\n{outcome:?}\ncame: {}", show(bytes), show(&came));
    check(&outcome, method, mode & TRAILERS != 0, &secret, &came, &told);
}

/// What the reference reads.
#[derive(Debug)]
enum Outcome {
    Answer(Response),
    /// The bytes ended before a whole head.
    Cut,
    /// They are no response.
    Refused,
}

/// The final response, where it ends, and how much stands behind it.
fn expect(bytes: &[u8], method: &[u8]) -> (Outcome, usize, usize) {
    let mut rest = bytes;
    for _ in 0..=MAX_INTERIM {
        match reference::response(&mut rest, method, &LIMITS) {
            Ok(response) if response.status == 101 => break,
            Ok(response) if response.status < 200 => {}
            Ok(response) => {
                return (Outcome::Answer(response), bytes.len() - rest.len(), rest.len());
            }
            Err(Fault::Cut { .. }) => return (Outcome::Cut, bytes.len(), 0),
            Err(Fault::Refused(_)) => break,
        }
    }
    (Outcome::Refused, 0, bytes.len())
}

/// Cut within the response only: what stands behind it has arrived when the response has, so
/// that the gateway can see it.
fn pieces(bytes: &[u8], end: usize) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for cut in cuts(bytes).into_iter().filter(|cut| *cut < end).chain([bytes.len()]) {
        if cut > start {
            pieces.push(bytes[start..cut].to_vec());
            start = cut;
        }
    }
    pieces
}

async fn converse(mut caller: DuplexStream, asked: &[u8]) -> Vec<u8> {
    caller.write_all(asked).await.expect("memory");
    let mut came = Vec::new();
    while caller.read_buf(&mut came).await.is_ok_and(|read| read > 0) {}
    came
}

fn check(
    outcome: &Outcome,
    method: &str,
    trailers: bool,
    secret: &str,
    came: &[u8],
    told: &dyn Fn() -> String,
) {
    let mut rest = came;
    let first = reference::response(&mut rest, method.as_bytes(), &NO_LIMITS);
    let first = first.unwrap_or_else(|fault| panic!("{fault:?}\n{}", told()));
    match outcome {
        Outcome::Answer(wanted) => {
            same_response(&first, wanted, trailers, told);
            if wanted.end != Content::Whole {
                assert_ne!(first.end, Content::Whole, "a cut response looks whole\n{}", told());
                assert_eq!(rest, b"", "more behind a cut response\n{}", told());
                return;
            }
        }
        Outcome::Cut | Outcome::Refused => is_bad_gateway(&first, told),
    }
    assert_eq!(first.end, Content::Whole, "the first answer is cut\n{}", told());
    let second = reference::response(&mut rest, b"GET", &NO_LIMITS);
    let second = second.unwrap_or_else(|fault| panic!("second: {fault:?}\n{}", told()));
    assert_eq!(second.status, 200, "second\n{}", told());
    assert_eq!(show(&second.content), secret, "the second answer is not the app's\n{}", told());
    assert_eq!(rest, b"", "more than two answers\n{}", told());
}

fn same_response(seen: &Response, wanted: &Response, te: bool, told: &dyn Fn() -> String) {
    assert_eq!(seen.status, wanted.status, "status\n{}", told());
    let kept = exchange::end_to_end(&wanted.fields, From::App);
    let (own, added) = seen.fields.split_at_checked(kept.len()).expect("fields are missing");
    assert_eq!(own, kept, "fields\n{}", told());
    let mut ids = 0;
    for (name, _) in added {
        match &name[..] {
            b"x-ignite-execution-id" => ids += 1,
            b"date" | b"content-length" | b"transfer-encoding" | b"connection" => {}
            other => panic!("{} was added\n{}", show(other), told()),
        }
    }
    assert_eq!(ids, 1, "one execution id\n{}", told());
    if wanted.end == Content::Whole {
        assert_eq!(show(&seen.content), show(&wanted.content), "content\n{}", told());
        let trailers = exchange::trailers(&wanted.fields, &wanted.trailers);
        let trailers: Vec<Field> = if te { trailers } else { Vec::new() };
        assert_eq!(seen.trailers, trailers, "trailers\n{}", told());
    } else {
        assert!(wanted.content.starts_with(&seen.content), "content\n{}", told());
    }
}

fn is_bad_gateway(seen: &Response, told: &dyn Fn() -> String) {
    assert_eq!(seen.status, 502, "a malformed response\n{}", told());
    let made_here = reference::values(&seen.fields, "proxy-status").next().is_some();
    assert!(made_here, "not the gateway's own\n{}", told());
}

fn stage_of_a_script() -> (Stage, Shared) {
    let script = Shared::default();
    let stage = Stage::new({
        let script = script.clone();
        move || Player { script: script.clone(), spoiled: 0 }
    });
    (stage, script)
}

struct Player {
    script: Shared,
    /// The turn in which this connection was used up.
    spoiled: u64,
}

impl App for Player {
    fn came(&mut self, bytes: &mut Vec<u8>) -> Vec<Reply> {
        let mut rest = &bytes[..];
        let Ok(request) = reference::request(&mut rest, &NO_LIMITS) else { return Vec::new() };
        assert_eq!(request.end, Content::Whole);
        bytes.clear();
        let script = self.script.borrow();
        assert_eq!(self.spoiled, 0, "a connection is used again behind what spoiled it");
        if request.target == b"/2" {
            let secret = &script.secret;
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{secret}");
            return vec![Reply::Write(answer.into_bytes())];
        }
        if !script.reusable {
            self.spoiled = script.turn;
        }
        let mut replies = Vec::new();
        for piece in &script.pieces {
            replies.extend([Reply::Write(piece.clone()), Reply::Pause]);
        }
        if script.closes {
            replies.push(Reply::Close);
        }
        replies
    }
}

//! Requests, differentially: a caller's bytes go through a real connection, and
//! what the app reads is held against what a second parser reads of the same bytes.
//!
//! Nothing may reach the app that the reference did not see, with the same
//! method, target, fields, content and end; and whatever it saw must reach the
//! app. Each answer must be that of its own request.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::exchange::{self, Fate, From, show};
use super::reference::{self, Content, Fault, Field, Limits, Request};
use super::stage::{App, LIMITS, PerThread, Reply, Stage, cuts, fnv, write_in_pieces};

/// Larger inputs show nothing that smaller ones do not.
const LONGEST: usize = 16 << 10;
const NO_LIMITS: Limits = Limits { bytes: usize::MAX, fields: 200, target: usize::MAX };
/// Sent behind an input that ends between two requests, so that the connection ends by itself: no
/// wait has to decide that nothing more comes.
const LAST: &[u8] =
    b"GET /last HTTP/1.1\r\nHost: hello-acme.ignite.test\r\nConnection: close\r\n\r\n";

type Log = Rc<RefCell<Vec<Request>>>;

thread_local! {
    static STAGE: PerThread<(Stage, Log)> = const { PerThread::new() };
}

/// The target.
pub fn run(input: &[u8]) {
    // The preface of HTTP/2 changes the protocol: another target's.
    let start = input.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
    if input.len() > LONGEST || input[start..].starts_with(b"PRI") {
        return;
    }
    let (stream, expected) = concluded(input);
    let (stage, log) = STAGE.with(|stage| stage.get(stage_of_an_echo));
    log.borrow_mut().clear();
    let answers = stage.run(async |caller| converse(caller, &stream, &expected).await);
    check(&expected, &log.borrow(), &answers, &stream);
}

/// What the reference reads of a stream.
#[derive(Debug)]
pub struct Expected {
    /// Well-formed requests, in order.
    pub requests: Vec<(Request, Fate)>,
    /// How many of them are certain: behind a request that the gateway answers without reading its
    /// content the connection may end.
    certain: usize,
    /// What stands behind them.
    pub end: End,
}

/// How a stream ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Between two messages.
    Border,
    /// In the middle of a head, or of content; these bytes would go on.
    Cut(Vec<u8>),
    /// With what is no request, or whose content is none.
    Refused,
    /// Because a request asked for it, or because of what it was.
    Closed,
}

/// Reads a stream to its end.
pub fn expect(mut bytes: &[u8]) -> Expected {
    let mut expected = Expected { requests: Vec::new(), certain: 0, end: End::Border };
    let mut certain = true;
    loop {
        while let Some(rest) = bytes.strip_prefix(b"\r\n") {
            bytes = rest;
        }
        if bytes.is_empty() {
            return expected;
        }
        let request = match reference::request(&mut bytes, &LIMITS) {
            Ok(request) => request,
            Err(Fault::Cut { missing }) => {
                expected.end = End::Cut(missing);
                return expected;
            }
            Err(Fault::Refused(_)) => {
                expected.end = End::Refused;
                return expected;
            }
        };
        let fate = exchange::fate(&request);
        // Also the last chunk alone, which may come later than the head.
        let has_content = !request.content.is_empty()
            || request.end != Content::Whole
            || reference::values(&request.fields, "transfer-encoding").next().is_some();
        let (end, closes) = (request.end.clone(), fate == Fate::Refused);
        let over = closes || !request.keep_alive || request.upgrade.is_some();
        if end == Content::Whole {
            expected.requests.push((request, fate));
            expected.certain += usize::from(certain);
        } else if closes {
            // Refused for its head, whatever follows.
            expected.end = End::Refused;
            return expected;
        }
        match end {
            Content::Cut { missing } => expected.end = End::Cut(missing),
            Content::Broken => expected.end = End::Refused,
            Content::Whole if over => expected.end = End::Closed,
            Content::Whole => {
                certain &= fate == Fate::Forwarded || !has_content;
                continue;
            }
        }
        return expected;
    }
}

/// The input, with what is needed behind it for the connection to end by itself.
fn concluded(input: &[u8]) -> (Vec<u8>, Expected) {
    let mut stream = input.to_vec();
    for _ in 0..6 {
        let expected = expect(&stream);
        match &expected.end {
            End::Border => stream.extend_from_slice(LAST),
            End::Cut(missing) if !missing.is_empty() => stream.extend_from_slice(missing),
            End::Cut(_) | End::Refused | End::Closed => return (stream, expected),
        }
    }
    let expected = expect(&stream);
    (stream, expected)
}

/// Sends a stream and reads everything that comes back.
async fn converse(mut caller: DuplexStream, stream: &[u8], expected: &Expected) -> Vec<u8> {
    let conclusive = matches!(expected.end, End::Refused | End::Closed);
    let answers = expected.certain;
    let (mut reader, mut writer) = tokio::io::split(&mut caller);
    let write = async {
        // It may have been refused before all of it was read.
        let _ = write_in_pieces(&mut writer, stream, &cuts(stream)).await;
        writer
    };
    let read = async {
        let mut came = Vec::new();
        while reader.read_buf(&mut came).await.is_ok_and(|read| read > 0) {
            // A request of which much is missing: what stands before it is answered, no more.
            if !conclusive && finals(&came, expected).len() >= answers {
                break;
            }
        }
        came
    };
    if !conclusive && answers == 0 {
        write.await.shutdown().await.expect("memory");
        return Vec::new();
    }
    let (_writer, came) = tokio::join!(write, read);
    came
}

/// The final answers in what came, each read as that to the request of its place.
fn finals(mut came: &[u8], expected: &Expected) -> Vec<reference::Response> {
    let mut found = Vec::new();
    loop {
        let method = expected.requests.get(found.len()).map_or(&b"GET"[..], |(r, _)| &r.method);
        match reference::response(&mut came, method, &NO_LIMITS) {
            Ok(response) if response.status < 200 => {}
            Ok(response) if response.end == Content::Whole => found.push(response),
            Ok(_) | Err(_) => return found,
        }
    }
}

fn check(expected: &Expected, seen: &[Request], answers: &[u8], stream: &[u8]) {
    let told =
        || format!("stream: {}\nexpected: {expected:?}\nanswers: {}", show(stream), show(answers));
    let wanted: Vec<&Request> = expected
        .requests
        .iter()
        .filter(|(_, fate)| *fate == Fate::Forwarded)
        .map(|(r, _)| r)
        .collect();
    let certain = &expected.requests[..expected.certain];
    let least = certain.iter().filter(|(_, fate)| *fate == Fate::Forwarded).count();
    assert!(seen.len() <= wanted.len(), "invented: {:?}\n{}", &seen[wanted.len()..], told());
    assert!(seen.len() >= least, "{} of {least} reached the app\n{}", seen.len(), told());
    for (seen, wanted) in seen.iter().zip(&wanted) {
        same_request(seen, wanted, &told);
    }
    check_answers(expected, seen, answers, &told);
}

pub fn same_request(seen: &Request, wanted: &Request, told: &dyn Fn() -> String) {
    assert_eq!(show(&seen.method), show(&wanted.method), "method\n{}", told());
    assert_eq!(show(&seen.target), show(&wanted.target), "target\n{}", told());
    assert_eq!(show(&seen.content), show(&wanted.content), "content\n{}", told());
    assert_eq!(seen.minor, 1, "the version is this hop's own\n{}", told());
    let kept = exchange::end_to_end(&wanted.fields, From::Caller);
    let (own, added) = seen.fields.split_at_checked(kept.len()).expect("fields are missing");
    assert_eq!(lines(own), lines(&kept), "fields\n{}", told());
    let mut added = added.iter().peekable();
    for (name, value) in exchange::added_for_app(wanted) {
        // An upgrade is written behind the framing, all else before it.
        if name == "connection" && value == "Upgrade" {
            added.next_if(|(name, _)| is_framing(name));
        }
        let (seen_name, seen_value) = added.next().expect("what the gateway adds");
        assert_eq!(show(seen_name), name, "added\n{}", told());
        let seen_value = String::from_utf8_lossy(seen_value);
        assert!(value == "*" || value == seen_value, "{name}: {seen_value}\n{}", told());
    }
    added.next_if(|(name, _)| is_framing(name));
    assert_eq!(added.next(), None, "more than the gateway adds\n{}", told());
    let trailers = exchange::trailers(&wanted.fields, &wanted.trailers);
    assert_eq!(lines(&seen.trailers), lines(&trailers), "trailers\n{}", told());
}

fn is_framing(name: &[u8]) -> bool {
    name == b"content-length" || name == b"transfer-encoding"
}

fn lines(fields: &[Field]) -> Vec<String> {
    fields.iter().map(|(name, value)| format!("{}: {}", show(name), show(value))).collect()
}

fn check_answers(expected: &Expected, seen: &[Request], came: &[u8], told: &dyn Fn() -> String) {
    let answers = finals(came, expected);
    let mut seen = seen.iter();
    for (answer, (_, fate)) in answers.iter().zip(&expected.requests) {
        assert_ne!(answer.status, 500, "a defect\n{}", told());
        match fate {
            Fate::Forwarded => {
                let of = seen.next().unwrap_or_else(|| panic!("whose answer?\n{}", told()));
                let tag = tag(of);
                assert_eq!(answer.status, 200, "{}", told());
                if of.method != b"HEAD" {
                    assert_eq!(show(&answer.content), tag, "another's answer\n{}", told());
                }
            }
            Fate::Answered | Fate::Refused => assert!(answer.status >= 400, "{}", told()),
        }
    }
    let conclusive = matches!(expected.end, End::Refused | End::Closed);
    let most = expected.requests.len() + usize::from(expected.end == End::Refused);
    assert!(answers.len() <= most, "more answers than requests\n{}", told());
    if conclusive {
        assert!(answers.len() >= expected.certain, "an answer is missing\n{}", told());
    }
    if let Some(last) = answers.get(expected.requests.len()) {
        assert!(last.status >= 400 && last.status != 500, "{}", told());
    }
}

/// What the app answers to a request: no other has the same.
fn tag(request: &Request) -> String {
    let lines = [&request.method[..], &request.target, &request.content].join(&b'\n');
    format!("{:016x}", fnv(&lines))
}

fn stage_of_an_echo() -> (Stage, Log) {
    let log = Log::default();
    let stage = Stage::new({
        let log = log.clone();
        move || Echo { log: log.clone(), continued: false }
    });
    (stage, log)
}

/// Reads requests by the same reference, keeps them, and answers each with its tag.
struct Echo {
    log: Log,
    continued: bool,
}

impl App for Echo {
    fn came(&mut self, bytes: &mut Vec<u8>) -> Vec<Reply> {
        let mut replies = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let before = rest;
            match reference::request(&mut rest, &NO_LIMITS) {
                Ok(request) if request.end == Content::Whole => {
                    let (tag, head) = (tag(&request), request.method == b"HEAD");
                    let content = if head { "" } else { &tag };
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{content}");
                    replies.push(Reply::Write(answer.into_bytes()));
                    self.log.borrow_mut().push(request);
                    self.continued = false;
                }
                Ok(request) => {
                    assert_ne!(request.end, Content::Broken, "from the gateway: {}", show(before));
                    rest = before;
                    let waits = reference::values(&request.fields, "expect").next().is_some();
                    if waits && !std::mem::replace(&mut self.continued, true) {
                        replies.push(Reply::Write(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()));
                    }
                    break;
                }
                Err(Fault::Cut { .. }) => {
                    rest = before;
                    break;
                }
                Err(Fault::Refused(why)) => panic!("from the gateway, {why}: {}", show(before)),
            }
        }
        let taken = bytes.len() - rest.len();
        bytes.drain(..taken);
        replies
    }
}

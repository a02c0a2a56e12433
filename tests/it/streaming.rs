//! Streams in lockstep: whoever writes next does so only when the other side
//! has what was written before. A gateway that held a piece back would stop
//! both for ever, so no clock is asked.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::support::app::AppConnection;
use crate::support::caller::{get, request};
use crate::support::{Caller, Gateway, HOST, LIMIT, ScriptedApp};

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
/// Sizes around what is joined, what is copied and what one read takes.
const SIZES: [usize; 9] = [1, 2, 100, 4095, 4097, 16 << 10, (16 << 10) + 1, 70_000, 200_000];

/// A bell that one side rings and the other waits for, each time it is rung.
fn bell() -> (Sender<()>, Mutex<Receiver<()>>) {
    let (ring, wait) = channel();
    (ring, Mutex::new(wait))
}

#[track_caller]
fn wait(bell: &Mutex<Receiver<()>>) {
    bell.lock().unwrap().recv_timeout(LIMIT).expect("the other side goes on");
}

/// An event that can be told from every other.
fn event(number: usize) -> Vec<u8> {
    let size = SIZES[number % SIZES.len()];
    let mut text = format!("id: {number}\ndata: ").into_bytes();
    text.resize(text.len() + size, b'a' + u8::try_from(number % 26).unwrap());
    text.extend(b"\n\n");
    text
}

fn chunk(content: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", content.len()).as_bytes(), content, b"\r\n"].concat()
}

/// Reads `length` bytes of a body, in however many chunks they come.
#[track_caller]
fn read(caller: &mut Caller, length: usize, chunked: bool) -> Vec<u8> {
    if !chunked {
        return caller.read_exactly(length);
    }
    let mut content = Vec::new();
    while content.len() < length {
        content.extend(caller.read_chunk().expect("more of the body"));
    }
    content
}

/// The same at an app.
#[track_caller]
fn take(connection: &mut AppConnection, length: usize) -> Vec<u8> {
    let mut content = Vec::new();
    while content.len() < length {
        content.extend(connection.chunk().expect("more of the body"));
    }
    content
}

#[test]
fn each_event_is_with_its_caller_before_the_app_writes_the_next() {
    for (app_chunks, version) in [(true, "1.1"), (false, "1.1"), (true, "1.0"), (false, "1.0")] {
        let (seen, next) = bell();
        let app = ScriptedApp::start(move |connection| {
            connection.head();
            let framing = if app_chunks { CHUNKED } else { "" };
            let kind = "Content-Type: text/event-stream\r\n";
            connection.send(format!("HTTP/1.1 200 OK\r\n{kind}{framing}\r\n"));
            for number in 0..2 * SIZES.len() {
                wait(&next);
                let event = event(number);
                connection.send(if app_chunks { chunk(&event) } else { event });
            }
            wait(&next);
            if app_chunks {
                connection.send("0\r\n\r\n");
            }
        });
        let gateway = Gateway::of(app.address());
        let mut caller = Caller::new(&gateway);
        caller.send(format!("GET /events HTTP/{version}\r\nHost: {HOST}\r\n\r\n"));
        let head = caller.read_head();
        assert_eq!(head.get("content-type").as_deref(), Some("text/event-stream"));
        assert_eq!(head.is_chunked(), version == "1.1");
        seen.send(()).unwrap();
        for number in 0..2 * SIZES.len() {
            let wanted = event(number);
            let got = read(&mut caller, wanted.len(), head.is_chunked());
            assert!(got == wanted, "event {number} in HTTP/{version}");
            seen.send(()).unwrap();
        }
        if head.is_chunked() {
            assert_eq!(caller.read_chunk(), None);
        } else {
            caller.expect_closed();
        }
    }
}

#[test]
fn many_streams_on_one_worker_do_not_wait_for_each_other() {
    const STREAMS: usize = 40;
    let (bells, nexts): (Vec<_>, Vec<_>) = (0..STREAMS).map(|_| bell()).unzip();
    let app = ScriptedApp::start(move |connection| {
        let path = String::from_utf8(connection.head().target().to_vec()).unwrap();
        let stream: usize = path.strip_prefix('/').unwrap().parse().unwrap();
        connection.send(format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n"));
        for number in 0..4 {
            wait(&nexts[stream]);
            connection.send(chunk(format!("{stream} {number}").as_bytes()));
        }
        connection.send("0\r\n\r\n");
    });
    let gateway = Gateway::of(app.address());
    let mut callers: Vec<_> = (0..STREAMS).map(|_| Caller::new(&gateway)).collect();
    for (stream, caller) in callers.iter_mut().enumerate() {
        caller.send(get(&format!("/{stream}")));
        assert_eq!(caller.read_head().word(1), b"200");
    }
    for number in 0..4 {
        // The last to have come is the first to be served, while all others stand still.
        for (stream, caller) in callers.iter_mut().enumerate().rev() {
            bells[stream].send(()).unwrap();
            assert_eq!(caller.read_chunk().unwrap(), format!("{stream} {number}").into_bytes());
        }
    }
    for caller in &mut callers {
        assert_eq!(caller.read_chunk(), None);
    }
}

#[test]
fn a_conversation_in_which_the_app_speaks_first_goes_both_ways() {
    // Question by question: each side sends only when it has the whole of what the other said.
    let app = ScriptedApp::start(|connection| {
        assert!(connection.head().is_chunked());
        connection.send(format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n"));
        for number in 0..2 * SIZES.len() {
            connection.send(chunk(&event(number)));
            let answer = event(number + 1);
            assert!(take(connection, answer.len()) == answer, "answer {number}");
        }
        assert_eq!(connection.chunk(), None);
        // Its caller has said all; it has not.
        connection.send([&chunk(b"last words")[..], b"0\r\n\r\n"].concat());
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", CHUNKED, ""));
    assert_eq!(caller.read_head().word(1), b"200");
    for number in 0..2 * SIZES.len() {
        let question = event(number);
        assert!(read(&mut caller, question.len(), true) == question, "question {number}");
        caller.send(chunk(&event(number + 1)));
    }
    caller.send("0\r\n\r\n");
    assert_eq!(caller.read_chunk().unwrap(), b"last words");
    assert_eq!(caller.read_chunk(), None);
    app.wait_finished(1);
}

#[test]
fn trailers_go_both_ways_at_the_end_of_a_conversation() {
    let app = ScriptedApp::start(|connection| {
        while let Some(head) = connection.next_head() {
            assert_eq!(head.get("trailer").as_deref(), Some("X-Count"));
            // The answer is on its way long before the request's trailers are.
            connection.send(format!("HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\n{CHUNKED}\r\n"));
            let first = connection.chunk().expect("a word");
            connection.send(chunk(&first));
            let rest = connection.chunked();
            assert_eq!(rest.content, b"two");
            let [count] = &rest.trailers[..] else { panic!("{:?}", rest.trailers) };
            let count = count.strip_prefix("X-Count: ").expect("the request's trailer");
            connection.send(format!("0\r\nX-Sum: {count} words\r\n\r\n"));
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    for _ in 0..3 {
        let fields = format!("Trailer: X-Count\r\nTE: trailers\r\nConnection: TE\r\n{CHUNKED}");
        caller.send(request("POST /", &fields, "3\r\none\r\n"));
        let head = caller.read_head();
        assert_eq!(head.get("trailer").as_deref(), Some("X-Sum"));
        assert_eq!(caller.read_chunk().unwrap(), b"one");
        caller.send("3\r\ntwo\r\n0\r\nX-Count: 2\r\n\r\n");
        assert_eq!(caller.read_chunk(), None);
        assert_eq!(caller.read_exactly(18), b"X-Sum: 2 words\r\n\r\n");
    }
    assert_eq!(
        app.connections(),
        1,
        "a conversation that ended clean leaves its connection usable"
    );
}

//! Bodies: streamed as they come, in both directions at once, whole to the last
//! byte, and never more of them held than the slower side takes.

use std::hash::{DefaultHasher, Hasher};
use std::time::{Duration, Instant};

use crate::binary::{Folder, Serve, config};
use crate::support::caller::{get, request};
use crate::support::wire::Chunked;
use crate::support::{Caller, EchoHeads, Gateway, HOST, PIECE, ScriptedApp, Signal, show};

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
/// What a whole body of the tests of size measures.
const LARGE: usize = 20 << 20;

/// Bytes without a period that a mixed-up order could hide in.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The body in chunks of changing sizes.
fn in_chunks(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + body.len() / 100 + 100);
    let (mut rest, mut size) = (body, 1);
    while !rest.is_empty() {
        let (chunk, next) = rest.split_at(size.min(rest.len()));
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        rest = next;
        size = size * 3 % 100_003 + 1;
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

#[test]
fn an_upload_reaches_the_app_piece_by_piece() {
    let (first, second) = (Signal::new(), Signal::new());
    let app = ScriptedApp::start({
        let (first, second) = (first.clone(), second.clone());
        move |connection| {
            let head = connection.head();
            if head.is_chunked() {
                assert_eq!(connection.chunk().unwrap(), b"first");
                first.give();
                assert_eq!(connection.chunk().unwrap(), b"second");
                second.give();
                assert_eq!(connection.chunked().content, b"");
            } else {
                assert_eq!(connection.body(5), b"first");
                first.give();
                assert_eq!(connection.body(6), b"second");
                second.give();
            }
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", CHUNKED, "5\r\nfirst\r\n"));
    first.wait();
    caller.send("6\r\nsecond\r\n");
    second.wait();
    caller.send("0\r\n\r\n");
    caller.read_response().expect(200);
    app.wait_finished(1);
}

#[test]
fn an_upload_of_a_declared_length_reaches_the_app_piece_by_piece() {
    let seen = Signal::new();
    let app = ScriptedApp::start({
        let seen = seen.clone();
        move |connection| {
            let head = connection.head();
            assert_eq!(head.get("content-length").as_deref(), Some("11"));
            assert_eq!(connection.body(5), b"first");
            seen.give();
            assert_eq!(connection.body(6), b"second");
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(request("PUT /", "Content-Length: 11\r\n", "first"));
    seen.wait();
    caller.send("second");
    caller.read_response().expect(200);
    app.wait_finished(1);
}

#[test]
fn a_response_reaches_the_caller_piece_by_piece() {
    for framing in ["Content-Length: 11\r\n", CHUNKED, ""] {
        let go_on = Signal::new();
        let chunked = framing == CHUNKED;
        let app = ScriptedApp::start({
            let go_on = go_on.clone();
            move |connection| {
                connection.head();
                connection.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n"));
                connection.send(if chunked { "5\r\nfirst\r\n" } else { "first" });
                go_on.wait();
                connection.send(if chunked { "6\r\nsecond\r\n0\r\n\r\n" } else { "second" });
            }
        });
        let gateway = Gateway::of(app.address());
        let mut caller = Caller::new(&gateway);
        caller.send(get("/"));
        let head = caller.read_head();
        if head.is_chunked() {
            assert_eq!(caller.read_chunk().unwrap(), b"first", "{framing}");
            go_on.give();
            assert_eq!(caller.read_chunk().unwrap(), b"second");
            assert_eq!(caller.read_chunk(), None);
        } else {
            assert_eq!(caller.read_exactly(5), b"first", "{framing}");
            go_on.give();
            assert_eq!(caller.read_exactly(6), b"second");
        }
    }
}

#[test]
fn a_response_head_reaches_the_caller_before_any_of_its_body() {
    let go_on = Signal::new();
    let app = ScriptedApp::start({
        let go_on = go_on.clone();
        move |connection| {
            connection.head();
            connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
            go_on.wait();
            connection.send("6\r\ndata: \r\n0\r\n\r\n");
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(get("/events"));
    assert_eq!(caller.read_head().word(1), b"200");
    go_on.give();
    assert_eq!(caller.read_chunk().unwrap(), b"data: ");
}

#[test]
fn both_directions_stream_at_once() {
    let app = ScriptedApp::start(|connection| {
        assert!(connection.head().is_chunked());
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while let Some(chunk) = connection.chunk() {
            let line = format!("{:x}\r\n", chunk.len());
            connection.send([line.as_bytes(), &chunk, b"\r\n"].concat());
        }
        connection.send("0\r\n\r\n");
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", CHUNKED, ""));
    assert_eq!(caller.read_head().word(1), b"200");
    for number in 0..50 {
        let text = format!("message {number}");
        caller.send(format!("{:x}\r\n{text}\r\n", text.len()));
        assert_eq!(show(&caller.read_chunk().unwrap()), text);
    }
    caller.send("0\r\n\r\n");
    assert_eq!(caller.read_chunk(), None);
    app.wait_finished(1);
}

#[test]
fn a_large_upload_arrives_intact_in_either_framing() {
    let app = ScriptedApp::start(|connection| {
        while let Some(request) = connection.next_request() {
            let text = format!("{} {:x}", request.content.len(), hash(&request.content));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
            if connection.try_send(format!("{head}{text}")).is_err() {
                return;
            }
        }
    });
    let gateway = Gateway::of(app.address());
    let body = noise(LARGE);
    let wanted = format!("{LARGE} {:x}", hash(&body));
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", &format!("Content-Length: {LARGE}\r\n"), ""));
    caller.send(&body);
    assert_eq!(caller.read_response().expect(200).text(), wanted);
    caller.send(request("POST /", CHUNKED, ""));
    caller.send(in_chunks(&body));
    assert_eq!(caller.read_response().expect(200).text(), wanted);
}

#[test]
fn a_large_response_arrives_intact_in_any_framing() {
    for framing in [format!("Content-Length: {LARGE}\r\n"), CHUNKED.to_owned(), String::new()] {
        let chunked = framing == CHUNKED;
        let app = ScriptedApp::start(move |connection| {
            connection.head();
            connection.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n"));
            let body = noise(LARGE);
            connection.send(if chunked { in_chunks(&body) } else { body });
        });
        let gateway = Gateway::of(app.address());
        let response = Caller::ask(&gateway, get("/")).expect(200);
        assert!(response.complete);
        assert_eq!(response.body.len(), LARGE);
        assert_eq!(hash(&response.body), hash(&noise(LARGE)));
    }
}

#[test]
fn an_echo_of_a_large_body_does_not_lock_up_when_nobody_reads_first() {
    // Each side sends all before it reads: only a gateway that moves both ways at once ends it.
    let app = ScriptedApp::start(|connection| {
        connection.head();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut total = 0;
        while let Some(chunk) = connection.chunk() {
            total += chunk.len();
            let line = format!("{:x}\r\n", chunk.len());
            connection.send([line.as_bytes(), &chunk, b"\r\n"].concat());
        }
        assert_eq!(total, 4 << 20);
        connection.send("0\r\n\r\n");
    });
    let gateway = Gateway::of(app.address());
    let body = noise(4 << 20);
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", CHUNKED, ""));
    let mut back = Chunked::default();
    assert_eq!(caller.read_head().word(1), b"200");
    for piece in body.chunks(64 << 10) {
        caller.send(format!("{:x}\r\n", piece.len()));
        caller.send(piece);
        caller.send("\r\n");
        while back.content.len() < piece.len() {
            back.content.extend(caller.read_chunk().unwrap());
        }
        assert!(back.content == piece);
        back.content.clear();
    }
    caller.send("0\r\n\r\n");
    assert_eq!(caller.read_chunk(), None);
}

/// More than all buffers of the kernel on the way hold together.
const FAR_TOO_MUCH: usize = 256 << 20;

#[test]
fn an_app_that_does_not_read_makes_its_caller_wait() {
    let done = Signal::new();
    let app = ScriptedApp::start({
        let done = done.clone();
        move |connection| {
            connection.shrink_buffers();
            connection.head();
            done.wait();
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::with_small_buffers(&gateway);
    caller.send(request("POST /", &format!("Content-Length: {FAR_TOO_MUCH}\r\n"), ""));
    let patience = Duration::from_millis(500);
    let sent = caller.send_until_blocked(&PIECE, FAR_TOO_MUCH, patience);
    assert!(sent < 32 << 20, "{sent} bytes are somewhere");
    done.give();
}

#[test]
fn a_caller_who_does_not_read_makes_the_app_wait() {
    let (sent_all, stuck) = (Signal::new(), Signal::new());
    let app = ScriptedApp::start({
        let (sent_all, stuck) = (sent_all.clone(), stuck.clone());
        move |connection| {
            connection.shrink_buffers();
            connection.head();
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {FAR_TOO_MUCH}\r\n\r\n"));
            let sent =
                connection.send_until_blocked(&PIECE, FAR_TOO_MUCH, Duration::from_millis(500));
            assert!(sent < 32 << 20, "{sent} bytes are somewhere");
            stuck.give();
            sent_all.wait();
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::with_small_buffers(&gateway);
    caller.send(get("/"));
    stuck.wait();
    assert_eq!(caller.read_head().word(1), b"200");
    sent_all.give();
    caller.leave();
    app.wait_finished(1);
}

#[test]
fn request_trailers_reach_the_app() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let fields = "Trailer: X-Checksum\r\nTransfer-Encoding: chunked\r\n";
    let body = "3\r\nabc\r\n0\r\nX-Checksum: 42\r\nx-UNannounced:  y \r\nX-Checksum: 43\r\n\r\n";
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", fields, body));
    caller.read_response().expect(200);
    let seen = app.last();
    assert_eq!(seen.field("trailer").as_deref(), Some("X-Checksum"));
    assert_eq!(seen.trailers, ["X-Checksum: 42", "x-UNannounced: y", "X-Checksum: 43"]);
    caller.get("/next").expect(200);
}

#[test]
fn response_trailers_reach_a_caller_who_takes_them_and_no_other() {
    let app = ScriptedApp::answering(
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nok\r\n0\r\nX-Sum: 42\r\nX-More: 1\r\n\r\n",
    );
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    for _ in 0..2 {
        caller.send(request("GET /", "TE: trailers\r\nConnection: TE\r\n", ""));
        let response = caller.read_response().expect(200);
        let wanted = [("x-sum", "42"), ("x-more", "1")];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(response.trailers, wanted);
        assert_eq!(response.field("trailer").as_deref(), Some("X-Sum"));
    }
    let response = caller.get("/").expect(200);
    assert_eq!((response.text().as_str(), response.trailers.len()), ("ok", 0));
    assert_eq!(app.connections(), 1);
}

#[test]
fn a_body_is_not_asked_for_before_the_app_asks() {
    let (head_seen, say) = (Signal::new(), Signal::new());
    let app = ScriptedApp::start({
        let (head_seen, say) = (head_seen.clone(), say.clone());
        move |connection| {
            let head = connection.head();
            assert_eq!(head.get("expect").as_deref(), Some("100-continue"));
            head_seen.give();
            say.wait();
            assert!(connection.is_quiet(), "the body came unasked");
            connection.send("HTTP/1.1 100 Continue\r\n\r\n");
            assert_eq!(connection.body(5), b"hello");
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            connection.expect_closed();
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", "Expect: 100-continue\r\nContent-Length: 5\r\n", ""));
    head_seen.wait();
    caller.expect_silence();
    say.give();
    let interim = caller.read_response().expect(100);
    assert_eq!(interim.head.line(), b"HTTP/1.1 100 Continue");
    caller.send("hello");
    caller.read_response().expect(200);
    drop((caller, gateway));
    app.wait_finished(1);
}

#[test]
fn an_app_that_never_says_continue_gets_the_body_after_a_moment() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    for (framing, body) in
        [("Content-Length: 5\r\n", "hello"), (CHUNKED, "5\r\nhello\r\n0\r\n\r\n")]
    {
        let mut caller = Caller::new(&gateway);
        let start = Instant::now();
        caller.send(request("POST /", &format!("Expect: 100-continue\r\n{framing}"), ""));
        caller.read_response().expect(100);
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(900), "{waited:?}");
        assert!(waited < Duration::from_secs(5), "{waited:?}");
        caller.send(body);
        caller.read_response().expect(200);
        assert_eq!(app.last().content, b"hello");
        caller.get("/next").expect(200);
    }
}

#[test]
fn a_caller_who_does_not_wait_for_continue_is_served() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", "Expect: 100-continue\r\nContent-Length: 5\r\n", "hello"));
    let response = caller.read_response();
    let response = if response.status == 100 { caller.read_response() } else { response };
    response.expect(200);
    assert_eq!(app.last().content, b"hello");
    caller.get("/next").expect(200);
}

#[test]
fn an_app_that_refuses_instead_of_continuing_is_not_sent_the_body() {
    for line in ["417 Expectation Failed", "413 Content Too Large", "401 Unauthorized"] {
        for body in ["", "nope"] {
            let app = ScriptedApp::start(move |connection| {
                connection.head();
                let length = body.len();
                connection.send(format!(
                    "HTTP/1.1 {line}\r\nX-From: app\r\nContent-Length: {length}\r\n\r\n{body}"
                ));
                connection.expect_closed();
            });
            let gateway = Gateway::of(app.address());
            let mut caller = Caller::new(&gateway);
            caller.send(request("POST /", "Expect: 100-continue\r\nContent-Length: 5\r\n", ""));
            let response = caller.read_response();
            assert_eq!(response.status.to_string(), line[..3]);
            assert_eq!(response.field("x-from").as_deref(), Some("app"));
            assert_eq!(response.text(), body);
            // Whether the caller sends its body now is unknown, so the connection must end.
            caller.expect_closed();
            app.wait_finished(1);
        }
    }
}

#[test]
fn expect_in_http_1_0_is_not_answered() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    let head = format!("POST / HTTP/1.0\r\nHost: {HOST}\r\nExpect: 100-continue\r\n");
    caller.send(format!("{head}Content-Length: 5\r\n\r\nhello"));
    caller.read_response().expect(200);
    assert_eq!(app.last().content, b"hello");
}

#[test]
fn an_answer_that_comes_before_the_upload_ends_is_passed_on_at_once() {
    for (fields, body) in [("Content-Length: 100000\r\n", "part"), (CHUNKED, "4\r\npart\r\n")] {
        for answer in [
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        ] {
            let app = ScriptedApp::start(move |connection| {
                connection.head();
                connection.send(answer);
                // Whatever is still sent, no second request may come.
                let (rest, _) = connection.read_to_close();
                assert!(!show(&rest).contains("GET"), "{}", show(&rest));
            });
            let gateway = Gateway::of(app.address());
            let mut caller = Caller::new(&gateway);
            caller.send(request("POST /", fields, body));
            let response = caller.read_response().expect(403);
            assert!(response.complete);
            let _ = caller.try_send(get("/smuggled"));
            caller.expect_closed();
            app.wait_finished(1);
            assert_eq!(app.connections(), 1, "the rest of the body was taken for a request");
        }
    }
}

#[test]
fn an_app_that_answers_and_closes_during_a_large_upload_is_still_heard() {
    let app = ScriptedApp::start(|connection| {
        connection.head();
        connection.send(
            "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge",
        );
    });
    let gateway = Gateway::of(app.address());
    let mut heard = 0;
    for _ in 0..10 {
        let mut caller = Caller::new(&gateway);
        caller.send(request("POST /", "Content-Length: 8000000\r\n", ""));
        let _ = caller.try_send(vec![b'x'; 8_000_000]);
        if let Ok(response) = caller.try_read_response(false) {
            // The app's reset may destroy its own answer in the kernel: then 502, never silence.
            assert!(matches!(response.status, 413 | 502), "{response:?}");
            heard += u32::from(response.status == 413);
        }
    }
    assert!(heard > 0, "the app's answer was always lost");
}

#[test]
fn a_body_over_the_limit_is_refused_by_its_declared_length() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| config.limits.request_body = 10);
    let fields = "Content-Length: 10\r\n";
    Caller::ask(&gateway, request("POST /", fields, "0123456789")).expect(200);
    let before = app.seen().len();
    for (fields, body) in [
        ("Content-Length: 11\r\n", "0123456789a"),
        ("Content-Length: 18446744073709551615\r\n", ""),
        ("Expect: 100-continue\r\nContent-Length: 11\r\n", ""),
    ] {
        let mut caller = Caller::new(&gateway);
        caller.send(request("POST /", fields, body));
        let response = caller.read_response().expect_problem(413, "http_request_denied");
        assert_eq!(response.field("connection").as_deref(), Some("close"));
        caller.expect_closed();
    }
    assert_eq!(app.seen().len(), before);
}

#[test]
fn a_chunked_body_over_the_limit_is_refused_as_it_comes() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| config.limits.request_body = 10);
    let text = request("POST /", CHUNKED, "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n");
    Caller::ask(&gateway, text).expect(200);
    let before = app.seen().len();
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", CHUNKED, "5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n"));
    caller.send(get("/smuggled"));
    caller.read_response().expect_problem(413, "http_request_denied");
    caller.expect_closed();
    gateway.wait_idle();
    assert_eq!(app.seen().len(), before, "a cut body came whole");
}

#[test]
fn requests_of_one_connection_are_answered_in_their_order() {
    let app = ScriptedApp::start(|connection| {
        while let Some(request) = connection.next_request() {
            let body = show(request.head.target());
            // Odd answers come late: order must not depend on it.
            if body.ends_with(['1', '3', '5', '7', '9']) {
                std::thread::sleep(Duration::from_millis(3));
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            connection.send(format!("{head}{body}"));
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    let all: String = (0..50)
        .map(|number| match number % 3 {
            0 => get(&format!("/{number}")),
            1 => request(&format!("POST /{number}"), "Content-Length: 3\r\n", "abc"),
            _ => request(&format!("PUT /{number}"), CHUNKED, "1\r\na\r\n0\r\n\r\n"),
        })
        .collect();
    caller.send(all);
    for number in 0..50 {
        assert_eq!(caller.read_response().expect(200).text(), format!("/{number}"));
    }
    assert_eq!(app.connections(), 1, "one connection to the app serves them one after the other");
}

#[test]
fn a_head_that_comes_byte_by_byte_is_served() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    for byte in request("POST /", CHUNKED, "3\r\nabc\r\n0\r\nX-A: 1\r\n\r\n").bytes() {
        caller.send([byte]);
    }
    caller.read_response().expect(200);
    assert_eq!(app.last().content, b"abc");
    assert_eq!(app.last().trailers, ["X-A: 1"]);
}

#[test]
fn a_response_that_comes_byte_by_byte_is_passed_on() {
    let app = ScriptedApp::start(|connection| {
        connection.head();
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        for byte in answer.bytes() {
            connection.send([byte]);
        }
    });
    let gateway = Gateway::of(app.address());
    let response = Caller::ask(&gateway, get("/")).expect(200);
    assert_eq!((response.text().as_str(), response.complete), ("abc", true));
}

#[test]
fn a_response_of_unknown_length_is_chunked_for_http_1_1_and_ended_by_the_close_for_http_1_0() {
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
        "HTTP/1.0 200 OK\r\n\r\nok",
    ] {
        let app = if answer.contains("chunked") {
            ScriptedApp::answering(answer)
        } else {
            ScriptedApp::answering_once(answer)
        };
        let gateway = Gateway::of(app.address());
        let mut caller = Caller::new(&gateway);
        for _ in 0..2 {
            let response = caller.get("/").expect(200);
            assert!(response.head.is_chunked(), "{:?}", response.head);
            assert_eq!((response.text().as_str(), response.complete), ("ok", true));
        }
        let mut old = Caller::new(&gateway);
        let head = format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n");
        old.send(format!("{head}Connection: keep-alive\r\nTE: trailers\r\n\r\n"));
        let response = old.read_response().expect(200);
        assert!(!response.head.has("transfer-encoding"), "{:?}", response.head);
        assert_eq!(response.field("connection").as_deref(), Some("close"));
        assert_eq!((response.text().as_str(), response.complete), ("ok", true));
    }
}

#[test]
fn a_body_of_a_declared_length_from_an_http_1_0_caller_is_forwarded() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let head = format!("POST / HTTP/1.0\r\nHost: {HOST}\r\nContent-Length: 3\r\n\r\n");
    Caller::ask(&gateway, format!("{head}abc")).expect(200);
    assert_eq!(app.last().content, b"abc");
}

#[test]
fn an_unread_body_of_a_refused_request_is_not_taken_for_the_next_request() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let inner = get("/smuggled");
    let head = format!(
        "POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: {}\r\n\r\n",
        inner.len() + 10
    );
    // All but ten bytes of the body are there when the refusal is written.
    let mut caller = Caller::new(&gateway);
    caller.send(format!("{head}{inner}"));
    let response = caller.read_response().expect_problem(404, "destination_not_found");
    let _ = caller.try_send(format!("0123456789{}", get("/next")));
    let rest = caller.read_to_close().0;
    assert!(!show(&rest).contains("smuggled"), "{}", show(&rest));
    assert!(!show(&app.received().concat()).contains("smuggled"));
    assert!(app.seen().len() <= 1);
    drop(response);
}

#[test]
fn a_connection_that_ends_because_a_body_is_unread_says_so() {
    // RFC 9112 section 9.6: who intends to close says `Connection: close`, or the caller
    // sends its next request into a connection that is gone.
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send("POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 100000\r\n\r\npart");
    let response = caller.read_response().expect_problem(404, "destination_not_found");
    assert_eq!(response.field("connection").as_deref(), Some("close"));
    caller.expect_closed();
}

/// A caller or an app may send a chunk for each byte: each has to be read, and none needs a system
/// call of its own to be passed on.
#[test]
fn tiny_chunks_that_come_together_leave_together() {
    const CHUNKS: usize = 4000;
    let tiny = "1\r\nx\r\n".repeat(CHUNKS);
    let app = ScriptedApp::start({
        let answer =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{tiny}0\r\n\r\n");
        move |connection| {
            while let Some(request) = connection.next_request() {
                assert_eq!(request.content.len(), CHUNKS);
                connection.send(&answer);
            }
        }
    });
    let folder = Folder::new();
    let text = config("off", &["hello"], app.address());
    let gateway = Serve::start(&folder.write("gateway.toml", text));
    let writes = || {
        let io = std::fs::read_to_string(format!("/proc/{}/io", gateway.pid())).unwrap();
        let line = io.lines().find(|line| line.starts_with("syscw: ")).unwrap();
        line["syscw: ".len()..].parse::<usize>().unwrap()
    };
    let mut caller = Caller::to(gateway.address);
    let body = format!("{tiny}0\r\n\r\n");
    let text = request("POST /", "Transfer-Encoding: chunked\r\n", &body);
    let before = writes();
    caller.send(text);
    let response = caller.read_response().expect(200);
    assert_eq!(response.body.len(), CHUNKS);
    let count = writes() - before;
    // 24 KB each way, in as many writes as reads brought them.
    assert!(count < CHUNKS / 10, "{count} writes");
    gateway.finish();
}

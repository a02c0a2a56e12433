//! Peers that are slow: whoever goes on, however slowly, is waited for; whoever
//! stops is given up at the configured time. And uploads that an app does not
//! want: its answer reaches a caller who is still sending.

use std::time::{Duration, Instant};

use ignite_gateway::config::{Config, Protocol};

use crate::support::app::AppConnection;
use crate::support::caller::{get, request};
use crate::support::frames::{
    self, DATA, END_STREAM, Frames, INITIAL_WINDOW_SIZE, NO_ERROR, frame, headers, post, reset,
    window_update,
};
use crate::support::{Caller, Gateway, PIECE, ScriptedApp, Signal};

/// How long the gateway waits in these tests.
const PATIENCE: Duration = Duration::from_millis(400);
/// Between two pieces of somebody slow.
const PAUSE: Duration = Duration::from_millis(100);
/// Together they take twice as long as may pass in silence.
const PIECES: usize = 8;

fn impatient(app: &ScriptedApp, protocol: Protocol) -> Gateway {
    Gateway::of_with(app.address(), |config: &mut Config| {
        config.timeouts.header = PATIENCE;
        config.timeouts.response = PATIENCE;
        config.timeouts.idle_body = PATIENCE;
        config.apps[0].ports[0].protocol = protocol;
    })
}

/// How long something took, which must not be before the gateway's patience ends.
#[track_caller]
fn patiently<T>(what: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = what();
    let took = start.elapsed();
    // Well below anything else that could end it.
    assert!((PATIENCE..PATIENCE * 10).contains(&took), "{took:?}");
    result
}

fn slowly(mut piece: impl FnMut()) {
    for _ in 0..PIECES {
        std::thread::sleep(PAUSE);
        piece();
    }
}

#[test]
fn a_head_that_comes_byte_by_byte_has_the_time_of_a_head_and_no_more() {
    let app = ScriptedApp::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let gateway = impatient(&app, Protocol::Http1);
    let mut caller = Caller::new(&gateway);
    patiently(|| {
        caller.send("GET / HTTP/1.1\r\nX-Slow: ");
        for _ in 0..PIECES {
            std::thread::sleep(PAUSE);
            let _ = caller.try_send("x");
        }
        caller.read_response().expect_problem(408, "http_request_error");
    });
    assert_eq!(app.connections(), 0);
}

#[test]
fn an_answers_head_that_comes_byte_by_byte_has_the_time_of_an_answer_and_no_more() {
    let app = ScriptedApp::start(|connection| {
        connection.next_request().expect("a request");
        connection.send("HTTP/1.1 200 OK\r\nX-Slow: ");
        slowly(|| drop(connection.try_send("x")));
    });
    let gateway = impatient(&app, Protocol::Http1);
    let mut caller = Caller::new(&gateway);
    caller.send(get("/"));
    patiently(|| caller.read_response().expect_problem(504, "http_response_timeout"));
}

#[test]
fn an_upload_that_goes_on_slowly_is_waited_for_and_one_that_stops_is_408() {
    let app = ScriptedApp::start(|connection| {
        while connection.try_request().is_ok() {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let gateway = impatient(&app, Protocol::Http1);
    for ending in [true, false] {
        let length = format!("Content-Length: {}\r\n", PIECES + 1);
        let mut caller = Caller::new(&gateway);
        caller.send(request("POST /", &length, ""));
        slowly(|| caller.send("x"));
        if ending {
            caller.send("x");
            caller.read_response().expect(200);
        } else {
            patiently(|| caller.read_response().expect_problem(408, "http_request_error"));
        }
        let mut caller = Frames::call(&gateway);
        caller.send(post(1, "/"));
        slowly(|| caller.send(frame(DATA, 0, 1, "x")));
        if ending {
            let _ = caller.ask(1, frame(DATA, END_STREAM, 1, "x")).expect(200);
        } else {
            patiently(|| {
                let _ = caller.answer(1).expect_problem(408, "http_request_error");
            });
        }
    }
}

#[test]
fn an_answer_that_goes_on_slowly_is_waited_for_and_one_that_stops_is_broken_off() {
    let app = ScriptedApp::start(|connection| {
        let stops = connection.next_head().expect("a request").target() == b"/stops";
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        slowly(|| connection.send("1\r\nx\r\n"));
        if stops {
            connection.expect_closed();
        } else {
            connection.send("0\r\n\r\n");
        }
    });
    let gateway = impatient(&app, Protocol::Http1);
    for (target, whole) in [("/goes-on", true), ("/stops", false)] {
        let response = Caller::ask(&gateway, get(target)).expect(200);
        assert_eq!((response.body.len(), response.complete), (PIECES, whole));
        let message = Frames::call(&gateway).ask(1, frames::get(1, target));
        assert_eq!((message.content.len(), message.whole), (PIECES, whole), "{message:?}");
    }
}

/// Large enough that no buffers on the way hold it.
const LARGE: usize = 64 << 20;

fn send_much(connection: &mut AppConnection) {
    connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
    for _ in 0..LARGE / PIECE.len() {
        if connection.try_send(PIECE).is_err() {
            return;
        }
    }
}

#[test]
fn a_caller_who_reads_slowly_is_waited_for_and_one_who_stops_is_given_up() {
    let gone = Signal::new();
    let app = ScriptedApp::start({
        let gone = gone.clone();
        move |connection| {
            connection.next_request().expect("a request");
            send_much(connection);
            gone.give();
        }
    });
    let gateway = impatient(&app, Protocol::Http1);
    let mut caller = Caller::with_small_buffers(&gateway);
    caller.send(get("/"));
    caller.read_head();
    // As much as makes a window open again.
    slowly(|| drop(caller.read_exactly(32 << 10)));
    assert!(!gone.is_given(), "it was given up while it read");
    gone.wait();
    gateway.wait_idle();
}

#[test]
fn an_http2_caller_who_opens_its_window_slowly_is_waited_for_and_one_who_stops_is_given_up() {
    let app = ScriptedApp::start(|connection| {
        connection.next_request().expect("a request");
        send_much(connection);
    });
    let gateway = impatient(&app, Protocol::Http1);
    let mut caller = Frames::call_with(&gateway, &[(INITIAL_WINDOW_SIZE, 10)]);
    caller.gives_windows = false;
    caller.send(frames::get(1, "/"));
    slowly(|| caller.send(window_update(1, 10)));
    let message = patiently(|| caller.answer(1));
    assert_eq!(message.content.len(), 10 * (PIECES + 1), "{message:?}");
    assert!(message.reset.is_some() && !message.whole, "{message:?}");
}

#[test]
fn an_app_that_reads_an_upload_slowly_is_waited_for_and_one_that_stops_is_504() {
    let (stop, done) = (Signal::new(), Signal::new());
    let app = ScriptedApp::start({
        let (stop, done) = (stop.clone(), done.clone());
        move |connection| {
            connection.head();
            slowly(|| drop(connection.body(256 << 10)));
            stop.give();
            // Neither reads nor closes.
            done.wait();
        }
    });
    let gateway = impatient(&app, Protocol::Http1);
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", &format!("Content-Length: {LARGE}\r\n"), ""));
    caller.send_until_blocked(&PIECE, LARGE, PAUSE);
    caller.read_response().expect_problem(504, "http_response_timeout");
    assert!(stop.is_given(), "it was given up while it read");
    done.give();
}

/// How an app ends a connection on which it has answered.
#[derive(Debug, Clone, Copy)]
enum End {
    Close,
    Reset,
    /// Not at all: that is left to the gateway.
    Stay,
}

const TOO_LARGE: &str =
    "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge";

/// An app that refuses an upload as soon as it has its head.
fn refusing(end: End) -> ScriptedApp {
    ScriptedApp::start(move |connection| {
        connection.head();
        connection.send(TOO_LARGE);
        match end {
            End::Close => {}
            End::Reset => connection.reset(),
            End::Stay => drop(connection.read_to_close()),
        }
    })
}

/// The same, speaking HTTP/2.
fn refusing_http2(end: End) -> ScriptedApp {
    ScriptedApp::start(move |connection| {
        let mut app = connection.http2(&[]);
        let mut last = 0;
        while let Some(id) = app.next_stream(last) {
            last = id;
            let fields = [(":status", "413"), ("content-length", "5")];
            let answer = [headers(id, 0, &fields), frame(DATA, END_STREAM, id, "large")].concat();
            app.send([answer, reset(id, NO_ERROR)].concat());
            match end {
                End::Close => return,
                End::Reset => return connection.reset(),
                End::Stay => {}
            }
        }
    })
}

fn refusals() -> impl Iterator<Item = (String, ScriptedApp, Protocol)> {
    [End::Close, End::Reset, End::Stay].into_iter().flat_map(|end| {
        [
            (format!("HTTP/1.1, {end:?}"), refusing(end), Protocol::Http1),
            (format!("HTTP/2, {end:?}"), refusing_http2(end), Protocol::H2c),
        ]
    })
}

#[test]
fn an_answer_to_an_upload_under_way_reaches_a_caller_who_reads_when_all_is_sent() {
    for (name, app, protocol) in refusals() {
        let gateway = impatient(&app, protocol);
        for round in 0..5 {
            let chunked = round % 2 == 1;
            let mut caller = Caller::new(&gateway);
            if chunked {
                caller.send(request("POST /", "Transfer-Encoding: chunked\r\n", ""));
            } else {
                caller.send(request("POST /", &format!("Content-Length: {LARGE}\r\n"), ""));
            }
            let piece =
                if chunked { [b"10000\r\n", &PIECE[..], b"\r\n"].concat() } else { PIECE.to_vec() };
            for sent in 0..LARGE / PIECE.len() {
                let taken = caller.try_send(&piece);
                assert!(taken.is_ok(), "{name}, {chunked}: {taken:?} after {sent} pieces");
            }
            let response = caller.read_response().expect(413);
            assert!(response.complete && response.text() == "large", "{name} {response:?}");
            assert_eq!(response.field("connection").as_deref(), Some("close"), "{name}");
            caller.expect_closed();
        }
        gateway.wait_idle();
    }
}

#[test]
fn an_answer_to_an_upload_under_way_reaches_an_http2_caller() {
    for (name, app, protocol) in refusals() {
        let gateway = impatient(&app, protocol);
        let mut caller = Frames::call(&gateway);
        for round in 0..5 {
            let id = 2 * round + 1;
            // All that its window holds, before it reads a byte.
            let content = frame(DATA, 0, id, [0; 16 << 10]).repeat(3);
            let message = caller.ask(id, [post(id, "/"), content].concat());
            assert_eq!(message.status(), 413, "{name} {message:?}");
            assert!(message.whole && message.content == b"large", "{name} {message:?}");
            // RFC 9113 section 8.1: the rest is not wanted, and that is no error.
            assert!(message.reset.is_none_or(|code| code == NO_ERROR), "{name} {message:?}");
        }
        gateway.wait_idle();
    }
}

#[test]
fn an_app_that_answers_for_long_without_reading_the_upload_is_heard_to_its_end() {
    let app = ScriptedApp::start(|connection| {
        connection.shrink_buffers();
        connection.head();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        slowly(|| connection.send("1\r\nx\r\n"));
        connection.send("0\r\n\r\n");
        connection.read_to_close();
    });
    let gateway = impatient(&app, Protocol::Http1);
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", &format!("Content-Length: {LARGE}\r\n"), ""));
    caller.send_until_blocked(&PIECE, LARGE, PAUSE);
    let response = caller.read_response().expect(200);
    assert_eq!((response.body.len(), response.complete), (PIECES, true));
}

#[test]
fn an_http2_app_that_answers_for_long_without_reading_the_upload_is_heard_to_its_end() {
    let app = ScriptedApp::start(|connection| {
        let mut app = connection.http2(&[]);
        app.gives_windows = false;
        let id = app.next_stream(0).expect("a request");
        app.send(headers(id, 0, &[(":status", "200")]));
        slowly(|| app.send(frame(DATA, 0, id, "x")));
        app.send(frame(DATA, END_STREAM, id, ""));
        app.read_to_close();
    });
    let gateway = impatient(&app, Protocol::H2c);
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", &format!("Content-Length: {LARGE}\r\n"), ""));
    caller.send_until_blocked(&PIECE, LARGE, PAUSE);
    let response = caller.read_response().expect(200);
    assert_eq!((response.body.len(), response.complete), (PIECES, true));
}

//! Callers who leave while their upload is unread: its bytes stand before the end of what they
//! sent, and still their places go to others at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ignite_gateway::config::Protocol;

use crate::support::caller::{get, request};
use crate::support::frames::{
    self, DATA, END_STREAM, Frames, INITIAL_WINDOW_SIZE, frame, headers, post, reset,
};
use crate::support::tls::{Authority, Files};
use crate::support::{
    Caller, EchoHeads, Gateway, HOST, LIMIT, PIECE, ScriptedApp, Signal, app, eventually,
};

/// How a caller goes.
const WAYS: [fn(Caller); 2] = [Caller::leave, Caller::reset];
const MUCH: usize = 64 << 20;

fn waiting(gateway: &Gateway) -> usize {
    gateway.route(HOST).shared.waiting.load(Ordering::SeqCst)
}

#[track_caller]
fn wait_waiting(gateway: &Gateway, count: usize) {
    eventually(&format!("{count} wait"), || waiting(gateway) == count);
}

/// A gateway whose app has no endpoint: its callers wait for much longer than a test does.
fn cold() -> Gateway {
    Gateway::with(|config| {
        config.timeouts.ready = LIMIT * 10;
        config.timeouts.idle_body = LIMIT * 10;
        config.apps.push(app("acme/hello", &[(80, &[])]));
    })
}

fn upload(length: usize) -> String {
    request("POST /", &format!("Content-Length: {length}\r\n"), "")
}

#[test]
fn whoever_leaves_the_line_frees_the_place_at_once_however_much_of_the_upload_is_unread() {
    let gateway = cold();
    let expects = request("POST /", "Expect: 100-continue\r\nContent-Length: 9\r\n", "");
    let chunked = request("POST /", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n");
    // As much as the gateway reads ahead, and more, in what the kernel takes: behind that no end of
    // anything arrives, only a reset does.
    let heads = [get("/"), expects, chunked, upload(MUCH), upload(MUCH), upload(MUCH)];
    let bodies = [0, 0, 0, 16 << 10, 48 << 10, MUCH];
    for (head, body) in heads.iter().zip(bodies) {
        for leave in if body < MUCH { &WAYS[..] } else { &WAYS[1..] } {
            let mut caller = Caller::new(&gateway);
            caller.send(head);
            wait_waiting(&gateway, 1);
            if body < MUCH {
                caller.send(vec![0; body]);
            } else {
                caller.send_until_blocked(&PIECE, MUCH, Duration::from_millis(200));
            }
            assert_eq!(waiting(&gateway), 1);
            leave(caller);
            wait_waiting(&gateway, 0);
        }
    }
    gateway.wait_idle();
}

#[test]
fn whoever_leaves_the_line_over_tls_frees_the_place_at_once() {
    let authority = Authority::new();
    let files = Files::new();
    files.put("site", &authority.issue(&[HOST]));
    let gateway = Gateway::with(|config| {
        config.timeouts.ready = LIMIT * 10;
        config.listeners[0].tls = Some(files.tls(&["site"]));
        config.apps.push(app("acme/hello", &[(80, &[])]));
    });
    for body in [0, MUCH] {
        let mut caller = Caller::over_tls(gateway.address(), &authority.client(), HOST);
        caller.send(if body == 0 { get("/") } else { upload(MUCH) });
        wait_waiting(&gateway, 1);
        if body > 0 {
            caller.send(vec![0; 40 << 10]);
        }
        caller.leave();
        wait_waiting(&gateway, 0);
    }
}

#[test]
fn a_stream_that_is_reset_or_whose_connection_ends_frees_its_place_at_once() {
    let gateway = cold();
    for ends_connection in [false, true] {
        let mut caller = Frames::call(&gateway);
        caller.send(post(1, "/"));
        wait_waiting(&gateway, 1);
        // As much as the windows allow, none of which is read.
        for _ in 0..3 {
            caller.send(frame(DATA, 0, 1, &PIECE[..16 << 10]));
        }
        caller.send(frames::get(3, "/"));
        wait_waiting(&gateway, 2);
        if ends_connection {
            drop(caller);
        } else {
            caller.send(reset(1, 8));
            wait_waiting(&gateway, 1);
            caller.send(reset(3, 8));
        }
        wait_waiting(&gateway, 0);
    }
    gateway.wait_idle();
}

/// An app that does not read the upload of its first request, which it may answer in part.
fn unreading(answers: bool) -> (ScriptedApp, Signal) {
    let (asked, done) = (Arc::new(AtomicUsize::new(0)), Signal::new());
    let app = ScriptedApp::start({
        let done = done.clone();
        move |connection| {
            connection.shrink_buffers();
            if asked.fetch_add(1, Ordering::SeqCst) > 0 {
                while connection.next_request().is_some() {
                    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                }
                return;
            }
            connection.head();
            if answers {
                connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
            }
            done.wait();
        }
    });
    (app, done)
}

/// The same, speaking HTTP/2: it takes ten bytes of an upload, and no more.
fn unreading_http2(answers: bool) -> ScriptedApp {
    ScriptedApp::start(move |connection| {
        let mut app = connection.http2(&[(INITIAL_WINDOW_SIZE, 10)]);
        app.gives_windows = false;
        let mut last = 0;
        while let Some(id) = app.next_stream(last) {
            let ok = [(":status", "200")];
            if last > 0 {
                app.send(headers(id, END_STREAM, &ok));
            } else if answers {
                app.send([headers(id, 0, &ok), frame(DATA, 0, id, "a")].concat());
            }
            last = id;
        }
    })
}

/// One request at a time, and nothing that ends one by itself within a test.
fn stalled(app: &ScriptedApp, protocol: Protocol) -> Gateway {
    Gateway::of_with(app.address(), |config| {
        config.limits.app_concurrency = 1;
        config.timeouts.ready = LIMIT * 10;
        config.timeouts.idle_body = LIMIT * 10;
        config.apps[0].ports[0].protocol = protocol;
    })
}

/// Waits for the turn of whoever has it.
fn next(gateway: &Gateway) -> Caller {
    let mut next = Caller::new(gateway);
    next.send(get("/"));
    wait_waiting(gateway, 1);
    next
}

/// Begins an upload of which a part is read and a part is not.
fn begin_upload(gateway: &Gateway) -> Caller {
    let mut caller = Caller::new(gateway);
    caller.send(upload(MUCH));
    caller.send(&PIECE[..16 << 10]);
    gateway.wait_busy(HOST, 1);
    caller
}

#[test]
fn whoever_leaves_in_an_upload_that_its_app_does_not_read_gives_the_turn_to_the_next() {
    for answers in [false, true] {
        for leave in WAYS {
            let app = unreading_http2(answers);
            let gateway = stalled(&app, Protocol::H2c);
            let mut caller = begin_upload(&gateway);
            let mut next = next(&gateway);
            caller.send(&PIECE[..40 << 10]);
            if answers {
                assert_eq!(caller.read_head().word(1), b"200");
                assert_eq!(caller.read_chunk().as_deref(), Some(&b"a"[..]));
            }
            leave(caller);
            next.read_response().expect(200);
            gateway.wait_idle();
        }
        let (app, done) = unreading(answers);
        let gateway = stalled(&app, Protocol::Http1);
        let mut caller = begin_upload(&gateway);
        let mut next = next(&gateway);
        let sent = caller.send_until_blocked(&PIECE, MUCH, Duration::from_millis(300));
        assert!(sent < MUCH, "the app's buffers took it all");
        caller.reset();
        next.read_response().expect(200);
        done.give();
        gateway.wait_idle();
    }
}

#[test]
fn a_stream_that_ends_in_an_upload_that_its_app_does_not_read_gives_the_turn_to_the_next() {
    for ends_connection in [false, true] {
        let app = unreading_http2(false);
        let gateway = stalled(&app, Protocol::H2c);
        let mut caller = Frames::call(&gateway);
        caller.send(post(1, "/"));
        let piece = frame(DATA, 0, 1, &PIECE[..16 << 10]);
        for _ in 0..3 {
            caller.send(&piece);
        }
        gateway.wait_busy(HOST, 1);
        let mut next = next(&gateway);
        if ends_connection {
            drop(caller);
        } else {
            caller.send(reset(1, 8));
        }
        next.read_response().expect(200);
        gateway.wait_idle();
    }
}

/// A pause in an upload is no departure, whoever made it.
#[test]
fn an_upload_that_its_app_reads_after_a_long_pause_is_whole() {
    const LENGTH: usize = 32 << 20;
    let go_on = Signal::new();
    let app = ScriptedApp::start({
        let go_on = go_on.clone();
        move |connection| {
            connection.head();
            go_on.wait();
            assert_eq!(connection.body(LENGTH).len(), LENGTH);
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let gateway = stalled(&app, Protocol::Http1);
    let mut caller = Caller::new(&gateway);
    caller.send(upload(LENGTH));
    let sent = caller.send_until_blocked(&PIECE, LENGTH, Duration::from_millis(2500));
    assert!(sent < LENGTH);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            caller.send(vec![0; LENGTH - sent]);
            caller.read_response().expect(200)
        });
        go_on.give();
        sending.join().unwrap();
    });
    gateway.wait_idle();
}

/// Whoever waits in line with an upload is served like everybody when there is an endpoint.
#[test]
fn an_upload_that_waited_in_line_unread_is_whole() {
    let echo = EchoHeads::start();
    let mut gateway = cold();
    let mut caller = Caller::new(&gateway);
    let body = vec![7; 90 << 10];
    caller.send(upload(body.len()));
    wait_waiting(&gateway, 1);
    caller.send(&body);
    let mut other = Caller::new(&gateway);
    other.send(get("/"));
    wait_waiting(&gateway, 2);
    let address = echo.address();
    gateway.reload(|config| config.apps[0].ports[0].endpoints = vec![address]);
    caller.read_response().expect(200);
    other.read_response().expect(200);
    assert!(echo.seen().iter().any(|seen| seen.content == body));
}

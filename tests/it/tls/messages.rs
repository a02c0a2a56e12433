//! HTTP over TLS: what passes, and what a cut looks like.

use std::time::Duration;

use super::{gateway, gateway_with};
use crate::support::caller::{get, request};
use crate::support::tls::Authority;
use crate::support::{Caller, EchoHeads, Ended, HOST, PIECE, ScriptedApp, Signal};

#[test]
fn a_request_passes_and_the_app_learns_that_it_came_over_tls() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, _files) = gateway(&authority, app.address());
    let mut caller = Caller::over_tls(gateway.address(), &authority.client(), HOST);
    for _ in 0..3 {
        let _ = caller.get("/").expect(200);
        assert_eq!(app.last().field("x-forwarded-proto").as_deref(), Some("https"));
        assert_eq!(app.last().field("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    }
}

#[test]
fn large_bodies_pass_whole_in_both_directions() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, _files) = gateway(&authority, app.address());
    let mut caller = Caller::over_tls(gateway.address(), &authority.client(), HOST);
    // Sizes around those of records and buffers.
    for size in [0_usize, 1, 4095, 4096, 16_383, 16_384, 16_385, 65_536, 65_537, 5_000_000] {
        let body: String = (b'a'..=b'w').map(char::from).cycle().take(size).collect();
        let length = format!("Content-Length: {size}\r\n");
        caller.send(request("POST /", &length, &body));
        let response = caller.read_response().expect(200);
        assert!(response.complete);
        assert!(response.body.ends_with(body.as_bytes()), "{size}");
        assert_eq!(app.last().content.len(), size);
    }
}

#[test]
fn pieces_of_a_response_are_passed_on_as_they_come() {
    let authority = Authority::new();
    let next = Signal::new();
    let app = ScriptedApp::start({
        let next = next.clone();
        move |connection| {
            connection.head();
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
            next.wait();
            connection.send("3\r\ntwo\r\n0\r\n\r\n");
        }
    });
    let (gateway, _files) = gateway(&authority, app.address());
    let mut caller = Caller::over_tls(gateway.address(), &authority.client(), HOST);
    caller.send(get("/"));
    let _ = caller.read_head();
    assert_eq!(caller.read_chunk().as_deref(), Some(&b"one"[..]));
    next.give();
    assert_eq!(caller.read_chunk().as_deref(), Some(&b"two"[..]));
    assert_eq!(caller.read_chunk(), None);
}

#[test]
fn a_caller_who_waits_for_100_gets_it() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, _files) = gateway(&authority, app.address());
    let mut caller = Caller::over_tls(gateway.address(), &authority.client(), HOST);
    let fields = "Content-Length: 5\r\nExpect: 100-continue\r\n";
    caller.send(request("POST /", fields, ""));
    assert_eq!(caller.read_response().status, 100);
    caller.send("hello");
    let _ = caller.read_response().expect(200);
    assert_eq!(app.last().content, b"hello");
}

#[test]
fn a_caller_who_does_not_read_stops_the_app_and_then_gets_everything() {
    let authority = Authority::new();
    let (size, stuck) = (100 << 20, Signal::new());
    let app = ScriptedApp::start({
        let stuck = stuck.clone();
        move |connection| {
            connection.shrink_buffers();
            connection.head();
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"));
            let sent = connection.send_until_blocked(&PIECE, size, Duration::from_millis(500));
            assert!(sent < 32 << 20, "{sent} bytes are somewhere");
            stuck.give();
            for piece in vec![0; size - sent].chunks(PIECE.len()) {
                connection.send(piece);
            }
        }
    });
    let (gateway, _files) = gateway(&authority, app.address());
    let mut caller = Caller::over_tls(gateway.address(), &authority.client(), HOST);
    caller.send(get("/"));
    stuck.wait();
    let response = caller.read_response().expect(200);
    assert!(response.complete);
    assert_eq!(response.body.len(), size);
}

#[test]
fn an_orderly_close_says_so_whoever_begins_it() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, _files) = gateway_with(&authority, app.address(), |config| {
        config.timeouts.keepalive = Duration::from_millis(200);
    });
    // The caller asks for it.
    let mut caller = Caller::over_tls(gateway.address(), &authority.client(), HOST);
    caller.send(request("GET /", "Connection: close\r\n", ""));
    let _ = caller.read_response().expect(200);
    assert_eq!(caller.read_to_close(), (Vec::new(), Ended::Eof));
    // The connection is idle for too long.
    let mut caller = Caller::over_tls(gateway.address(), &authority.client(), HOST);
    let _ = caller.get("/").expect(200);
    assert_eq!(caller.read_to_close(), (Vec::new(), Ended::Eof));
    // The caller closes.
    let mut caller = Caller::over_tls(gateway.address(), &authority.client(), HOST);
    let _ = caller.get("/").expect(200);
    caller.session().close();
    assert_eq!(caller.read_to_close(), (Vec::new(), Ended::Eof));
    // The gateway drains.
    let mut caller = Caller::over_tls(gateway.address(), &authority.client(), HOST);
    let _ = caller.get("/").expect(200);
    gateway.drain();
    assert_eq!(caller.read_to_close(), (Vec::new(), Ended::Eof));
}

#[test]
fn a_response_that_breaks_off_is_cut_and_not_closed() {
    for head in ["Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n", "Content-Length: 9\r\n\r\none"] {
        let authority = Authority::new();
        let app = ScriptedApp::answering_once(format!("HTTP/1.1 200 OK\r\n{head}"));
        let (gateway, _files) = gateway(&authority, app.address());
        let mut caller = Caller::over_tls(gateway.address(), &authority.client(), HOST);
        caller.send(get("/"));
        let response = caller.read_response().expect(200);
        assert!(!response.complete, "{response:?}");
        let (rest, ended) = caller.read_to_close();
        assert!(rest.is_empty());
        assert_ne!(ended, Ended::Eof, "nothing may look like an end");
    }
}

#[test]
fn a_response_without_a_length_that_breaks_off_is_reset() {
    // To HTTP/1.0 only the close ends such a response, so it must not look like one.
    let authority = Authority::new();
    let broken = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n";
    let app = ScriptedApp::answering_once(broken);
    let (gateway, _files) = gateway(&authority, app.address());
    let mut caller = Caller::over_tls(gateway.address(), &authority.client(), HOST);
    caller.send(format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n"));
    let response = caller.read_response().expect(200);
    assert!(!response.complete, "{response:?}");
}

#[test]
fn a_request_body_that_is_cut_never_looks_complete() {
    for (fields, part) in [
        ("Content-Length: 100\r\n", "only a part"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
    ] {
        // By a close of the socket alone, and by a close_notify, which is no end of a body either.
        for orderly in [false, true] {
            let authority = Authority::new();
            let app = ScriptedApp::start(|connection| {
                let broken = connection.try_request();
                assert!(broken.is_err(), "complete: {broken:?}");
            });
            let (gateway, _files) = gateway(&authority, app.address());
            let mut caller = Caller::over_tls(gateway.address(), &authority.client(), HOST);
            caller.send(request("POST /", fields, part));
            gateway.wait_busy(HOST, 1);
            if orderly {
                caller.session().close();
            } else {
                caller.finish_sending();
            }
            gateway.wait_idle();
            drop(caller);
            app.wait_finished(1);
        }
    }
}

#[test]
fn plain_http_at_a_tls_port_is_told_so() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, _files) = gateway(&authority, app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(get("/"));
    let response = caller.read_response().expect_problem(400, "http_request_error");
    assert!(response.text().contains("HTTPS port"), "{}", response.text());
    caller.expect_closed();
    super::expect_failures(&gateway, "plain_http", 1);
    assert!(app.seen().is_empty());
}

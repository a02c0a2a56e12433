//! Hostile and broken apps: what they answer reaches the caller whole, visibly
//! broken or not at all, and never a request that did not ask for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::app::AppConnection;
use crate::support::caller::{get, request};
use crate::support::edge::{Edge, QUICK};
use crate::support::{
    Caller, EchoHeads, Ended, Gateway, HOST, ScriptedApp, Signal, app, eventually, show,
};

/// An app that answers with these bytes and closes must come out as 502.
#[track_caller]
fn expect_bad_gateway(answer: &[u8], error: &str) {
    let app = ScriptedApp::answering_once(answer);
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(get("/"));
    let response = caller.read_response();
    assert_eq!(response.status, 502, "{}\n{response:?}", show(answer));
    response.expect_problem(502, error);
}

#[test]
fn a_response_whose_framing_could_be_read_in_two_ways_is_a_bad_gateway() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 05\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n5\r\nhello\r\n0\r\n\r\n");
        expect_bad_gateway(answer.as_bytes(), "http_protocol_error");
    }
    let answer = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    expect_bad_gateway(answer, "http_protocol_error");
}

#[test]
fn a_response_head_that_is_not_http_1_is_a_bad_gateway() {
    for answer in [
        &b"garbage\r\n\r\n"[..],
        b"<html>hello</html>",
        b"<html>\r\n</html>\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/3.0 200 OK\r\n\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 600 Odd\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"HTTP/1.1 000 Odd\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A : 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n X-A: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: a\rb\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX A: 1\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    ] {
        expect_bad_gateway(answer, "http_protocol_error");
    }
}

#[test]
fn a_response_head_over_the_limit_is_a_bad_gateway() {
    let answer = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\n", "a".repeat(70 << 10));
    expect_bad_gateway(answer.as_bytes(), "http_response_header_section_size");
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "X-A: 1\r\n".repeat(10_000));
    expect_bad_gateway(endless.as_bytes(), "http_response_header_section_size");
}

#[test]
fn an_app_that_switches_protocols_unasked_is_a_bad_gateway() {
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    for fields in ["", "Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"] {
        let app = ScriptedApp::start(move |connection| {
            connection.head();
            let _ = connection.try_send(format!("{switch}raw bytes of another protocol"));
            connection.expect_closed();
        });
        let gateway = Gateway::of(app.address());
        let response = Caller::ask(&gateway, request("GET /", fields, ""));
        assert_eq!(response.status, 502);
        assert!(!show(&response.body).contains("raw bytes"));
        assert_eq!(response.field("content-type").as_deref(), Some("application/problem+json"));
        app.wait_finished(1);
    }
}

#[test]
fn interim_responses_are_not_relayed_and_a_flood_of_them_ends() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n";
    let answer = format!(
        "HTTP/1.1 100 Continue\r\n\r\n{interim}HTTP/1.1 102 P\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    );
    let app = ScriptedApp::answering(answer);
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    for _ in 0..2 {
        assert_eq!(caller.get("/").expect(200).text(), "ok");
    }

    let app = ScriptedApp::start(move |connection| {
        connection.head();
        let mut sent = 0;
        while connection.try_send(interim).is_ok() {
            sent += 1;
            assert!(sent < 100_000, "the flood was never stopped");
        }
    });
    let gateway = Gateway::of(app.address());
    Caller::ask(&gateway, get("/")).expect_problem(502, "http_protocol_error");
    app.wait_finished(1);
}

/// The response that poisons would be read as the next one's.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

#[test]
fn bytes_sent_together_with_a_response_never_reach_the_next_request() {
    for answer in [
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{POISON}"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{POISON}"),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{POISON}"
        ),
        format!("HTTP/1.1 204 No Content\r\n\r\n{POISON}"),
        format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello{POISON}"),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokk".to_owned(),
    ] {
        let app = ScriptedApp::start(move |connection| {
            connection.head();
            connection.send(&answer);
            connection.expect_closed();
        });
        let gateway = Gateway::of(app.address());
        let mut caller = Caller::new(&gateway);
        for _ in 0..3 {
            let response = caller.get("/");
            assert!(response.status < 400, "{response:?}");
            assert!(matches!(response.text().as_str(), "" | "ok"), "{response:?}");
        }
        caller.expect_silence();
        assert_eq!(app.connections(), 3);
    }
}

#[test]
fn a_body_on_a_response_to_head_never_reaches_the_next_request() {
    let app = ScriptedApp::start(move |connection| {
        while let Some(request) = connection.next_request() {
            let to_head = request.head.word(0) == b"HEAD";
            let body = if to_head { POISON } else { "ok" };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            if connection.try_send(format!("{head}{body}")).is_err() {
                return;
            }
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    for _ in 0..3 {
        caller.send(request("HEAD /", "", ""));
        let response = caller.read_response_to_head().expect(200);
        assert_eq!(response.field("content-length"), Some(POISON.len().to_string()));
        assert_eq!(caller.get("/").expect(200).text(), "ok");
    }
}

#[test]
fn bytes_sent_after_a_response_was_read_never_reach_the_next_request() {
    let (answered, poisoned) = (Signal::new(), Signal::new());
    let app = ScriptedApp::start({
        let (answered, poisoned) = (answered.clone(), poisoned.clone());
        move |connection: &mut AppConnection| {
            while connection.next_request().is_some() {
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                if connection.number == 0 && !poisoned.is_given() {
                    answered.wait();
                    connection.send(POISON);
                    poisoned.give();
                }
            }
        }
    });
    let gateway = Gateway::of(app.address());
    let mut first = Caller::new(&gateway);
    let mut second = Caller::new(&gateway);
    assert_eq!(first.get("/").expect(200).text(), "ok");
    answered.give();
    poisoned.wait();
    // The stray bytes are in the gateway's socket now, before the next request is.
    let response = second.get("/");
    assert_ne!(response.text(), "poison", "another caller got an answer to no request");
    response.expect(200);
}

#[test]
fn one_apps_stray_bytes_never_reach_another_app() {
    let hostile = ScriptedApp::answering(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{POISON}{POISON}"
    ));
    let honest = EchoHeads::start();
    let gateway = Gateway::with(|config| {
        config.apps.push(app("evil/app", &[(80, &[hostile.address()])]));
        config.apps.push(app("acme/hello", &[(80, &[honest.address()])]));
    });
    let mut caller = Caller::new(&gateway);
    for _ in 0..5 {
        caller.send("GET / HTTP/1.1\r\nHost: app-evil.ignite.test\r\n\r\n");
        assert_eq!(caller.read_response().expect(200).text(), "ok");
        assert!(caller.get("/").expect(200).text().starts_with("GET / HTTP/1.1"));
    }
}

#[test]
fn a_response_before_any_request_does_not_shift_those_after_it() {
    let (answered, told) = (Arc::new(AtomicUsize::new(0)), Signal::new());
    let app = ScriptedApp::start({
        let (answered, told) = (answered.clone(), told.clone());
        move |connection| {
            if connection.number == 0 {
                // As soon as it is connected, before it has read anything.
                connection.send(POISON);
            }
            while let Some(seen) = connection.next_request() {
                told.wait();
                let body = show(seen.head.target());
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = connection.try_send(format!("{head}{body}"));
                answered.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    // The first answer may be the early one or a refusal: nobody can tell on a new connection.
    let _ = caller.get("/0");
    told.give();
    for number in 1..10 {
        eventually("the app answered", || answered.load(Ordering::SeqCst) == number);
        let target = format!("/{number}");
        assert_eq!(caller.get(&target).text(), target);
    }
}

/// What a caller gets of a response that breaks off after its head.
#[track_caller]
fn expect_visibly_broken(answer: &str, reset: bool) {
    let answer = answer.to_owned();
    let text = answer.clone();
    let app = ScriptedApp::start(move |connection| {
        connection.head();
        connection.send(&answer);
        if reset {
            connection.reset();
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(get("/"));
    // A reset may overtake the head, which the gateway then never saw.
    if let Ok(response) = caller.try_read_response(false) {
        if response.status == 502 && reset {
            return;
        }
        assert_eq!(response.status, 200, "{text:?}");
        assert!(!response.complete, "looks complete: {text:?} {response:?}");
    }
    caller.expect_closed();
}

#[test]
fn a_response_that_breaks_off_is_visibly_broken() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: 1\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        expect_visibly_broken(answer, false);
        expect_visibly_broken(answer, true);
    }
}

#[test]
fn a_response_with_bad_chunks_is_visibly_broken() {
    for body in [
        "5\r\nhello\r\n-1\r\n",
        "5\r\nhello\r\n0x1\r\na\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : 1\r\n\r\n",
        "5\r\nhello\r\nfffffffffffffffff\r\n",
    ] {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        expect_visibly_broken(&format!("{head}{body}"), false);
    }
}

#[test]
fn a_response_that_only_the_close_ends_is_broken_by_a_reset_alone() {
    let answer = "HTTP/1.1 200 OK\r\n\r\nuntil the close";
    let app = ScriptedApp::answering_once(answer);
    let gateway = Gateway::of(app.address());
    let response = Caller::ask(&gateway, get("/")).expect(200);
    assert_eq!((response.text().as_str(), response.complete), ("until the close", true));

    let gone = Signal::new();
    let app = ScriptedApp::start({
        let gone = gone.clone();
        move |connection| {
            connection.head();
            connection.send(answer);
            gone.wait();
            connection.reset();
        }
    });
    for version in ["1.0", "1.1"] {
        let gateway = Gateway::of(app.address());
        let mut caller = Caller::new(&gateway);
        caller.send(format!("GET / HTTP/{version}\r\nHost: {HOST}\r\n\r\n"));
        let head = caller.read_head();
        assert_eq!(head.word(1), b"200");
        gone.give();
        let (rest, ended) = caller.read_to_close();
        let looks_whole = match version {
            "1.0" => ended == Ended::Eof,
            _ => rest.ends_with(b"0\r\n\r\n"),
        };
        assert!(!looks_whole, "HTTP/{version}: {} {ended:?}", show(&rest));
    }
}

#[test]
fn a_response_that_only_the_close_ends_is_reset_at_the_end_of_a_drain() {
    let app = ScriptedApp::start(|connection| {
        connection.head();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n");
        // Until the gateway gives it up.
        connection.read_to_close();
    });
    let edge = Edge::with(QUICK, |config| {
        config.timeouts.drain = std::time::Duration::from_millis(300);
        config.apps = vec![crate::support::gateway::app("acme/hello", &[(80, &[app.address()])])];
    });
    let mut caller = Caller::to(edge.address());
    caller.send(format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n"));
    assert_eq!(caller.read_head().word(1), b"200");
    assert_eq!(caller.read_exactly(4), b"part");
    edge.tell(ignite_gateway::app::Command::Drain);
    assert_eq!(caller.read_to_close(), (Vec::new(), Ended::Reset));
    edge.wait_end(crate::support::LIMIT);
}

#[test]
fn responses_that_have_no_body_by_their_status_have_none() {
    for (line, framing, length) in [
        ("204 No Content", "", None),
        ("204 No Content", "Content-Length: 5\r\n", None),
        ("204 No Content", "Transfer-Encoding: chunked\r\n", None),
        ("304 Not Modified", "", None),
        ("304 Not Modified", "Content-Length: 500\r\n", Some("500")),
        ("304 Not Modified", "Transfer-Encoding: chunked\r\n", None),
    ] {
        let app = ScriptedApp::answering(format!("HTTP/1.1 {line}\r\n{framing}\r\n"));
        let gateway = Gateway::of(app.address());
        let mut caller = Caller::new(&gateway);
        for _ in 0..2 {
            let response = caller.get("/");
            assert!(matches!(response.status, 204 | 304));
            assert_eq!(response.field("content-length").as_deref(), length, "{line} {framing}");
            assert!(!response.head.has("transfer-encoding"), "{line} {framing}");
        }
        caller.expect_silence();
    }
}

#[test]
fn a_response_to_head_keeps_its_length_and_has_no_body() {
    for (framing, length) in [
        ("Content-Length: 1234\r\n", Some("1234")),
        ("Content-Length: 0\r\n", Some("0")),
        ("Transfer-Encoding: chunked\r\n", None),
        ("", None),
    ] {
        let app = ScriptedApp::answering(format!("HTTP/1.1 200 OK\r\n{framing}\r\n"));
        let gateway = Gateway::of(app.address());
        let mut caller = Caller::new(&gateway);
        for _ in 0..2 {
            caller.send(request("HEAD /", "", ""));
            let response = caller.read_response_to_head().expect(200);
            assert_eq!(response.field("content-length").as_deref(), length, "{framing}");
        }
        caller.expect_silence();
    }
}

#[test]
fn an_app_that_begins_with_empty_lines_without_end_is_given_up() {
    let app = ScriptedApp::start(|connection| {
        connection.head();
        while connection.try_send("\r\n".repeat(1000)).is_ok() {}
    });
    let gateway = Gateway::of_with(app.address(), |config| {
        config.timeouts.response = std::time::Duration::from_millis(300);
    });
    let response = Caller::ask(&gateway, get("/"));
    assert!(matches!(response.status, 502 | 504), "{response:?}");
    gateway.wait_idle();
}

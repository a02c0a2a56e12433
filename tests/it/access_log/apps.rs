//! What apps do: not be there, not accept, not answer, or not as HTTP asks.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;

use super::{File, ask, assert_all, line_of, millis, request};
use crate::binary::access_lines;
use crate::support::ScriptedApp;
use crate::support::edge::Refusing;

pub const FAILED: &[&str] = &[
    "no_ready_endpoint",
    "connect_refused",
    "connect_timeout",
    "app_closed",
    "app_malformed",
    "app_head_too_large",
    "response_timeout",
    "app_body_timeout",
];

#[test]
fn an_app_that_fails_is_told_with_where_and_when() {
    let refusing = [Refusing::new(), Refusing::new()];
    let refusing = [refusing[0].address(), refusing[1].address()];
    let closing = ScriptedApp::start(|connection| {
        let _ = connection.next_request();
    });
    let garbage = ScriptedApp::answering_once("this is no HTTP\r\n\r\n");
    let wordy = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(2000));
    let wordy = ScriptedApp::answering_once(wordy);
    let silent = ScriptedApp::start(|connection| {
        let _ = connection.next_request();
        connection.expect_closed();
    });
    let cut = ScriptedApp::answering_once("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    let stalling = ScriptedApp::start(|connection| {
        let _ = connection.next_request();
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
        connection.expect_closed();
    });
    let (deaf, _fillers) = deaf();
    let file = File::new(
        "[timeouts]\nconnect = \"500ms\"\nresponse = \"2s\"\nidle_body = \"1s\"\nready = \"500ms\"\n\
         [limits]\nresponse_header_bytes = \"1KiB\"\n",
    )
    .app("refusing", &refusing, "")
    .app("deaf", &[deaf], "")
    .app("closing", &[closing.address()], "")
    .app("garbage", &[garbage.address()], "")
    .app("wordy", &[wordy.address()], "")
    .app("silent", &[silent.address()], "")
    .app("cut", &[cut.address()], "")
    .app("stalling", &[stalling.address()], "")
    .app("gone", &[], "");
    let serve = file.serve();
    let failing = |app: &str, status, ended, upstream| {
        ask(&serve, request("GET /", app, ""), status, ended, upstream)
    };
    let nowhere = failing("gone", 503, ("gateway.queue", "no_ready_endpoint"), None);
    let mut refused = failing("refusing", 502, ("app.connect", "connect_refused"), None);
    refused.attempts = 2;
    let late = failing("deaf", 504, ("app.connect", "connect_timeout"), Some(deaf));
    let at = |app: &ScriptedApp| Some(app.address());
    let closed = failing("closing", 502, ("app.response", "app_closed"), at(&closing));
    let broken = failing("garbage", 502, ("app.response", "app_malformed"), at(&garbage));
    let large = failing("wordy", 502, ("app.response", "app_head_too_large"), at(&wordy));
    let slow = failing("silent", 504, ("app.response", "response_timeout"), at(&silent));
    let half = failing("cut", 200, ("app.body", "app_malformed"), at(&cut));
    let stalled = failing("stalling", 200, ("app.body", "app_body_timeout"), at(&stalling));
    let lines = access_lines(&serve.finish());

    // Either may be the last.
    let line = line_of(&lines, refused.known_by.0, &refused.known_by.1);
    let last = line["upstream.address"].as_str().unwrap().parse().unwrap();
    let first = *refusing.iter().find(|address| **address != last).expect("another");
    refused.upstream = Some(last);
    assert_eq!(line["error.message"], "Connection refused (os error 111)");
    let earlier = line["earlier_attempts"].as_array().expect("what was tried before");
    assert_eq!(earlier.len(), 1, "{line:#}");
    assert_eq!(earlier[0]["upstream.address"], first.to_string());
    assert_eq!(earlier[0]["error.type"], "connect_refused");
    assert!(earlier[0]["duration_ms"].is_number() && earlier[0]["connect_ms"].is_number());

    let answered = [&half, &stalled];
    let unanswered = [&nowhere, &refused, &late, &closed, &broken, &large, &slow];
    assert_all(&lines, &[&unanswered[..], &answered[..]].concat(), FAILED);
    for told in unanswered {
        assert_eq!(told.assert_in(&lines)["first_byte_ms"], Value::Null);
    }
    for told in answered {
        let line = told.assert_in(&lines);
        assert!(millis(line, "first_byte_ms") <= millis(line, "duration_ms"), "{line:#}");
        assert_eq!(line["http.response.body.size"], 4, "{line:#}");
    }
    assert!(millis(nowhere.assert_in(&lines), "queue_ms") >= 500.0);
    assert!(millis(late.assert_in(&lines), "connect_ms") >= 500.0);
    let line = slow.assert_in(&lines);
    assert!(millis(line, "duration_ms") >= 2000.0, "{line:#}");
    assert!(millis(line, "connect_ms") < 2000.0, "{line:#}");
    let message = large.assert_in(&lines)["error.message"].clone();
    assert_eq!(message, "the app's response head is larger than 1024 bytes");
}

/// A listener whose queue is full answers no further SYN.
fn deaf() -> (SocketAddr, Vec<socket2::Socket>) {
    let socket =
        || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = vec![listener];
    for _ in 0..4 {
        let filler = socket();
        filler.set_nonblocking(true).unwrap();
        let _ = filler.connect(&address);
        held.push(filler);
    }
    (address.as_socket().unwrap(), held)
}

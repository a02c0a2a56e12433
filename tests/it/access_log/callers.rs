//! What callers do: send what cannot be served, too often or too slowly, or leave.

use std::net::SocketAddr;

use serde_json::Value;

use super::{File, Told, ask, assert_all, line_of, request, waiting_at};
use crate::binary::access_lines;
use crate::support::{Caller, EchoHeads, ScriptedApp, eventually};

pub const REFUSED: &[&str] = &[
    "unknown_host",
    "malformed_request",
    "bad_host",
    "target_too_long",
    "head_too_large",
    "body_too_large",
    "method_not_allowed",
    "method_not_implemented",
    "transfer_coding",
    "app_rate_limit",
];

#[test]
fn what_is_refused_at_once_is_told() {
    let app = EchoHeads::start();
    let address = app.address();
    let settings = "[limits]\nrequest_body = \"1KiB\"\nheader_bytes = \"4KiB\"\n\
                    request_target_bytes = \"1KiB\"\n";
    let file = File::new(settings).app("hello", &[address], "").app(
        "rated",
        &[address],
        "rate_limit = { requests = 1, per = \"1h\" }",
    );
    let serve = file.serve();
    let mut told = Vec::new();
    let mut refused = |text: String, status, reason| {
        told.push(ask(&serve, text, status, ("caller.request", reason), None));
    };
    refused(request("GET /", "nobody", ""), 404, "unknown_host");
    refused(request("GET /", "hello", "Broken\r\n"), 400, "malformed_request");
    refused("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "bad_host");
    refused(request(&format!("GET /{}", "x".repeat(2000)), "hello", ""), 414, "target_too_long");
    let field = format!("X: {}\r\n", "x".repeat(5000));
    refused(request("GET /", "hello", &field), 431, "head_too_large");
    refused(request("POST /", "hello", "Content-Length: 2000\r\n"), 413, "body_too_large");
    refused(request("TRACE /", "hello", ""), 405, "method_not_allowed");
    refused(request("CONNECT a:1", "hello", ""), 501, "method_not_implemented");
    let coded = request("POST /", "hello", "Transfer-Encoding: gzip, chunked\r\n");
    refused(coded, 501, "transfer_coding");
    assert_eq!(serve.status("rated-acme"), 200);
    refused(request("GET /", "rated", ""), 429, "app_rate_limit");
    let lines = access_lines(&serve.finish());
    assert_all(&lines, &told.iter().collect::<Vec<_>>(), REFUSED);
    for told in &told {
        assert_eq!(told.assert_in(&lines)["first_byte_ms"], Value::Null);
    }
    let malformed = told[1].assert_in(&lines);
    assert_eq!(malformed["error.message"], "a header field is malformed");
    let known = |told: &Told| told.assert_in(&lines)["ignite.organization_id"].clone();
    assert_eq!((known(&told[0]), known(&told[9])), ("".into(), "acme".into()));
}

pub const TOO_OFTEN: &[&str] = &["client_rate_limit"];

#[test]
fn a_client_that_calls_too_often_is_told() {
    let app = EchoHeads::start();
    let settings = "[rate_limit]\nrequests = 1\nper = \"1h\"\n";
    let serve = File::new(settings).app("hello", &[app.address()], "").serve();
    assert_eq!(serve.status("hello-acme"), 200);
    let ended = ("caller.request", "client_rate_limit");
    let told = ask(&serve, request("GET /", "hello", ""), 429, ended, None);
    assert_all(&access_lines(&serve.finish()), &[&told], TOO_OFTEN);
}

pub const LEFT: &[&str] = &["caller_timeout", "caller_gone"];

#[test]
fn a_caller_who_leaves_is_told_with_how_far_the_request_got() {
    let reading = ScriptedApp::start(|connection| {
        let _ = connection.read_to_close();
    });
    let streaming = ScriptedApp::start(|connection| {
        let _ = connection.next_request();
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
        let _ = connection.read_to_close();
    });
    let file = File::new("[timeouts]\nheader = \"1s\"\n")
        .app("reading", &[reading.address()], "")
        .app("streaming", &[streaming.address()], "")
        .app("gone", &[], "");
    let serve = file.serve();
    // Before it was whole.
    let late = ("caller.request", "caller_timeout");
    let late = ask(&serve, "GET / HTTP/1.1\r\nHost:", 408, late, None);
    // While it waits.
    let mut caller = Caller::to(serve.address);
    caller.send(request("GET /queue", "gone", ""));
    eventually("it waits", || waiting_at(serve.admin, "gone") == 1);
    caller.leave();
    serve.wait_lines("/queue", 1);
    // While the app works.
    let mut caller = Caller::to(serve.address);
    caller.send(request("GET /response", "reading", ""));
    eventually("the app has it", || came_to(&reading, b"\r\n\r\n"));
    caller.leave();
    serve.wait_lines("/response", 1);
    // While the app works, in the middle of its own body.
    let mut caller = Caller::to(serve.address);
    caller.send(request("POST /upload", "reading", "Content-Length: 9\r\n") + "half");
    eventually("the app has what came", || came_to(&reading, b"half"));
    caller.leave();
    serve.wait_lines("/upload", 1);
    // While the response comes.
    let mut caller = Caller::to(serve.address);
    caller.send(request("GET /body", "streaming", ""));
    let _ = caller.read_response_to_head().expect(200);
    caller.leave();
    serve.wait_lines("/body", 1);
    let lines = access_lines(&serve.finish());
    let gone =
        |path, stage, app: Option<SocketAddr>| Told::unanswered(path, (stage, "caller_gone"), app);
    let queue = gone("/queue", "caller.queue", None);
    let response = gone("/response", "caller.response", Some(reading.address()));
    let body = gone("/body", "caller.body", Some(streaming.address()));
    let body = Told { status: Some(200), ..body };
    assert_all(&lines, &[&late, &queue, &response, &body], LEFT);
    assert_eq!(body.assert_in(&lines)["http.response.body.size"], 4);
    let upload = line_of(&lines, "url.path", "/upload");
    assert_eq!(upload["termination"], "caller.response", "{upload:#}");
    assert_eq!(upload["upstream.address"], reading.address().to_string(), "{upload:#}");
    assert_eq!(upload["http.request.body.size"], 4, "{upload:#}");
    // What ends a body early is that it is malformed; nobody got an answer, or nobody read it.
    assert!(matches!(upload["error.type"].as_str(), Some("caller_gone" | "malformed_request")));
}

/// Whether what came on some connection ends so.
fn came_to(app: &ScriptedApp, end: &[u8]) -> bool {
    app.received().iter().any(|bytes| bytes.ends_with(end))
}

//! The access log explains by itself what became of a request: every failure of
//! the gateway's table is provoked for real and told from its line alone.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::binary::{Folder, Serve, access_lines, command};
use crate::support::edge::Refusing;
use crate::support::tools::Running;
use crate::support::{Caller, EchoHeads, ScriptedApp, Signal, eventually};

/// Nothing is accepted while it drains.
const AT_ONCE: (&str, &str) = ("IGNITE_GATEWAY__TIMEOUTS__DRAIN_DELAY", "0s");

/// A configuration of which a test says the rest.
struct File(String);

impl File {
    fn new(settings: &str) -> Self {
        Self(format!(
            "domain = \"ignite.test\"\nworkers = 1\n{settings}\n[admin]\naddress = \
             \"127.0.0.1:0\"\n[access_log]\nformat = \"json\"\n[[listener]]\naddress = \
             \"127.0.0.1:0\"\n"
        ))
    }

    fn app(mut self, name: &str, endpoints: &[SocketAddr], more: &str) -> Self {
        self.0 += &format!(
            "\n[[app]]\norganization = \"acme\"\nname = \"{name}\"\nhealth_check = false\n\
             endpoints = {:?}\n{more}\n",
            endpoints.iter().map(ToString::to_string).collect::<Vec<_>>()
        );
        self
    }

    fn serve(&self) -> Serve {
        Serve::start_with(&Folder::new().write("gateway.toml", &self.0), &[AT_ONCE])
    }
}

/// What a line must say of a request.
struct Told {
    id: String,
    status: u16,
    /// Whose doing, at which stage, and why.
    ended: (&'static str, &'static str),
    upstream: Option<SocketAddr>,
    attempts: u64,
}

fn request(line: &str, app: &str, rest: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: {app}-acme.ignite.test\r\n{rest}\r\n")
}

/// Sends a request of which an answer comes; what the log has to say of it.
#[track_caller]
fn ask(
    serve: &Serve,
    request: impl AsRef<[u8]>,
    status: u16,
    ended: (&'static str, &'static str),
    upstream: Option<SocketAddr>,
) -> Told {
    let mut caller = Caller::to(serve.address);
    caller.send(request);
    let response = caller.read_response().expect(status);
    let id = response.field("x-ignite-execution-id").expect("an execution id");
    Told { id, status, ended, upstream, attempts: upstream.is_some().into() }
}

fn line_of<'a>(lines: &'a [Value], id: &str) -> &'a Value {
    let mut found = lines.iter().filter(|line| line["ignite.execution_id"] == id);
    let line = found.next().unwrap_or_else(|| panic!("no line of {id} in {lines:#?}"));
    assert!(found.next().is_none(), "two lines of {id}");
    line
}

fn millis(line: &Value, name: &str) -> f64 {
    line[name].as_f64().unwrap_or_else(|| panic!("no {name} in {line:#}"))
}

/// Asserts everything that holds for every failure.
#[track_caller]
fn assert_told<'a>(lines: &'a [Value], told: &Told) -> &'a Value {
    let line = line_of(lines, &told.id);
    assert_eq!(line["http.response.status_code"], told.status, "{line:#}");
    let ended = (line["termination"].as_str(), line["error.type"].as_str());
    assert_eq!(ended, (Some(told.ended.0), Some(told.ended.1)), "{line:#}");
    let upstream = told.upstream.map(|address| address.to_string());
    assert_eq!(line["upstream.address"].as_str(), upstream.as_deref(), "{line:#}");
    assert_eq!(line["attempts"], told.attempts, "{line:#}");
    assert!(millis(line, "queue_ms") <= millis(line, "duration_ms"), "{line:#}");
    line
}

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
    let by_caller = |reason| ("caller.request", reason);
    let mut told = Vec::new();
    let mut refused = |text: String, status, reason| {
        told.push(ask(&serve, text, status, by_caller(reason), None));
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
    for told in &told {
        let line = assert_told(&lines, told);
        assert_eq!(line["first_byte_ms"], Value::Null, "{line:#}");
    }
    let malformed = line_of(&lines, &told[1].id);
    assert_eq!(malformed["error.message"], "a header field is malformed");
    let known = |told: &Told| line_of(&lines, &told.id)["ignite.organization_id"].clone();
    assert_eq!((known(&told[0]), known(&told[9])), ("".into(), "acme".into()));
}

#[test]
fn an_app_that_fails_is_told_with_where_and_when() {
    let refusing = [Refusing::new(), Refusing::new()];
    let refusing = [refusing[0].address(), refusing[1].address()];
    let closing = ScriptedApp::start(|connection| {
        let _ = connection.next_request();
    });
    let garbage = ScriptedApp::answering_once("this is no HTTP\r\n\r\n");
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
        "[timeouts]\nconnect = \"500ms\"\nresponse = \"2s\"\nidle_body = \"1s\"\nready = \"500ms\"\n",
    )
    .app("refusing", &refusing, "")
    .app("deaf", &[deaf], "")
    .app("closing", &[closing.address()], "")
    .app("garbage", &[garbage.address()], "")
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
    let slow = failing("silent", 504, ("app.response", "response_timeout"), at(&silent));
    let half = failing("cut", 200, ("app.body", "app_malformed"), at(&cut));
    let stalled = failing("stalling", 200, ("app.body", "app_body_timeout"), at(&stalling));
    let lines = access_lines(&serve.finish());

    let line = assert_told(&lines, &nowhere);
    assert!(millis(line, "queue_ms") >= 500.0, "{line:#}");

    // Either may be the last.
    let last = line_of(&lines, &refused.id)["upstream.address"].as_str().unwrap().parse().unwrap();
    let first = *refusing.iter().find(|address| **address != last).expect("another");
    refused.upstream = Some(last);
    let line = assert_told(&lines, &refused);
    assert_eq!(line["error.message"], "Connection refused (os error 111)");
    let earlier = line["earlier_attempts"].as_array().expect("what was tried before");
    assert_eq!(earlier.len(), 1, "{line:#}");
    assert_eq!(earlier[0]["upstream.address"], first.to_string());
    assert_eq!(earlier[0]["error.type"], "connect_refused");
    assert!(earlier[0]["duration_ms"].is_number() && earlier[0]["connect_ms"].is_number());

    let line = assert_told(&lines, &late);
    assert!(millis(line, "connect_ms") >= 500.0, "{line:#}");
    for told in [&closed, &broken] {
        let line = assert_told(&lines, told);
        assert_eq!(line["first_byte_ms"], Value::Null, "{line:#}");
    }
    let line = assert_told(&lines, &slow);
    assert!(millis(line, "duration_ms") >= 2000.0, "{line:#}");
    assert!(millis(line, "connect_ms") < 2000.0, "{line:#}");
    for told in [&half, &stalled] {
        let line = assert_told(&lines, told);
        assert!(millis(line, "first_byte_ms") <= millis(line, "duration_ms"), "{line:#}");
        assert_eq!(line["http.response.body.size"], 4, "{line:#}");
    }
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

#[test]
fn who_waits_for_an_app_at_its_limit_is_told() {
    let release = Signal::new();
    let app = holding(&release);
    let serve = File::new("[limits]\napp_queue = 1\n[timeouts]\nready = \"1s\"\n")
        .app("hello", &[app.address()], "concurrency = 1")
        .serve();
    let mut first = Caller::to(serve.address);
    first.send(request("GET /first", "hello", ""));
    eventually("the app is at its limit", || app.received().len() == 1);
    let mut second = Caller::to(serve.address);
    second.send(request("GET /second", "hello", ""));
    eventually("the queue is full", || waiting_at(serve.admin, "hello") == 1);
    let full = ("gateway.queue", "queue_full");
    let full = ask(&serve, request("GET /third", "hello", ""), 503, full, None);
    let response = second.read_response().expect(503);
    let id = response.field("x-ignite-execution-id").unwrap();
    let ended = ("gateway.queue", "concurrency_timeout");
    let late = Told { id, status: 503, ended, upstream: None, attempts: 0 };
    release.give();
    let first = first.read_response().expect(200);
    let lines = access_lines(&serve.finish());
    assert_told(&lines, &full);
    let line = assert_told(&lines, &late);
    assert!(millis(line, "queue_ms") >= 1000.0, "{line:#}");
    let first = line_of(&lines, &first.field("x-ignite-execution-id").unwrap());
    assert_eq!(first["termination"], "complete");
    assert!(millis(first, "first_byte_ms") >= 1000.0, "{first:#}");
}

/// An app that answers when it is told to.
fn holding(release: &Signal) -> ScriptedApp {
    let release = release.clone();
    ScriptedApp::start(move |connection| {
        while connection.next_request().is_some() {
            release.wait();
            if connection.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    })
}

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
    // While the app works, in the middle of its own body.
    let mut caller = Caller::to(serve.address);
    caller.send(request("POST /response", "reading", "Content-Length: 9\r\n") + "half");
    eventually("the app has what came", || {
        reading.received().first().is_some_and(|bytes| bytes.ends_with(b"half"))
    });
    caller.leave();
    serve.wait_lines("/response", 1);
    // While the response comes.
    let mut caller = Caller::to(serve.address);
    caller.send(request("GET /body", "streaming", ""));
    let _ = caller.read_response_to_head().expect(200);
    caller.leave();
    serve.wait_lines("/body", 1);
    let lines = access_lines(&serve.finish());
    assert_told(&lines, &late);
    for (path, stage, upstream, bytes) in [
        ("/queue", "caller.queue", None, (0, Some(0))),
        ("/response", "caller.response", Some(reading.address()), (4, None)),
        ("/body", "caller.body", Some(streaming.address()), (0, Some(4))),
    ] {
        let line = lines.iter().find(|line| line["url.path"] == path).expect(path);
        assert_eq!(line["termination"], stage, "{line:#}");
        let upstream = upstream.map(|address: SocketAddr| address.to_string());
        assert_eq!(line["upstream.address"].as_str(), upstream.as_deref(), "{line:#}");
        assert_eq!(line["http.request.body.size"], bytes.0, "{line:#}");
        // A body that ends early may still be answered, for a caller who only stopped sending.
        if let Some(bytes) = bytes.1 {
            assert_eq!(line["http.response.body.size"], bytes, "{line:#}");
        }
    }
    let line = lines.iter().find(|line| line["url.path"] == "/response").unwrap();
    // What ends a body early is that it is malformed; nobody got an answer, or nobody read it.
    assert!(matches!(line["error.type"].as_str(), Some("caller_gone" | "malformed_request")));
}

/// Requests that wait for an app.
fn waiting_at(admin: SocketAddr, name: &str) -> u64 {
    let mut caller = Caller::to(admin);
    caller.send("GET /apps HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let apps = caller.read_response().expect(200).json();
    let all = apps.as_array().or_else(|| apps["apps"].as_array()).expect("a list of apps");
    let app = all.iter().find(|app| app["name"] == name);
    app.and_then(|app| app["waiting"].as_u64()).unwrap_or_else(|| panic!("no {name} in {apps:#}"))
}

#[test]
fn what_the_end_of_the_gateway_cuts_off_is_told() {
    let release = Signal::new();
    let app = holding(&release);
    let file = File::new("[timeouts]\ndrain = \"300ms\"\n").app("hello", &[app.address()], "");
    let serve = file.serve();
    let mut caller = Caller::to(serve.address);
    caller.send(request("GET /cut", "hello", ""));
    eventually("the app works", || app.received().len() == 1);
    let lines = access_lines(&serve.finish());
    let line = lines.iter().find(|line| line["url.path"] == "/cut").expect("its line");
    assert_eq!(line["termination"], "gateway.response", "{line:#}");
    assert_eq!(line["error.type"], "shutdown", "{line:#}");
    assert_eq!(line["http.response.status_code"], Value::Null, "{line:#}");
    assert_eq!(line["upstream.address"], app.address().to_string(), "{line:#}");
    release.give();
}

#[test]
fn what_is_refused_for_the_gateways_own_sake_is_told() {
    let release = Signal::new();
    let app = holding(&release);
    let file = File::new("[limits]\nin_flight = 1\n").app("hello", &[app.address()], "");
    let serve = file.serve();
    let mut first = Caller::to(serve.address);
    first.send(request("GET /first", "hello", ""));
    eventually("the app works", || app.received().len() == 1);
    let full = ("gateway.request", "overloaded_in_flight");
    let full = ask(&serve, request("GET /", "hello", ""), 503, full, None);
    release.give();
    let _ = first.read_response().expect(200);
    assert_told(&access_lines(&serve.finish()), &full);
}

#[test]
fn a_connection_that_served_before_is_told_as_reused() {
    let app = EchoHeads::start();
    let serve = File::new("").app("hello", &[app.address()], "").serve();
    let mut caller = Caller::to(serve.address);
    for path in ["/1", "/2"] {
        caller.send(request(&format!("GET {path}"), "hello", ""));
        let _ = caller.read_response().expect(200);
    }
    drop(caller);
    let lines = access_lines(&serve.finish());
    let connection = |path: &str| {
        let line = lines.iter().find(|line| line["url.path"] == path).expect(path);
        (line["upstream.connection"].clone(), line["connect_ms"].is_number())
    };
    assert_eq!(connection("/1"), ("new".into(), true));
    assert_eq!(connection("/2"), ("reused".into(), false));
}

#[test]
fn nobody_waits_for_a_reader_that_does_not_read_and_what_is_lost_is_counted() {
    let app = EchoHeads::start();
    let file = File::new("[limits]\nrequest_target_bytes = \"16KiB\"\n").app(
        "hello",
        &[app.address()],
        "",
    );
    let folder = Folder::new();
    let path = folder.write("gateway.toml", &file.0);
    let mut command = command(&["serve", "--config", path.to_str().unwrap()]);
    command.env(AT_ONCE.0, AT_ONCE.1).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Running(command.spawn().unwrap());
    let mut out = child.0.stdout.take().unwrap();
    // The announcements, and nothing any more.
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    let address = |said: &[u8], what: &str| -> Option<SocketAddr> {
        let text = String::from_utf8_lossy(said);
        let line = text.lines().find(|line| line.contains(&format!("\"message\":\"{what}\"")))?;
        let line: Value = serde_json::from_str(line).ok()?;
        line["address"].as_str()?.parse().ok()
    };
    while address(&said, "admin listening").is_none() {
        let read = out.read(&mut piece).unwrap();
        assert!(read > 0, "it ended");
        said.extend_from_slice(&piece[..read]);
    }
    let (gateway, admin) =
        (address(&said, "listening").unwrap(), address(&said, "admin listening").unwrap());
    // 20 MB of lines, where 16 MiB and a pipe's may wait.
    let count = Arc::new(AtomicUsize::new(0));
    let target = format!("GET /{}", "x".repeat(10_000));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (count, text) = (count.clone(), request(&target, "hello", ""));
            std::thread::spawn(move || {
                let mut caller = Caller::to(gateway);
                while count.fetch_add(1, Ordering::Relaxed) < 2000 {
                    caller.send(&text);
                    let _ = caller.read_response().expect(200);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().expect("every request is answered");
    }
    eventually("what is lost is counted", || dropped(admin) > 0);
    // What was kept is whole lines, and there when somebody reads again.
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        out.read_to_end(&mut rest).unwrap();
        rest
    });
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.0.id()).unwrap()).unwrap();
    let lost = dropped(admin);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let rest = reader.join().unwrap();
    assert!(child.0.wait().unwrap().success());
    let text = String::from_utf8([said, rest].concat()).unwrap();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let written = access_lines(&lines).len() as u64;
    assert!(written + lost <= 2000 && written > 500, "{written} written, {lost} lost");
}

/// Log lines that were dropped so far.
fn dropped(admin: SocketAddr) -> u64 {
    let mut caller = Caller::to(admin);
    caller.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let text = caller.read_response().expect(200).text();
    let line =
        text.lines().find_map(|line| line.strip_prefix("ignite_gateway_log_lines_dropped_total "));
    line.expect("the metric is there").trim().parse().unwrap()
}

/// The words and names of `docs/access-log.md` are those of the lines.
#[test]
fn the_documentation_names_every_field_and_every_ending() {
    let text = include_str!("../../docs/access-log.md");
    let app = EchoHeads::start();
    let serve = File::new("").app("hello", &[app.address()], "").serve();
    let mut caller = Caller::to(serve.address);
    caller.send(request("GET /a?b", "hello", ""));
    let _ = caller.read_response().expect(200);
    drop(caller);
    assert_eq!(serve.status("nobody"), 404);
    for line in access_lines(&serve.finish()) {
        for name in line.as_object().unwrap().keys() {
            assert!(text.contains(&format!("| `{name}` |")), "{name} is not explained");
        }
    }
    let source = include_str!("../../src/error.rs");
    let reasons = source.split("pub fn reason").nth(1).unwrap();
    let reasons = reasons.split("pub fn").next().unwrap();
    let words = reasons.split('"').skip(1).step_by(2);
    let missing: Vec<_> = words.filter(|word| !text.contains(&format!("`{word}`"))).collect();
    assert!(missing.is_empty(), "reasons without a word in the documentation: {missing:?}");
}

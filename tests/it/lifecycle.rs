//! Reloads and the end: what is in flight is not touched, what is idle goes.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ignite_gateway::app::Command;

use crate::support::caller::{get, request};
use crate::support::edge::{Edge, QUICK};
use crate::support::{
    Caller, EchoHeads, Ended, Gateway, HOST, LIMIT, ScriptedApp, Signal, app, eventually,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// What happens at once happens well within this.
const SOON: Duration = Duration::from_secs(2);

/// An app that answers `/hang` when `release` is given, and anything else at once.
fn hanging(release: &Signal) -> ScriptedApp {
    let release = release.clone();
    ScriptedApp::start(move |connection| {
        while let Some(seen) = connection.next_request() {
            if seen.head.target() == b"/hang" {
                release.wait();
            }
            if connection.try_send(OK).is_err() {
                return;
            }
        }
    })
}

fn edge_of(app_of: &ScriptedApp, drain: Duration) -> Edge {
    let address = app_of.address();
    Edge::with(QUICK, |config| {
        config.apps.push(app("acme/hello", &[(80, &[address])]));
        config.timeouts.drain = drain;
    })
}

fn hang(address: std::net::SocketAddr, app_of: &ScriptedApp) -> Caller {
    let came = |app_of: &ScriptedApp| {
        let count = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).matches("GET /hang").count();
        app_of.received().iter().map(count).sum::<usize>()
    };
    let before = came(app_of);
    let mut caller = Caller::to(address);
    caller.send(get("/hang"));
    eventually("the request is at the app", || came(app_of) > before);
    caller
}

// --- drain --------------------------------------------------------------------------------

#[test]
fn a_drain_closes_idle_connections_at_once() {
    let app_of = EchoHeads::start();
    let gateway = Gateway::of(app_of.address());
    let mut idle: Vec<_> = (0..5).map(|_| Caller::new(&gateway)).collect();
    for caller in &mut idle {
        let _ = caller.get("/").expect(200);
    }
    let start = Instant::now();
    gateway.drain();
    for caller in &mut idle {
        assert_eq!(caller.read_to_close(), (Vec::new(), Ended::Eof), "closed in order");
    }
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    gateway.finish();
}

#[test]
fn a_request_in_flight_finishes_and_its_response_says_close() {
    let release = Signal::new();
    let app_of = hanging(&release);
    let edge = edge_of(&app_of, LIMIT);
    let mut caller = hang(edge.address(), &app_of);
    edge.tell(Command::Drain);
    refused_soon(&edge);
    caller.expect_silence();
    release.give();
    let response = caller.read_response().expect(200);
    assert_eq!(response.field("connection").as_deref(), Some("close"));
    assert_eq!(response.body, b"ok");
    caller.expect_closed();
    drop(caller);
    edge.wait_end(SOON);
}

#[track_caller]
fn refused_soon(edge: &Edge) {
    eventually("new connections are refused", || TcpStream::connect(edge.address()).is_err());
}

#[test]
fn new_connections_are_refused_while_a_drain_waits_for_the_last_request() {
    let release = Signal::new();
    let app_of = hanging(&release);
    let edge = edge_of(&app_of, LIMIT);
    let mut caller = hang(edge.address(), &app_of);
    edge.tell(Command::Drain);
    refused_soon(&edge);
    for _ in 0..20 {
        assert!(TcpStream::connect(edge.address()).is_err());
    }
    release.give();
    let _ = caller.read_response().expect(200);
    drop(caller);
    edge.wait_end(SOON);
}

#[test]
fn a_stream_in_both_directions_finishes_during_a_drain() {
    let app_of = ScriptedApp::start(|connection| {
        connection.head();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while let Some(chunk) = connection.chunk() {
            let head = format!("{:x}\r\n", chunk.len());
            connection.send([head.as_bytes(), &chunk, b"\r\n"].concat());
        }
        connection.send("0\r\n\r\n");
    });
    let edge = edge_of(&app_of, LIMIT);
    let mut caller = Caller::to(edge.address());
    caller.send(request("POST /", "Transfer-Encoding: chunked\r\n", "3\r\none\r\n"));
    let _ = caller.read_head();
    assert_eq!(caller.read_chunk().as_deref(), Some(&b"one"[..]));
    edge.tell(Command::Drain);
    refused_soon(&edge);
    for _ in 0..3 {
        caller.send("4\r\nmore\r\n");
        assert_eq!(caller.read_chunk().as_deref(), Some(&b"more"[..]));
    }
    caller.send("0\r\n\r\n");
    assert_eq!(caller.read_chunk(), None);
    drop(caller);
    edge.wait_end(SOON);
}

/// Requests sent before the command to drain, each on a new connection; how many got no answer.
fn lost_at_drain(workers: usize) -> usize {
    let mut lost = 0;
    for _ in 0..25 {
        let app_of = EchoHeads::start();
        let gateway = Gateway::of_with(app_of.address(), |config| config.workers = workers);
        let mut callers: Vec<_> = (0..8).map(|_| Caller::new(&gateway)).collect();
        callers.iter_mut().for_each(|caller| caller.send(get("/")));
        gateway.drain();
        let answered = |caller: &mut Caller| {
            caller.try_read_response(false).is_ok_and(|response| response.status == 200)
        };
        lost += callers.iter_mut().map(|caller| usize::from(!answered(caller))).sum::<usize>();
        drop(callers);
        gateway.finish();
    }
    lost
}

#[test]
fn a_request_that_arrived_just_before_the_drain_is_answered() {
    assert_eq!(lost_at_drain(1), 0, "lost of 200");
}

#[test]
fn a_request_that_arrived_just_before_the_drain_is_answered_by_several_workers() {
    assert_eq!(lost_at_drain(3), 0, "lost of 200");
}

#[test]
fn a_request_that_crosses_the_drain_of_its_idle_connection_is_answered_or_never_read() {
    // Either whole or not at all: a half answer or a reset would be a loss.
    for round in 0..30 {
        let app_of = EchoHeads::start();
        let gateway = Gateway::of(app_of.address());
        let mut caller = Caller::new(&gateway);
        let _ = caller.get("/first").expect(200);
        gateway.drain();
        let sent = caller.try_send(get("/second"));
        let answered = sent.is_ok() && caller.try_read_response(false).is_ok();
        drop(caller);
        gateway.finish();
        let came = app_of.seen().len() == 2;
        assert_eq!(answered, came, "round {round}: what came to the app is answered");
    }
}

#[test]
fn callers_that_wait_for_an_endpoint_are_answered_in_a_drain() {
    let edge = Edge::with(QUICK, |config| {
        config.apps.push(app("acme/hello", &[(80, &[])]));
        config.timeouts.ready = Duration::from_millis(300);
        config.timeouts.drain = LIMIT;
    });
    let mut caller = Caller::to(edge.address());
    caller.send(get("/"));
    let route = edge.route(HOST);
    eventually("it waits", || route.shared.waiting.load(Ordering::SeqCst) == 1);
    edge.tell(Command::Drain);
    let response = caller.read_response().expect_problem(503, "destination_unavailable");
    assert_eq!(response.field("connection").as_deref(), Some("close"));
    drop(caller);
    edge.wait_end(SOON);
}

#[test]
fn a_drains_limit_cuts_what_hangs() {
    let release = Signal::new();
    let app_of = hanging(&release);
    let limit = Duration::from_millis(400);
    let edge = edge_of(&app_of, limit);
    let mut caller = hang(edge.address(), &app_of);
    edge.tell(Command::Drain);
    let took = edge.wait_end(LIMIT / 2);
    assert!(took >= limit.mul_f32(0.9) && took < limit + SOON, "{took:?}");
    let (bytes, _) = caller.read_to_close();
    assert!(bytes.is_empty(), "no half answer");
    release.give();
}

#[test]
fn a_second_drain_ends_at_once() {
    let release = Signal::new();
    let app_of = hanging(&release);
    let edge = edge_of(&app_of, LIMIT * 3);
    let mut caller = hang(edge.address(), &app_of);
    edge.tell(Command::Drain);
    refused_soon(&edge);
    edge.tell(Command::Drain);
    assert!(edge.wait_end(LIMIT / 2) < SOON);
    caller.expect_closed();
    release.give();
}

#[test]
fn before_the_listeners_close_they_accept_for_the_drain_delay() {
    let app_of = EchoHeads::start();
    let address = app_of.address();
    let edge = Edge::with(QUICK, |config| {
        config.apps.push(app("acme/hello", &[(80, &[address])]));
        config.timeouts.drain_delay = LIMIT * 3;
    });
    let mut kept = Caller::to(edge.address());
    let _ = kept.get("/").expect(200);
    edge.tell(Command::Drain);
    // Whatever it takes until the command is seen, the delay is far longer.
    for _ in 0..20 {
        let _ = Caller::to(edge.address()).get("/new").expect(200);
        let response = kept.get("/kept").expect(200);
        assert_eq!(response.field("connection"), None, "not draining yet");
    }
    edge.tell(Command::Drain);
    assert!(edge.wait_end(LIMIT / 2) < SOON, "a second command ends the delay, too");
}

#[test]
fn a_drain_leaves_no_connection_to_an_app_open() {
    let app_of = ScriptedApp::answering(OK);
    let gateway = Gateway::of(app_of.address());
    let _ = Caller::new(&gateway).get("/").expect(200);
    gateway.finish();
    app_of.wait_finished(1);
}

#[test]
fn when_nobody_can_command_it_any_more_the_gateway_drains() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bound = ignite_gateway::app::bind(crate::support::gateway::settings()).unwrap();
        let (commands, receiver) = tokio::sync::mpsc::channel(1);
        drop(commands);
        let run = tokio::time::timeout(SOON, bound.run(receiver)).await;
        run.expect("it ends").expect("it ends clean");
    });
}

// --- reload -------------------------------------------------------------------------------

fn ask_host(gateway: &Gateway, host: &str) -> crate::support::Response {
    Caller::ask(gateway, format!("GET / HTTP/1.1\r\nHost: {host}.ignite.test\r\n\r\n"))
}

#[test]
fn an_added_app_is_served_from_then_on() {
    let (one, other) = (EchoHeads::start(), EchoHeads::start());
    let mut gateway = Gateway::of(one.address());
    let mut caller = Caller::new(&gateway);
    let to_other = "GET / HTTP/1.1\r\nHost: new-acme-8080.ignite.test\r\n\r\n";
    caller.send(to_other);
    let _ = caller.read_response().expect(404);
    gateway.reload(|config| {
        config.apps.push(app("acme/new", &[(8080, &[other.address()])]));
    });
    // On the connection that was there before.
    caller.send(to_other);
    let _ = caller.read_response().expect(200);
    let _ = caller.get("/").expect(200);
    assert_eq!((one.seen().len(), other.seen().len()), (1, 1));
}

#[test]
fn a_request_on_a_removed_app_finishes_and_the_next_gets_404() {
    let release = Signal::new();
    let app_of = hanging(&release);
    let mut gateway = Gateway::of(app_of.address());
    let mut caller = hang(gateway.address(), &app_of);
    let mut idle = Caller::new(&gateway);
    let _ = idle.get("/").expect(200);
    gateway.reload(|config| config.apps.clear());
    let _ = idle.get("/").expect_problem(404, "destination_not_found");
    release.give();
    assert_eq!(caller.read_response().expect(200).body, b"ok");
    let _ = caller.get("/").expect_problem(404, "destination_not_found");
    // Nothing of the app's is kept: its connections are closed without another request.
    app_of.wait_finished(2);
}

#[test]
fn a_long_upload_goes_on_while_its_app_is_removed() {
    let app_of = ScriptedApp::start(|connection| {
        connection.head();
        let body = connection.chunked().content;
        connection
            .send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
        connection.send(body);
    });
    let mut gateway = Gateway::of(app_of.address());
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", "Transfer-Encoding: chunked\r\n", "3\r\none\r\n"));
    // It is counted as under way before it has an endpoint: without an app it would be a 404.
    eventually("the app reads the upload", || {
        app_of.received().first().is_some_and(|bytes| bytes.ends_with(b"one\r\n"))
    });
    gateway.reload(|config| config.apps.clear());
    caller.send("3\r\ntwo\r\n");
    gateway.reload(|config| config.limits.request_body = 1);
    caller.send("5\r\nthree\r\n0\r\n\r\n");
    assert_eq!(caller.read_response().expect(200).text(), "onetwothree");
}

#[test]
fn a_changed_endpoint_takes_what_is_new_and_leaves_what_is_in_flight() {
    let release = Signal::new();
    let old = hanging(&release);
    let new = EchoHeads::start();
    let mut gateway = Gateway::of(old.address());
    let mut in_flight = hang(gateway.address(), &old);
    gateway.reload(|config| config.apps = vec![app("acme/hello", &[(80, &[new.address()])])]);
    let mut caller = Caller::new(&gateway);
    for _ in 0..10 {
        let _ = caller.get("/").expect(200);
    }
    assert_eq!(new.seen().len(), 10);
    release.give();
    let _ = in_flight.read_response().expect(200);
    old.wait_finished(1);
}

#[test]
fn an_unchanged_app_keeps_its_connection_over_reloads() {
    let app_of = ScriptedApp::answering(OK);
    let other = EchoHeads::start();
    let mut gateway = Gateway::of(app_of.address());
    let mut caller = Caller::new(&gateway);
    for round in 0..5 {
        let _ = caller.get("/").expect(200);
        gateway.reload(|config| {
            config.limits.headers = 50 + round;
            config.apps.truncate(1);
            let id = format!("acme/other-{round}");
            config.apps.push(app(&id, &[(80, &[other.address()])]));
            // Another order, and another endpoint beside it that is gone the next time.
            config.apps.rotate_left(usize::from(round % 2 == 1));
            config.apps.sort_by_key(|app| app.id.to_string() != "acme/hello");
        });
        let _ = ask_host(&gateway, &format!("other-{round}-acme")).expect(200);
    }
    let _ = caller.get("/").expect(200);
    assert_eq!(app_of.connections(), 1, "the app saw one connection all along");
}

#[test]
fn an_endpoint_that_stays_keeps_its_connection_when_another_comes_and_goes() {
    let app_of = ScriptedApp::answering(OK);
    let other = EchoHeads::start();
    let mut gateway = Gateway::of(app_of.address());
    let mut caller = Caller::new(&gateway);
    let _ = caller.get("/").expect(200);
    let addresses = [app_of.address(), other.address()];
    gateway.reload(|config| config.apps = vec![app("acme/hello", &[(80, &addresses)])]);
    for _ in 0..20 {
        let _ = caller.get("/").expect(200);
    }
    gateway.reload(|config| config.apps = vec![app("acme/hello", &[(80, &addresses[..1])])]);
    let _ = caller.get("/").expect(200);
    assert_eq!(app_of.connections(), 1);
}

#[test]
fn changed_limits_apply_to_the_next_request_of_an_open_connection() {
    let app_of = EchoHeads::start();
    let mut gateway = Gateway::of(app_of.address());
    let mut caller = Caller::new(&gateway);
    let post = request("POST /", "Content-Length: 10\r\n", "0123456789");
    caller.send(&post);
    let _ = caller.read_response().expect(200);
    gateway.reload(|config| config.limits.request_body = 9);
    caller.send(&post);
    let _ = caller.read_response().expect_problem(413, "http_request_denied");

    gateway.reload(|config| {
        config.limits.request_body = 0;
        config.limits.request_target_bytes = 100;
    });
    let mut caller = Caller::new(&gateway);
    let _ = caller.get(&format!("/{}", "x".repeat(90))).expect(200);
    let _ = caller.get(&format!("/{}", "x".repeat(200))).expect(414);
    gateway.reload(|config| config.limits.request_target_bytes = 1000);
    let mut caller = Caller::new(&gateway);
    let _ = caller.get(&format!("/{}", "x".repeat(200))).expect(200);
}

#[test]
fn a_changed_head_limit_applies_to_a_connection_that_was_idle_when_it_changed() {
    let app_of = EchoHeads::start();
    let mut gateway = Gateway::of(app_of.address());
    let mut caller = Caller::new(&gateway);
    let _ = caller.get("/").expect(200);
    // The one worker has turned to another caller: this connection waits for its next request.
    let _ = Caller::ask(&gateway, get("/")).expect(200);
    gateway.reload(|config| config.limits.headers = 3);
    caller.send(request("GET /", "A: 1\r\nB: 2\r\nC: 3\r\n", ""));
    let _ = caller.read_response().expect(431);
}

#[test]
fn a_changed_body_limit_applies_to_chunked_bodies_of_a_connection_that_was_idle() {
    let app_of = EchoHeads::start();
    let mut gateway = Gateway::of(app_of.address());
    let mut caller = Caller::new(&gateway);
    let _ = caller.get("/").expect(200);
    // The one worker has turned to another caller: this connection waits for its next request.
    let _ = Caller::ask(&gateway, get("/")).expect(200);
    gateway.reload(|config| config.limits.request_body = 3);
    let body = "a\r\n0123456789\r\n0\r\n\r\n";
    caller.send(request("POST /", "Transfer-Encoding: chunked\r\n", body));
    let _ = caller.read_response().expect(413);
}

#[test]
fn changed_timeouts_apply_to_the_next_request() {
    let release = Signal::new();
    let app_of = hanging(&release);
    let mut gateway = Gateway::of(app_of.address());
    let mut old = hang(gateway.address(), &app_of);
    gateway.reload(|config| config.timeouts.response = Duration::from_millis(100));
    let mut caller = Caller::new(&gateway);
    let _ = caller.get("/hang").expect_problem(504, "http_response_timeout");
    // What was in flight keeps the time that it began with.
    old.expect_silence();
    release.give();
    let _ = old.read_response().expect(200);
}

#[test]
fn a_trusted_proxy_is_trusted_from_the_reload_on() {
    let app_of = EchoHeads::start();
    let mut gateway = Gateway::of(app_of.address());
    let ask = request("GET /", "X-Forwarded-For: 192.0.2.7\r\n", "");
    let _ = Caller::ask(&gateway, &ask).expect(200);
    assert!(!app_of.last().field("x-forwarded-for").unwrap().contains("192.0.2.7"));
    gateway.reload(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    let _ = Caller::ask(&gateway, &ask).expect(200);
    assert!(app_of.last().field("x-forwarded-for").unwrap().contains("192.0.2.7"));
}

#[test]
fn a_refused_configuration_changes_nothing() {
    let app_of = ScriptedApp::answering(OK);
    let gateway = Gateway::of(app_of.address());
    let mut caller = Caller::new(&gateway);
    let _ = caller.get("/").expect(200);
    gateway.tell(Command::ReloadFailed("nonsense in line 3".to_owned()));
    for _ in 0..20 {
        let _ = caller.get("/").expect(200);
    }
    assert_eq!(app_of.connections(), 1);
}

#[test]
fn what_needs_a_restart_stays_and_the_rest_of_the_reload_is_in_force() {
    let app_of = EchoHeads::start();
    let mut gateway = Gateway::of(app_of.address());
    gateway.reload(|config| {
        config.listeners[0].address = ([127, 0, 0, 1], 1).into();
        config.workers = 7;
        config.limits.request_body = 3;
    });
    let mut caller = Caller::new(&gateway);
    let _ = caller.get("/").expect(200);
    caller.send(request("POST /", "Content-Length: 4\r\n", "body"));
    let _ = caller.read_response().expect(413);
}

#[test]
fn a_request_that_waits_is_served_by_an_endpoint_that_a_reload_brings() {
    let app_of = EchoHeads::start();
    let mut gateway = Gateway::with(|config| config.apps.push(app("acme/hello", &[(80, &[])])));
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", "Content-Length: 4\r\n", "body"));
    let route = gateway.route(HOST);
    eventually("it waits", || route.shared.waiting.load(Ordering::SeqCst) == 1);
    drop(route);
    gateway.reload(|config| config.apps = vec![app("acme/hello", &[(80, &[app_of.address()])])]);
    let _ = caller.read_response().expect(200);
    assert_eq!(app_of.last().content, b"body");
}

#[test]
fn a_changed_concurrency_limit_applies_at_once_and_strands_nobody() {
    let release = Signal::new();
    let app_of = hanging(&release);
    let mut gateway =
        Gateway::of_with(app_of.address(), |config| config.limits.app_concurrency = 1);
    let mut first = hang(gateway.address(), &app_of);
    let shared = gateway.route(HOST).turns.clone();
    let mut queued = Caller::new(&gateway);
    queued.send(get("/"));
    eventually("it waits", || shared.queued.load(Ordering::SeqCst) == 1);
    gateway.reload(|config| config.limits.app_concurrency = 2);
    let _ = Caller::new(&gateway).get("/").expect(200);
    release.give();
    let _ = first.read_response().expect(200);
    let _ = queued.read_response().expect(200);
}

/// An app that is healthy once it is told to be.
fn sleeping() -> (ScriptedApp, Arc<AtomicBool>) {
    let awake = Arc::new(AtomicBool::new(false));
    let app_of = ScriptedApp::start({
        let awake = awake.clone();
        move |connection| {
            while let Some(seen) = connection.next_request() {
                let good = seen.head.target() != b"/healthz" || awake.load(Ordering::SeqCst);
                let status = if good { "200 OK" } else { "503 No" };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
                if connection.try_send(answer).is_err() {
                    return;
                }
            }
        }
    });
    (app_of, awake)
}

fn probed_edge(app_of: &ScriptedApp) -> Edge {
    let address = app_of.address();
    Edge::with(QUICK, |config| {
        let mut one = app("acme/hello", &[(80, &[address])]);
        one.health_check = true;
        config.apps.push(one);
        config.timeouts.ready = Duration::from_secs(3);
    })
}

#[test]
fn a_caller_that_waits_after_a_changed_limit_is_served_when_the_endpoint_turns_ready() {
    let (app_of, awake) = sleeping();
    let mut edge = probed_edge(&app_of);
    edge.reload(|config| config.limits.app_concurrency = 5);
    let mut caller = Caller::to(edge.address());
    caller.send(get("/"));
    let route = edge.route(HOST);
    eventually("it waits", || route.shared.waiting.load(Ordering::SeqCst) == 1);
    awake.store(true, Ordering::SeqCst);
    let start = Instant::now();
    let _ = caller.read_response().expect(200);
    assert!(start.elapsed() < SOON);
}

#[test]
fn a_caller_that_waits_over_two_changed_limits_is_served_when_the_endpoint_turns_ready() {
    let (app_of, awake) = sleeping();
    let mut edge = probed_edge(&app_of);
    let mut caller = Caller::to(edge.address());
    caller.send(get("/"));
    let route = edge.route(HOST);
    eventually("it waits", || route.shared.waiting.load(Ordering::SeqCst) == 1);
    drop(route);
    edge.reload(|config| config.limits.app_concurrency = 5);
    edge.reload(|config| config.limits.app_concurrency = 6);
    awake.store(true, Ordering::SeqCst);
    let _ = caller.read_response().expect(200);
}

#[test]
fn a_caller_that_waits_is_served_by_its_app_that_went_and_came_back() {
    let app_of = EchoHeads::start();
    let address = app_of.address();
    let mut edge = Edge::with(QUICK, |config| {
        config.apps.push(app("acme/hello", &[(80, &[])]));
        config.timeouts.ready = Duration::from_secs(3);
    });
    let mut caller = Caller::to(edge.address());
    caller.send(get("/"));
    let route = edge.route(HOST);
    eventually("it waits", || route.shared.waiting.load(Ordering::SeqCst) == 1);
    drop(route);
    edge.reload(|config| config.apps.clear());
    edge.reload(|config| config.apps.push(app("acme/hello", &[(80, &[address])])));
    // Served, or told at once that its app has gone; not left to wait in vain.
    let start = Instant::now();
    let response = caller.read_response();
    assert!(matches!(response.status, 200 | 404), "{} {}", response.status, response.text());
    assert!(start.elapsed() < SOON);
}

#[test]
fn turning_probes_off_makes_an_unready_endpoint_ready_and_on_again_asks_it() {
    let (app_of, awake) = sleeping();
    let mut edge = probed_edge(&app_of);
    let mut caller = Caller::to(edge.address());
    caller.send(get("/"));
    let route = edge.route(HOST);
    eventually("it waits", || route.shared.waiting.load(Ordering::SeqCst) == 1);
    edge.reload(|config| config.apps[0].health_check = false);
    let _ = caller.read_response().expect(200);
    edge.reload(|config| config.apps[0].health_check = true);
    awake.store(true, Ordering::SeqCst);
    let _ = caller.get("/").expect(200);
}

#[test]
fn a_changed_health_path_is_probed_and_readiness_follows_it() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let app_of = ScriptedApp::start({
        let asked = asked.clone();
        move |connection| {
            while let Some(seen) = connection.next_request() {
                let target = String::from_utf8_lossy(seen.head.target()).into_owned();
                let status = if target == "/healthz" { "404 No" } else { "200 OK" };
                asked.lock().unwrap().push(target);
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                let _ = connection.try_send(answer);
            }
        }
    });
    let mut edge = probed_edge(&app_of);
    eventually("it is asked", || asked.lock().unwrap().len() > 3);
    assert!(!edge.route(HOST).endpoints[0].is_ready());
    edge.reload(|config| config.apps[0].health_path = "/up?deep=1".to_owned());
    let _ = Caller::to(edge.address()).get("/").expect(200);
    let mut before = asked.lock().unwrap().len();
    eventually("the old path is asked no more", || {
        let asked = asked.lock().unwrap();
        let new = asked[before..].to_vec();
        if new.iter().any(|target| target == "/healthz") {
            before = asked.len();
        }
        new.len() > 5
    });
}

#[test]
fn requests_flow_without_a_fault_while_reloads_come_one_after_another() {
    let app_of = EchoHeads::start();
    let address = app_of.address();
    let mut gateway = Gateway::of_with(address, |config| config.workers = 2);
    let (stop, at) = (Arc::new(AtomicBool::new(false)), gateway.address());
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let (mut caller, mut count) = (Caller::to(at), 0);
                while !stop.load(Ordering::SeqCst) {
                    let _ = caller.get("/").expect(200);
                    count += 1;
                }
                count
            })
        })
        .collect();
    for round in 0..100 {
        gateway.reload(|config| {
            config.apps.truncate(1);
            for extra in 0..round % 4 {
                config.apps.push(app(&format!("acme/extra-{extra}"), &[(80, &[address])]));
            }
            config.limits.headers = 50 + round;
            config.limits.app_concurrency = 16 + round % 2;
        });
    }
    stop.store(true, Ordering::SeqCst);
    let count: usize = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
    assert!(count > 100, "{count}");
}

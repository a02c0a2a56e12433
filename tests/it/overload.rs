//! A gateway with too much to do: new requests are refused at once and for
//! little, what is under way is finished, and all is well when it is over.

use std::net::SocketAddr;
use std::time::Duration;

use ignite_gateway::config::Config;
use ignite_gateway::config::load::MemoryLimit;

use crate::rate_limits::metric;
use crate::support::caller::{get, request};
use crate::support::{Caller, EchoHeads, Gateway, HOST, ScriptedApp, Signal, eventually};

/// An app that answers when it is told to.
fn waiting_app(answer: &Signal) -> ScriptedApp {
    let answer = answer.clone();
    ScriptedApp::start(move |connection| {
        while connection.next_request().is_some() {
            answer.wait();
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    })
}

fn shed(gateway: &Gateway, reason: &str) -> u64 {
    metric(gateway, "ignite_gateway_shed_requests_total", &format!("reason=\"{reason}\""))
}

fn verbose(gateway: &Gateway) -> (u16, String) {
    let mut admin = Caller::to(gateway.admin());
    admin.send("GET /readyz?verbose HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let response = admin.read_response();
    (response.status, response.text())
}

/// A gateway that may use no memory at all, so that every request is one too many.
fn without_memory(config: &mut Config) {
    config.limits.memory = MemoryLimit::Bytes(1);
}

#[test]
fn beyond_the_limit_requests_are_refused_at_once_and_those_under_way_are_finished() {
    let answer = Signal::new();
    let app = waiting_app(&answer);
    let gateway = Gateway::of_with(app.address(), |config| config.limits.in_flight = 3);
    let mut held: Vec<_> = (0..3).map(|_| Caller::new(&gateway)).collect();
    for (number, caller) in held.iter_mut().enumerate() {
        caller.send(get("/held"));
        gateway.wait_busy(HOST, number as u64 + 1);
    }
    // On one connection: it stays, and each of its requests is judged anew.
    let mut refused = Caller::new(&gateway);
    for _ in 0..5 {
        let response = refused.get("/").expect_problem(503, "http_request_denied");
        assert_eq!(response.field("retry-after").as_deref(), Some("1"));
        assert_eq!(response.field("connection"), None);
        assert_eq!(response.json()["detail"], "The gateway is overloaded.");
    }
    assert_eq!(shed(&gateway, "in_flight"), 5);
    eventually("three reached the app", || app.connections() == 3);
    answer.give();
    for caller in &mut held {
        caller.read_response().expect(200);
    }
    gateway.wait_idle();
    refused.get("/").expect(200);
    gateway.wait_idle();
    assert_eq!(shed(&gateway, "in_flight"), 5);
    let counted: Vec<_> = gateway.route(HOST).shared.metrics.requests().collect();
    assert_eq!(counted, [("GET", "2xx", 4), ("GET", "5xx", 5)]);
}

#[test]
fn the_limit_is_the_processs_whichever_worker_a_caller_meets() {
    let answer = Signal::new();
    let app = waiting_app(&answer);
    let gateway = Gateway::of_with(app.address(), |config| {
        config.workers = 4;
        config.limits.in_flight = 6;
    });
    // One after the other, over all workers: each is under way before the next is sent.
    let mut held = Vec::new();
    for number in 1..=6 {
        let mut caller = Caller::new(&gateway);
        caller.send(get("/held"));
        gateway.wait_busy(HOST, number);
        held.push(caller);
    }
    for _ in 0..12 {
        Caller::ask(&gateway, get("/")).expect_problem(503, "http_request_denied");
    }
    assert_eq!(shed(&gateway, "in_flight"), 12);
    answer.give();
    held.iter_mut().for_each(|caller| assert_eq!(caller.read_response().status, 200));
    gateway.wait_idle();
    Caller::ask(&gateway, get("/")).expect(200);
}

#[test]
fn streams_of_one_connection_count_each_and_the_connection_stays() {
    let answer = Signal::new();
    let app = waiting_app(&answer);
    let gateway = Gateway::of_with(app.address(), |config| config.limits.in_flight = 2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut ask = || {
            let request = http::Request::get(format!("http://{HOST}/")).body(()).unwrap();
            requests.send_request(request, true).unwrap().0
        };
        let (first, second) = (ask(), ask());
        for _ in 0..3 {
            let refused = ask().await.unwrap();
            assert_eq!(refused.status(), 503);
            assert_eq!(refused.headers()["retry-after"], "1");
        }
        answer.give();
        assert_eq!(first.await.unwrap().status(), 200);
        assert_eq!(second.await.unwrap().status(), 200);
        assert_eq!(ask().await.unwrap().status(), 200);
        connection.abort();
    });
    assert_eq!(shed(&gateway, "in_flight"), 3);
}

#[test]
fn a_limit_that_a_reload_brings_or_takes_is_in_force_at_once() {
    let answer = Signal::new();
    let app = waiting_app(&answer);
    let mut gateway = Gateway::of(app.address());
    gateway.reload(|config| config.limits.in_flight = 1);
    let mut held = Caller::new(&gateway);
    held.send(get("/held"));
    gateway.wait_busy(HOST, 1);
    let mut other = Caller::new(&gateway);
    other.get("/").expect(503);
    gateway.reload(|config| config.limits.in_flight = 0);
    other.send(get("/"));
    gateway.wait_busy(HOST, 2);
    answer.give();
    held.read_response().expect(200);
    other.read_response().expect(200);
}

#[test]
fn without_memory_new_requests_are_refused_and_the_connection_with_them() {
    let echo = EchoHeads::start();
    let mut gateway = Gateway::of(echo.address());
    let mut caller = Caller::new(&gateway);
    caller.get("/").expect(200);
    gateway.reload(without_memory);
    eventually("memory is short", || gateway.shared().memory.is_short());
    // Idle connections close, without a word.
    caller.expect_closed();
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", "Content-Length: 4\r\n", "body"));
    let response = caller.read_response().expect_problem(503, "http_request_denied");
    assert_eq!(response.field("retry-after").as_deref(), Some("1"));
    assert_eq!(response.field("connection").as_deref(), Some("close"));
    caller.expect_closed();
    assert_eq!(shed(&gateway, "memory"), 1);
    let (status, text) = verbose(&gateway);
    assert_eq!(status, 200, "other gateways would get what this one refuses");
    assert!(text.contains("[-]load: memory ") && text.contains(" of 1 bytes"), "{text}");

    gateway.reload(|config| config.limits.memory = MemoryLimit::Bytes(0));
    eventually("memory has no limit", || !gateway.shared().memory.is_short());
    Caller::new(&gateway).get("/").expect(200);
    assert!(verbose(&gateway).1.contains("[+]load ok"));
    assert_eq!(echo.seen().len(), 2);
}

#[test]
fn what_is_under_way_when_memory_is_short_is_finished_and_its_connection_closed_then() {
    let answer = Signal::new();
    let app = waiting_app(&answer);
    let mut gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(get("/"));
    gateway.wait_busy(HOST, 1);
    gateway.reload(without_memory);
    eventually("memory is short", || gateway.shared().memory.is_short());
    answer.give();
    let response = caller.read_response().expect(200);
    assert_eq!(response.body, b"ok");
    assert_eq!(response.field("connection").as_deref(), Some("close"));
    caller.expect_closed();
}

#[test]
fn an_idle_connection_of_http2_is_closed_in_order_and_a_busy_one_is_not() {
    let answer = Signal::new();
    let app = waiting_app(&answer);
    let mut gateway = Gateway::of(app.address());
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    let connect = async || {
        let stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        (requests.ready().await.unwrap(), tokio::spawn(connection))
    };
    let ((mut busy, _going), (idle, ended)) =
        runtime.block_on(async { (connect().await, connect().await) });
    let request = http::Request::get(format!("http://{HOST}/")).body(()).unwrap();
    let response = {
        let _runtime = runtime.enter();
        busy.send_request(request, true).unwrap().0
    };
    gateway.wait_busy(HOST, 1);
    gateway.reload(without_memory);
    runtime.block_on(async {
        let end = tokio::time::timeout(crate::support::LIMIT, ended).await.expect("it is closed");
        end.unwrap().expect("by GOAWAY without an error");
        answer.give();
        assert_eq!(response.await.unwrap().status(), 200);
    });
    drop(idle);
}

#[test]
fn a_worker_that_is_always_late_refuses_a_share_and_stops_when_it_is_not() {
    let echo = EchoHeads::start();
    let gateway = Gateway::of_with(echo.address(), |config| {
        config.overload.target_lag = Duration::from_millis(5);
    });
    with_floods(gateway.address(), || {
        eventually("requests are refused", || shed(&gateway, "lag") > 0);
    });
    eventually("it takes everything again", || verbose(&gateway).1.contains("[+]load ok"));
    let refused = shed(&gateway, "lag");
    Caller::ask(&gateway, get("/")).expect(200);
    assert_eq!(shed(&gateway, "lag"), refused);
    assert!(metric(&gateway, "ignite_gateway_worker_lag_seconds_count", "worker=\"0\"") > 0);
}

/// Does something while a worker has more to do than it can in time: no setting makes one late.
pub fn with_floods<T>(address: SocketAddr, what: impl FnOnce() -> T) -> T {
    /// Ends the floods also where `what` panics: the test would wait for them for ever.
    struct Stop(Signal);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.give();
        }
    }
    let given = Signal::new();
    std::thread::scope(|scope| {
        let _stop = Stop(given.clone());
        for _ in 0..4 {
            scope.spawn(|| flood(address, &given));
        }
        what()
    })
}

/// Asks more than can be answered in time, for what costs no app any work, and checks each answer.
fn flood(address: SocketAddr, stop: &Signal) {
    const BATCH: usize = 16;
    let batch = "GET / HTTP/1.1\r\nHost: nobody.ignite.test\r\n\r\n".repeat(BATCH);
    let mut callers: Vec<_> = (0..32).map(|_| Caller::to(address)).collect();
    while !stop.is_given() {
        callers.iter_mut().for_each(|caller| caller.send(&batch));
        for response in
            callers.iter_mut().flat_map(|caller| (0..BATCH).map(|_| caller.read_response()))
        {
            if response.status == 503 {
                let response = response.expect_problem(503, "http_request_denied");
                assert_eq!(response.field("retry-after").as_deref(), Some("1"));
                assert_eq!(response.field("connection"), None, "a new one would cost more");
            } else {
                response.expect_problem(404, "destination_not_found");
            }
        }
    }
}

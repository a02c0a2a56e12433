//! What the gateway answers itself: the right status, in the words of RFC 9457
//! and RFC 9209, and nothing about the inside.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use crate::support::caller::{get, request};
use crate::support::{
    Caller, EchoHeads, Gateway, HOST, PIECE, Response, ScriptedApp, Signal, app, eventually, show,
};

/// Asserts everything that every answer of the gateway's own promises.
#[track_caller]
fn assert_is_problem(response: Response, status: u16, error: &str, hidden: &[SocketAddr]) {
    let response = response.expect_problem(status, error);
    let id = response.field("x-ignite-execution-id").expect("an execution id");
    let problem = response.json();
    let members: Vec<_> = problem.as_object().unwrap().keys().map(String::as_str).collect();
    for member in ["type", "title", "status", "detail", "execution_id"] {
        assert!(members.contains(&member), "{member} is missing: {problem}");
    }
    assert_eq!(problem["type"], "about:blank");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["execution_id"], id);
    let text_of = |member: &str| problem[member].as_str().unwrap().to_owned();
    assert!(!text_of("title").is_empty() && text_of("detail").len() > 10, "{problem}");
    assert_eq!(response.field("retry-after").is_some(), status == 503, "{:?}", response.head);
    if let Some(seconds) = response.field("retry-after") {
        assert!(seconds.parse::<u32>().unwrap() > 0);
    }
    let whole = format!("{:?}{}", response.head, response.text());
    for address in hidden {
        assert!(!whole.contains(&address.port().to_string()), "{whole}");
    }
    assert!(!whole.contains("127.0.0.1") && !whole.contains("os error"), "{whole}");
    assert!(!whole.contains(env!("CARGO_PKG_VERSION")) && !response.head.has("server"), "{whole}");
    assert!(!response.head.has("x-ignite-function-id"), "{whole}");
}

fn echo() -> (EchoHeads, Gateway) {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    (app, gateway)
}

/// An address at which nothing listens.
fn refusing() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn an_unknown_host_is_404() {
    let (app, gateway) = echo();
    let response = Caller::ask(&gateway, "GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n");
    assert_is_problem(response, 404, "destination_not_found", &[app.address()]);
}

#[test]
fn a_malformed_request_is_400() {
    let (app, gateway) = echo();
    for text in [
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
        request("GET /#x", "", ""),
        request("POST /", "Content-Length: x\r\n", ""),
        request("GET /", "Connection: host\r\n", ""),
    ] {
        let response = Caller::ask(&gateway, text);
        assert_is_problem(response, 400, "http_request_error", &[app.address()]);
    }
}

#[test]
fn an_unknown_transfer_coding_is_501() {
    let (_app, gateway) = echo();
    let response = Caller::ask(&gateway, request("POST /", "Transfer-Encoding: gzip\r\n", ""));
    assert_is_problem(response, 501, "http_request_error", &[]);
}

#[test]
fn a_request_target_over_the_limit_is_414() {
    let (app, gateway) = echo();
    for length in [(16 << 10) + 1, 20 << 10, 40 << 10, 100 << 10] {
        let target = format!("/{}", "x".repeat(length - 1));
        let mut caller = Caller::new(&gateway);
        let _ = caller.try_send(get(&target));
        let response = caller.read_response();
        assert_eq!(response.status, 414, "{length}");
        assert_is_problem(response, 414, "http_request_error", &[]);
        caller.expect_closed();
    }
    app.expect_untouched();
}

#[test]
fn a_head_with_too_many_or_too_large_fields_is_431() {
    let (app, gateway) = echo();
    let table = [
        "X-A: 1\r\n".repeat(100),
        "X-A: 1\r\n".repeat(3000),
        format!("X-A: {}\r\n", "a".repeat(33 << 10)),
        format!("X-A: {}\r\n", "a".repeat(200 << 10)),
        format!("{}: a\r\n", "n".repeat(33 << 10)),
    ];
    for fields in table {
        let mut caller = Caller::new(&gateway);
        let _ = caller.try_send(request("GET /", &fields, ""));
        assert_is_problem(caller.read_response(), 431, "http_request_error", &[]);
        caller.expect_closed();
    }
    app.expect_untouched();
    Caller::ask(&gateway, request("GET /", &"X-A: 1\r\n".repeat(99), "")).expect(200);
    let large = format!("X-A: {}\r\n", "a".repeat(31 << 10));
    Caller::ask(&gateway, request("GET /", &large, "")).expect(200);
}

#[test]
fn a_head_that_never_ends_is_refused_at_the_limit_without_waiting_for_its_end() {
    let (_app, gateway) = echo();
    let mut caller = Caller::new(&gateway);
    let _ =
        caller.try_send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-A: {}", "a".repeat(40_000)));
    caller.read_response().expect_problem(431, "http_request_error");
    let mut caller = Caller::new(&gateway);
    let _ = caller.try_send(format!("GET /{}", "a".repeat(40_000)));
    caller.read_response().expect_problem(414, "http_request_error");
}

#[test]
fn a_body_over_the_limit_is_413() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| config.limits.request_body = 4);
    let response = Caller::ask(&gateway, request("POST /", "Content-Length: 5\r\n", "hello"));
    assert_is_problem(response, 413, "http_request_denied", &[app.address()]);
}

#[test]
fn trace_is_405_and_says_what_is_allowed() {
    let (app, gateway) = echo();
    let mut caller = Caller::new(&gateway);
    caller.send(request("TRACE /", "Cookie: secret\r\n", ""));
    let response = caller.read_response();
    let allow = response.field("allow").unwrap_or_default();
    assert!(allow.contains("GET") && !allow.contains("TRACE"), "{allow}");
    assert!(!response.text().contains("secret"));
    assert_is_problem(response, 405, "http_request_denied", &[]);
    app.expect_untouched();
}

#[test]
fn connect_is_501_whatever_its_target_looks_like() {
    let (app, gateway) = echo();
    for target in [
        "hello-acme.ignite.test:80",
        "example.test:443",
        "/",
        "http://hello-acme.ignite.test/",
        "127.0.0.1:22",
    ] {
        let mut caller = Caller::new(&gateway);
        caller.send(request(&format!("CONNECT {target}"), "", ""));
        caller.send("raw bytes of a tunnel");
        assert_is_problem(caller.read_response(), 501, "http_request_denied", &[]);
        caller.expect_closed();
    }
    app.expect_untouched();
}

#[test]
fn a_refused_connection_is_502() {
    let address = refusing();
    let gateway = Gateway::of(address);
    let mut caller = Caller::new(&gateway);
    for text in [get("/"), request("POST /", "Content-Length: 2\r\n", "ab")] {
        caller.send(text);
        assert_is_problem(caller.read_response(), 502, "connection_refused", &[address]);
    }
    gateway.wait_idle();
}

#[test]
fn an_endpoint_that_refuses_is_made_up_for_by_one_that_does_not() {
    let app = EchoHeads::start();
    let endpoints = [refusing(), app.address()];
    let gateway = Gateway::with(|config| {
        config.apps.push(crate::support::app("acme/hello", &[(80, &endpoints)]));
    });
    let mut caller = Caller::new(&gateway);
    for number in 0..20 {
        let body = format!("body {number}");
        let fields = format!("Content-Length: {}\r\n", body.len());
        caller.send(request("POST /", &fields, &body));
        caller.read_response().expect(200);
        assert_eq!(show(&app.last().content), body);
    }
    assert_eq!(app.seen().len(), 20, "none came twice");
}

#[test]
fn the_execution_id_stays_the_same_over_the_gateways_own_retries() {
    // The first connection is taken, used once and dies silently while idle.
    let app = ScriptedApp::start(|connection| {
        let request = connection.next_request().expect("one request");
        let id = request.field("x-ignite-execution-id").unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", id.len());
        connection.send(format!("{head}{id}"));
        if let Some(request) = connection.next_request() {
            assert_eq!(show(request.head.target()), "/second");
            // Read, and closed without an answer: an idempotent request may be sent again.
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.get("/first").expect(200);
    let response = caller.get("/second").expect(200);
    assert_eq!(Some(response.text()), response.field("x-ignite-execution-id"));
    let ids: Vec<_> = app
        .received()
        .iter()
        .filter_map(|bytes| {
            let text = show(bytes);
            let second = text.split("GET /second").nth(1).unwrap_or_default().to_owned();
            second.split("x-ignite-execution-id: ").nth(1).map(|rest| rest[..36].to_owned())
        })
        .collect();
    assert_eq!(ids, [response.text(), response.text()]);
}

#[test]
fn a_request_that_may_have_been_acted_on_is_not_sent_twice() {
    let app = ScriptedApp::start(|connection| {
        connection.next_request().expect("one request");
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        // The second is read whole and never answered.
        connection.next_request();
    });
    let gateway = Gateway::of(app.address());
    for method in ["POST", "PATCH"] {
        let before = app.connections();
        let mut caller = Caller::new(&gateway);
        caller.get("/first").expect(200);
        caller.send(request(&format!("{method} /once"), "Content-Length: 2\r\n", "ab"));
        assert_is_problem(caller.read_response(), 502, "connection_terminated", &[app.address()]);
        assert_eq!(app.connections(), before + 1, "{method} was sent again");
    }
}

#[test]
fn a_request_is_not_sent_again_on_a_new_connection_that_dies() {
    let app = ScriptedApp::start(|connection| {
        connection.next_request().expect("one request");
    });
    let gateway = Gateway::of(app.address());
    let response = Caller::ask(&gateway, get("/"));
    assert_is_problem(response, 502, "connection_terminated", &[app.address()]);
    assert_eq!(app.connections(), 1);
}

#[test]
fn a_connection_that_never_opens_is_504() {
    // A listener whose queue is full answers no further SYN.
    let kind = socket2::Type::STREAM;
    let listener = socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let fillers: Vec<_> = (0..4)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address.into());
            socket
        })
        .collect();
    let gateway = Gateway::of_with(address, |config| {
        config.timeouts.connect = Duration::from_millis(200);
    });
    let response = Caller::ask(&gateway, get("/"));
    assert_is_problem(response, 504, "connection_timeout", &[address]);
    drop(fillers);
}

#[test]
fn an_app_that_does_not_answer_in_time_is_504() {
    let app = ScriptedApp::start(|connection| {
        connection.next_request().expect("a request");
        connection.expect_closed();
    });
    let gateway = Gateway::of_with(app.address(), |config| {
        config.timeouts.response = Duration::from_millis(200);
    });
    for text in [get("/"), request("POST /", "Content-Length: 2\r\n", "ab")] {
        let start = Instant::now();
        let response = Caller::ask(&gateway, text);
        assert!(start.elapsed() >= Duration::from_millis(190), "{:?}", start.elapsed());
        assert_is_problem(response, 504, "http_response_timeout", &[app.address()]);
    }
    app.wait_finished(2);
}

#[test]
fn interim_responses_do_not_prolong_the_wait_for_an_answer() {
    let app = ScriptedApp::start(|connection| {
        connection.next_request().expect("a request");
        // Below the limit on their number, and slower than the timeout all together.
        for _ in 0..10 {
            if connection.try_send("HTTP/1.1 103 Early Hints\r\n\r\n").is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = connection.try_send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let gateway = Gateway::of_with(app.address(), |config| {
        config.timeouts.response = Duration::from_millis(300);
    });
    let response = Caller::ask(&gateway, get("/"));
    assert_is_problem(response, 504, "http_response_timeout", &[app.address()]);
}

#[test]
fn a_head_that_the_app_begins_and_never_ends_is_504() {
    let app = ScriptedApp::start(|connection| {
        connection.next_request().expect("a request");
        connection.send("HTTP/1.1 200 OK\r\nX-A:");
        while connection.try_send("a").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let gateway = Gateway::of_with(app.address(), |config| {
        config.timeouts.response = Duration::from_millis(300);
    });
    let response = Caller::ask(&gateway, get("/"));
    assert_is_problem(response, 504, "http_response_timeout", &[app.address()]);
}

#[test]
fn an_app_that_stops_reading_a_body_is_504() {
    let done = Signal::new();
    let app = ScriptedApp::start({
        let done = done.clone();
        move |connection| {
            connection.shrink_buffers();
            connection.head();
            done.wait();
        }
    });
    let gateway = Gateway::of_with(app.address(), |config| {
        config.timeouts.idle_body = Duration::from_millis(300);
    });
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", "Content-Length: 300000000\r\n", ""));
    // The caller goes on sending until the gateway takes no more.
    caller.send_until_blocked(&PIECE, 300_000_000, Duration::from_millis(100));
    let response = caller.try_read_response(false).expect("an answer, not a reset");
    assert_is_problem(response, 504, "http_response_timeout", &[app.address()]);
    done.give();
}

#[test]
fn a_response_that_stalls_is_broken_off() {
    let app = ScriptedApp::start(|connection| {
        connection.next_request().expect("a request");
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart");
        connection.expect_closed();
    });
    let gateway = Gateway::of_with(app.address(), |config| {
        config.timeouts.idle_body = Duration::from_millis(200);
    });
    let response = Caller::ask(&gateway, get("/")).expect(200);
    assert_eq!((response.text().as_str(), response.complete), ("part", false));
    app.wait_finished(1);
}

#[test]
fn an_app_that_closes_before_its_head_is_502() {
    let app = ScriptedApp::start(|connection| {
        connection.next_request();
        if connection.number % 2 == 1 {
            connection.reset();
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    for _ in 0..4 {
        let response = caller.get("/");
        assert_is_problem(response, 502, "connection_terminated", &[app.address()]);
    }
}

#[test]
fn a_head_that_breaks_off_and_garbage_are_502() {
    for answer in ["HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\n", "garbage\r\n\r\n"] {
        let app = ScriptedApp::answering_once(answer);
        let gateway = Gateway::of(app.address());
        let response = Caller::ask(&gateway, get("/"));
        assert_is_problem(response, 502, "http_protocol_error", &[app.address()]);
    }
}

#[test]
fn no_ready_endpoint_is_503_after_the_wait() {
    let patience = Duration::from_millis(200);
    let unready = EchoHeads::start();
    let gateway = Gateway::with(|config| {
        config.timeouts.ready = patience;
        config.apps.push(app("acme/hello", &[(80, &[])]));
        // Probed, and its answer to the probe is late: nothing listens there.
        let mut probed = app("acme/probed", &[(80, &[refusing()])]);
        probed.health_check = true;
        config.apps.push(probed);
    });
    for host in [HOST, "probed-acme.ignite.test"] {
        let start = Instant::now();
        let response = Caller::ask(&gateway, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(start.elapsed() >= Duration::from_millis(190), "{:?}", start.elapsed());
        assert_is_problem(response, 503, "destination_unavailable", &[unready.address()]);
    }
}

#[test]
fn a_request_that_waits_is_served_when_an_endpoint_comes() {
    let echo = EchoHeads::start();
    let mut gateway = Gateway::with(|config| config.apps.push(app("acme/hello", &[(80, &[])])));
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /waits", "Content-Length: 5\r\n", "hello"));
    gateway.wait_busy(HOST, 1);
    gateway.reload(|config| config.apps[0].ports[0].endpoints = vec![echo.address()]);
    caller.read_response().expect(200);
    assert_eq!(echo.last().content, b"hello");
}

#[test]
fn a_probed_app_is_served_once_it_says_that_it_is_ready() {
    let echo = EchoHeads::start();
    let gateway = Gateway::with(|config| {
        let mut app = app("acme/hello", &[(80, &[echo.address()])]);
        app.health_check = true;
        app.health_path = "/ready?x=1".to_owned();
        config.apps.push(app);
    });
    Caller::ask(&gateway, get("/")).expect(200);
    let probe = &echo.seen()[0];
    assert_eq!(probe.head.line(), b"GET /ready?x=1 HTTP/1.1");
    assert_eq!(probe.field("host"), Some(echo.address().to_string()));
}

#[test]
fn a_full_queue_for_a_ready_endpoint_is_503_at_once() {
    let gateway = Gateway::with(|config| {
        config.limits.app_queue = 2;
        config.timeouts.ready = Duration::from_secs(600);
        config.apps.push(app("acme/hello", &[(80, &[])]));
    });
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let mut caller = Caller::new(&gateway);
            caller.send(get("/"));
            caller
        })
        .collect();
    let route = gateway.route(HOST);
    let waits = || route.shared.waiting.load(std::sync::atomic::Ordering::SeqCst);
    eventually("both wait", || waits() == 2);
    let response = Caller::ask(&gateway, get("/"));
    assert_is_problem(response, 503, "connection_limit_reached", &[]);
    // Who leaves frees the place.
    drop(waiting);
    eventually("the places are free", || waits() == 0);
    gateway.wait_idle();
}

/// An app whose answers wait for a signal, and which counts how many requests it holds.
fn slow_app(go_on: &Signal) -> ScriptedApp {
    let go_on = go_on.clone();
    ScriptedApp::start(move |connection| {
        while connection.next_request().is_some() {
            go_on.wait();
            if connection.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    })
}

#[test]
fn an_app_at_its_limit_makes_the_next_wait_and_refuses_those_beyond_its_queue() {
    let go_on = Signal::new();
    let slow = slow_app(&go_on);
    let gateway = Gateway::of_with(slow.address(), |config| {
        config.limits.app_concurrency = 1;
        config.limits.app_queue = 1;
    });
    let mut first = Caller::new(&gateway);
    first.send(get("/"));
    eventually("the app works", || slow.received().concat().ends_with(b"\r\n\r\n"));
    let mut second = Caller::new(&gateway);
    second.send(get("/"));
    let route = gateway.route(HOST);
    let queued = || route.turns.queued.load(std::sync::atomic::Ordering::SeqCst);
    eventually("the second waits", || queued() == 1);
    let response = Caller::ask(&gateway, get("/"));
    assert_is_problem(response, 503, "connection_limit_reached", &[slow.address()]);
    assert_eq!(slow.connections(), 1, "the app got more than its limit");
    go_on.give();
    assert_eq!(first.read_response().expect(200).text(), "ok");
    assert_eq!(second.read_response().expect(200).text(), "ok");
}

#[test]
fn a_turn_that_does_not_come_in_time_is_503_and_one_given_up_is_free() {
    let go_on = Signal::new();
    let slow = slow_app(&go_on);
    let gateway = Gateway::of_with(slow.address(), |config| {
        config.limits.app_concurrency = 1;
        config.timeouts.ready = Duration::from_millis(200);
    });
    let mut first = Caller::new(&gateway);
    first.send(get("/"));
    eventually("the app works", || slow.received().concat().ends_with(b"\r\n\r\n"));
    let response = Caller::ask(&gateway, get("/"));
    assert_is_problem(response, 503, "connection_limit_reached", &[slow.address()]);
    first.leave();
    gateway.wait_idle();
    go_on.give();
    Caller::ask(&gateway, get("/")).expect(200);
}

#[test]
fn the_limit_of_an_app_is_for_all_its_ports_and_no_other_app() {
    let go_on = Signal::new();
    let (slow, other) = (slow_app(&go_on), EchoHeads::start());
    let gateway = Gateway::with(|config| {
        config.limits.app_concurrency = 1;
        config.limits.app_queue = 0;
        let ports = [(80, &[slow.address()][..]), (8080, &[slow.address()])];
        config.apps.push(app("acme/hello", &ports));
        config.apps.push(app("acme/other", &[(80, &[other.address()])]));
    });
    let mut first = Caller::new(&gateway);
    first.send(get("/"));
    gateway.wait_busy(HOST, 1);
    let ask = |host: &str| Caller::ask(&gateway, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let response = ask("hello-acme-8080.ignite.test");
    assert_is_problem(response, 503, "connection_limit_reached", &[slow.address()]);
    ask("other-acme.ignite.test").expect(200);
    go_on.give();
    first.read_response().expect(200);
}

#[test]
fn a_slow_head_is_given_up_after_its_time() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| {
        config.timeouts.header = Duration::from_millis(200);
    });
    let mut caller = Caller::new(&gateway);
    caller.send("GET / HTTP/1.1\r\nHos");
    assert_is_problem(caller.read_response(), 408, "http_request_error", &[]);
    caller.expect_closed();
    // Nothing begun: nothing to answer.
    let mut caller = Caller::new(&gateway);
    caller.expect_closed();
    app.expect_untouched();
}

#[test]
fn a_slow_body_is_given_up_after_its_time() {
    let app = ScriptedApp::start(|connection| {
        connection.head();
        connection.read_to_close();
    });
    let gateway = Gateway::of_with(app.address(), |config| {
        config.timeouts.idle_body = Duration::from_millis(200);
    });
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", "Content-Length: 10\r\n", "part"));
    assert_is_problem(caller.read_response(), 408, "http_request_error", &[app.address()]);
    caller.expect_closed();
    app.wait_finished(1);
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| {
        config.timeouts.keepalive = Duration::from_millis(200);
    });
    let mut caller = Caller::new(&gateway);
    caller.get("/").expect(200);
    let start = Instant::now();
    caller.expect_closed();
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
}

#[test]
fn a_request_under_way_is_finished_while_draining_and_its_connection_closes() {
    let go_on = Signal::new();
    let slow = slow_app(&go_on);
    let gateway = Gateway::of(slow.address());
    let mut idle = Caller::new(&gateway);
    idle.send("GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n");
    idle.read_response().expect(404);
    let mut busy = Caller::new(&gateway);
    busy.send(format!("{}{}", get("/first"), get("/never")));
    eventually("the app works", || slow.received().concat().ends_with(b"\r\n\r\n"));
    gateway.drain();
    idle.expect_closed();
    go_on.give();
    let response = busy.read_response().expect(200);
    assert_eq!(response.field("connection").as_deref(), Some("close"));
    assert_eq!(response.text(), "ok");
    busy.expect_closed();
    gateway.finish();
    assert!(!show(&slow.received().concat()).contains("never"));
}

#[test]
fn connections_that_never_said_anything_do_not_hold_up_a_drain() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    // Preconnected, as browsers and load balancers do.
    let mut silent = Caller::new(&gateway);
    let mut known = Caller::new(&gateway);
    known.get("/").expect(200);
    let start = Instant::now();
    gateway.drain();
    known.expect_closed();
    silent.expect_closed();
    gateway.finish();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn the_connection_limit_turns_newcomers_away_and_serves_again() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| config.limits.connections = 2);
    let mut kept: Vec<_> = (0..2).map(|_| Caller::new(&gateway)).collect();
    for caller in &mut kept {
        caller.get("/").expect(200);
    }
    Caller::new(&gateway).expect_closed();
    kept.pop().unwrap().leave();
    eventually("a place is free", || {
        let mut caller = Caller::new(&gateway);
        caller.try_send(get("/")).is_ok() && caller.try_read_response(false).is_ok()
    });
    kept[0].get("/").expect(200);
}

#[test]
fn an_answer_of_the_apps_own_is_not_dressed_up() {
    let app = ScriptedApp::answering(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nmine",
    );
    let gateway = Gateway::of(app.address());
    let response = Caller::ask(&gateway, get("/")).expect(503);
    assert_eq!(response.text(), "mine");
    assert!(!response.head.has("proxy-status") && !response.head.has("retry-after"));
    assert_eq!(response.field("content-type").as_deref(), Some("text/plain"));
}

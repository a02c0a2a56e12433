//! Several endpoints, kept connections, probes: where a request goes, when it
//! goes a second time, and when it must not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ignite_gateway::config::Config;

use crate::support::app::AppConnection;
use crate::support::caller::{get, request};
use crate::support::edge::{Edge, QUICK, Refusing};
use crate::support::{
    Caller, EchoHeads, Gateway, HOST, LIMIT, ScriptedApp, Signal, app, eventually,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const MORE: Duration = Duration::from_millis(40);

fn post(target: &str, body: &str) -> String {
    request(&format!("POST {target}"), &format!("Content-Length: {}\r\n", body.len()), body)
}

fn targets(app: &EchoHeads) -> usize {
    app.seen().len()
}

// --- choice -------------------------------------------------------------------------------

#[test]
fn endpoints_share_the_load() {
    let apps = [EchoHeads::start(), EchoHeads::start(), EchoHeads::start()];
    let addresses: Vec<_> = apps.iter().map(EchoHeads::address).collect();
    let gateway = Gateway::with(|config| config.apps.push(app("acme/hello", &[(80, &addresses)])));
    let mut caller = Caller::new(&gateway);
    for number in 0..300 {
        let _ = caller.get(&format!("/{number}")).expect(200);
    }
    let counts: Vec<_> = apps.iter().map(targets).collect();
    assert_eq!(counts.iter().sum::<usize>(), 300, "{counts:?}");
    assert!(counts.iter().all(|count| (50..150).contains(count)), "{counts:?}");
}

#[test]
fn a_busy_endpoint_gets_nothing_while_an_idle_one_is_there() {
    let release = Signal::new();
    let stuck = ScriptedApp::start({
        let release = release.clone();
        move |connection| {
            while connection.next_request().is_some() {
                release.wait();
                connection.send(OK);
            }
        }
    });
    let idle = EchoHeads::start();
    let gateway = Gateway::with(|config| {
        let addresses = [stuck.address(), idle.address()];
        config.apps.push(app("acme/hello", &[(80, &addresses)]));
    });
    // As many callers as it takes until one of them hangs at the first endpoint.
    let mut stuck_callers = Vec::new();
    let route = gateway.route(HOST);
    while route.endpoints[0].in_flight() == 0 {
        let mut caller = Caller::new(&gateway);
        let seen = targets(&idle);
        caller.send(get("/"));
        eventually("the request is at an endpoint", || {
            targets(&idle) > seen || route.endpoints[0].in_flight() > 0
        });
        stuck_callers.push(caller);
    }
    eventually("the idle one is idle", || route.endpoints[1].in_flight() == 0);
    let mut caller = Caller::new(&gateway);
    for _ in 0..50 {
        let _ = caller.get("/").expect(200);
    }
    assert_eq!(route.endpoints[0].in_flight(), 1);
    release.give();
    for mut caller in stuck_callers {
        let _ = caller.read_response().expect(200);
    }
}

#[test]
fn a_refused_connection_goes_to_another_endpoint_for_get_and_for_post() {
    let (refusing, app_of) = (Refusing::new(), EchoHeads::start());
    let addresses = [refusing.address(), app_of.address()];
    let gateway = Gateway::with(|config| config.apps.push(app("acme/hello", &[(80, &addresses)])));
    let mut caller = Caller::new(&gateway);
    for number in 0..6 {
        let _ = caller.get(&format!("/get/{number}")).expect(200);
        caller.send(post(&format!("/post/{number}"), "a body"));
        let _ = caller.read_response().expect(200);
    }
    let seen = app_of.seen();
    assert_eq!(seen.len(), 12, "each came once");
    for request in seen.iter().filter(|request| request.head.word(0) == b"POST") {
        assert_eq!(request.content, b"a body");
    }
}

#[test]
fn a_refused_connection_loses_nothing_of_a_large_or_chunked_upload() {
    let (refusing, app_of) = (Refusing::new(), EchoHeads::start());
    let addresses = [refusing.address(), app_of.address()];
    let gateway = Gateway::with(|config| config.apps.push(app("acme/hello", &[(80, &addresses)])));
    let body = "0123456789abcdef".repeat(20_000);
    for _ in 0..4 {
        let _ = Caller::ask(&gateway, post("/large", &body)).expect(200);
        assert_eq!(app_of.last().content, body.as_bytes());
        let chunked =
            request("POST /chunked", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n");
        let _ = Caller::ask(&gateway, chunked).expect(200);
        assert_eq!(app_of.last().content, b"abc");
    }
}

#[test]
fn a_dead_endpoint_beside_a_live_one_fails_no_request_however_many_come() {
    let (refusing, app_of) = (Refusing::new(), EchoHeads::start());
    let addresses = [refusing.address(), app_of.address()];
    let gateway = Gateway::with(|config| config.apps.push(app("acme/hello", &[(80, &addresses)])));
    let mut caller = Caller::new(&gateway);
    let statuses: Vec<_> =
        (0..300).map(|number| caller.get(&format!("/{number}")).status).collect();
    let failed = statuses.iter().filter(|status| **status != 200).count();
    assert_eq!(failed, 0, "of 300 requests, {failed} failed though an endpoint was there");
}

#[test]
fn when_every_endpoint_refuses_the_caller_gets_502_and_each_was_tried_once() {
    let refusing = [Refusing::new(), Refusing::new()];
    let addresses = [refusing[0].address(), refusing[1].address()];
    let gateway = Gateway::with(|config| config.apps.push(app("acme/hello", &[(80, &addresses)])));
    let mut caller = Caller::new(&gateway);
    let _ = caller.get("/").expect_problem(502, "connection_refused");
    caller.send(post("/", "body"));
    let _ = caller.read_response().expect_problem(502, "connection_refused");
}

// --- kept connections ---------------------------------------------------------------------

/// An app whose first `stale` connections answer once and then do `end` to the next request.
fn stale_app(
    stale: usize,
    posts: &Arc<AtomicUsize>,
    end: impl Fn(&mut AppConnection) + Send + Sync + 'static,
) -> ScriptedApp {
    let posts = posts.clone();
    ScriptedApp::start(move |connection| {
        while let Some(seen) = connection.next_request() {
            if seen.head.word(0) == b"POST" {
                posts.fetch_add(1, Ordering::SeqCst);
            }
            connection.send(OK);
            if connection.number < stale {
                return end(connection);
            }
        }
    })
}

#[test]
fn a_get_on_a_connection_that_was_closed_while_idle_takes_a_fresh_one() {
    for wait in [Duration::ZERO, MORE] {
        let app_of = stale_app(1, &Arc::default(), |_| {});
        let gateway = Gateway::of(app_of.address());
        let mut caller = Caller::new(&gateway);
        let _ = caller.get("/1").expect(200);
        app_of.wait_finished(1);
        // The time that it lay idle is what is tested.
        std::thread::sleep(wait);
        let _ = caller.get("/2").expect(200);
        assert_eq!(app_of.connections(), 2);
    }
}

#[test]
fn a_post_on_a_connection_that_was_closed_a_while_ago_takes_a_fresh_one() {
    let posts = Arc::default();
    let app_of = stale_app(1, &posts, |_| {});
    let gateway = Gateway::of(app_of.address());
    let mut caller = Caller::new(&gateway);
    let _ = caller.get("/1").expect(200);
    app_of.wait_finished(1);
    // The time that it lay idle is what is tested.
    std::thread::sleep(MORE);
    caller.send(post("/2", "a body"));
    let _ = caller.read_response().expect(200);
    assert_eq!(posts.load(Ordering::SeqCst), 1);
}

#[test]
fn a_post_on_a_connection_that_was_closed_just_now_takes_a_fresh_one() {
    // Apps that close after each answer without saying so: the FIN is there before the request.
    for round in 0..20 {
        let posts = Arc::default();
        let app_of = stale_app(usize::MAX, &posts, |_| {});
        let gateway = Gateway::of(app_of.address());
        let mut caller = Caller::new(&gateway);
        let _ = caller.get("/1").expect(200);
        app_of.wait_finished(1);
        caller.send(post("/2", "a body"));
        let response = caller.read_response();
        assert_eq!(response.status, 200, "round {round}: {}", response.text());
        assert_eq!(posts.load(Ordering::SeqCst), 1);
    }
}

/// Reads some of the next request and ends without an answer.
fn read_and_close(connection: &mut AppConnection) {
    let _ = connection.body(1);
}

fn read_all_and_close(connection: &mut AppConnection) {
    let _ = connection.next_request();
}

fn read_and_reset(connection: &mut AppConnection) {
    connection.reset();
    let _ = connection.body(1);
}

#[test]
fn a_get_that_meets_the_close_of_a_kept_connection_is_sent_again() {
    for end in [read_and_close, read_all_and_close, read_and_reset] {
        let app_of = stale_app(1, &Arc::default(), end);
        let gateway = Gateway::of(app_of.address());
        let mut caller = Caller::new(&gateway);
        let _ = caller.get("/1").expect(200);
        let _ = caller.get("/2").expect(200);
        assert_eq!(app_of.connections(), 2);
    }
}

#[test]
fn a_post_that_meets_the_close_of_a_kept_connection_is_not_sent_again() {
    for end in [read_and_close, read_all_and_close, read_and_reset] {
        for body in ["", "a body"] {
            let app_of = stale_app(1, &Arc::default(), end);
            let gateway = Gateway::of(app_of.address());
            let mut caller = Caller::new(&gateway);
            let _ = caller.get("/1").expect(200);
            caller.send(post("/2", body));
            let _ = caller.read_response().expect_problem(502, "connection_terminated");
            app_of.wait_finished(1);
            assert_eq!(app_of.connections(), 1, "no second try");
            // The caller's connection and the app are of use as before.
            caller.send(post("/3", body));
            let _ = caller.read_response().expect(200);
        }
    }
}

#[test]
fn other_idempotent_methods_without_a_body_are_sent_again_and_patch_is_not() {
    for (method, again) in
        [("DELETE", true), ("PUT", true), ("OPTIONS", true), ("QUERY", true), ("PATCH", false)]
    {
        let app_of = stale_app(1, &Arc::default(), read_all_and_close);
        let gateway = Gateway::of(app_of.address());
        let mut caller = Caller::new(&gateway);
        let _ = caller.get("/1").expect(200);
        caller.send(request(&format!("{method} /2"), "Content-Length: 0\r\n", ""));
        let status = caller.read_response().status;
        assert_eq!(status, if again { 200 } else { 502 }, "{method}");
    }
}

#[test]
fn a_get_survives_several_stale_connections_at_once() {
    // As when an app restarts: every kept connection is stale, not only one.
    let all_there = Arc::new(std::sync::Barrier::new(6));
    let app_of = ScriptedApp::start(move |connection| {
        if connection.number < 6 {
            connection.next_request();
            all_there.wait();
            connection.send(OK);
            read_all_and_close(connection);
        } else {
            while connection.next_request().is_some() {
                connection.send(OK);
            }
        }
    });
    let gateway = Gateway::of(app_of.address());
    let mut callers: Vec<_> = (0..6).map(|_| Caller::new(&gateway)).collect();
    callers.iter_mut().for_each(|caller| caller.send(get("/1")));
    for caller in &mut callers {
        let _ = caller.read_response().expect(200);
    }
    let response = callers[0].get("/2");
    assert_eq!(response.status, 200, "{}", response.text());
}

#[test]
fn a_kept_connection_is_used_again_only_as_long_as_the_app_keeps_it() {
    let answer = |timeout: &str| {
        format!("HTTP/1.1 200 OK\r\nKeep-Alive: timeout={timeout}\r\nContent-Length: 2\r\n\r\nok")
    };
    for (timeout, at_once, later) in [("1", 2, 3), ("2", 1, 2), ("60", 1, 1)] {
        let app_of = ScriptedApp::answering(answer(timeout));
        let gateway = Gateway::of(app_of.address());
        let mut caller = Caller::new(&gateway);
        let _ = caller.get("/1").expect(200);
        let _ = caller.get("/2").expect(200);
        assert_eq!(app_of.connections(), at_once, "timeout={timeout}");
        // The time that it lay idle is what is tested.
        std::thread::sleep(Duration::from_millis(1200));
        let _ = caller.get("/3").expect(200);
        assert_eq!(app_of.connections(), later, "timeout={timeout}");
    }
}

#[test]
fn the_gateways_own_limit_closes_idle_connections_to_an_app() {
    let app_of = ScriptedApp::answering(OK);
    let gateway = Gateway::of_with(app_of.address(), |config| {
        config.timeouts.upstream_keepalive = Duration::from_millis(50);
    });
    let _ = Caller::ask(&gateway, get("/")).expect(200);
    // The app sees the close though no further request comes.
    app_of.wait_finished(1);
}

#[test]
fn an_answer_that_says_close_is_the_last_on_its_connection() {
    let app_of = ScriptedApp::start(|connection| {
        connection.next_request();
        connection.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        connection.expect_closed();
    });
    let gateway = Gateway::of(app_of.address());
    let mut caller = Caller::new(&gateway);
    for number in 0..5 {
        caller.send(post(&format!("/{number}"), "body"));
        let _ = caller.read_response().expect(200);
    }
    assert_eq!(app_of.connections(), 5);
}

// --- probes -------------------------------------------------------------------------------

/// An app whose health is what `health` says, and that answers everything else.
fn probed(health: impl Fn(&mut AppConnection) + Send + Sync + 'static) -> ScriptedApp {
    ScriptedApp::start(move |connection| {
        while let Some(seen) = connection.next_request() {
            if seen.head.target() == b"/healthz" {
                health(connection);
            } else {
                connection.send(OK);
            }
        }
    })
}

fn edge(app_of: &ScriptedApp, change: impl FnOnce(&mut Config)) -> Edge {
    let address = app_of.address();
    Edge::with(QUICK, |config| {
        let mut one = app("acme/hello", &[(80, &[address])]);
        one.health_check = true;
        config.apps.push(one);
        config.timeouts.ready = Duration::from_millis(200);
        change(config);
    })
}

fn wait_ready(edge: &Edge, ready: bool) {
    let route = edge.route(HOST);
    eventually("the readiness", || route.endpoints[0].is_ready() == ready);
}

#[test]
fn an_endpoint_gets_no_request_before_a_probe_succeeded() {
    for (answer, what) in [
        ("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "a redirect"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404"),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "500"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "a body that breaks off"),
        ("not HTTP at all\r\n\r\n", "not HTTP"),
    ] {
        let probes = Arc::new(AtomicUsize::new(0));
        let counter = probes.clone();
        let app_of = ScriptedApp::start(move |connection| {
            if let Some(seen) = connection.next_request() {
                assert_eq!(seen.head.target(), b"/healthz", "no redirect is followed");
                counter.fetch_add(1, Ordering::SeqCst);
                let _ = connection.try_send(answer);
            }
        });
        let edge = edge(&app_of, |_| {});
        eventually("probes came", || probes.load(Ordering::SeqCst) >= 4);
        assert!(!edge.route(HOST).endpoints[0].is_ready(), "{what}");
        let response = Caller::to(edge.address()).get("/");
        let response = response.expect_problem(503, "destination_unavailable");
        assert_eq!(response.field("retry-after").as_deref(), Some("1"));
    }
}

#[test]
fn a_slow_or_refused_probe_is_a_failure() {
    let release = Signal::new();
    let app_of = probed({
        let release = release.clone();
        move |_| release.wait()
    });
    let edge_of_slow = edge(&app_of, |_| {});
    eventually("probes came", || app_of.connections() >= 3);
    assert!(!edge_of_slow.route(HOST).endpoints[0].is_ready());
    release.give();
    drop(edge_of_slow);

    let refusing = Refusing::new();
    let edge = Edge::with(QUICK, |config| {
        let mut one = app("acme/hello", &[(80, &[refusing.address()])]);
        one.health_check = true;
        config.apps.push(one);
        config.timeouts.ready = Duration::from_millis(200);
    });
    let mut caller = Caller::to(edge.address());
    let _ = caller.get("/").expect_problem(503, "destination_unavailable");
}

#[test]
fn any_success_status_makes_an_endpoint_ready_and_the_probe_is_as_documented() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 299 Odd\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
    ] {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let app_of = ScriptedApp::start({
            let heads = heads.clone();
            move |connection| {
                let Some(seen) = connection.next_request() else { return };
                if seen.head.target() == b"/healthz" {
                    heads.lock().unwrap().push(seen.head);
                    let _ = connection.try_send(answer);
                } else {
                    connection.send(OK);
                }
            }
        });
        let edge = edge(&app_of, |_| {});
        wait_ready(&edge, true);
        let _ = Caller::to(edge.address()).get("/").expect(200);
        let head = heads.lock().unwrap()[0].clone();
        assert_eq!(head.line(), b"GET /healthz HTTP/1.1");
        assert_eq!(head.get("host"), Some(app_of.address().to_string()));
        assert_eq!(head.get("user-agent").as_deref(), Some("ignite-gateway-probe"));
    }
}

#[test]
fn three_failures_in_a_row_make_unready_and_one_success_ready_again() {
    // Two failures and a success, again and again; then failures; then a success.
    let (probes, phase) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let failures = Arc::new(AtomicUsize::new(0));
    let app_of = probed({
        let (probes, phase, failures) = (probes.clone(), phase.clone(), failures.clone());
        move |connection| {
            let number = probes.fetch_add(1, Ordering::SeqCst);
            let good = match phase.load(Ordering::SeqCst) {
                0 => number.is_multiple_of(3),
                1 => false,
                _ => true,
            };
            failures.fetch_add(usize::from(!good), Ordering::SeqCst);
            let status = if good { "200 OK" } else { "503 No" };
            connection.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let edge = edge(&app_of, |_| {});
    wait_ready(&edge, true);
    let endpoint = edge.route(HOST).endpoints[0].clone();
    eventually("many probes", || {
        assert!(endpoint.is_ready(), "two failures in a row are not enough");
        probes.load(Ordering::SeqCst) > 20
    });
    let before = failures.load(Ordering::SeqCst);
    phase.store(1, Ordering::SeqCst);
    eventually("unready", || !endpoint.is_ready());
    assert!(failures.load(Ordering::SeqCst) > before);
    let _ = Caller::to(edge.address()).get("/").expect_problem(503, "destination_unavailable");
    phase.store(2, Ordering::SeqCst);
    eventually("ready again", || endpoint.is_ready());
    let _ = Caller::to(edge.address()).get("/").expect(200);
}

#[test]
fn requests_go_to_the_ready_one_of_two_endpoints() {
    let (sick, well) = (
        probed(|connection| connection.send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")),
        probed(|connection| connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")),
    );
    let edge = Edge::with(QUICK, |config| {
        let addresses = [sick.address(), well.address()];
        let mut one = app("acme/hello", &[(80, &addresses)]);
        one.health_check = true;
        config.apps.push(one);
    });
    let mut caller = Caller::to(edge.address());
    for number in 0..30 {
        let _ = caller.get(&format!("/{number}")).expect(200);
    }
    for bytes in sick.received() {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.is_empty() || text.starts_with("GET /healthz "), "{text}");
    }
}

// --- waiting ------------------------------------------------------------------------------

/// An app that is healthy once told so, and the order in which requests came.
fn sleeping() -> (ScriptedApp, Signal, Arc<Mutex<Vec<(usize, String)>>>) {
    let (awake, order) = (Signal::new(), Arc::new(Mutex::new(Vec::new())));
    let app_of = ScriptedApp::start({
        let (awake, order) = (awake.clone(), order.clone());
        move |connection| {
            while let Some(seen) = connection.next_request() {
                if seen.head.target() == b"/healthz" {
                    let status = if awake.is_given() { "200 OK" } else { "503 No" };
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                    let _ = connection.try_send(answer);
                } else {
                    let target = String::from_utf8_lossy(seen.head.target()).into_owned();
                    order.lock().unwrap().push((connection.number, target));
                    connection.send(OK);
                }
            }
        }
    });
    (app_of, awake, order)
}

fn wait_waiting(edge: &Edge, count: usize) {
    let route = edge.route(HOST);
    eventually("callers wait", || route.shared.waiting.load(Ordering::SeqCst) == count);
}

fn waiter(edge: &Edge, number: usize) -> Caller {
    let mut caller = Caller::to(edge.address());
    caller.send(get(&format!("/{number}")));
    wait_waiting(edge, number + 1);
    caller
}

#[test]
fn callers_that_wait_are_served_in_order_when_the_endpoint_turns_ready() {
    let (app_of, awake, order) = sleeping();
    let edge = edge(&app_of, |config| config.timeouts.ready = LIMIT);
    let mut callers: Vec<_> = (0..10).map(|number| waiter(&edge, number)).collect();
    awake.give();
    for caller in &mut callers {
        let _ = caller.read_response().expect(200);
    }
    wait_waiting(&edge, 0);
    // Connections are numbered as they were accepted: each waiter made one, in its turn.
    let mut served = order.lock().unwrap().clone();
    served.sort();
    let targets: Vec<_> = served.into_iter().map(|(_, target)| target).collect();
    assert_eq!(targets, (0..10).map(|number| format!("/{number}")).collect::<Vec<_>>());
}

#[test]
fn the_queue_is_bounded_and_a_caller_who_leaves_frees_its_place() {
    let (app_of, awake, order) = sleeping();
    let edge = edge(&app_of, |config| {
        config.timeouts.ready = LIMIT;
        config.limits.app_queue = 3;
    });
    let mut callers: Vec<_> = (0..3).map(|number| waiter(&edge, number)).collect();
    let start = Instant::now();
    let response = Caller::to(edge.address()).get("/too-many");
    let response = response.expect_problem(503, "connection_limit_reached");
    assert!(response.field("retry-after").is_some());
    assert!(start.elapsed() < LIMIT / 4, "refused at once");
    callers.remove(1).leave();
    wait_waiting(&edge, 2);
    callers.remove(0).reset();
    wait_waiting(&edge, 1);
    for _ in 0..2 {
        let mut caller = Caller::to(edge.address());
        caller.send(get("/late"));
        callers.push(caller);
    }
    wait_waiting(&edge, 3);
    let _ =
        Caller::to(edge.address()).get("/again").expect_problem(503, "connection_limit_reached");
    awake.give();
    for mut caller in callers {
        let _ = caller.read_response().expect(200);
    }
    let mut targets: Vec<_> =
        order.lock().unwrap().iter().map(|(_, target)| target.clone()).collect();
    targets.sort();
    assert_eq!(targets, ["/2", "/late", "/late"], "who left was not served");
}

#[test]
fn the_body_of_a_waiting_request_is_not_asked_for() {
    let (app_of, awake, _) = sleeping();
    let edge = edge(&app_of, |config| config.timeouts.ready = LIMIT);
    let mut caller = Caller::to(edge.address());
    caller.send(request("POST /", "Expect: 100-continue\r\nContent-Length: 4\r\n", ""));
    wait_waiting(&edge, 1);
    caller.expect_silence();
    awake.give();
    let _ = caller.read_response().expect(100);
    caller.send("body");
    let _ = caller.read_response().expect(200);
}

#[test]
fn a_caller_that_waits_in_vain_gets_503_in_time() {
    let (app_of, _, order) = sleeping();
    let edge = edge(&app_of, |config| config.timeouts.ready = Duration::from_millis(300));
    let start = Instant::now();
    let mut caller = Caller::to(edge.address());
    caller.send(post("/", "a body"));
    let _ = caller.read_response().expect_problem(503, "destination_unavailable");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(5), "{took:?}");
    assert!(order.lock().unwrap().is_empty());
    wait_waiting(&edge, 0);
}

#[test]
fn turns_at_an_app_with_a_limit_are_given_in_order_and_the_queue_is_bounded() {
    let release = Signal::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let app_of = ScriptedApp::start({
        let (release, order) = (release.clone(), order.clone());
        move |connection| {
            while let Some(seen) = connection.next_request() {
                order
                    .lock()
                    .unwrap()
                    .push(String::from_utf8_lossy(seen.head.target()).into_owned());
                release.wait();
                connection.send(OK);
            }
        }
    });
    let gateway = Gateway::of_with(app_of.address(), |config| {
        config.limits.app_concurrency = 1;
        config.limits.app_queue = 3;
    });
    let queued = gateway.route(HOST).turns.clone();
    let mut callers: Vec<_> = (0..4)
        .map(|number| {
            let mut caller = Caller::new(&gateway);
            caller.send(get(&format!("/{number}")));
            if number == 0 {
                eventually("the first is at the app", || order.lock().unwrap().len() == 1);
            } else {
                eventually("it waits", || queued.queued.load(Ordering::SeqCst) == number);
            }
            caller
        })
        .collect();
    let _ = Caller::ask(&gateway, get("/full")).expect_problem(503, "connection_limit_reached");
    callers.remove(2).leave();
    eventually("its place is free", || queued.queued.load(Ordering::SeqCst) == 2);
    let mut late = Caller::new(&gateway);
    late.send(get("/4"));
    eventually("it waits", || queued.queued.load(Ordering::SeqCst) == 3);
    callers.push(late);
    release.give();
    for mut caller in callers {
        let _ = caller.read_response().expect(200);
    }
    assert_eq!(*order.lock().unwrap(), ["/0", "/1", "/3", "/4"]);
}

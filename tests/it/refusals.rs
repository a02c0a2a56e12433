//! Apps at which nobody accepts a connection: their callers wait, and are served
//! in order once somebody does.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ignite_gateway::config::Config;
use ignite_gateway::upstream::health::Timings;

use crate::support::caller::{get, request};
use crate::support::edge::{Edge, QUICK, Refusing, Reopening};
use crate::support::{Caller, Crowd, HOST, LIMIT, app, eventually};

/// After the first probe no other comes by itself within a test.
const ONCE: Timings = Timings { period: Duration::from_secs(3600), ..QUICK };

/// A probed app at these addresses.
fn edge(
    timings: Timings,
    ports: &[(u16, &[&Reopening])],
    change: impl FnOnce(&mut Config),
) -> Edge {
    Edge::with(timings, |config| {
        config.workers = 2;
        config.timeouts.ready = LIMIT;
        let mut one = app("acme/hello", &[]);
        for (port, endpoints) in ports {
            let addresses: Vec<_> = endpoints.iter().map(|one| one.address()).collect();
            one.ports.extend(app("acme/hello", &[(*port, &addresses)]).ports);
        }
        one.health_check = true;
        config.apps.push(one);
        change(config);
    })
}

fn healthy(place: &Reopening) -> Crowd {
    let crowd = Crowd::on(place.open());
    crowd.turn_healthy();
    crowd
}

#[track_caller]
fn wait_ready(edge: &Edge, host: &str) {
    let route = edge.route(host);
    eventually("endpoints are ready", || route.endpoints.iter().all(|one| one.is_ready()));
}

#[track_caller]
fn wait_waiting(edge: &Edge, host: &str, count: usize) {
    let route = edge.route(host);
    eventually("callers wait", || route.shared.waiting.load(Ordering::SeqCst) == count);
}

/// A caller who sent this, once `waiting` wait.
#[track_caller]
fn joins(edge: &Edge, bytes: impl AsRef<[u8]>, waiting: usize) -> Caller {
    let mut caller = Caller::to(edge.address());
    caller.send(bytes);
    wait_waiting(edge, HOST, waiting);
    caller
}

#[test]
fn callers_of_an_app_that_restarts_wait_and_are_served_in_order_of_arrival() {
    let place = Reopening::new();
    let before = healthy(&place);
    let edge = edge(ONCE, &[(80, &[&place])], |config| config.apps[0].concurrency = Some(1));
    wait_ready(&edge, HOST);
    let mut caller = Caller::to(edge.address());
    let _ = caller.get("/before").expect(200);
    drop(before);
    let callers: Vec<_> =
        (0..20).map(|number| joins(&edge, get(&format!("/{number}")), number + 1)).collect();
    assert!(!edge.route(HOST).endpoints[0].is_ready(), "found out by a request, not by a probe");
    let after = Crowd::on(place.open());
    // It listens, and is not ready before it says so.
    std::thread::sleep(Duration::from_millis(100));
    assert!(after.came().is_empty());
    after.turn_healthy();
    for mut caller in callers {
        let _ = caller.read_response().expect(200);
    }
    let expected: Vec<_> = (0..20).map(|number| format!("/{number}")).collect();
    assert_eq!((after.came(), after.peak()), (expected, 1));
}

#[test]
fn a_post_waits_too_as_nothing_of_it_was_sent() {
    let place = Reopening::new();
    let before = healthy(&place);
    let edge = edge(ONCE, &[(80, &[&place])], |_| {});
    wait_ready(&edge, HOST);
    drop(before);
    let mut caller = joins(&edge, request("POST /", "Content-Length: 0\r\n", ""), 1);
    let after = healthy(&place);
    let _ = caller.read_response().expect(200);
    assert_eq!(after.came(), ["/"]);
}

#[test]
fn who_was_refused_again_keeps_its_place_before_those_who_came_later() {
    let place = Reopening::new();
    let before = healthy(&place);
    let edge = edge(ONCE, &[(80, &[&place])], |config| {
        config.apps[0].concurrency = Some(1);
    });
    wait_ready(&edge, HOST);
    drop(before);
    let callers: Vec<_> =
        (0..8).map(|number| joins(&edge, get(&format!("/{number}")), number + 1)).collect();
    let route = edge.route(HOST);
    for _ in 0..5 {
        // As if a probe had been answered by what is gone again.
        route.endpoints[0].set_ready(true);
        route.turns.serve();
        eventually("it is found out", || !route.endpoints[0].is_ready());
        wait_waiting(&edge, HOST, 8);
    }
    let after = healthy(&place);
    for mut caller in callers {
        let _ = caller.read_response().expect(200);
    }
    let expected: Vec<_> = (0..8).map(|number| format!("/{number}")).collect();
    assert_eq!(after.came(), expected);
}

#[test]
fn where_several_refuse_the_first_that_is_back_serves_all() {
    let places = [Reopening::new(), Reopening::new(), Reopening::new()];
    let mut before: Vec<_> = places.iter().map(healthy).collect();
    let edge = edge(ONCE, &[(80, &places.each_ref())], |_| {});
    wait_ready(&edge, HOST);
    let route = edge.route(HOST);
    // One is gone for long before the others are.
    drop(before.remove(1));
    eventually("it refuses", || {
        let mut caller = Caller::to(edge.address());
        let _ = caller.get("/").expect(200);
        route.endpoints[1].is_refusing()
    });
    std::thread::sleep(Duration::from_millis(150));
    drop(before);
    let mut callers = vec![joins(&edge, get("/"), 1)];
    assert!(route.endpoints.iter().all(|one| !one.is_ready()));
    callers.extend((1..5).map(|number| joins(&edge, get("/"), number + 1)));
    let back = healthy(&places[1]);
    for mut caller in callers {
        let _ = caller.read_response().expect(200);
    }
    assert_eq!(back.came().len(), 5);
    assert!(!route.endpoints[0].is_ready() && !route.endpoints[2].is_ready());
}

#[test]
fn one_that_refuses_beside_one_that_serves_costs_no_caller_anything() {
    let places = [Reopening::new(), Reopening::new()];
    let (before, stays) = (healthy(&places[0]), healthy(&places[1]));
    let edge = edge(ONCE, &[(80, &places.each_ref())], |_| {});
    wait_ready(&edge, HOST);
    drop(before);
    let route = edge.route(HOST);
    for number in 0..40 {
        let mut caller = Caller::to(edge.address());
        let _ = caller.get(&format!("/{number}")).expect(200);
    }
    assert_eq!(stays.came().len(), 40);
    assert!(route.endpoints[0].is_ready(), "one probe in vain, or two, say little");
    assert!(route.endpoints[1].is_ready());
    let (retries, over_budget) = route.shared.retries.counts();
    assert_eq!((retries, over_budget), (1, 0), "it is left alone after the first");
    // A probe speaks for it, and it has its share again.
    let back = healthy(&places[0]);
    route.endpoints[0].set_ready(true);
    eventually("it serves", || {
        let mut caller = Caller::to(edge.address());
        let _ = caller.get("/").expect(200);
        !back.came().is_empty()
    });
}

#[test]
fn a_wait_in_vain_for_an_app_that_is_gone_ends_in_time() {
    let place = Reopening::new();
    let before = healthy(&place);
    let limit = Duration::from_millis(300);
    let edge = edge(ONCE, &[(80, &[&place])], |config| config.timeouts.ready = limit);
    wait_ready(&edge, HOST);
    drop(before);
    for _ in 0..2 {
        let start = Instant::now();
        let mut caller = Caller::to(edge.address());
        let _ = caller.get("/").expect_problem(503, "destination_unavailable");
        assert!((limit..LIMIT).contains(&start.elapsed()));
    }
    assert_eq!(edge.route(HOST).endpoints[0].in_flight(), 0);
}

#[test]
fn who_waits_for_one_port_does_not_hold_up_the_other() {
    let places = [Reopening::new(), Reopening::new()];
    let (before, other) = (healthy(&places[0]), healthy(&places[1]));
    let edge = edge(ONCE, &[(80, &[&places[0]]), (8080, &[&places[1]])], |config| {
        config.apps[0].concurrency = Some(1);
    });
    let host = "hello-acme-8080.ignite.test";
    wait_ready(&edge, HOST);
    wait_ready(&edge, host);
    drop(before);
    let mut waits = joins(&edge, get("/"), 1);
    let mut caller = Caller::to(edge.address());
    caller.send(format!("GET /other HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let _ = caller.read_response().expect(200);
    assert_eq!(other.came(), ["/other"]);
    let back = healthy(&places[0]);
    let _ = waits.read_response().expect(200);
    assert_eq!(back.came(), ["/"]);
}

#[test]
fn callers_who_go_back_find_the_line_no_longer_than_it_may_be() {
    let place = Reopening::new();
    let before = healthy(&place);
    let edge = edge(ONCE, &[(80, &[&place])], |config| config.limits.app_queue = 2);
    wait_ready(&edge, HOST);
    drop(before);
    let mut callers = vec![joins(&edge, get("/0"), 1), joins(&edge, get("/1"), 2)];
    let mut more = Caller::to(edge.address());
    let _ = more.get("/2").expect_problem(503, "connection_limit_reached");
    callers.remove(0).leave();
    wait_waiting(&edge, HOST, 1);
    callers.push(joins(&edge, get("/3"), 2));
    let after = healthy(&place);
    for mut caller in callers {
        let _ = caller.read_response().expect(200);
    }
    assert_eq!(after.came().len(), 2);
}

#[test]
fn where_nobody_probes_the_caller_learns_at_once_that_the_app_is_gone() {
    let refusing = Refusing::new();
    let edge = Edge::with(ONCE, |config| {
        config.timeouts.ready = LIMIT;
        config.apps.push(app("acme/hello", &[(80, &[refusing.address()])]));
    });
    let start = Instant::now();
    for _ in 0..3 {
        let mut caller = Caller::to(edge.address());
        let _ = caller.get("/").expect_problem(502, "connection_refused");
    }
    assert!(start.elapsed() < LIMIT / 2);
    assert!(edge.route(HOST).endpoints[0].is_ready());
}

#[test]
fn a_request_that_finds_its_app_gone_goes_where_the_configuration_says_next() {
    let (place, next) = (Reopening::new(), Reopening::new());
    let before = healthy(&place);
    let mut edge = edge(ONCE, &[(80, &[&place])], |_| {});
    wait_ready(&edge, HOST);
    drop(before);
    let mut caller = joins(&edge, get("/"), 1);
    let after = healthy(&next);
    let address = next.address();
    edge.reload(|config| config.apps[0].ports[0].endpoints = vec![address]);
    let _ = caller.read_response().expect(200);
    assert_eq!(after.came(), ["/"]);
}

/// Nobody frees anything for it: that the endpoint is back is enough.
#[test]
fn who_waits_for_a_busy_endpoint_goes_to_one_that_is_back_from_refusing() {
    let places = [Reopening::new(), Reopening::new()];
    let (before, busy) = (healthy(&places[0]), Crowd::holding_on(places[1].open()));
    busy.turn_healthy();
    let edge = edge(ONCE, &[(80, &places.each_ref())], |config| {
        config.apps[0].endpoint_concurrency = Some(1);
        config.timeouts.ready = 10 * LIMIT;
    });
    wait_ready(&edge, HOST);
    drop(before);
    let route = edge.route(HOST);
    let mut first = Caller::to(edge.address());
    let mut second = Caller::to(edge.address());
    // Both endpoints are tried, one by each: the one that is gone refuses.
    first.send(get("/first"));
    busy.wait_holding(1);
    second.send(get("/second"));
    eventually("it refuses", || route.endpoints[0].is_refusing());
    wait_waiting(&edge, HOST, 1);
    let back = healthy(&places[0]);
    let _ = second.read_response().expect(200);
    assert_eq!((back.came(), busy.now()), (vec!["/second".to_owned()], 1));
    busy.answer_all();
    let _ = first.read_response().expect(200);
}

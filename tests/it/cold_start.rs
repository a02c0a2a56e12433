//! Callers that come before their app is there: they wait in line, are served
//! in order and not all at once, and leave no trace when they leave.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::caller::get;
use crate::support::edge::{Edge, QUICK, Reopening};
use crate::support::{
    Caller, Crowd, Frames, Gateway, HOST, LIMIT, ScriptedApp, app, eventually, frames,
};

const OTHER: &str = "other-acme.ignite.test";

/// A gateway on four workers whose app has no endpoint yet.
fn cold(change: impl FnOnce(&mut ignite_gateway::config::Config)) -> Gateway {
    Gateway::with(|config| {
        config.workers = 4;
        config.timeouts.ready = LIMIT;
        config.apps.push(app("acme/hello", &[(80, &[])]));
        change(config);
    })
}

fn waiting(gateway: &Gateway, host: &str) -> usize {
    gateway.route(host).shared.waiting.load(Ordering::SeqCst)
}

#[track_caller]
fn wait_waiting(gateway: &Gateway, host: &str, count: usize) {
    let route = gateway.route(host);
    eventually("callers wait", || route.shared.waiting.load(Ordering::SeqCst) == count);
}

/// Callers, each of whom waits before the next comes.
fn line(gateway: &Gateway, count: usize) -> Vec<Caller> {
    let before = waiting(gateway, HOST);
    let join = |number| {
        let mut caller = Caller::new(gateway);
        caller.send(get(&format!("/{number}")));
        wait_waiting(gateway, HOST, before + number + 1);
        caller
    };
    (0..count).map(join).collect()
}

fn starts(gateway: &mut Gateway, crowd: &Crowd) {
    let address = crowd.address();
    gateway.reload(|config| config.apps[0].ports[0].endpoints = vec![address]);
}

fn targets(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("/{number}")).collect()
}

#[test]
fn five_hundred_callers_over_all_workers_are_served_in_order_of_arrival() {
    let crowd = Crowd::open();
    let mut gateway = cold(|config| config.apps[0].concurrency = Some(1));
    let callers = line(&gateway, 500);
    starts(&mut gateway, &crowd);
    // Who comes now comes last.
    let mut late = Caller::new(&gateway);
    late.send(get("/late"));
    for mut caller in callers {
        let _ = caller.read_response().expect(200);
    }
    let _ = late.read_response().expect(200);
    assert_eq!(crowd.peak(), 1);
    assert_eq!(crowd.came(), [targets(500), vec!["/late".to_owned()]].concat());
    assert_eq!(waiting(&gateway, HOST), 0);
}

/// What a cold start is held to: nothing listens, 500 callers come over all workers, the app
/// starts, takes a while, and has a limit.
#[test]
fn five_hundred_callers_of_a_cold_app_are_served_in_order_of_arrival_and_within_its_limit() {
    const CALLERS: usize = 500;
    const CONCURRENCY: usize = 8;
    let place = Reopening::new();
    let edge = Edge::with(QUICK, |config| {
        config.workers = 4;
        config.timeouts.ready = 2 * LIMIT;
        let mut one = app("acme/hello", &[(80, &[place.address()])]);
        one.health_check = true;
        one.concurrency = Some(CONCURRENCY);
        config.apps.push(one);
    });
    let route = edge.route(HOST);
    let join = |number: usize| {
        let mut caller = Caller::to(edge.address());
        caller.send(get(&format!("/{number}")));
        eventually("it waits", || route.shared.waiting.load(Ordering::SeqCst) == number + 1);
        caller
    };
    let callers: Vec<_> = (0..CALLERS).map(join).collect();
    let crowd = Crowd::holding_on(place.open());
    std::thread::sleep(Duration::from_secs(3));
    assert!(crowd.came().is_empty(), "it listens, and is not ready");
    crowd.turn_healthy();
    for came in CONCURRENCY..=CALLERS {
        eventually("as many as it takes are there", || crowd.came().len() == came);
        assert_eq!(crowd.now(), CONCURRENCY);
        crowd.answer(1);
    }
    crowd.answer_all();
    for mut caller in callers {
        let _ = caller.read_response().expect(200);
    }
    let mut came = crowd.came();
    // Those that go together may arrive in any order, on the connections of four workers.
    came[..CONCURRENCY].sort();
    assert_eq!((came, crowd.peak()), (targets(CALLERS), CONCURRENCY));
    assert_eq!(route.shared.waiting.load(Ordering::SeqCst), 0);
}

#[test]
fn a_queue_drains_at_the_apps_concurrency_and_uses_all_of_it() {
    let crowd = Crowd::holding();
    let mut gateway = cold(|config| config.apps[0].concurrency = Some(8));
    let callers = line(&gateway, 60);
    starts(&mut gateway, &crowd);
    for left in (0..=52).rev() {
        crowd.wait_holding(8);
        wait_waiting(&gateway, HOST, left);
        crowd.answer(1);
    }
    crowd.answer_all();
    for mut caller in callers {
        let _ = caller.read_response().expect(200);
    }
    assert_eq!(crowd.peak(), 8);
}

#[test]
fn callers_of_an_app_without_limits_that_answers_late_do_not_wait_for_each_other() {
    let crowd = Crowd::holding();
    let mut gateway = cold(|_| {});
    let callers = line(&gateway, 200);
    starts(&mut gateway, &crowd);
    crowd.wait_holding(200);
    crowd.answer_all();
    for mut caller in callers {
        let _ = caller.read_response().expect(200);
    }
}

#[test]
fn callers_of_an_app_without_limits_are_all_served_once_it_starts() {
    let crowd = Crowd::open();
    let mut gateway = cold(|_| {});
    let callers = line(&gateway, 300);
    starts(&mut gateway, &crowd);
    for mut caller in callers {
        let _ = caller.read_response().expect(200);
    }
    let mut came = crowd.came();
    came.sort_by_key(|target| target[1..].parse::<usize>().unwrap());
    assert_eq!(came, targets(300));
    assert_eq!(waiting(&gateway, HOST), 0);
}

#[test]
fn a_probed_endpoint_that_turns_ready_gets_those_who_wait() {
    let crowd = Crowd::open();
    let address = crowd.address();
    let edge = Edge::with(QUICK, |config| {
        config.workers = 2;
        config.timeouts.ready = LIMIT;
        let mut one = app("acme/hello", &[(80, &[address])]);
        one.health_check = true;
        one.endpoint_concurrency = Some(1);
        config.apps.push(one);
    });
    let route = edge.route(HOST);
    let join = |number: usize| {
        let mut caller = Caller::to(edge.address());
        caller.send(get(&format!("/{number}")));
        eventually("it waits", || route.shared.waiting.load(Ordering::SeqCst) == number + 1);
        caller
    };
    let callers: Vec<_> = (0..50).map(join).collect();
    assert!(crowd.came().is_empty());
    crowd.turn_healthy();
    for mut caller in callers {
        let _ = caller.read_response().expect(200);
    }
    assert_eq!((crowd.came(), crowd.peak()), (targets(50), 1));
}

#[test]
fn streams_of_one_connection_wait_in_line_and_a_reset_one_is_gone() {
    let crowd = Crowd::open();
    let mut gateway = cold(|config| config.apps[0].concurrency = Some(1));
    let mut caller = Frames::call(&gateway);
    let stream = |number: usize| u32::try_from(2 * number + 1).unwrap();
    for number in 0..100 {
        caller.send(frames::get(stream(number), &format!("/{number}")));
        wait_waiting(&gateway, HOST, number + 1);
    }
    caller.send(frames::reset(stream(0), 8));
    wait_waiting(&gateway, HOST, 99);
    caller.send(frames::reset(stream(40), 8));
    wait_waiting(&gateway, HOST, 98);
    starts(&mut gateway, &crowd);
    let left = || (0..100).filter(|number| ![0, 40].contains(number));
    for number in left() {
        let _ = caller.answer(stream(number)).expect(200);
    }
    let expected: Vec<_> = left().map(|number| format!("/{number}")).collect();
    assert_eq!((crowd.came(), crowd.peak()), (expected, 1));
}

#[test]
fn callers_that_leave_free_their_places_and_are_not_served() {
    let crowd = Crowd::open();
    let mut gateway = cold(|config| {
        config.apps[0].concurrency = Some(1);
        config.limits.app_queue = 10;
    });
    let mut callers = line(&gateway, 10);
    let full = || Caller::ask(&gateway, get("/full"));
    let refused = full().expect_problem(503, "connection_limit_reached");
    assert!(refused.field("retry-after").is_some());
    callers.remove(7).leave();
    wait_waiting(&gateway, HOST, 9);
    callers.remove(0).reset();
    wait_waiting(&gateway, HOST, 8);
    let mut others = [Caller::new(&gateway), Caller::new(&gateway)];
    for (caller, count) in others.iter_mut().zip([9, 10]) {
        caller.send(get(&format!("/new-{count}")));
        wait_waiting(&gateway, HOST, count);
    }
    let _ = full().expect_problem(503, "connection_limit_reached");
    callers.extend(others);
    starts(&mut gateway, &crowd);
    for mut caller in callers {
        let _ = caller.read_response().expect(200);
    }
    let expected = ["/1", "/2", "/3", "/4", "/5", "/6", "/8", "/9", "/new-9", "/new-10"];
    assert_eq!(crowd.came(), expected);
}

#[test]
fn all_queues_together_are_bounded_and_who_need_not_wait_is_served() {
    let crowd = Crowd::open();
    let gateway = cold(|config| {
        config.limits.queue = 3;
        config.apps.push(app("acme/other", &[(80, &[])]));
        config.apps.push(app("acme/warm", &[(80, &[crowd.address()])]));
    });
    let ask = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut callers = line(&gateway, 2);
    let mut other = Caller::new(&gateway);
    other.send(ask(OTHER));
    wait_waiting(&gateway, OTHER, 1);
    for host in [HOST, OTHER] {
        let refused = Caller::ask(&gateway, ask(host));
        let _ = refused.expect_problem(503, "connection_limit_reached");
    }
    let _ = Caller::ask(&gateway, ask("warm-acme.ignite.test")).expect(200);
    callers.remove(0).leave();
    wait_waiting(&gateway, HOST, 1);
    let mut next = Caller::new(&gateway);
    next.send(ask(OTHER));
    wait_waiting(&gateway, OTHER, 2);
}

#[test]
fn who_waits_on_an_app_that_goes_is_told_so_on_either_protocol() {
    let mut gateway = cold(|_| {});
    let callers = line(&gateway, 5);
    let mut streams = Frames::call(&gateway);
    streams.send(frames::get(1, "/"));
    wait_waiting(&gateway, HOST, 6);
    gateway.reload(|config| config.apps.clear());
    for mut caller in callers {
        let _ = caller.read_response().expect_problem(404, "destination_not_found");
    }
    let _ = streams.answer(1).expect(404);
}

#[test]
fn a_wait_in_vain_ends_in_time_and_says_for_what() {
    let hanging = Crowd::holding();
    let gateway = cold(|config| {
        config.timeouts.ready = Duration::from_millis(200);
        config.apps.push(app("acme/other", &[(80, &[hanging.address()])]));
        config.apps[1].endpoint_concurrency = Some(1);
    });
    let refused = Caller::ask(&gateway, get("/"));
    let _ = refused.expect_problem(503, "destination_unavailable");
    let mut first = Caller::new(&gateway);
    let request = format!("GET / HTTP/1.1\r\nHost: {OTHER}\r\n\r\n");
    first.send(&request);
    hanging.wait_holding(1);
    let _ = Caller::ask(&gateway, request).expect_problem(503, "connection_limit_reached");
    hanging.answer_all();
    let _ = first.read_response().expect(200);
    assert_eq!(hanging.came().len(), 1);
}

#[test]
fn a_body_is_not_read_while_its_request_waits() {
    let app_of = ScriptedApp::start(|connection| {
        let _ = connection.head();
        let _ = connection.read_to_close();
    });
    let mut gateway = cold(|_| {});
    let mut caller = Caller::new(&gateway);
    let length = 64 << 20;
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n");
    caller.send(head);
    wait_waiting(&gateway, HOST, 1);
    let piece = &crate::support::PIECE;
    let sent = caller.send_until_blocked(piece, length, Duration::from_millis(300));
    assert!(sent < length / 2, "{sent} bytes were taken");
    let address = app_of.address();
    gateway.reload(|config| config.apps[0].ports[0].endpoints = vec![address]);
    eventually("the app is asked", || app_of.connections() == 1);
}

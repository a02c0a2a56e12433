//! Apps of different organizations on one gateway: what one of them does, or lets
//! be done to it, is nothing to the others.

use std::time::Duration;

use ignite_gateway::config::Protocol;
use ignite_gateway::config::load::AppInFlight;

use crate::support::caller::get;
use crate::support::frames::{END_STREAM, Frames, headers};
use crate::support::{
    Caller, Crowd, EchoHeads, Gateway, HOST, LIMIT, ScriptedApp, app, eventually, frames,
};

const OTHER: &str = "other-evil.ignite.test";

fn get_at(host: &str, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn two_apps_at_one_http2_address_share_no_connection() {
    // As after an address was given to another tenant: each connection must be one app's.
    let one = ScriptedApp::start(|connection| {
        let mut app = connection.http2(&[]);
        let (mut last, mut owner) = (0, None);
        while let Some(id) = app.next_stream(last) {
            last = id;
            let head = &app.streams[&id].sections[0];
            let whose = head.iter().find(|(name, _)| name == "x-ignite-function-id").unwrap();
            let whose = whose.1.clone();
            assert_eq!(owner.get_or_insert_with(|| whose.clone()), &whose);
            app.send(headers(id, END_STREAM, &[(":status", "200")]));
        }
    });
    let gateway = Gateway::with(|config| {
        for id in ["acme/hello", "evil/other"] {
            let mut app = app(id, &[(80, &[one.address()])]);
            app.ports[0].protocol = Protocol::H2c;
            config.apps.push(app);
        }
    });
    let mut caller = Caller::new(&gateway);
    for round in 0..10 {
        let host = if round % 2 == 0 { HOST } else { OTHER };
        caller.send(get_at(host, "/"));
        caller.read_response().expect(200);
    }
    assert_eq!(one.connections(), 2);
}

#[test]
fn two_apps_at_one_address_share_no_connection_however_they_take_turns() {
    let one = ScriptedApp::start(|connection| {
        let mut owner = None;
        while let Some(request) = connection.next_request() {
            let whose = request.field("x-ignite-function-id");
            assert_eq!(owner.get_or_insert_with(|| whose.clone()), &whose);
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let gateway = Gateway::with(|config| {
        config.apps.push(app("acme/hello", &[(80, &[one.address()])]));
        config.apps.push(app("evil/other", &[(80, &[one.address()])]));
    });
    let mut caller = Caller::new(&gateway);
    for round in 0..10 {
        let host = if round % 3 == 0 { OTHER } else { HOST };
        caller.send(get_at(host, "/"));
        caller.read_response().expect(200);
    }
    assert_eq!(one.connections(), 2);
}

#[test]
fn an_app_that_hangs_holds_no_more_than_its_own_share() {
    let (hangs, works) = (Crowd::holding(), EchoHeads::start());
    let gateway = Gateway::with(|config| {
        config.limits.app_concurrency = 4;
        config.limits.app_queue = 4;
        config.limits.queue = 16;
        config.timeouts.ready = Duration::from_secs(60);
        config.apps.push(app("evil/other", &[(80, &[hangs.address()])]));
        config.apps.push(app("acme/hello", &[(80, &[works.address()])]));
    });
    let mut stuck: Vec<Caller> = (0..8)
        .map(|_| {
            let mut caller = Caller::new(&gateway);
            caller.send(get_at(OTHER, "/"));
            caller
        })
        .collect();
    hangs.wait_holding(4);
    gateway.wait_busy(OTHER, 8);
    // Beyond its turns and its queue it takes nothing at all.
    let mut beyond = Caller::new(&gateway);
    beyond.send(get_at(OTHER, "/"));
    beyond.read_response().expect_problem(503, "connection_limit_reached");
    let mut caller = Caller::new(&gateway);
    for _ in 0..20 {
        caller.get("/").expect(200);
    }
    hangs.answer_all();
    for caller in &mut stuck {
        caller.read_response().expect(200);
    }
}

/// Callers that have asked at a host, each counted before the next asks.
fn held(gateway: &Gateway, host: &str, count: u64) -> Vec<Caller> {
    let before = gateway.route(host).shared.metrics.in_flight();
    (1..=count)
        .map(|number| {
            let mut caller = Caller::new(gateway);
            caller.send(get_at(host, "/"));
            gateway.wait_busy(host, before + number);
            caller
        })
        .collect()
}

/// Waits until so many are under way at the one host, none that was refused among them.
#[track_caller]
fn settle(gateway: &Gateway, count: u64) {
    let route = gateway.route(HOST);
    eventually("so many are under way", || route.shared.metrics.in_flight() == count);
}

fn beyond(gateway: &Gateway) -> u64 {
    gateway.metric("ignite_gateway_failed_requests_total", "reason=\"app_in_flight\"")
}

#[test]
fn an_app_that_hangs_has_half_of_the_connections_at_most_and_the_others_are_served() {
    const OTHER_PORT: &str = "other-evil-81.ignite.test";
    let (hangs, works) = (Crowd::holding(), EchoHeads::start());
    let gateway = Gateway::with(|config| {
        config.workers = 2;
        // Nothing is said of an app: it is so from the start.
        config.limits.connections = 40;
        let ports: [(u16, &[_]); 2] = [(80, &[hangs.address()]), (81, &[hangs.address()])];
        config.apps.push(app("evil/other", &ports));
        config.apps.push(app("acme/hello", &[(80, &[works.address()])]));
    });
    // Over both of its ports, and whichever worker they meet.
    let mut stuck = held(&gateway, OTHER, 11);
    stuck.extend(held(&gateway, OTHER_PORT, 9));
    hangs.wait_holding(20);
    let mut refused = Caller::new(&gateway);
    for number in 0..10 {
        let host = if number % 2 == 0 { OTHER } else { OTHER_PORT };
        refused.send(get_at(host, "/"));
        let response = refused.read_response().expect_problem(503, "connection_limit_reached");
        assert_eq!(response.field("retry-after").as_deref(), Some("1"));
        assert_eq!(response.field("connection"), None, "it may be other apps' callers', too");
        // On connections of their own, which any worker may get.
        Caller::ask(&gateway, get_at(host, "/")).expect(503);
        Caller::ask(&gateway, get("/")).expect(200);
    }
    assert_eq!(beyond(&gateway), 20);
    assert_eq!(hangs.came().len(), 20, "nothing of what was refused reached the app");
    // One that ends makes room for one.
    hangs.answer(1);
    hangs.wait_holding(19);
    eventually("it has ended", || gateway.in_flight() == 2 * 19);
    stuck.extend(held(&gateway, OTHER, 1));
    hangs.wait_holding(20);
    Caller::ask(&gateway, get_at(OTHER_PORT, "/")).expect(503);
    hangs.answer_all();
    stuck.iter_mut().for_each(|caller| assert_eq!(caller.read_response().status, 200));
    gateway.wait_idle();
    refused.send(get_at(OTHER, "/"));
    refused.read_response().expect(200);
    assert_eq!(beyond(&gateway), 21);
}

#[test]
fn what_waits_and_what_changed_its_protocol_is_under_way_as_well() {
    let app_of = ScriptedApp::start(|connection| {
        let head = connection.head();
        if head.has("upgrade") {
            connection.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\n\r\n",
            );
        }
        connection.read_to_close();
    });
    let gateway = Gateway::of_with(app_of.address(), |config| {
        config.limits.app_in_flight = AppInFlight::Requests(3);
        config.limits.app_concurrency = 2;
        config.timeouts.ready = LIMIT;
    });
    let mut talks = Caller::new(&gateway);
    talks.send(format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    ));
    assert_eq!(talks.read_head().word(1), b"101");
    // One of them works, the other waits for its turn.
    let mut others = held(&gateway, HOST, 2);
    // Streams of one connection are requests of their own, and it stays.
    let mut streams = Frames::call(&gateway);
    for stream in [1, 3, 5] {
        streams.send(frames::get(stream, "/"));
        streams.answer(stream).expect_problem(503, "connection_limit_reached");
    }
    // Who leaves makes room, wherever the request was.
    others.pop().unwrap().leave();
    settle(&gateway, 2);
    others.extend(held(&gateway, HOST, 1));
    Caller::ask(&gateway, get("/")).expect(503);
    talks.leave();
    settle(&gateway, 2);
    others.extend(held(&gateway, HOST, 1));
    Caller::ask(&gateway, get("/")).expect(503);
    others.into_iter().for_each(Caller::leave);
    gateway.wait_idle();
}

#[test]
fn what_an_app_may_have_under_way_follows_a_reload_and_counts_what_came_before() {
    let hangs = Crowd::holding();
    let mut gateway = Gateway::of_with(hangs.address(), |config| {
        config.workers = 2;
        config.limits.app_in_flight = AppInFlight::Requests(0);
    });
    let mut stuck = held(&gateway, HOST, 6);
    gateway.reload(|config| config.limits.app_in_flight = AppInFlight::Requests(6));
    Caller::ask(&gateway, get("/")).expect(503);
    gateway.reload(|config| config.limits.app_in_flight = AppInFlight::Requests(8));
    settle(&gateway, 6);
    stuck.extend(held(&gateway, HOST, 2));
    Caller::ask(&gateway, get("/")).expect(503);
    // Fewer: those that run do so to their end, and nobody takes their places.
    gateway.reload(|config| config.limits.app_in_flight = AppInFlight::Requests(4));
    for left in [7, 6, 5, 4] {
        hangs.answer(1);
        settle(&gateway, left);
        Caller::ask(&gateway, get("/")).expect(503);
        settle(&gateway, left);
    }
    hangs.answer(1);
    settle(&gateway, 3);
    stuck.extend(held(&gateway, HOST, 1));
    Caller::ask(&gateway, get("/")).expect(503);
    hangs.answer_all();
    stuck.iter_mut().for_each(|caller| assert_eq!(caller.read_response().status, 200));
    gateway.wait_idle();
    assert_eq!(beyond(&gateway), 7);
}

#[test]
fn an_http2_app_that_floods_costs_its_own_callers_alone() {
    let floods = ScriptedApp::start(|connection| {
        let mut app = connection.http2(&[]);
        if app.next_stream(0).is_some() {
            let _ = app.try_send(frames::frame(6, 0, 0, [0; 8]).repeat(100_000));
            app.read_to_close();
        }
    });
    let works = EchoHeads::start();
    let gateway = Gateway::with(|config| {
        let mut flooding = app("evil/other", &[(80, &[floods.address()])]);
        flooding.ports[0].protocol = Protocol::H2c;
        config.apps.push(flooding);
        config.apps.push(app("acme/hello", &[(80, &[works.address()])]));
    });
    let mut caller = Frames::call(&gateway);
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", OTHER), (":path", "/")];
    caller.send(headers(1, END_STREAM, &fields));
    for id in [3, 5, 7] {
        let _ = caller.ask(id, frames::get(id, "/")).expect(200);
    }
    caller.answer(1).expect_problem(502, "connection_terminated");
    Caller::ask(&gateway, get("/")).expect(200);
}

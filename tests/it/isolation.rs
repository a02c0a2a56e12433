//! Apps of different organizations on one gateway: what one of them does, or lets
//! be done to it, is nothing to the others.

use std::time::Duration;

use ignite_gateway::config::Protocol;

use crate::support::caller::get;
use crate::support::frames::{END_STREAM, Frames, headers};
use crate::support::{Caller, Crowd, EchoHeads, Gateway, HOST, ScriptedApp, app};

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

#[test]
fn an_http2_app_that_floods_costs_its_own_callers_alone() {
    let floods = ScriptedApp::start(|connection| {
        let mut app = connection.http2(&[]);
        if app.next_stream(0).is_some() {
            let _ = app.try_send(crate::support::frames::frame(6, 0, 0, [0; 8]).repeat(100_000));
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
        let _ = caller.ask(id, crate::support::frames::get(id, "/")).expect(200);
    }
    caller.answer(1).expect_problem(502, "connection_terminated");
    Caller::ask(&gateway, get("/")).expect(200);
}

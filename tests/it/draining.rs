//! Endpoints that are about to be taken down: they finish what they have, and
//! get nothing new while another is ready.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ignite_gateway::config::{Config, Protocol};

use crate::support::app::AppConnection;
use crate::support::caller::{get, request};
use crate::support::{
    Caller, Crowd, EchoHeads, Gateway, HOST, ScriptedApp, Signal, app, eventually, frames,
};

/// A gateway whose app has these endpoints.
fn gateway(endpoints: &[SocketAddr], change: impl FnOnce(&mut Config)) -> Gateway {
    Gateway::with(|config| {
        config.apps.push(app("acme/hello", &[(80, endpoints)]));
        change(config);
    })
}

/// Says by a reload which of the endpoints drain.
fn drain(gateway: &mut Gateway, draining: &[SocketAddr]) {
    gateway.reload(|config| config.apps[0].ports[0].draining = draining.to_vec());
    let route = gateway.route(HOST);
    eventually("it drains", || {
        route.endpoints.iter().all(|one| one.is_draining() == draining.contains(&one.address()))
    });
}

fn call(gateway: &Gateway, times: usize) {
    for number in 0..times {
        let mut caller = Caller::new(gateway);
        let _ = caller.get(&format!("/{number}")).expect(200);
    }
}

#[test]
fn an_endpoint_that_drains_gets_nothing_new_until_it_stays_again() {
    let apps = [EchoHeads::start(), EchoHeads::start(), EchoHeads::start()];
    let addresses: Vec<_> = apps.iter().map(EchoHeads::address).collect();
    let mut gateway = gateway(&addresses, |_| {});
    drain(&mut gateway, &addresses[..1]);
    call(&gateway, 60);
    assert_eq!(apps[0].seen().len(), 0);
    assert!(apps[1..].iter().all(|app| app.seen().len() > 10));
    drain(&mut gateway, &[]);
    call(&gateway, 60);
    assert!(apps[0].seen().len() > 5);
}

#[test]
fn the_only_endpoint_serves_although_it_drains() {
    let (one, other) = (EchoHeads::start(), EchoHeads::start());
    let mut gateway = gateway(&[one.address()], |_| {});
    drain(&mut gateway, &[one.address()]);
    call(&gateway, 5);
    let addresses = vec![one.address(), other.address()];
    gateway.reload(|config| config.apps[0].ports[0].endpoints = addresses);
    call(&gateway, 20);
    assert_eq!((one.seen().len(), other.seen().len()), (5, 20));
    // The other is not there any more: once again there is no choice.
    gateway.route(HOST).endpoints[1].set_ready(false);
    call(&gateway, 5);
    assert_eq!((one.seen().len(), other.seen().len()), (10, 20));
}

#[test]
fn when_all_drain_they_share_the_load_as_ever() {
    let apps = [EchoHeads::start(), EchoHeads::start()];
    let addresses: Vec<_> = apps.iter().map(EchoHeads::address).collect();
    let mut gateway = gateway(&addresses, |_| {});
    drain(&mut gateway, &addresses);
    call(&gateway, 60);
    assert!(apps.iter().all(|app| app.seen().len() > 10));
}

#[test]
fn a_change_of_draining_alone_leaves_state_and_connections_as_they_are() {
    let app_of = ScriptedApp::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut gateway = gateway(&[app_of.address()], |_| {});
    call(&gateway, 3);
    let before = gateway.route(HOST);
    for draining in [vec![app_of.address()], vec![]] {
        drain(&mut gateway, &draining);
        call(&gateway, 3);
    }
    let after = gateway.route(HOST);
    assert!(Arc::ptr_eq(&before.endpoints[0], &after.endpoints[0]));
    assert!(Arc::ptr_eq(&before.shared, &after.shared));
    assert_eq!(app_of.connections(), 1, "the kept connection serves all");
}

#[test]
fn a_request_that_is_under_way_is_finished_by_an_endpoint_that_drains() {
    let (busy, other) = (Crowd::holding(), EchoHeads::start());
    let mut gateway = gateway(&[busy.address()], |_| {});
    let mut callers: Vec<_> = (0..4).map(|_| Caller::new(&gateway)).collect();
    for caller in &mut callers {
        caller.send(request("POST /", "Content-Length: 2\r\n", "hi"));
    }
    busy.wait_holding(4);
    let addresses = vec![busy.address(), other.address()];
    gateway.reload(|config| config.apps[0].ports[0].endpoints = addresses);
    drain(&mut gateway, &[busy.address()]);
    call(&gateway, 10);
    busy.answer_all();
    for mut caller in callers {
        let _ = caller.read_response().expect(200);
    }
    assert_eq!((busy.came().len(), other.seen().len()), (4, 10));
}

#[test]
fn a_websocket_and_a_stream_go_on_at_an_endpoint_that_drains() {
    let next = Signal::new();
    let long = ScriptedApp::start({
        let next = next.clone();
        move |connection: &mut AppConnection| {
            let head = connection.head();
            if head.has("upgrade") {
                connection.send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\n\r\n",
                );
                assert_eq!(connection.body(4), b"ping");
                connection.send("pong");
            } else {
                connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
                next.wait();
                connection.send("1\r\nb\r\n0\r\n\r\n");
            }
        }
    });
    let other = EchoHeads::start();
    let mut gateway = gateway(&[long.address()], |_| {});
    let mut socket = Caller::new(&gateway);
    socket.send(request("GET /chat", "Connection: Upgrade\r\nUpgrade: websocket\r\n", ""));
    assert_eq!(socket.read_head().word(1), b"101");
    let mut stream = Caller::new(&gateway);
    stream.send(get("/stream"));
    assert_eq!(stream.read_head().word(1), b"200");
    assert_eq!(stream.read_chunk().as_deref(), Some(&b"a"[..]));
    let addresses = vec![long.address(), other.address()];
    gateway.reload(|config| config.apps[0].ports[0].endpoints = addresses);
    drain(&mut gateway, &[long.address()]);
    call(&gateway, 10);
    assert_eq!(other.seen().len(), 10);
    socket.send("ping");
    assert_eq!(socket.read_exactly(4), b"pong");
    next.give();
    assert_eq!(stream.read_chunk().as_deref(), Some(&b"b"[..]));
    assert_eq!(stream.read_chunk(), None);
}

#[test]
fn an_http2_connection_takes_no_new_streams_of_an_endpoint_that_drains() {
    let streams = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let apps = streams.each_ref().map(|streams| {
        let streams = streams.clone();
        ScriptedApp::start(move |connection| {
            let mut frames = connection.http2(&[]);
            let mut last = 0;
            while let Some(stream) = frames.next_stream(last) {
                streams.fetch_add(1, Ordering::SeqCst);
                frames.send(frames::headers(stream, 5, &[(":status", "200")]));
                last = stream;
            }
        })
    });
    let counts = || streams.each_ref().map(|streams| streams.load(Ordering::SeqCst));
    let addresses: Vec<_> = apps.iter().map(ScriptedApp::address).collect();
    let mut gateway = gateway(&addresses, |config| {
        config.apps[0].ports[0].protocol = Protocol::H2c;
    });
    call(&gateway, 20);
    let [before, other] = counts();
    assert_eq!((before > 0, other > 0, before + other), (true, true, 20));
    drain(&mut gateway, &addresses[..1]);
    call(&gateway, 20);
    assert_eq!(counts(), [before, other + 20]);
    gateway.route(HOST).endpoints[1].set_ready(false);
    call(&gateway, 5);
    assert_eq!(counts(), [before + 5, other + 20]);
    assert!(apps.iter().all(|app| app.connections() == 1));
}

#[test]
fn a_busy_endpoint_that_stays_is_waited_for_rather_than_one_that_drains() {
    let (busy, leaving) = (Crowd::holding(), Crowd::open());
    let addresses = [busy.address(), leaving.address()];
    let mut gateway = gateway(&addresses, |config| config.apps[0].endpoint_concurrency = Some(1));
    drain(&mut gateway, &addresses[1..]);
    let mut callers = [Caller::new(&gateway), Caller::new(&gateway)];
    callers[0].send(get("/0"));
    busy.wait_holding(1);
    callers[1].send(get("/1"));
    let route = gateway.route(HOST);
    let waiting = || route.shared.waiting.load(Ordering::SeqCst);
    eventually("it waits", || waiting() == 1);
    // Free again for everybody.
    drain(&mut gateway, &[]);
    let _ = callers[1].read_response().expect(200);
    assert_eq!(leaving.came(), ["/1"]);
    busy.answer_all();
    let _ = callers[0].read_response().expect(200);
}

#[test]
fn where_the_others_refuse_an_endpoint_that_drains_serves() {
    let refusing = crate::support::edge::Refusing::new();
    let leaving = EchoHeads::start();
    let mut gateway = gateway(&[refusing.address(), leaving.address()], |_| {});
    drain(&mut gateway, &[leaving.address()]);
    call(&gateway, 3);
    assert_eq!(leaving.seen().len(), 3);
}

#[test]
fn an_endpoint_that_left_the_configuration_gets_nothing_however_alone_it_is() {
    let app_of = Crowd::holding();
    let mut gateway = gateway(&[app_of.address()], |config| {
        config.apps[0].concurrency = Some(1);
        config.timeouts.ready = Duration::from_millis(300);
    });
    let mut first = Caller::new(&gateway);
    first.send(get("/first"));
    app_of.wait_holding(1);
    let mut second = Caller::new(&gateway);
    second.send(get("/second"));
    let route = gateway.route(HOST);
    eventually("it waits", || route.shared.waiting.load(Ordering::SeqCst) == 1);
    gateway.reload(|config| config.apps[0].ports[0].endpoints.clear());
    app_of.answer_all();
    let _ = first.read_response().expect(200);
    let _ = second.read_response().expect_problem(503, "destination_unavailable");
    assert_eq!(app_of.came(), ["/first"]);
}

#[test]
fn the_operator_sees_who_drains() {
    let apps = [EchoHeads::start(), EchoHeads::start()];
    let addresses: Vec<_> = apps.iter().map(EchoHeads::address).collect();
    let mut gateway = gateway(&addresses, |_| {});
    drain(&mut gateway, &addresses[..1]);
    let ask = |path: &str| {
        let mut caller = Caller::to(gateway.admin());
        caller.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        caller.read_response().expect(200).text()
    };
    let apps: serde_json::Value = serde_json::from_str(&ask("/apps")).unwrap();
    let endpoints = apps[0]["ports"][0]["endpoints"].clone();
    assert_eq!(endpoints[0]["draining"], true);
    assert_eq!(endpoints[0]["ready"], true);
    assert!(endpoints[1].get("draining").is_none());
    let metrics = ask("/metrics");
    for (state, count) in [("draining", 1), ("ready", 1), ("ejected", 0), ("unready", 0)] {
        let line = format!(
            "ignite_gateway_endpoints{{organization=\"acme\",app=\"hello\",port=\"80\",\
             state=\"{state}\"}} {count}"
        );
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

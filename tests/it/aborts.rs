//! Callers who leave and apps that die, at every stage: nothing stays behind,
//! and everybody else is served.

use std::time::Duration;

use crate::support::app::AppConnection;
use crate::support::caller::{get, request};
use crate::support::{
    Caller, EchoHeads, Gateway, HOST, PIECE, ScriptedApp, Signal, app, eventually,
};

/// How a caller goes.
const WAYS: [fn(Caller); 2] = [Caller::leave, Caller::reset];

/// A gateway with a second app beside the one that suffers, to see whether it still serves.
fn beside(address: std::net::SocketAddr) -> (EchoHeads, Gateway) {
    let healthy = EchoHeads::start();
    let gateway = Gateway::of_with(address, |config| {
        config.apps.push(app("acme/healthy", &[(80, &[healthy.address()])]));
    });
    (healthy, gateway)
}

/// Nothing is under way any more, and the gateway serves.
#[track_caller]
fn assert_healthy(gateway: &Gateway) {
    gateway.wait_idle();
    let text = "GET / HTTP/1.1\r\nHost: healthy-acme.ignite.test\r\n\r\n";
    Caller::ask(gateway, text).expect(200);
    gateway.wait_idle();
}

#[test]
fn a_caller_who_leaves_before_or_in_its_head_leaves_nothing() {
    let untouched = EchoHeads::start();
    let (_healthy, gateway) = beside(untouched.address());
    for bytes in
        ["", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: hello-acme.ignite.test\r\n"]
    {
        for leave in WAYS {
            let mut caller = Caller::new(&gateway);
            caller.send(bytes);
            leave(caller);
        }
    }
    assert_healthy(&gateway);
    untouched.expect_untouched();
}

#[test]
fn a_caller_who_leaves_in_its_body_takes_the_apps_connection_with_it() {
    for (fields, body) in [
        ("Content-Length: 100\r\n", "part"),
        ("Transfer-Encoding: chunked\r\n", "4\r\npart\r\n"),
        ("Transfer-Encoding: chunked\r\n", "4\r\npa"),
    ] {
        for leave in WAYS {
            let begun = Signal::new();
            let app = ScriptedApp::start({
                let begun = begun.clone();
                move |connection| {
                    connection.head();
                    begun.give();
                    let (rest, _) = connection.read_to_close();
                    assert!(!rest.ends_with(b"0\r\n\r\n"), "a cut body came whole");
                }
            });
            let (_healthy, gateway) = beside(app.address());
            let mut caller = Caller::new(&gateway);
            caller.send(request("POST /", fields, body));
            begun.wait();
            leave(caller);
            app.wait_finished(1);
            assert_healthy(&gateway);
        }
    }
}

#[test]
fn a_caller_who_leaves_while_its_app_thinks_takes_the_apps_connection_with_it() {
    for text in [get("/"), request("POST /", "Content-Length: 2\r\n", "ab")] {
        for leave in WAYS {
            let begun = Signal::new();
            let app = ScriptedApp::start({
                let begun = begun.clone();
                move |connection| {
                    connection.next_request().expect("a request");
                    begun.give();
                    connection.expect_closed();
                }
            });
            let (_healthy, gateway) = beside(app.address());
            let mut caller = Caller::new(&gateway);
            caller.send(&text);
            begun.wait();
            leave(caller);
            app.wait_finished(1);
            assert_healthy(&gateway);
        }
    }
}

#[test]
fn a_caller_who_leaves_while_its_body_waits_for_continue_is_noticed() {
    let begun = Signal::new();
    let app = ScriptedApp::start({
        let begun = begun.clone();
        move |connection| {
            connection.head();
            begun.give();
            connection.expect_closed();
        }
    });
    let (_healthy, gateway) = beside(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", "Expect: 100-continue\r\nContent-Length: 2\r\n", ""));
    begun.wait();
    caller.leave();
    app.wait_finished(1);
    assert_healthy(&gateway);
}

#[test]
fn a_caller_who_leaves_in_mid_response_takes_the_apps_connection_with_it() {
    for framing in ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n", ""] {
        for leave in WAYS {
            let app = ScriptedApp::start(move |connection| {
                connection.next_request().expect("a request");
                let piece = if framing.contains("chunked") { "4\r\npart\r\n" } else { "part" };
                connection.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n{piece}"));
                // Silent from here on: only the caller's leaving can end it.
                connection.expect_closed();
            });
            let (_healthy, gateway) = beside(app.address());
            let mut caller = Caller::new(&gateway);
            caller.send(get("/"));
            assert_eq!(caller.read_head().word(1), b"200");
            leave(caller);
            app.wait_finished(1);
            assert_healthy(&gateway);
        }
    }
}

#[test]
fn a_caller_who_leaves_while_a_large_response_waits_for_it_is_noticed() {
    for leave in WAYS {
        let app = ScriptedApp::start(|connection| {
            connection.next_request().expect("a request");
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 300000000\r\n\r\n");
            let mut sent = 0;
            while connection.try_send(PIECE).is_ok() {
                sent += 64 << 10;
                assert!(sent < 300_000_000, "all of it went nowhere");
            }
        });
        let (_healthy, gateway) = beside(app.address());
        let mut caller = Caller::with_small_buffers(&gateway);
        caller.send(get("/"));
        caller.read_head();
        leave(caller);
        app.wait_finished(1);
        assert_healthy(&gateway);
    }
}

#[test]
fn a_caller_who_does_not_read_its_response_is_given_up_after_a_while() {
    let app = ScriptedApp::start(|connection| {
        connection.next_request().expect("a request");
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 300000000\r\n\r\n");
        while connection.try_send(PIECE).is_ok() {}
    });
    let healthy = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| {
        config.timeouts.idle_body = Duration::from_millis(300);
        config.apps.push(crate::support::app("acme/healthy", &[(80, &[healthy.address()])]));
    });
    let mut caller = Caller::with_small_buffers(&gateway);
    caller.send(get("/"));
    app.wait_finished(1);
    assert_healthy(&gateway);
    drop(caller);
}

#[test]
fn a_caller_who_leaves_while_it_waits_for_an_endpoint_or_its_turn_frees_its_place() {
    let go_on = Signal::new();
    let slow = ScriptedApp::start({
        let go_on = go_on.clone();
        move |connection| {
            while connection.next_request().is_some() {
                go_on.wait();
                let _ = connection.try_send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        }
    });
    let gateway = Gateway::of_with(slow.address(), |config| {
        config.limits.app_concurrency = 1;
        config.timeouts.ready = Duration::from_secs(600);
        config.apps.push(app("acme/nowhere", &[(80, &[])]));
    });
    for leave in WAYS {
        let mut caller = Caller::new(&gateway);
        caller.send("GET / HTTP/1.1\r\nHost: nowhere-acme.ignite.test\r\n\r\n");
        let route = gateway.route("nowhere-acme.ignite.test");
        let waiting = || route.shared.waiting.load(std::sync::atomic::Ordering::SeqCst);
        eventually("it waits", || waiting() == 1);
        leave(caller);
        eventually("its place is free", || waiting() == 0);
    }
    let mut first = Caller::new(&gateway);
    first.send(get("/"));
    gateway.wait_busy(HOST, 1);
    let route = gateway.route(HOST);
    let queued = || route.turns.queued.load(std::sync::atomic::Ordering::SeqCst);
    for leave in WAYS {
        let mut caller = Caller::new(&gateway);
        caller.send(get("/"));
        eventually("it waits", || queued() == 1);
        leave(caller);
        eventually("its place is free", || queued() == 0);
    }
    go_on.give();
    first.read_response().expect(200);
    gateway.wait_idle();
}

#[test]
fn a_pipelined_request_whose_caller_left_is_not_begun() {
    let (begun, go_on) = (Signal::new(), Signal::new());
    let app = ScriptedApp::start({
        let (begun, go_on) = (begun.clone(), go_on.clone());
        move |connection| {
            let request = connection.next_request().expect("a request");
            assert_eq!(request.head.target(), b"/first");
            begun.give();
            go_on.wait();
            let _ = connection.try_send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            assert!(connection.next_request().is_none(), "the second was begun");
        }
    });
    let (_healthy, gateway) = beside(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(format!("{}{}", get("/first"), get("/second")));
    begun.wait();
    caller.reset();
    gateway.wait_idle();
    go_on.give();
    assert_healthy(&gateway);
    drop(gateway);
    app.wait_finished(1);
}

/// What an app does before it dies.
type Stage = fn(&mut AppConnection);

#[test]
fn an_app_that_dies_at_any_stage_harms_nobody() {
    let stages: [(&str, Stage); 9] = [
        ("on accept", |_| {}),
        ("in the head", |connection| {
            connection.head();
        }),
        ("in the body", |connection| {
            connection.head();
            connection.body(5);
        }),
        ("after the request", |connection| {
            connection.next_request();
        }),
        ("in its head", |connection| {
            connection.next_request();
            connection.send("HTTP/1.1 200 OK\r\nConte");
        }),
        ("after its head", |connection| {
            connection.next_request();
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
        }),
        ("in its body", |connection| {
            connection.next_request();
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart");
        }),
        ("in a chunk", |connection| {
            connection.next_request();
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
        }),
        ("after its response", |connection| {
            connection.next_request();
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }),
    ];
    for (name, stage) in stages {
        for reset in [false, true] {
            let app = ScriptedApp::start(move |connection| {
                stage(connection);
                if reset {
                    connection.reset();
                }
            });
            let (_healthy, gateway) = beside(app.address());
            let body = "x".repeat(1000);
            let mut caller = Caller::new(&gateway);
            caller.send(request("POST /", "Content-Length: 1000\r\n", &body));
            match caller.try_read_response(false) {
                Ok(response) if name == "after its response" => {
                    // A reset may destroy in the kernel what the app had sent.
                    let lost = reset && !(response.status == 200 && response.complete);
                    assert!(lost || response.text() == "ok", "{name} {response:?}");
                }
                Ok(response) => {
                    let broken = response.status == 200 && !response.complete;
                    assert!(broken || response.status == 502, "{name} {response:?}");
                }
                Err(_) => assert!(reset || name.contains("its"), "{name}: not even a head"),
            }
            assert_healthy(&gateway);
        }
    }
}

#[test]
fn an_app_that_closes_kept_connections_is_served_over_new_ones() {
    let app = ScriptedApp::start(|connection| {
        connection.next_request().expect("a request");
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        // Closed without a word, as apps with short idle timeouts do.
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    for count in 1..=20 {
        // A kept connection that turned out to be closed is found out before or while sending.
        assert_eq!(caller.get("/").expect(200).text(), "ok");
        app.wait_finished(count);
    }
    gateway.wait_idle();
}

#[test]
fn a_connection_that_its_app_wants_to_end_is_not_used_again_and_the_callers_stays() {
    for (head, once) in [
        ("HTTP/1.1 200 OK\r\n", false),
        ("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=30\r\n", false),
        ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", true),
        ("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1, max=5\r\n", true),
        ("HTTP/1.0 200 OK\r\n", true),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", false),
    ] {
        // It leaves the close to the gateway, so only the gateway's own reading of the head counts.
        let app = ScriptedApp::answering(format!("{head}Content-Length: 2\r\n\r\nok"));
        let gateway = Gateway::of(app.address());
        let mut caller = Caller::new(&gateway);
        for _ in 0..3 {
            let response = caller.get("/").expect(200);
            assert_eq!(response.text(), "ok");
            assert!(!response.head.has("connection") && !response.head.has("keep-alive"));
        }
        assert_eq!(app.connections(), if once { 3 } else { 1 }, "{head}");
    }
}

#[test]
fn a_response_under_way_is_finished_while_draining() {
    let go_on = Signal::new();
    let app = ScriptedApp::start({
        let go_on = go_on.clone();
        move |connection| {
            connection.next_request().expect("a request");
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n");
            go_on.wait();
            connection.send("6\r\n whole\r\n0\r\n\r\n");
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(get("/"));
    assert_eq!(caller.read_head().word(1), b"200");
    assert_eq!(caller.read_chunk().unwrap(), b"part");
    gateway.drain();
    eventually("the listener is closed", || {
        std::net::TcpStream::connect(gateway.address()).is_err()
    });
    go_on.give();
    assert_eq!(caller.read_chunk().unwrap(), b" whole");
    assert_eq!(caller.read_chunk(), None);
    caller.read_exactly(2);
    caller.expect_closed();
    gateway.finish();
}

#[test]
fn many_callers_who_come_and_go_leave_nothing_behind() {
    let echo = EchoHeads::start();
    let gateway = Gateway::of_with(echo.address(), |config| config.workers = 2);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let gateway = &gateway;
            scope.spawn(move || {
                for round in 0..40 {
                    let mut caller = Caller::new(gateway);
                    let text = request("POST /", "Content-Length: 10\r\n", "0123456789");
                    match (thread + round) % 5 {
                        0 => drop(caller.get("/").expect(200)),
                        1 => caller.send(&text[..text.len() - 3]),
                        2 => caller.send(&text[..20]),
                        3 => {
                            caller.send(&text);
                            caller.reset();
                            continue;
                        }
                        _ => {
                            caller.send(format!("{text}{text}"));
                            caller.read_response().expect(200);
                        }
                    }
                    caller.leave();
                }
            });
        }
    });
    gateway.wait_idle();
    Caller::ask(&gateway, get("/")).expect(200);
    gateway.finish();
}

//! A connection that changes its protocol: only when both sides agree to the
//! same one, and from then on byte for byte, in both directions.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::app::AppConnection;
use crate::support::caller::{get, request};
use crate::support::edge::{Edge, QUICK};
use crate::support::{Caller, EchoHeads, Ended, Gateway, HOST, LIMIT, PIECE, ScriptedApp, Signal};

const ASKS: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                        Upgrade: websocket\r\n";

fn upgrade() -> String {
    request("GET /chat", ASKS, "")
}

/// An app that switches, then goes on with the script.
fn switching(script: impl Fn(&mut AppConnection) + Send + Sync + 'static) -> ScriptedApp {
    ScriptedApp::start(move |connection| {
        connection.head();
        connection.send(format!("{SWITCHED}\r\n"));
        script(connection);
    })
}

#[track_caller]
fn switched(gateway: &Gateway) -> Caller {
    let mut caller = Caller::new(gateway);
    caller.send(upgrade());
    assert_eq!(caller.read_head().word(1), b"101");
    caller
}

#[test]
fn the_switch_and_every_byte_after_it_pass_in_both_directions() {
    let app = ScriptedApp::start(|connection| {
        let head = connection.head();
        assert_eq!(head.all("connection"), ["Upgrade"]);
        assert_eq!(head.all("upgrade"), ["websocket"]);
        assert_eq!(head.get("sec-websocket-key").as_deref(), Some("a2V5"));
        assert_eq!(head.all("x-ignite-function-id"), ["acme/hello"]);
        assert!(!head.has("x-ignite-forged") && !head.is_chunked());
        let fields = "Sec-WebSocket-Accept: proof\r\nX-Ignite-Forged: 1\r\n";
        connection.send(format!("{SWITCHED}{fields}\r\n"));
        for _ in 0..3 {
            assert_eq!(connection.body(4), b"\x00\xffhi");
            connection.send(b"\x01\xfeho");
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    let fields = format!("{ASKS}Sec-WebSocket-Key: a2V5\r\nX-Ignite-Forged: 1\r\n");
    caller.send(request("GET /chat?a=%20", &fields, ""));
    let head = caller.read_head();
    assert_eq!(head.line(), b"HTTP/1.1 101 Switching Protocols");
    assert_eq!(head.all("connection"), ["Upgrade"]);
    assert_eq!(head.all("upgrade"), ["websocket"]);
    assert_eq!(head.all("sec-websocket-accept"), ["proof"]);
    assert!(head.has("x-ignite-execution-id") && !head.has("x-ignite-forged"));
    assert!(!head.is_chunked() && !head.has("content-length"));
    for _ in 0..3 {
        caller.send(b"\x00\xffhi");
        assert_eq!(caller.read_exactly(4), b"\x01\xfeho");
    }
    app.wait_finished(1);
    caller.expect_closed();
}

#[test]
fn bytes_that_come_early_are_kept_in_both_directions() {
    // The app's first words come with its head, the caller's before it has an answer.
    let app = ScriptedApp::start(|connection| {
        connection.head();
        assert!(connection.is_quiet(), "nothing goes to the app before it has switched");
        connection.send(format!("{SWITCHED}\r\nwelcome"));
        assert_eq!(connection.body(5), b"early");
        connection.send("bye");
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(format!("{}early", upgrade()));
    assert_eq!(caller.read_head().word(1), b"101");
    assert_eq!(caller.read_exactly(10), b"welcomebye");
    caller.expect_closed();
}

#[test]
fn much_passes_in_both_directions_at_once() {
    const MUCH: usize = 8 << 20;
    let app = switching(|connection| {
        for _ in 0..MUCH / PIECE.len() {
            connection.send(PIECE);
            assert_eq!(connection.body(PIECE.len()).len(), PIECE.len());
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = switched(&gateway);
    for _ in 0..MUCH / PIECE.len() {
        caller.send(PIECE);
        assert_eq!(caller.read_exactly(PIECE.len()).len(), PIECE.len());
    }
    caller.expect_closed();
}

#[test]
fn either_side_may_end_its_direction_and_go_on_listening() {
    let app = switching(|connection| {
        assert_eq!(connection.read_to_close(), (b"question".to_vec(), Ended::Eof));
        connection.send("answer");
    });
    let gateway = Gateway::of(app.address());
    let mut caller = switched(&gateway);
    caller.send("question");
    caller.finish_sending();
    assert_eq!(caller.read_to_close(), (b"answer".to_vec(), Ended::Eof));

    let app = switching(|connection| {
        connection.send("announcement");
        connection.finish_sending();
        assert_eq!(connection.read_to_close(), (b"comment".to_vec(), Ended::Eof));
    });
    let gateway = Gateway::of(app.address());
    let mut caller = switched(&gateway);
    assert_eq!(caller.read_to_close(), (b"announcement".to_vec(), Ended::Eof));
    caller.send("comment");
    caller.finish_sending();
    app.wait_finished(1);
}

#[test]
fn a_caller_who_has_nothing_to_say_to_an_app_that_ended_is_not_waited_for_long() {
    let app = switching(|_| ());
    let patience = Duration::from_millis(200);
    let gateway = Gateway::of_with(app.address(), |config| config.timeouts.idle_body = patience);
    let mut caller = switched(&gateway);
    caller.expect_closed();
    gateway.wait_idle();
    drop(caller);
}

#[test]
fn whoever_breaks_off_takes_the_other_side_along() {
    let app = switching(|connection| {
        assert_eq!(connection.body(1), b"x");
        connection.reset();
    });
    let gateway = Gateway::of(app.address());
    let mut caller = switched(&gateway);
    caller.send("x");
    assert_eq!(caller.read_to_close().1, Ended::Reset);
    gateway.wait_idle();

    let app = switching(|connection| {
        connection.send("x");
        connection.expect_closed();
    });
    let gateway = Gateway::of(app.address());
    let mut caller = switched(&gateway);
    assert_eq!(caller.read_exactly(1), b"x");
    caller.reset();
    app.wait_finished(1);
    gateway.wait_idle();
}

#[test]
fn an_app_that_does_not_switch_answers_as_to_any_request_and_the_connection_ends() {
    let app =
        ScriptedApp::answering("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno");
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    // What looks like a second request may be the other protocol's first words.
    caller.send([upgrade(), get("/second")].concat());
    let response = caller.read_response().expect(426);
    assert_eq!(
        (response.text().as_str(), response.field("connection").as_deref()),
        ("no", Some("close"))
    );
    caller.expect_closed();
    let received = app.received();
    assert_eq!(received.len(), 1);
    assert!(!String::from_utf8_lossy(&received[0]).contains("/second"));
}

#[test]
fn a_switch_that_nobody_asked_for_or_to_another_protocol_is_refused() {
    let other = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: spdy\r\n\r\n";
    let bare = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    let unasked = format!("{SWITCHED}\r\n");
    let cases = [(upgrade(), other), (upgrade(), bare), (get("/"), &unasked), (get("/"), bare)];
    for (request, answer) in cases {
        let app = ScriptedApp::answering_once(answer);
        let gateway = Gateway::of(app.address());
        Caller::ask(&gateway, request).expect_problem(502, "http_upgrade_failed");
    }
}

#[test]
fn what_is_no_clear_question_is_served_as_it_is() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    for fields in [
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, other\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n",
    ] {
        Caller::ask(&gateway, request("GET /", fields, "")).expect(200);
        let seen = app.last();
        assert_eq!(seen.field("upgrade"), None, "{fields}");
        assert_eq!(seen.field("connection"), None, "{fields}");
        assert_eq!(seen.field("http2-settings"), None, "{fields}");
    }
    let request = format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n{ASKS}\r\n");
    Caller::ask(&gateway, request).expect(200);
    assert_eq!(app.last().field("upgrade"), None);
}

#[test]
fn content_before_a_switch_is_refused_unseen() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    for (framing, body) in
        [("Content-Length: 2\r\n", "hi"), ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n")]
    {
        let mut caller = Caller::new(&gateway);
        caller.send(request("POST /", &format!("{ASKS}{framing}"), body));
        caller.read_response().expect_problem(400, "http_request_error");
        caller.expect_closed();
    }
    app.expect_untouched();
}

#[test]
fn silence_in_both_directions_ends_it_and_a_word_in_either_starts_the_wait_anew() {
    const IDLE: Duration = Duration::from_millis(400);
    let (ring, wait) = channel();
    let wait = Mutex::new(wait);
    let app = switching(move |connection| {
        let wait = wait.lock().unwrap();
        while wait.recv_timeout(LIMIT).expect("a bell") {
            connection.send("x");
        }
        assert_eq!(connection.read_to_close().0, b"yyy");
    });
    let gateway = Gateway::of_with(app.address(), |config| config.timeouts.upgrade_idle = IDLE);
    let mut caller = switched(&gateway);
    for _ in 0..3 {
        std::thread::sleep(IDLE * 2 / 3);
        ring.send(true).unwrap();
        assert_eq!(caller.read_exactly(1), b"x");
        std::thread::sleep(IDLE * 2 / 3);
        caller.send("y");
    }
    ring.send(false).unwrap();
    assert_eq!(caller.read_to_close().0, b"");
    gateway.wait_idle();
}

#[test]
fn a_side_that_does_not_read_stops_the_other() {
    let (blocked, go_on) = (Signal::new(), Signal::new());
    let app = switching({
        let (blocked, go_on) = (blocked.clone(), go_on.clone());
        move |connection| {
            connection.shrink_buffers();
            let sent = connection.send_until_blocked(&PIECE, 64 << 20, Duration::from_millis(300));
            assert!(sent < 64 << 20, "the gateway took it all");
            blocked.give();
            go_on.wait();
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::with_small_buffers(&gateway);
    caller.send(upgrade());
    assert_eq!(caller.read_head().word(1), b"101");
    blocked.wait();
    // The other direction is none the worse.
    caller.send("still here");
    go_on.give();
    drop(caller);
}

#[test]
fn a_drain_lets_it_go_on_until_its_time_is_up() {
    let (ring, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let app = switching(move |connection| {
        wait.lock().unwrap().recv_timeout(LIMIT).expect("a bell");
        connection.send("farewell");
        assert_eq!(connection.body(3), b"bye");
    });
    let edge = Edge::with(QUICK, |config| {
        config.timeouts.drain = LIMIT;
        config.apps = vec![crate::support::gateway::app("acme/hello", &[(80, &[app.address()])])];
    });
    let mut caller = Caller::to(edge.address());
    caller.send(upgrade());
    assert_eq!(caller.read_head().word(1), b"101");
    edge.tell(ignite_gateway::app::Command::Drain);
    ring.send(()).unwrap();
    assert_eq!(caller.read_exactly(8), b"farewell");
    caller.send("bye");
    caller.expect_closed();
    drop(caller);
    edge.wait_end(LIMIT);
}

#[test]
fn its_bytes_are_counted_and_it_is_in_flight_as_long_as_it_lasts() {
    let app = switching(|connection| {
        assert_eq!(connection.body(3), b"abc");
        connection.send("12345");
        assert_eq!(connection.read_to_close().1, Ended::Eof);
    });
    let gateway = Gateway::of(app.address());
    let mut caller = switched(&gateway);
    caller.send("abc");
    assert_eq!(caller.read_exactly(5), b"12345");
    gateway.wait_busy(HOST, 1);
    caller.finish_sending();
    caller.expect_closed();
    gateway.wait_idle();
    let mut operator = Caller::to(gateway.admin());
    operator.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let metrics = operator.read_response().expect(200).text();
    for (name, bytes) in [("request", 3), ("response", 5)] {
        let counted = metrics
            .lines()
            .find(|line| line.starts_with(&format!("ignite_gateway_{name}_body_bytes_total{{")))
            .unwrap_or_else(|| panic!("{metrics}"));
        assert!(counted.ends_with(&format!(" {bytes}")), "{counted}");
    }
    assert_eq!(app.connections(), 1);
}

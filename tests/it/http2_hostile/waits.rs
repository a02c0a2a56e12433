//! Callers who let the gateway wait.

use std::time::Duration;

use ignite_gateway::http2::frame::PREFACE;

use super::counted;
use crate::support::app::Broken;
use crate::support::frames::{
    CONTINUATION, DATA, ENHANCE_YOUR_CALM, Frames, HEADERS, INITIAL_WINDOW_SIZE, NO_ERROR, PING,
    block, frame, get, headers, post, request_fields, settings,
};
use crate::support::{EchoHeads, Gateway, PIECE, ScriptedApp, Signal, eventually};

const SOON: Duration = Duration::from_millis(200);

#[test]
fn a_preface_that_does_not_come_whole_ends_its_connection() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| config.timeouts.header = SOON);
    for length in [1, 5, PREFACE.len() - 1] {
        let mut caller = Frames::silent(&gateway);
        caller.send(&PREFACE[..length]);
        let _ = caller.read_raw_to_close();
    }
    app.expect_untouched();
}

#[test]
fn settings_that_do_not_come_end_their_connection() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| config.timeouts.header = SOON);
    let mut caller = Frames::silent(&gateway);
    caller.answers = false;
    caller.send(PREFACE);
    caller.expect_end(ENHANCE_YOUR_CALM);
    assert_eq!(counted(&gateway, "enhance_your_calm"), 1);
}

#[test]
fn a_field_block_whose_rest_does_not_come_ends_its_connection() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| config.timeouts.header = SOON);
    let mut caller = Frames::call(&gateway);
    let _ = caller.ask(1, get(1, "/")).expect(200);
    caller.send(frame(HEADERS, 0, 3, block(&request_fields("GET", "/"))));
    caller.send(frame(CONTINUATION, 0, 3, ""));
    caller.expect_end(ENHANCE_YOUR_CALM);
    assert_eq!(counted(&gateway, "enhance_your_calm"), 1);
}

#[test]
fn an_upload_that_stalls_is_408_and_the_connection_goes_on() {
    let broke = Signal::new();
    let app = ScriptedApp::start({
        let broke = broke.clone();
        move |connection| {
            while let Some(head) = connection.next_head() {
                if head.word(0) == b"POST" {
                    assert_eq!(connection.chunk().unwrap(), b"some");
                    connection.expect_closed();
                    return broke.give();
                }
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        }
    });
    let gateway = Gateway::of_with(app.address(), |config| config.timeouts.idle_body = SOON);
    let mut caller = Frames::call(&gateway);
    let message = caller.ask(1, [post(1, "/"), frame(DATA, 0, 1, "some")].concat());
    message.expect_problem(408, "http_request_error");
    broke.wait();
    let _ = caller.ask(3, get(3, "/")).expect(200);
}

#[test]
fn an_upload_that_stalls_never_looks_whole_to_its_app() {
    let app = ScriptedApp::start(|connection| {
        let seen = connection.try_request();
        assert!(matches!(seen, Err(Broken::Within | Broken::Between)), "{seen:?}");
    });
    let gateway = Gateway::of_with(app.address(), |config| config.timeouts.idle_body = SOON);
    let mut caller = Frames::call(&gateway);
    let mut declared = request_fields("POST", "/");
    declared.push(("content-length", "10"));
    let message = caller.ask(1, [headers(1, 0, &declared), frame(DATA, 0, 1, "some")].concat());
    message.expect_problem(408, "http_request_error");
    app.wait_finished(1);
}

#[test]
fn a_response_for_which_no_window_opens_is_broken_off_and_the_connection_goes_on() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| config.timeouts.idle_body = SOON);
    let mut caller = Frames::call_with(&gateway, &[(INITIAL_WINDOW_SIZE, 10)]);
    caller.gives_windows = false;
    let message = caller.ask(1, get(1, "/"));
    assert!(message.content.len() == 10 && message.reset.is_some(), "{message:?}");
    gateway.wait_idle();
    caller.gives_windows = true;
    let _ = caller.ask(3, get(3, "/")).expect(200);
}

#[test]
fn a_caller_who_takes_nothing_off_the_wire_is_given_up() {
    let gone = Signal::new();
    let app = ScriptedApp::start({
        let gone = gone.clone();
        move |connection| {
            connection.head();
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
            while connection.try_send(PIECE).is_ok() {}
            gone.give();
        }
    });
    let gateway = Gateway::of_with(app.address(), |config| config.timeouts.idle_body = SOON);
    let mut caller = Frames::silent_with_small_buffers(&gateway);
    caller.send([PREFACE, &settings(&[(INITIAL_WINDOW_SIZE, 1 << 30)])].concat());
    caller.open_connection_window();
    caller.send(get(1, "/"));
    gone.wait();
    gateway.wait_idle();
}

#[test]
fn an_idle_connection_ends_in_order_even_if_it_sends_pings() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| config.timeouts.keepalive = 2 * SOON);
    let mut caller = Frames::call(&gateway);
    let _ = caller.ask(1, get(1, "/")).expect(200);
    let mut pings = 0;
    eventually("the connection ends", || {
        pings += 1;
        std::thread::sleep(SOON / 10);
        // A dozen a second, well within what is forgiven.
        let sent = caller.try_send(frame(PING, 0, 0, [0; 8]));
        sent.is_err() || caller.read().is_err() || caller.goaway.is_some()
    });
    assert_eq!(caller.goaway.map(|(_, code)| code), Some(NO_ERROR), "after {pings} pings");
}

//! Streams share a connection's windows and its buffers: none may take the
//! others' turn, and none may make the gateway hold what nobody reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ignite_gateway::http2::frame::PREFACE;

use crate::support::frames::{
    CANCEL, DATA, END_STREAM, Frames, INITIAL_WINDOW_SIZE, PING, frame, get, post, reset, settings,
    window_update,
};
use crate::support::{EchoHeads, Gateway, PIECE, QUIET, ScriptedApp, eventually};

/// More than all windows and buffers hold.
const MUCH: usize = 64 << 20;
/// The window that a connection begins with.
const FIRST_WINDOW: usize = 65_535;

fn large_app() -> ScriptedApp {
    let body = "x".repeat(1 << 20);
    let length = body.len();
    ScriptedApp::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"))
}

fn came(caller: &Frames, id: u32) -> usize {
    caller.streams.get(&id).map_or(0, |message| message.content.len())
}

/// A caller for whom streams 1 and 3 both wait for the connection's window.
fn waiting(gateway: &Gateway) -> Frames {
    let mut caller = Frames::call_with(gateway, &[(INITIAL_WINDOW_SIZE, 1 << 24)]);
    caller.gives_windows = false;
    caller.send([get(1, "/"), get(3, "/")].concat());
    caller.until("a full window", |caller| came(caller, 1) + came(caller, 3) == FIRST_WINDOW);
    // Both heads came: both tasks have more to send and wait in line.
    caller.until("both heads", |caller| caller.streams.len() == 2);
    caller
}

#[test]
fn a_stream_that_is_reset_leaves_its_turn_to_the_next() {
    let app = large_app();
    let gateway = Gateway::of(app.address());
    // Which of them is first in line is not known.
    for (gone, stays) in [(1, 3), (3, 1)] {
        let mut caller = waiting(&gateway);
        let before = came(&caller, stays);
        caller.send([window_update(0, 16_384), reset(gone, CANCEL)].concat());
        caller.until("more of the other", |caller| came(caller, stays) > before);
    }
}

#[test]
fn a_stream_whose_own_window_closes_leaves_its_turn_to_the_next() {
    let app = large_app();
    let gateway = Gateway::of(app.address());
    for stays in [1, 3] {
        let mut caller = waiting(&gateway);
        let before = came(&caller, stays);
        let close_both = settings(&[(INITIAL_WINDOW_SIZE, 0)]);
        let open_one = window_update(stays, 1 << 24);
        caller.send([close_both, open_one, window_update(0, 16_384)].concat());
        caller.until("more of the other", |caller| came(caller, stays) > before);
    }
}

#[test]
fn a_stream_without_a_window_stops_no_other() {
    let app = large_app();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call_with(&gateway, &[(INITIAL_WINDOW_SIZE, 0)]);
    caller.open_connection_window();
    for id in [1, 3, 5] {
        caller.send(get(id, "/"));
    }
    caller.send([get(7, "/"), window_update(7, 1 << 24)].concat());
    assert_eq!(caller.answer(7).expect(200).content.len(), 1 << 20);
    for id in [5, 3, 1] {
        assert_eq!(came(&caller, id), 0);
        caller.send(window_update(id, 1 << 24));
        assert_eq!(caller.answer(id).expect(200).content.len(), 1 << 20);
    }
}

#[test]
fn windows_opened_byte_by_byte_carry_a_body_whole() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call_with(&gateway, &[(INITIAL_WINDOW_SIZE, 1)]);
    let message = caller.ask(1, [post(1, "/"), frame(DATA, END_STREAM, 1, "abc")].concat());
    assert!(message.expect(200).content.ends_with(b"abc\r\n0\r\n\r\n"), "{message:?}");
}

#[test]
fn for_a_caller_who_never_reads_the_gateway_stops_reading_the_app() {
    let (sent, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let app = ScriptedApp::start({
        let (sent, ended) = (sent.clone(), ended.clone());
        move |connection| {
            connection.shrink_buffers();
            connection.head();
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n"));
            let taken = connection.send_until_blocked(&PIECE, MUCH, 4 * QUIET);
            sent.fetch_max(taken, Ordering::SeqCst);
            ended.fetch_add(1, Ordering::SeqCst);
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::silent_with_small_buffers(&gateway);
    let most = u32::MAX >> 1;
    caller.send([PREFACE, &settings(&[(INITIAL_WINDOW_SIZE, most)])].concat());
    caller.open_connection_window();
    for index in 0..8 {
        caller.send(get(2 * index + 1, "/"));
    }
    eventually("all apps are stopped", || ended.load(Ordering::SeqCst) == 8);
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < MUCH / 4, "one app could send {sent} bytes that nobody reads");
}

#[test]
fn from_a_caller_who_never_reads_the_gateway_stops_reading() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| {
        // Not the budget is to stop it, but that nothing more is taken in.
        config.limits.control_frames = u32::MAX;
    });
    let mut caller = Frames::silent_with_small_buffers(&gateway);
    caller.send([PREFACE, &settings(&[])].concat());
    let pings = frame(PING, 0, 0, [0; 8]).repeat(1000);
    let sent = caller.send_until_blocked(&pings, MUCH, 4 * QUIET);
    assert!(sent < MUCH, "{sent} bytes were taken from a caller who reads no answer");
    // It begins to read, and all goes on.
    let mut caller = Frames::call(&gateway);
    let _ = caller.ask(1, get(1, "/")).expect(200);
}

#[test]
fn a_caller_who_pauses_gets_everything_after_all() {
    let app = large_app();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::silent_with_small_buffers(&gateway);
    caller.send([PREFACE, &settings(&[(INITIAL_WINDOW_SIZE, 1 << 24)])].concat());
    caller.open_connection_window();
    let ids: Vec<u32> = (0..20).map(|index| 2 * index + 1).collect();
    caller.send(ids.iter().flat_map(|id| get(*id, "/")).collect::<Vec<_>>());
    // Far more waits for the caller than anybody holds.
    eventually("requests wait for their caller", || gateway.in_flight() > 0);
    std::thread::sleep(QUIET);
    for id in ids {
        assert_eq!(caller.answer(id).expect(200).content.len(), 1 << 20);
    }
}

#[test]
fn uploads_that_their_app_does_not_read_stop_no_other() {
    let app = ScriptedApp::start(|connection| {
        if connection.head().target() == b"/never" {
            let _ = connection.read_to_close();
            return;
        }
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    // As much as one stream may send at once.
    caller.send(post(1, "/never"));
    caller.send(frame(DATA, 0, 1, [0; 16_384]).repeat(15));
    let _ = caller.ask(3, get(3, "/")).expect(200);
    caller.send(reset(1, CANCEL));
    gateway.wait_idle();
}

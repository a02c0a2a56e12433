//! Callers that make the gateway work for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ignite_gateway::http2::frame::PREFACE;

use super::{counted, expect_connection_error};
use crate::support::frames::{
    ACK, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frames, HEADERS,
    INITIAL_WINDOW_SIZE, NO_ERROR, PADDED, PING, PRIORITY, SETTINGS, block, frame, get, headers,
    post, request_fields, reset, settings, window_update,
};
use crate::support::{Caller, EchoHeads, Gateway, ScriptedApp, Signal, eventually};

/// More than the defaults forgive.
const MANY: usize = 1500;

/// A flood ends its connection.
#[track_caller]
fn expect_calm(before: &[u8], each: &[u8]) {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let flood = [before, &each.repeat(MANY)].concat();
    expect_connection_error(&gateway, &flood, ENHANCE_YOUR_CALM);
}

/// The same for what comes with a stream id of its own.
#[track_caller]
fn expect_calm_streams(each: impl Fn(u32) -> Vec<u8>) {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let flood: Vec<u8> = (0..1000).flat_map(|index| each(2 * index + 1)).collect();
    expect_connection_error(&gateway, &flood, ENHANCE_YOUR_CALM);
}

#[test]
fn a_flood_of_pings_ends_its_connection() {
    expect_calm(b"", &frame(PING, 0, 0, [7; 8]));
}

#[test]
fn a_flood_of_answers_to_pings_that_were_never_sent_ends_its_connection() {
    expect_calm(b"", &frame(PING, ACK, 0, [7; 8]));
}

#[test]
fn a_flood_of_settings_ends_its_connection() {
    expect_calm(b"", &settings(&[]));
}

#[test]
fn a_flood_of_settings_that_change_every_window_ends_its_connection() {
    let open: Vec<u8> = (0..100).flat_map(|index| post(2 * index + 1, "/")).collect();
    let both = [settings(&[(INITIAL_WINDOW_SIZE, 1 << 20)]), settings(&[(INITIAL_WINDOW_SIZE, 0)])];
    expect_calm(&open, &both.concat());
}

#[test]
fn a_flood_of_settings_acknowledgements_ends_its_connection() {
    expect_calm(b"", &frame(SETTINGS, ACK, 0, ""));
}

#[test]
fn a_flood_of_priorities_ends_its_connection() {
    expect_calm(b"", &frame(PRIORITY, 0, 101, [0, 0, 0, 0, 16]));
}

#[test]
fn a_flood_of_window_updates_by_one_byte_ends_its_connection() {
    expect_calm(b"", &window_update(0, 1));
    expect_calm(&post(1, "/"), &window_update(1, 1));
}

#[test]
fn a_flood_of_empty_data_ends_its_connection() {
    expect_calm(&post(1, "/"), &frame(DATA, 0, 1, ""));
}

#[test]
fn a_flood_of_data_that_is_all_padding_ends_its_connection() {
    expect_calm(&post(1, "/"), &frame(DATA, PADDED, 1, [3, 0, 0, 0]));
}

#[test]
fn a_flood_of_frames_of_unknown_types_ends_its_connection() {
    expect_calm(b"", &frame(0xfa, 0, 0, "x"));
}

#[test]
fn a_flood_of_empty_continuations_ends_its_connection() {
    let open = frame(HEADERS, END_STREAM, 1, block(&request_fields("GET", "/")));
    expect_calm(&open, &frame(CONTINUATION, 0, 1, ""));
}

#[test]
fn a_header_block_that_never_ends_ends_its_connection() {
    let open = frame(HEADERS, END_STREAM, 1, block(&request_fields("GET", "/")));
    let piece = block(&[("x-piece", "y".repeat(1000))]);
    expect_calm(&open, &frame(CONTINUATION, 0, 1, piece));
}

#[test]
fn header_blocks_cut_into_single_bytes_end_their_connection() {
    let fields = block(&request_fields("GET", "/"));
    expect_calm_streams(|id| {
        let mut out = frame(HEADERS, END_STREAM, id, "");
        let last = fields.len() - 1;
        for (at, byte) in fields.iter().enumerate() {
            let flags = if at == last { END_HEADERS } else { 0 };
            out.extend(frame(CONTINUATION, flags, id, [*byte]));
        }
        out
    });
}

#[test]
fn requests_that_are_reset_at_once_end_their_connection() {
    expect_calm_streams(|id| [get(id, "/"), reset(id, CANCEL)].concat());
}

#[test]
fn uploads_that_are_reset_at_once_end_their_connection() {
    expect_calm_streams(|id| {
        let data = frame(DATA, 0, id, [0; 100]);
        [post(id, "/"), data, reset(id, NO_ERROR)].concat()
    });
}

#[test]
fn resets_forced_from_the_gateway_by_a_window_update_of_nothing_end_their_connection() {
    expect_calm_streams(|id| [get(id, "/"), window_update(id, 0)].concat());
}

#[test]
fn resets_forced_from_the_gateway_by_a_window_overflow_end_their_connection() {
    expect_calm_streams(|id| [get(id, "/"), window_update(id, u32::MAX >> 1)].concat());
}

#[test]
fn resets_forced_from_the_gateway_by_data_after_the_end_end_their_connection() {
    expect_calm_streams(|id| [get(id, "/"), frame(DATA, 0, id, "more")].concat());
}

#[test]
fn resets_forced_from_the_gateway_by_a_priority_of_a_wrong_size_end_their_connection() {
    expect_calm_streams(|id| [get(id, "/"), frame(PRIORITY, 0, id, [0; 4])].concat());
}

#[test]
fn resets_forced_from_the_gateway_by_malformed_requests_end_their_connection() {
    expect_calm_streams(|id| headers(id, END_STREAM, &[(":method", "GET")]));
}

#[test]
fn resets_forced_from_the_gateway_by_trailers_that_are_none_end_their_connection() {
    expect_calm_streams(|id| [post(id, "/"), headers(id, END_STREAM, &[(":path", "/")])].concat());
}

#[test]
fn a_flood_of_field_sections_for_a_stream_that_was_reset_ends_its_connection() {
    let reset_by_us = [post(1, "/"), window_update(1, 0)].concat();
    expect_calm(&reset_by_us, &headers(1, END_STREAM, &[("x-trailer", "1")]));
}

#[test]
fn a_flood_of_small_data_for_a_stream_that_was_reset_ends_its_connection() {
    let reset_by_us = [post(1, "/"), window_update(1, 0)].concat();
    expect_calm(&reset_by_us, &frame(DATA, 0, 1, "x"));
}

#[test]
fn requests_that_are_reset_at_once_leave_nothing_behind() {
    let app = EchoHeads::start();
    // More than may be open at once, and each with another that is answered: no attack.
    let gateway = Gateway::of_with(app.address(), |config| {
        config.limits.concurrent_streams = 10;
    });
    let mut caller = Frames::call(&gateway);
    for index in 0..50 {
        let (gone, asked) = (4 * index + 1, 4 * index + 3);
        // In one segment, so that the reset comes before the request's task ever ran.
        caller.send([get(gone, "/gone"), reset(gone, CANCEL), get(asked, "/")].concat());
        let _ = caller.answer(asked).expect(200);
    }
    gateway.wait_idle();
}

#[test]
fn resets_forced_from_the_gateway_do_not_make_room_for_more_work() {
    let (work, asked) = (Arc::new(AtomicUsize::new(0)), Signal::new());
    let app = ScriptedApp::start({
        let (work, asked) = (work.clone(), asked.clone());
        move |connection| {
            while let Ok(request) = connection.try_request() {
                if request.head.target() == b"/last" {
                    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                    continue;
                }
                work.fetch_add(1, Ordering::SeqCst);
                asked.wait();
                let _ = connection.try_send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        }
    });
    let gateway = Gateway::of_with(app.address(), |config| config.limits.concurrent_streams = 10);
    let mut caller = Frames::call(&gateway);
    let broken = |index: u32| [get(2 * index + 1, "/"), window_update(2 * index + 1, 0)].concat();
    caller.send((0..50).flat_map(broken).collect::<Vec<_>>());
    caller.until("every stream is reset", |caller| caller.streams.len() == 50);
    let _ = Frames::call(&gateway).ask(1, get(1, "/last")).expect(200);
    let work = work.load(Ordering::SeqCst);
    asked.give();
    assert!(work <= 10, "{work} requests at the app for a caller who may have 10");
}

#[test]
fn a_reset_ends_the_work_of_the_app() {
    let (asked, gone) = (Signal::new(), Signal::new());
    let app = ScriptedApp::start({
        let (asked, gone) = (asked.clone(), gone.clone());
        move |connection| {
            connection.head();
            asked.give();
            connection.expect_closed();
            gone.give();
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    caller.send(get(1, "/"));
    asked.wait();
    caller.send(reset(1, CANCEL));
    gone.wait();
    gateway.wait_idle();
}

#[test]
fn pings_within_reason_are_answered_for_ever() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    for index in 0..300 {
        let id = 2 * index + 1;
        caller.send(frame(PING, 0, 0, [7; 8]).repeat(8));
        let _ = caller.ask(id, get(id, "/")).expect(200);
    }
    assert_eq!(counted(&gateway, "enhance_your_calm"), 0);
}

#[test]
fn a_caller_who_gives_back_each_small_piece_of_a_long_answer_is_no_flood() {
    // As an app streams words or events; the caller gives each back to both windows.
    let pieces = 4 * MANY;
    let app = ScriptedApp::answering(
        ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &"1\r\nx\r\n".repeat(pieces)]
            .concat()
            + "0\r\n\r\n",
    );
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    let message = caller.ask(1, get(1, "/"));
    assert_eq!(message.expect(200).content.len(), pieces);
    assert_eq!(counted(&gateway, "enhance_your_calm"), 0);
}

#[test]
fn a_caller_who_cuts_a_large_answer_into_single_bytes_by_its_window_is_a_flood() {
    let app = ScriptedApp::answering(
        ["HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", &"x".repeat(100_000)].concat(),
    );
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call_with(&gateway, &[(INITIAL_WINDOW_SIZE, 1)]);
    caller.send(get(1, "/"));
    caller.expect_end(ENHANCE_YOUR_CALM);
}

#[test]
fn a_caller_who_sends_its_preface_again_and_again_is_refused() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::silent(&gateway);
    let _ = caller.try_send([PREFACE, &settings(&[]), PREFACE].concat());
    caller.read_to_close();
    assert!(caller.goaway.is_some());
    eventually("it is counted", || {
        gateway.shared().http2.errors().map(|(_, count)| count).sum::<u64>() == 1
    });
}

#[test]
fn the_operator_sees_why_connections_were_ended() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let flood = frame(PING, 0, 0, [7; 8]).repeat(MANY);
    expect_connection_error(&gateway, &flood, ENHANCE_YOUR_CALM);
    let mut operator = Caller::to(gateway.admin());
    operator.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let text = operator.read_response().expect(200).text();
    let line = "ignite_gateway_http2_connection_errors_total{reason=\"enhance_your_calm\"} 1";
    assert!(text.lines().any(|known| known == line), "{text}");
}

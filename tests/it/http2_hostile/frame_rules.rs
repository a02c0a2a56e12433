//! Frames that must not come, or not like this, RFC 9113 sections 3 to 6.

use super::{expect_connection_error, expect_stream_error};
use crate::support::frames::{
    ACK, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR, Frames, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, PADDED, PING, PRIORITY,
    PROTOCOL_ERROR, PUSH_PROMISE, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, block, frame,
    get, headers, post, request_fields, reset, settings, window_update,
};
use crate::support::{EchoHeads, Gateway};

/// Each of these ends its connection with `code`.
#[track_caller]
fn expect_each(code: u32, cases: &[(&str, Vec<u8>)]) {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    for (what, bytes) in cases {
        eprintln!("{what}");
        expect_connection_error(&gateway, bytes, code);
    }
}

/// A request's head whose block goes on in another frame.
fn unfinished(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM, stream, block(&request_fields("GET", "/")))
}

#[test]
fn frames_of_streams_on_the_connection_and_the_reverse_end_the_connection() {
    let fields = block(&request_fields("GET", "/"));
    expect_each(
        PROTOCOL_ERROR,
        &[
            ("DATA on stream 0", frame(DATA, 0, 0, "x")),
            ("HEADERS on stream 0", frame(HEADERS, END_HEADERS | END_STREAM, 0, &fields)),
            ("PRIORITY on stream 0", frame(PRIORITY, 0, 0, [0, 0, 0, 1, 16])),
            ("RST_STREAM on stream 0", reset(0, 8)),
            ("SETTINGS on a stream", frame(SETTINGS, 0, 1, "")),
            ("PING on a stream", frame(PING, 0, 1, [0; 8])),
            ("GOAWAY on a stream", frame(GOAWAY, 0, 1, [0; 8])),
            ("CONTINUATION on stream 0", frame(CONTINUATION, END_HEADERS, 0, &fields)),
        ],
    );
}

#[test]
fn streams_that_a_caller_may_not_open_end_the_connection() {
    expect_each(
        PROTOCOL_ERROR,
        &[
            ("an even id", get(2, "/")),
            ("DATA on an idle stream", frame(DATA, 0, 1, "x")),
            ("RST_STREAM on an idle stream", reset(1, 8)),
            ("WINDOW_UPDATE on an idle stream", window_update(1, 1)),
            ("WINDOW_UPDATE on a stream of ours", window_update(2, 1)),
            ("PUSH_PROMISE", {
                let promised = [&[0, 0, 0, 2][..], &block(&request_fields("GET", "/"))].concat();
                [post(1, "/"), frame(PUSH_PROMISE, END_HEADERS, 1, promised)].concat()
            }),
        ],
    );
}

#[test]
fn ids_that_go_back_end_the_connection() {
    // A lower id is that of a stream that was closed unused, RFC 9113 section 5.1.1.
    expect_each(STREAM_CLOSED, &[("3 after 5", [get(5, "/"), get(3, "/")].concat())]);
}

#[test]
fn field_blocks_that_are_interrupted_end_the_connection() {
    let rest = frame(CONTINUATION, END_HEADERS, 3, "");
    expect_each(
        PROTOCOL_ERROR,
        &[
            ("by PING", [unfinished(1), frame(PING, 0, 0, [0; 8])].concat()),
            ("by DATA", [unfinished(1), frame(DATA, 0, 1, "x")].concat()),
            ("by HEADERS", [unfinished(1), get(3, "/")].concat()),
            ("by an unknown type", [unfinished(1), frame(0xfa, 0, 0, "")].concat()),
            ("by another stream's rest", [unfinished(1), rest].concat()),
            ("a rest of nothing", frame(CONTINUATION, END_HEADERS, 1, "")),
            ("a rest after the end", [get(1, "/"), frame(CONTINUATION, 4, 1, "")].concat()),
        ],
    );
}

#[test]
fn field_blocks_that_cannot_be_decoded_end_the_connection() {
    let with = |end: &[u8]| {
        let block = [&block(&request_fields("GET", "/"))[..], end].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, 1, block)
    };
    expect_each(
        COMPRESSION_ERROR,
        &[
            ("an index of nothing", with(&[0x80])),
            ("an index beyond the tables", with(&[0xff, 0x20])),
            ("an index without end", with(&[0xff; 20])),
            ("a text that is cut off", with(&[0, 5, b'x'])),
            ("a table size above the limit", with(&[0x3f, 0xff, 0xff, 0x7f])),
            ("Huffman padding of zeros", with(&[0, 0x81, 0x00, 0])),
        ],
    );
}

#[test]
fn frames_of_a_wrong_size_end_the_connection() {
    expect_each(
        FRAME_SIZE_ERROR,
        &[
            ("larger than allowed", [post(1, "/"), frame(DATA, 0, 1, vec![0; 16_385])].concat()),
            ("PING of 7", frame(PING, 0, 0, [0; 7])),
            ("PING of 9", frame(PING, 0, 0, [0; 9])),
            ("SETTINGS of 5", frame(SETTINGS, 0, 0, [0; 5])),
            ("an acknowledgement of 6", frame(SETTINGS, ACK, 0, [0; 6])),
            ("RST_STREAM of 3", [post(1, "/"), frame(RST_STREAM, 0, 1, [0; 3])].concat()),
            ("WINDOW_UPDATE of 3", frame(WINDOW_UPDATE, 0, 0, [0; 3])),
            ("GOAWAY of 7", frame(GOAWAY, 0, 0, [0; 7])),
            ("PRIORITY of 4 on an idle stream", frame(PRIORITY, 0, 1, [0; 4])),
            ("HEADERS too short for its priority", frame(HEADERS, 0x24, 1, [0; 3])),
        ],
    );
}

#[test]
fn a_frame_that_is_too_large_is_refused_before_it_has_come() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    // The head alone: 16 MB are announced and never sent.
    let head = &frame(DATA, 0, 1, "")[3..];
    let head = [&[0xff, 0xff, 0xff][..], head].concat();
    expect_connection_error(&gateway, &[post(1, "/"), head].concat(), FRAME_SIZE_ERROR);
}

#[test]
fn padding_longer_than_its_frame_ends_the_connection() {
    expect_each(
        PROTOCOL_ERROR,
        &[
            ("of DATA", [post(1, "/"), frame(DATA, PADDED, 1, [9, 0, 0])].concat()),
            ("of empty DATA", [post(1, "/"), frame(DATA, PADDED, 1, "")].concat()),
            ("of HEADERS", frame(HEADERS, PADDED | END_HEADERS, 1, [9, 0, 0])),
        ],
    );
}

#[test]
fn settings_out_of_range_end_the_connection() {
    expect_each(
        PROTOCOL_ERROR,
        &[
            ("push", settings(&[(2, 2)])),
            ("a frame size too small", settings(&[(5, 16_383)])),
            ("a frame size too large", settings(&[(5, 1 << 24)])),
        ],
    );
    let window = settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)]);
    expect_each(FLOW_CONTROL_ERROR, &[("a window", window)]);
}

#[test]
fn windows_beyond_the_limit_end_the_connection() {
    let most = u32::MAX >> 1;
    expect_each(
        FLOW_CONTROL_ERROR,
        &[
            ("the connection's", window_update(0, most)),
            ("by settings", {
                let more = settings(&[(INITIAL_WINDOW_SIZE, 1 << 20)]);
                [post(1, "/"), window_update(1, most - 65_535), more].concat()
            }),
        ],
    );
    expect_each(PROTOCOL_ERROR, &[("by nothing", window_update(0, 0))]);
}

#[test]
fn a_streams_window_beyond_the_limit_ends_the_stream_alone() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let most = u32::MAX >> 1;
    let bytes = [post(1, "/"), window_update(1, most)].concat();
    expect_stream_error(&gateway, &bytes, FLOW_CONTROL_ERROR);
    let bytes = [post(1, "/"), window_update(1, 0)].concat();
    expect_stream_error(&gateway, &bytes, PROTOCOL_ERROR);
}

#[test]
fn content_beyond_a_streams_window_ends_the_stream_alone() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| config.limits.stream_window = 70_000);
    // All in one go: no app reads so fast that the window opens as fast.
    let flood = [post(1, "/"), frame(DATA, 0, 1, [0; 16_384]).repeat(50)].concat();
    expect_stream_error(&gateway, &flood, FLOW_CONTROL_ERROR);
}

#[test]
fn content_beyond_the_connections_window_ends_the_connection() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| {
        config.limits.stream_window = 1 << 20;
        config.limits.connection_window = 70_000;
    });
    let flood = [post(1, "/"), frame(DATA, 0, 1, [0; 16_384]).repeat(200)].concat();
    expect_connection_error(&gateway, &flood, FLOW_CONTROL_ERROR);
}

#[test]
fn frames_after_the_end_of_a_stream_reset_it() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let late = [get(1, "/"), frame(DATA, END_STREAM, 1, "late")].concat();
    expect_stream_error(&gateway, &late, STREAM_CLOSED);
    let late = [get(1, "/"), headers(1, END_STREAM, &[("x-late", "1")])].concat();
    expect_stream_error(&gateway, &late, STREAM_CLOSED);
}

#[test]
fn a_field_section_for_a_stream_long_closed_ends_the_connection() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    let _ = caller.ask(1, get(1, "/")).expect(200);
    caller.send(headers(1, END_STREAM, &[("x-late", "1")]));
    caller.expect_end(STREAM_CLOSED);
}

#[test]
fn a_stream_that_depends_on_itself_is_reset() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let payload = [&[0, 0, 0, 1, 16][..], &block(&request_fields("GET", "/"))].concat();
    expect_stream_error(&gateway, &frame(HEADERS, 0x25, 1, payload), PROTOCOL_ERROR);
    let itself = [post(1, "/"), frame(PRIORITY, 0, 1, [0, 0, 0, 1, 16])].concat();
    expect_stream_error(&gateway, &itself, PROTOCOL_ERROR);
}

#[test]
fn what_is_not_known_is_ignored() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    caller.send(frame(0xfa, 0xff, 7, "whatever"));
    caller.send(settings(&[(0xfafa, 1), (0x0a, 2)]));
    caller.send(frame(PRIORITY, 0, 9, [0, 0, 0, 7, 16]));
    caller.send(frame(PING, 0xfe, 0, [0; 8]));
    for id in [1, 3, 5] {
        let _ = caller.ask(id, get(id, "/")).expect(200);
    }
}

#[test]
fn the_first_frame_must_be_settings() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    for first in [frame(PING, 0, 0, [0; 8]), get(1, "/"), frame(SETTINGS, ACK, 0, "")] {
        let mut caller = Frames::silent(&gateway);
        caller.send([ignite_gateway::http2::frame::PREFACE, &first].concat());
        caller.expect_end(PROTOCOL_ERROR);
    }
}

//! Requests that are too large or too many: refused one by one, on a
//! connection that goes on.

use std::time::{Duration, Instant};

use super::counted;
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, MAX_CONCURRENT_STREAMS,
    REFUSED_STREAM, block, frame, get, headers, post, request_fields,
};
use crate::support::{EchoHeads, Gateway, ScriptedApp, Signal};

/// The newest entry of the field table, RFC 7541 section 6.1.
const NEWEST: u8 = 0xbe;

/// A whole GET whose block needs several frames.
fn large_get(id: u32, fields: &[(String, String)]) -> Vec<u8> {
    let more: Vec<_> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    let block = block(&[&request_fields("GET", "/")[..], &more].concat());
    let pieces: Vec<_> = block.chunks(16_384).collect();
    let mut out = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let kind = if index == 0 { HEADERS } else { CONTINUATION };
        let last = if index + 1 == pieces.len() { END_HEADERS } else { 0 };
        let ended = if index == 0 { END_STREAM } else { 0 };
        out.extend(frame(kind, last | ended, id, piece));
    }
    out
}

#[test]
fn a_head_over_its_limit_is_431_on_a_connection_that_goes_on() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    let large: Vec<_> = (0..33).map(|i| (format!("x-{i}"), "v".repeat(1000))).collect();
    let many: Vec<_> = (0..101).map(|i| (format!("x-{i}"), String::new())).collect();
    let one = vec![("x-one".to_owned(), "v".repeat(33_000))];
    for (index, fields) in [large, many, one].iter().enumerate() {
        let id = 4 * u32::try_from(index).unwrap() + 1;
        let message = caller.ask(id, large_get(id, fields));
        message.expect_problem(431, "http_request_error");
        app.expect_untouched();
    }
    let fits: Vec<_> = (0..25).map(|i| (format!("x-{i}"), "v".repeat(1000))).collect();
    let _ = caller.ask(101, large_get(101, &fits)).expect(200);
    assert_eq!(app.last().field("x-24").unwrap().len(), 1000);
}

#[test]
fn a_target_over_its_limit_is_414_on_a_connection_that_goes_on() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |c| c.limits.request_target_bytes = 100);
    let mut caller = Frames::call(&gateway);
    let path = format!("/{}", "p".repeat(100));
    caller.ask(1, get(1, &path)).expect_problem(414, "http_request_error");
    app.expect_untouched();
    let _ = caller.ask(3, get(3, "/")).expect(200);
}

#[test]
fn what_a_refused_head_put_into_the_table_serves_the_next() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    let kept = [&[0x40, 6][..], b"x-kept", &[4], b"here"].concat();
    let too_many: Vec<_> = (0..101).map(|i| (format!("x-{i}"), "")).collect();
    let plain = block(&request_fields("GET", "/"));
    let refused = [&plain[..], &block(&too_many), &kept].concat();
    let message = caller.ask(1, frame(HEADERS, END_HEADERS | END_STREAM, 1, refused));
    let _ = message.expect(431);

    let next = [&plain[..], &[NEWEST]].concat();
    let _ = caller.ask(3, frame(HEADERS, END_HEADERS | END_STREAM, 3, next)).expect(200);
    assert_eq!(app.last().field("x-kept").as_deref(), Some("here"));
}

#[test]
fn a_small_block_that_unfolds_to_a_huge_section_is_431_and_cheap() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut other = Frames::call(&gateway);
    let mut caller = Frames::call(&gateway);
    let value = "v".repeat(3900);
    let entry = [&[0x40, 1, b'x'][..], &block(&[("", &value[..])])[2..]].concat();
    let plain = block(&request_fields("GET", "/"));
    let bomb = [&plain[..], &entry, &[NEWEST; 12_000][..]].concat();
    assert!(bomb.len() <= 16_384);
    let start = Instant::now();
    for index in 0..50 {
        let id = 2 * index + 1;
        let message = caller.ask(id, frame(HEADERS, END_HEADERS | END_STREAM, id, &bomb));
        message.expect_problem(431, "http_request_error");
        let _ = other.ask(id, get(id, "/")).expect(200);
    }
    // Two gigabytes, if it were unfolded.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn streams_above_the_limit_are_refused_and_may_be_tried_again() {
    let go_on = Signal::new();
    let app = ScriptedApp::start({
        let go_on = go_on.clone();
        move |connection| {
            while connection.next_request().is_some() {
                go_on.wait();
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        }
    });
    let gateway = Gateway::of_with(app.address(), |c| c.limits.concurrent_streams = 3);
    let mut caller = Frames::call(&gateway);
    assert!(caller.settings.contains(&(MAX_CONCURRENT_STREAMS, 3)), "{:?}", caller.settings);
    caller.send([1, 3, 5, 7, 9].map(|id| get(id, "/")).concat());
    caller.answer(7).expect_reset(REFUSED_STREAM);
    caller.answer(9).expect_reset(REFUSED_STREAM);
    go_on.give();
    for id in [1, 3, 5] {
        let _ = caller.answer(id).expect(200);
    }
    let _ = caller.ask(11, get(11, "/")).expect(200);
    assert_eq!(counted(&gateway, "enhance_your_calm"), 0);
}

#[test]
fn a_body_over_its_limit_is_413_on_a_connection_that_goes_on() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| config.limits.request_body = 1000);
    let mut caller = Frames::call(&gateway);
    let mut declared = request_fields("POST", "/");
    declared.push(("content-length", "1001"));
    let message = caller.ask(1, headers(1, 0, &declared));
    assert_eq!(message.status(), 413, "{message:?}");
    let message = caller.ask(3, [post(3, "/"), frame(DATA, 0, 3, [0; 1001])].concat());
    assert_eq!(message.status(), 413, "{message:?}");
    let _ = caller.ask(5, [post(5, "/"), frame(DATA, END_STREAM, 5, [0; 1000])].concat());
    let _ = caller.answer(5).expect(200);
    assert!(app.seen().iter().all(|seen| seen.content.len() == 1000), "{:?}", app.seen());
}

#[test]
fn uploads_that_are_all_answered_early_do_not_cost_their_connection() {
    let gateway = Gateway::with(|config| config.limits.concurrent_streams = 256);
    let mut caller = Frames::call(&gateway);
    let ids: Vec<u32> = (0..200).map(|index| 2 * index + 1).collect();
    // No app has this host: each is answered with 404 at once, and its rest is reset.
    caller.send(ids.iter().flat_map(|id| post(*id, "/")).collect::<Vec<_>>());
    caller.until("all answers", |caller| {
        ids.iter().all(|id| caller.streams.get(id).is_some_and(|message| message.whole))
    });
    // What was under way when the answers came.
    let trailers = |id: &u32| headers(*id, END_STREAM, &[("x-trailer", "1")]);
    caller.send(ids.iter().flat_map(trailers).collect::<Vec<_>>());
    let _ = caller.ask(1001, get(1001, "/")).expect(404);
}

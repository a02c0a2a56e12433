//! Hostile and broken HTTP/2 apps: each costs the request that met it, never
//! another, and never an endless wait.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::h2c;
use crate::support::frames::{
    ACK, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS, NO_ERROR, PADDED, PING, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE,
    REFUSED_STREAM, SETTINGS, block, frame, get, goaway, headers, post, request_fields, reset,
    settings, window_update,
};
use crate::support::{Caller, HOST, LIMIT, ScriptedApp, Signal, eventually};

const SOON: Duration = Duration::from_millis(200);

/// A whole response without content.
fn ok(id: u32) -> Vec<u8> {
    headers(id, END_STREAM, &[(":status", "200")])
}

fn path(app: &Frames, id: u32) -> String {
    let head = app.streams[&id].sections.first().expect("a head");
    head.iter().find(|(name, _)| name == ":path").expect("a path").1.clone()
}

/// An app that answers to `/hostile` as it is told. `/held` waits until `/release` is asked for.
fn app_with(hostile: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> ScriptedApp {
    ScriptedApp::start(move |connection| {
        let mut app = connection.http2(&[]);
        let (mut last, mut held) = (0, None);
        while let Some(id) = app.next_stream(last) {
            last = id;
            let answer = match &path(&app, id)[..] {
                "/hostile" => hostile(id),
                "/held" => {
                    held = Some(id);
                    continue;
                }
                "/release" => [held.take().map(ok).unwrap_or_default(), ok(id)].concat(),
                _ => ok(id),
            };
            // The gateway may have seen enough before all of it is sent.
            if app.try_send(answer).is_err() {
                return;
            }
        }
    })
}

/// What an app answers costs this one request alone: another on the same connection is served.
#[track_caller]
fn expect_stream_fails(
    answer: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static,
    status: u16,
    error: &str,
) {
    let app = app_with(answer);
    let gateway = h2c(&[app.address()], |_| {});
    let mut caller = Frames::call(&gateway);
    caller.send([get(1, "/held"), post(3, "/hostile")].concat());
    caller.send(frame(DATA, END_STREAM, 3, "some content"));
    caller.answer(3).expect_problem(status, error);
    let _ = caller.ask(5, get(5, "/release")).expect(200);
    let _ = caller.answer(1).expect(200);
    assert_eq!(app.connections(), 1);
    gateway.wait_idle();
}

/// What an app sends ends the connection; the next request is served on another.
#[track_caller]
fn expect_connection_fails(answer: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static, what: &str) {
    let app = app_with(answer);
    let gateway = h2c(&[app.address()], |_| {});
    let mut caller = Frames::call(&gateway);
    caller.send([post(1, "/hostile"), frame(DATA, END_STREAM, 1, "content")].concat());
    let message = caller.answer(1);
    assert_eq!(message.status(), 502, "{what}: {message:?}");
    // May the request that failed have done something, it is not sent again.
    assert_eq!(app.connections(), 1, "{what}");
    let _ = caller.ask(3, get(3, "/")).expect(200);
    assert_eq!(app.connections(), 2, "{what}");
    gateway.wait_idle();
}

#[test]
fn a_response_that_breaks_the_rules_is_a_bad_gateway_for_its_request_alone() {
    let head = |fields: &'static [(&'static str, &'static str)]| {
        expect_stream_fails(move |id| headers(id, 0, fields), 502, "http_protocol_error");
    };
    head(&[("x-field", "1")]);
    head(&[(":status", "abc")]);
    head(&[(":status", "099")]);
    head(&[(":status", "600")]);
    head(&[(":status", "2000")]);
    head(&[(":status", "200"), (":status", "200")]);
    head(&[("x-early", "1"), (":status", "200")]);
    head(&[(":status", "200"), (":path", "/")]);
    head(&[(":status", "200"), (":unknown", "1")]);
    head(&[(":status", "200"), ("X-Upper", "1")]);
    head(&[(":status", "200"), ("connection", "close")]);
    head(&[(":status", "200"), ("transfer-encoding", "chunked")]);
    head(&[(":status", "200"), ("x-value", "a\r\nset-cookie: b")]);
    head(&[(":status", "200"), ("x-value", "a\0b")]);
    head(&[(":status", "200"), ("content-length", "1"), ("content-length", "1")]);
    head(&[(":status", "200"), ("content-length", "-1")]);
    head(&[(":status", "101")]);
}

#[test]
fn content_before_the_head_is_a_bad_gateway() {
    expect_stream_fails(|id| frame(DATA, 0, id, "early"), 502, "http_protocol_error");
}

#[test]
fn a_response_that_ends_before_it_began_is_a_bad_gateway() {
    let interim = |id| headers(id, END_STREAM, &[(":status", "103")]);
    expect_stream_fails(interim, 502, "http_protocol_error");
    let declared = |id| headers(id, END_STREAM, &[(":status", "200"), ("content-length", "5")]);
    expect_stream_fails(declared, 502, "http_protocol_error");
}

#[test]
fn interim_responses_without_end_are_a_bad_gateway() {
    let early = |id| headers(id, 0, &[(":status", "103"), ("link", "</style.css>")]).repeat(100);
    expect_stream_fails(early, 502, "http_protocol_error");
    let go_on = |id| headers(id, 0, &[(":status", "100")]).repeat(100);
    expect_stream_fails(go_on, 502, "http_protocol_error");
}

#[test]
fn a_response_head_over_its_limit_is_a_bad_gateway() {
    // 70 kB of fields in blocks of 1 kB.
    let large = |id| {
        let mut out = frame(HEADERS, 0, id, block(&[(":status", "200")]));
        for index in 0..70 {
            let last = if index == 69 { END_HEADERS } else { 0 };
            let field = block(&[(format!("x-{index}"), "v".repeat(1000))]);
            out.extend(frame(CONTINUATION, last, id, field));
        }
        out
    };
    expect_stream_fails(large, 502, "http_response_header_section_size");
    let many = |id| {
        let fields: Vec<_> = (0..200).map(|index| (format!("x-{index}"), "")).collect();
        let block = [block(&[(":status", "200")]), block(&fields)].concat();
        frame(HEADERS, END_HEADERS, id, block)
    };
    expect_stream_fails(many, 502, "http_response_header_section_size");
}

#[test]
fn a_reset_before_the_head_is_a_bad_gateway_and_never_tried_again() {
    for code in [NO_ERROR, PROTOCOL_ERROR, CANCEL, 2, 11, 0xffff] {
        expect_stream_fails(move |id| reset(id, code), 502, "connection_terminated");
    }
}

#[test]
fn a_window_of_nothing_or_too_much_is_a_bad_gateway_for_its_request_alone() {
    expect_stream_fails(|id| window_update(id, 0), 502, "http_protocol_error");
    expect_stream_fails(|id| window_update(id, u32::MAX >> 1), 502, "http_protocol_error");
}

#[test]
fn content_that_is_not_as_long_as_declared_is_visibly_broken() {
    for (length, pieces) in [
        ("5", &["abc"][..]),
        ("5", &["ab", "c"]),
        ("2", &["abc"]),
        ("2", &["ab", "c"]),
        ("0", &["a"]),
    ] {
        let app = app_with(move |id| {
            let mut out = headers(id, 0, &[(":status", "200"), ("content-length", length)]);
            for (index, piece) in pieces.iter().enumerate() {
                let ended = if index + 1 == pieces.len() { END_STREAM } else { 0 };
                out.extend(frame(DATA, ended, id, piece));
            }
            out
        });
        let gateway = h2c(&[app.address()], |_| {});
        let mut caller = Frames::call(&gateway);
        let message = caller.ask(1, get(1, "/hostile"));
        let broken = message.reset.is_some() || message.status() == 502;
        assert!(broken, "{length} {pieces:?}: {message:?}");
        let _ = caller.ask(3, get(3, "/")).expect(200);
        assert_eq!(app.connections(), 1);
    }
}

#[test]
fn a_reset_within_the_content_is_visible_to_the_caller() {
    let app = app_with(|id| {
        let head = headers(id, 0, &[(":status", "200")]);
        [head, frame(DATA, 0, id, "some"), reset(id, CANCEL)].concat()
    });
    let gateway = h2c(&[app.address()], |_| {});
    let mut caller = Frames::call(&gateway);
    let message = caller.ask(1, get(1, "/hostile"));
    assert!(message.status() == 200 && !message.whole && message.reset.is_some(), "{message:?}");
    let _ = caller.ask(3, get(3, "/")).expect(200);
    gateway.wait_idle();
}

#[test]
fn a_reset_after_a_whole_response_changes_nothing() {
    let app = app_with(|id| {
        let head = headers(id, 0, &[(":status", "200")]);
        [head, frame(DATA, END_STREAM, id, "all"), reset(id, NO_ERROR)].concat()
    });
    let gateway = h2c(&[app.address()], |_| {});
    let mut caller = Frames::call(&gateway);
    caller.send(post(1, "/hostile"));
    let message = caller.answer(1);
    assert!(message.status() == 200 && message.content == b"all" && message.whole, "{message:?}");
    assert_eq!(app.connections(), 1);
}

#[test]
fn a_whole_response_stays_whole_when_its_app_leaves_right_behind_it() {
    let app = ScriptedApp::start(|connection| {
        let mut app = connection.http2(&[]);
        let Some(id) = app.next_stream(0) else { return };
        // In one write with the close behind it: all of it is there before anybody reads.
        let head = headers(id, 0, &[(":status", "200"), ("content-length", "3")]);
        app.send([head, frame(DATA, END_STREAM, id, "all"), goaway(id, NO_ERROR)].concat());
    });
    let gateway = h2c(&[app.address()], |_| {});
    let mut caller = Frames::call(&gateway);
    let mut plain = Caller::new(&gateway);
    for round in 0..10 {
        let message = caller.ask(2 * round + 1, get(2 * round + 1, "/")).expect(200).clone();
        assert_eq!(message.content, b"all");
        let response = plain.get("/").expect(200);
        assert!(response.complete && response.body == b"all", "{response:?}");
    }
}

#[test]
fn frames_that_an_app_may_not_send_end_its_connection_and_the_next_is_served() {
    let fields = block(&request_fields("GET", "/"));
    let promise = [&[0, 0, 0, 2][..], &fields].concat();
    expect_connection_fails(
        move |id| frame(PUSH_PROMISE, END_HEADERS, id, &promise),
        "PUSH_PROMISE",
    );
    expect_connection_fails(|_| ok(2), "a response on a stream of its own");
    expect_connection_fails(|id| ok(id + 2), "a response to what was never asked");
    expect_connection_fails(|id| frame(DATA, 0, id + 2, "x"), "content of no stream");
    expect_connection_fails(|_| frame(DATA, 0, 0, "x"), "DATA on stream 0");
    expect_connection_fails(|_| frame(SETTINGS, 0, 1, ""), "SETTINGS on a stream");
    expect_connection_fails(|_| settings(&[(5, 1)]), "a frame size too small");
    expect_connection_fails(|_| window_update(0, u32::MAX >> 1), "a window overflow");
    expect_connection_fails(|id| frame(DATA, 0, id, vec![0; 16_385]), "a frame too large");
    expect_connection_fails(|id| frame(HEADERS, END_HEADERS, id, [0xff; 20]), "no field block");
    expect_connection_fails(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".repeat(9), "HTTP/1.1");
}

#[test]
fn a_field_block_of_an_app_that_never_ends_ends_its_connection() {
    let piece = block(&[("x-piece", "y".repeat(1000))]);
    expect_connection_fails(
        move |id| {
            let open = frame(HEADERS, 0, id, block(&[(":status", "200")]));
            [open, frame(CONTINUATION, 0, id, &piece).repeat(1000)].concat()
        },
        "an endless block",
    );
    expect_connection_fails(
        |id| {
            let open = frame(HEADERS, 0, id, block(&[(":status", "200")]));
            [open, frame(CONTINUATION, 0, id, "").repeat(1000)].concat()
        },
        "an endless block of nothing",
    );
}

#[test]
fn some_thousand_frames_without_content_from_an_app_do_no_harm() {
    let app = app_with(|id| {
        let many = [frame(PING, 0, 0, [0; 8]), settings(&[]), window_update(0, 1)].concat();
        let empty = frame(DATA, 0, id, "").repeat(2000);
        let head = headers(id, 0, &[(":status", "200")]);
        [many.repeat(2000), head, empty, frame(DATA, END_STREAM, id, "all")].concat()
    });
    let gateway = h2c(&[app.address()], |_| {});
    let mut caller = Frames::call(&gateway);
    let message = caller.ask(1, get(1, "/hostile"));
    assert_eq!(message.expect(200).content, b"all");
}

/// An app that answers its first request with a head and then `piece` without end, loses its
/// connection, and is served on the next.
#[track_caller]
fn expect_flood_ends(piece: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) {
    let app = ScriptedApp::start(move |connection| {
        let first = connection.number == 0;
        let mut app = connection.http2(&[]);
        let mut last = 0;
        while let Some(id) = app.next_stream(last) {
            last = id;
            if !first {
                app.send(ok(id));
                continue;
            }
            app.send(headers(id, 0, &[(":status", "200")]));
            let many = piece(id).repeat(1000);
            // Far more than it may be, so that only the end of the connection ends it.
            for _ in 0..1000 {
                if app.try_send(&many).is_err() {
                    return;
                }
            }
            panic!("a million frames were taken");
        }
    });
    let gateway = h2c(&[app.address()], |_| {});
    let mut caller = Frames::call(&gateway);
    let hit = caller.ask(1, get(1, "/hostile"));
    assert!(!hit.whole && hit.reset.is_some(), "{hit:?}");
    let _ = caller.ask(3, get(3, "/next")).expect(200);
    assert_eq!(app.connections(), 2);
    gateway.wait_idle();
}

#[test]
fn a_flood_of_pings_from_an_app_ends_its_connection() {
    expect_flood_ends(|_| frame(PING, 0, 0, [0; 8]));
}

#[test]
fn a_flood_of_answers_to_no_pings_from_an_app_ends_its_connection() {
    expect_flood_ends(|_| frame(PING, ACK, 0, [0; 8]));
}

#[test]
fn a_flood_of_settings_from_an_app_ends_its_connection() {
    expect_flood_ends(|_| settings(&[]));
}

#[test]
fn a_flood_of_settings_acknowledgements_from_an_app_ends_its_connection() {
    expect_flood_ends(|_| frame(SETTINGS, ACK, 0, ""));
}

#[test]
fn a_flood_of_window_updates_from_an_app_ends_its_connection() {
    expect_flood_ends(|_| window_update(0, 1));
    expect_flood_ends(|id| window_update(id, 1));
}

#[test]
fn a_flood_of_empty_data_from_an_app_ends_its_connection() {
    expect_flood_ends(|id| frame(DATA, 0, id, ""));
}

#[test]
fn a_flood_of_data_that_is_all_padding_from_an_app_ends_its_connection() {
    expect_flood_ends(|id| frame(DATA, PADDED, id, [3, 0, 0, 0]));
}

#[test]
fn a_flood_of_priorities_or_of_what_nobody_knows_from_an_app_ends_its_connection() {
    expect_flood_ends(|id| frame(PRIORITY, 0, id, [0, 0, 0, 0, 1]));
    expect_flood_ends(|_| frame(0xfa, 0, 0, "?"));
}

#[test]
fn a_flood_of_resets_from_an_app_ends_its_connection() {
    // The first of them breaks the answer off, the others are for a stream that is no more.
    expect_flood_ends(|id| reset(id, CANCEL));
}

#[test]
fn a_flood_for_a_stream_that_its_app_has_reset_ends_the_connection() {
    expect_flood_ends(|id| [reset(id, CANCEL), frame(DATA, 0, id, "more").repeat(20)].concat());
    expect_flood_ends(|id| {
        [reset(id, CANCEL), headers(id, 0, &[("x-late", "1")]).repeat(20)].concat()
    });
}

#[test]
fn requests_above_the_last_stream_of_a_goaway_are_sent_on_another_connection() {
    let app = ScriptedApp::start(|connection| {
        let first = connection.number == 0;
        let mut app = connection.http2(&[]);
        let mut last = 0;
        while let Some(id) = app.next_stream(last) {
            last = id;
            if !first {
                app.send(ok(id));
            } else if path(&app, id) == "/second" {
                // The first request is still served here, the second was not begun.
                app.send([goaway(1, NO_ERROR), ok(1)].concat());
            }
        }
    });
    let gateway = h2c(&[app.address()], |_| {});
    let mut caller = Frames::call(&gateway);
    caller.send(
        [get(1, "/first"), headers(3, END_STREAM, &request_fields("POST", "/second"))].concat(),
    );
    let _ = caller.answer(1).expect(200);
    let _ = caller.answer(3).expect(200);
    assert_eq!(app.connections(), 2);
    let _ = caller.ask(5, get(5, "/third")).expect(200);
    assert_eq!(app.connections(), 2);
}

#[test]
fn a_goaway_after_a_body_was_sent_is_a_bad_gateway() {
    let app = ScriptedApp::start(|connection| {
        let mut app = connection.http2(&[]);
        let id = app.next_stream(0).expect("a request");
        app.until("the content", |app| app.streams[&id].whole);
        app.send(goaway(0, NO_ERROR));
        app.read_to_close();
    });
    let gateway = h2c(&[app.address()], |_| {});
    let mut caller = Frames::call(&gateway);
    caller.send([post(1, "/"), frame(DATA, END_STREAM, 1, "content")].concat());
    // The app did not begin with it, but what was sent of the body is gone.
    caller.answer(1).expect_problem(502, "connection_terminated");
    assert_eq!(app.connections(), 1);
}

#[test]
fn a_refused_stream_is_tried_at_another_endpoint() {
    let refused = Arc::new(AtomicUsize::new(0));
    let refusing = ScriptedApp::start({
        let refused = refused.clone();
        move |connection| {
            let mut app = connection.http2(&[]);
            let mut last = 0;
            while let Some(id) = app.next_stream(last) {
                last = id;
                refused.fetch_add(1, Ordering::SeqCst);
                app.send(reset(id, REFUSED_STREAM));
            }
        }
    });
    let serving = app_with(ok);
    let gateway = h2c(&[refusing.address(), serving.address()], |_| {});
    let mut caller = Frames::call(&gateway);
    let mut id = 1;
    // Chance chooses the endpoint. Both a GET and a POST: what was not begun may be sent again.
    for method in ["GET", "POST"] {
        let before = refused.load(Ordering::SeqCst);
        while refused.load(Ordering::SeqCst) == before {
            assert!(id < 200, "the refusing endpoint was never asked");
            let request = headers(id, END_STREAM, &request_fields(method, "/"));
            let _ = caller.ask(id, request).expect(200);
            id += 2;
        }
    }
}

#[test]
fn more_requests_than_an_app_takes_on_one_connection_go_to_others() {
    const TAKES: u32 = 2;
    const ALL: u32 = 20;
    let (came, all) = (Arc::new(AtomicU32::new(0)), Signal::new());
    let app = ScriptedApp::start({
        let (came, all) = (came.clone(), all.clone());
        move |connection| {
            let mut app = connection.http2(&[(MAX_CONCURRENT_STREAMS, TAKES)]);
            let mut last = 0;
            for _ in 0..TAKES {
                last = app.next_stream(last).expect("a request");
                if came.fetch_add(1, Ordering::SeqCst) + 1 == ALL {
                    all.give();
                }
            }
            // A request above the limit would wait here, and so would the test.
            all.wait();
            app.streams.clone().into_keys().for_each(|id| app.send(ok(id)));
            app.read_to_close();
        }
    });
    let gateway = h2c(&[app.address()], |_| {});
    let mut caller = Frames::call(&gateway);
    let ids: Vec<u32> = (0..ALL).map(|index| 2 * index + 1).collect();
    caller.send(ids.iter().flat_map(|id| get(*id, "/")).collect::<Vec<_>>());
    for id in ids {
        let _ = caller.answer(id).expect(200);
    }
    assert_eq!(app.connections(), 10);
}

/// As many connections as there are ever, each with as many streams as its app takes.
#[test]
fn whoever_finds_all_connections_full_waits_for_a_stream_in_order_of_arrival() {
    const ALL: u32 = 64;
    let (came, go_on) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let paths: Arc<Mutex<Vec<String>>> = Arc::default();
    let app = ScriptedApp::start({
        let (came, go_on, paths) = (came.clone(), go_on.clone(), paths.clone());
        move |connection| {
            let mut app = connection.http2(&[(MAX_CONCURRENT_STREAMS, 1)]);
            let mut last = 0;
            while let Some(id) = app.next_stream(last) {
                last = id;
                paths.lock().unwrap().push(path(&app, id));
                let number = came.fetch_add(1, Ordering::SeqCst);
                eventually("it may go on", || go_on.load(Ordering::SeqCst) > number);
                app.send(ok(id));
            }
        }
    });
    let gateway = h2c(&[app.address()], |config| {
        config.limits.concurrent_streams = 2 * ALL;
        config.timeouts.ready = LIMIT;
    });
    let mut caller = Frames::call(&gateway);
    let id = |number: u32| 2 * number + 1;
    let ask = |numbers: std::ops::Range<u32>| -> Vec<u8> {
        numbers.flat_map(|number| get(id(number), &format!("/{number}"))).collect()
    };
    caller.send(ask(0..ALL));
    eventually("all connections are full", || came.load(Ordering::SeqCst) == ALL);
    caller.send(ask(ALL..ALL + 4));
    let route = gateway.route(HOST);
    let are_under_way = |count: u32| {
        eventually("they wait", || route.shared.metrics.in_flight() == u64::from(count));
    };
    are_under_way(ALL + 4);
    caller.send(reset(id(ALL + 1), CANCEL));
    are_under_way(ALL + 3);
    go_on.store(u32::MAX, Ordering::SeqCst);
    for number in (0..ALL + 4).filter(|number| *number != ALL + 1) {
        let _ = caller.answer(id(number)).expect(200);
    }
    assert_eq!((app.connections(), came.load(Ordering::SeqCst)), (64, ALL + 3));
    let paths = paths.lock().unwrap();
    assert!(!paths.contains(&format!("/{}", ALL + 1)));
    gateway.wait_idle();
}

#[test]
fn an_app_that_takes_no_streams_at_all_is_a_bad_gateway() {
    let app = ScriptedApp::start(|connection| {
        let mut app = connection.http2(&[(MAX_CONCURRENT_STREAMS, 0)]);
        let mut last = 0;
        while let Some(id) = app.next_stream(last) {
            last = id;
            app.send(reset(id, REFUSED_STREAM));
        }
    });
    let gateway = h2c(&[app.address()], |_| {});
    let mut caller = Frames::call(&gateway);
    caller.ask(1, get(1, "/")).expect_problem(502, "connection_terminated");
    // At most two retries.
    assert!(app.connections() <= 3, "{}", app.connections());
    gateway.wait_idle();
}

#[test]
fn an_app_that_says_nothing_is_a_gateway_timeout_for_all_who_ask() {
    let app = ScriptedApp::start(|connection| drop(connection.read_to_close()));
    let gateway = h2c(&[app.address()], |config| {
        config.timeouts.response = SOON;
        config.timeouts.connect = SOON;
    });
    let mut caller = Frames::call(&gateway);
    caller.send([get(1, "/"), get(3, "/"), get(5, "/")].concat());
    for id in [1, 3, 5] {
        caller.answer(id).expect_problem(504, "http_response_timeout");
    }
    gateway.wait_idle();
}

#[test]
fn an_app_whose_window_never_opens_is_a_gateway_timeout_for_uploads_alone() {
    let app = ScriptedApp::start(|connection| {
        let mut app = connection.http2(&[(INITIAL_WINDOW_SIZE, 0)]);
        app.gives_windows = false;
        let mut last = 0;
        while let Some(id) = app.next_stream(last) {
            last = id;
            if app.streams[&id].whole {
                app.send(ok(id));
            }
        }
    });
    let gateway = h2c(&[app.address()], |config| config.timeouts.idle_body = 2 * SOON);
    let mut caller = Frames::call(&gateway);
    // The app's settings are known from here on.
    let _ = caller.ask(1, get(1, "/")).expect(200);
    caller.send([post(3, "/"), frame(DATA, END_STREAM, 3, "content")].concat());
    let _ = caller.ask(5, get(5, "/")).expect(200);
    caller.answer(3).expect_problem(504, "http_response_timeout");
    let _ = caller.ask(7, get(7, "/")).expect(200);
    assert_eq!(app.connections(), 1);
    gateway.wait_idle();
}

#[test]
fn a_response_that_stalls_is_visibly_broken() {
    let app =
        app_with(|id| [headers(id, 0, &[(":status", "200")]), frame(DATA, 0, id, "some")].concat());
    let gateway = h2c(&[app.address()], |config| config.timeouts.idle_body = SOON);
    let mut caller = Frames::call(&gateway);
    let message = caller.ask(1, get(1, "/hostile"));
    assert!(message.content == b"some" && !message.whole && message.reset.is_some(), "{message:?}");
    let _ = caller.ask(3, get(3, "/")).expect(200);
    gateway.wait_idle();
}

#[test]
fn a_caller_who_leaves_cancels_the_apps_stream_alone() {
    let (asked, cancelled) = (Signal::new(), Signal::new());
    let app = ScriptedApp::start({
        let (asked, cancelled) = (asked.clone(), cancelled.clone());
        move |connection| {
            let mut app = connection.http2(&[]);
            let gone = app.next_stream(0).expect("a request");
            asked.give();
            app.until("a reset", |app| app.streams[&gone].reset == Some(CANCEL));
            cancelled.give();
            let next = app.next_stream(gone).expect("another request");
            app.send(ok(next));
            app.read_to_close();
        }
    });
    let gateway = h2c(&[app.address()], |_| {});
    let mut caller = Frames::call(&gateway);
    caller.send(get(1, "/"));
    asked.wait();
    caller.send(reset(1, CANCEL));
    cancelled.wait();
    let _ = caller.ask(3, get(3, "/")).expect(200);
    assert_eq!(app.connections(), 1);
}

#[test]
fn late_answers_to_many_cancelled_requests_do_not_cost_the_others_their_connection() {
    // More than the gateway remembers to have cancelled.
    const ROUNDS: u32 = 15;
    const EACH: u32 = 50;
    let came = Arc::new(AtomicU32::new(0));
    let app = ScriptedApp::start({
        let came = came.clone();
        move |connection| {
            let mut app = connection.http2(&[]);
            let mut last = 0;
            while let Some(id) = app.next_stream(last) {
                last = id;
                if path(&app, id) == "/last" {
                    let ids: Vec<u32> = app.streams.keys().copied().collect();
                    let late = |id: &u32| {
                        let head = headers(*id, 0, &[(":status", "200")]);
                        [head, frame(DATA, END_STREAM, *id, "late")].concat()
                    };
                    app.send(ids.iter().flat_map(late).collect::<Vec<_>>());
                }
                came.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let gateway = h2c(&[app.address()], |config| config.limits.stream_resets = u32::MAX);
    let mut caller = Frames::call(&gateway);
    let mut id = 1;
    for round in 0..ROUNDS {
        let ids: Vec<u32> = (0..EACH).map(|index| id + 2 * index).collect();
        caller.send(ids.iter().flat_map(|id| get(*id, "/")).collect::<Vec<_>>());
        eventually("the requests came", || came.load(Ordering::SeqCst) == (round + 1) * EACH);
        caller.send(ids.iter().flat_map(|id| reset(*id, CANCEL)).collect::<Vec<_>>());
        gateway.wait_idle();
        id += 2 * EACH;
    }
    let message = caller.ask(id, get(id, "/last"));
    assert_eq!(message.expect(200).content, b"late");
    assert_eq!(app.connections(), 1);
}

//! Requests whose fields HTTP/2 forbids, RFC 9113 section 8: nothing of them
//! reaches an app.

use super::expect_stream_error;
use crate::support::app::Broken;
use crate::support::frames::{
    CANCEL, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, NO_ERROR, PROTOCOL_ERROR, block, frame,
    get, headers, post, request_fields,
};
use crate::support::{EchoHeads, Gateway, HOST, ScriptedApp, Signal, show};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn fields(plain: &[(&str, &str)]) -> Fields {
    plain.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// A GET with one more field.
fn with(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Fields {
    let mut all = fields(&request_fields("GET", "/"));
    all.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
    all
}

/// Each of these heads is refused by a reset, and the connection goes on.
#[track_caller]
fn expect_malformed(cases: &[Fields]) {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    let mut id = 1;
    for case in cases {
        let request = frame(HEADERS, END_HEADERS | END_STREAM, id, block(case));
        let message = caller.ask(id, request);
        let shown: Vec<_> = case.iter().map(|(n, v)| [n, &b": "[..], v].concat()).collect();
        let shown = shown.join(&b"; "[..]).escape_ascii().to_string();
        assert!(message.sections.is_empty(), "{shown}: {message:?}");
        assert_eq!(message.reset, Some(PROTOCOL_ERROR), "{shown}");
        id += 2;
    }
    assert!(app.seen().is_empty(), "came to the app: {:?}", app.seen());
    let _ = caller.ask(id, get(id, "/")).expect(200);
}

#[test]
fn fields_of_a_connection_are_malformed() {
    expect_malformed(&[
        with("connection", "close"),
        with("connection", "x-thing"),
        with("keep-alive", "timeout=5"),
        with("proxy-connection", "keep-alive"),
        with("transfer-encoding", "chunked"),
        with("transfer-encoding", "identity"),
        with("upgrade", "websocket"),
        with("te", "gzip"),
        with("te", "trailers, deflate"),
        with("te", ""),
    ]);
}

#[test]
fn names_that_are_none_are_malformed() {
    expect_malformed(&[
        with("X-Upper", "1"),
        with("x-miXed", "1"),
        with("", "1"),
        with("x y", "1"),
        with("x:y", "1"),
        with("x\0", "1"),
        with("x\r\ninjected", "1"),
        with("x\n", "1"),
        with("x\x7f", "1"),
        with([b'x', 0xe4], "1"),
        with("x(", "1"),
        with("Host", HOST),
    ]);
}

#[test]
fn values_that_could_not_be_a_line_are_malformed() {
    expect_malformed(&[
        with("x-value", "a\r\nx-injected: 1"),
        with("x-value", "a\nb"),
        with("x-value", "a\rb"),
        with("x-value", "a\0b"),
        with("x-value", "a\x7fb"),
        with("x-value", "a\x1bb"),
        with("x-value", " leading"),
        with("x-value", "trailing "),
        with("x-value", "\ttab"),
        with("cookie", "a=1\r\nx-injected: 1"),
    ]);
}

#[test]
fn content_lengths_that_are_none_are_malformed() {
    let twice = |one: &str, other: &str| {
        let mut all = with("content-length", one);
        all.push((b"content-length".to_vec(), other.into()));
        all
    };
    expect_malformed(&[
        with("content-length", "5"),
        with("content-length", "+0"),
        with("content-length", "-0"),
        with("content-length", "0x0"),
        with("content-length", ""),
        with("content-length", "0, 0"),
        with("content-length", "18446744073709551616"),
        twice("0", "0"),
        twice("0", "1"),
    ]);
}

#[test]
fn pseudo_header_fields_in_the_wrong_number_or_place_are_malformed() {
    let without = |name: &str| {
        let all = request_fields("GET", "/");
        fields(&all.into_iter().filter(|(known, _)| *known != name).collect::<Vec<_>>())
    };
    let mut late = vec![("x-early", "1")];
    late.extend(request_fields("GET", "/"));
    let doubled = |name: &str| {
        let mut all = request_fields("GET", "/");
        let again = *all.iter().find(|(known, _)| *known == name).unwrap();
        all.push(again);
        fields(&all)
    };
    let mut last = request_fields("GET", "/");
    last.insert(2, ("x-between", "1"));
    expect_malformed(&[
        without(":method"),
        without(":scheme"),
        without(":path"),
        fields(&late),
        fields(&last),
        doubled(":method"),
        doubled(":scheme"),
        doubled(":authority"),
        doubled(":path"),
        with(":status", "200"),
        with(":protocol", "websocket"),
        with(":unknown", "1"),
        with(":", "1"),
        with(":Method", "GET"),
        vec![],
    ]);
}

#[test]
fn pseudo_header_fields_with_impossible_values_are_malformed() {
    let of = |method: &str, scheme: &str, authority: &str, path: &str| {
        fields(&[
            (":method", method),
            (":scheme", scheme),
            (":authority", authority),
            (":path", path),
        ])
    };
    expect_malformed(&[
        of("", "http", HOST, "/"),
        of("GET /smuggled HTTP/1.1\r\nx: y", "http", HOST, "/"),
        of("G ET", "http", HOST, "/"),
        of("GET", "", HOST, "/"),
        of("GET", "ftp", HOST, "/"),
        of("GET", "http://x", HOST, "/"),
        of("GET", "http", HOST, ""),
        of("GET", "http", HOST, "path"),
        of("GET", "http", HOST, "*"),
        of("GET", "http", HOST, "http://other/"),
        of("GET", "http", HOST, "/ HTTP/1.1\r\nx: y"),
        of("GET", "http", HOST, "/a b"),
        of("GET", "http", HOST, "/a\tb"),
        of("GET", "http", HOST, "/a\0b"),
        of("GET", "http", HOST, "/a#fragment"),
        of("GET", "http", "host\r\nx: y", "/"),
        of("GET", "http", "host ", "/"),
        of("OPTIONS", "http", HOST, "**"),
        of("OPTIONS", "http", HOST, "*/"),
    ]);
}

#[test]
fn hosts_that_cannot_be_told_are_a_bad_request_and_the_connection_goes_on() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    let mut id = 1;
    let userinfo = format!("user@{HOST}");
    let credentials = format!("user:secret@{HOST}:80");
    for authority in [&userinfo[..], &credentials, "", "a b", "a/b", "a?b", HOST] {
        let mut all = request_fields("GET", "/");
        all[2].1 = authority;
        if authority == HOST {
            // Two that disagree.
            all.push(("host", "other-acme.ignite.test"));
        }
        let message = caller.ask(id, headers(id, END_STREAM, &all));
        message.expect_problem(400, "http_request_error");
        id += 2;
    }
    let none = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
    caller.ask(id, headers(id, END_STREAM, &none)).expect_problem(400, "http_request_error");
    app.expect_untouched();
    let mut both = request_fields("GET", "/");
    both.push(("host", HOST));
    let _ = caller.ask(id + 2, headers(id + 2, END_STREAM, &both)).expect(200);
    assert_eq!(app.last().head.all("host"), [HOST]);
}

#[test]
fn an_asterisk_is_a_target_of_options_alone() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    let _ = caller.ask(1, headers(1, END_STREAM, &request_fields("OPTIONS", "*"))).expect(200);
    assert_eq!(app.last().head.target(), b"*");
}

#[test]
fn connect_and_trace_are_refused_and_the_connection_goes_on() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    let connect = [(":method", "CONNECT"), (":authority", "other.test:443")];
    caller.ask(1, headers(1, END_STREAM, &connect)).expect_problem(501, "http_request_denied");
    let trace = headers(3, END_STREAM, &request_fields("TRACE", "/"));
    caller.ask(3, trace).expect_problem(405, "http_request_denied");
    app.expect_untouched();
    let _ = caller.ask(5, get(5, "/")).expect(200);
}

#[test]
fn trailers_with_pseudo_header_fields_or_those_of_a_connection_reset_the_stream() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    for trailer in [
        (":path", "/"),
        (":status", "200"),
        (":unknown", "1"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("X-Upper", "1"),
        ("x-value", "a\r\nb"),
    ] {
        let bytes = [post(1, "/"), headers(1, END_STREAM, &[trailer])].concat();
        expect_stream_error(&gateway, &bytes, PROTOCOL_ERROR);
    }
    // A second section that does not end the stream is no trailer section.
    let bytes = [post(1, "/"), headers(1, 0, &[("x-trailer", "1")])].concat();
    expect_stream_error(&gateway, &bytes, PROTOCOL_ERROR);
    assert!(app.seen().iter().all(|seen| seen.head.word(0) == b"GET"), "no whole upload");
}

/// An upload that is not as long as it says is broken off on both sides.
#[track_caller]
fn expect_broken_upload(length: &str, pieces: &[&str], ended: bool) {
    let broke = Signal::new();
    let app = ScriptedApp::start({
        let broke = broke.clone();
        move |connection| {
            let seen = connection.try_request();
            assert!(matches!(seen, Err(Broken::Between | Broken::Within)), "whole: {seen:?}");
            broke.give();
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    let mut all = request_fields("POST", "/");
    all.push(("content-length", length));
    caller.send(headers(1, 0, &all));
    for (index, piece) in pieces.iter().enumerate() {
        let last = ended && index + 1 == pieces.len();
        caller.send(frame(DATA, if last { END_STREAM } else { 0 }, 1, piece));
    }
    let message = caller.answer(1);
    assert_eq!(message.reset, Some(PROTOCOL_ERROR), "{message:?}");
    // Nothing need ever have come to the app: then there is nothing to break off.
    if !app.received().is_empty() {
        broke.wait();
    }
    gateway.wait_idle();
}

#[test]
fn an_upload_shorter_than_declared_never_looks_whole_to_the_app() {
    expect_broken_upload("10", &["hello"], true);
    expect_broken_upload("10", &["he", "llo", ""], true);
    expect_broken_upload("1", &[""], true);
}

#[test]
fn an_upload_longer_than_declared_never_looks_whole_to_the_app() {
    expect_broken_upload("4", &["hello"], true);
    expect_broken_upload("4", &["hello"], false);
    expect_broken_upload("4", &["he", "llo"], true);
}

#[test]
fn content_beyond_the_declared_length_never_reaches_the_app() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    // What was declared came whole, and may be at the app before more comes.
    for (length, declared, beyond) in [("0", "", "beyond"), ("4", "four", "beyond")] {
        let mut caller = Frames::call(&gateway);
        let mut all = request_fields("POST", "/");
        all.push(("content-length", length));
        caller.send([headers(1, 0, &all), frame(DATA, 0, 1, declared)].concat());
        let _ = caller.try_send(frame(DATA, END_STREAM, 1, beyond));
        let _ = caller.answer(1);
        let _ = caller.ask(3, get(3, "/")).expect(200);
        gateway.wait_idle();
    }
    let received = app.received().concat();
    assert!(!received.windows(6).any(|window| window == b"beyond"), "{}", show(&received));
}

#[test]
fn an_upload_that_its_caller_breaks_off_never_looks_whole_to_the_app() {
    for code in [CANCEL, NO_ERROR, PROTOCOL_ERROR] {
        let (came, broke) = (Signal::new(), Signal::new());
        let app = ScriptedApp::start({
            let (came, broke) = (came.clone(), broke.clone());
            move |connection| {
                connection.head();
                assert_eq!(connection.chunk().unwrap(), b"hello");
                came.give();
                connection.expect_closed();
                broke.give();
            }
        });
        let gateway = Gateway::of(app.address());
        let mut caller = Frames::call(&gateway);
        caller.send([post(1, "/"), frame(DATA, 0, 1, "hello")].concat());
        came.wait();
        caller.send(crate::support::frames::reset(1, code));
        broke.wait();
        gateway.wait_idle();
    }
}

//! Fields over HTTP/2: what HTTP/1.1 callers and apps cannot forge, those of HTTP/2
//! cannot either, in heads and in trailers.

use std::sync::{Arc, Mutex};

use super::h2c;
use crate::support::frames::{DATA, END_STREAM, Frames, frame, headers, request_fields};
use crate::support::{Caller, EchoHeads, Gateway, ScriptedApp};

type Section = Vec<(String, String)>;

/// Spellings of the reserved names that HTTP/2 allows.
fn reserved_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "x-ignite-execution-id",
        "x-ignite-function-id",
        "x-ignite-organization-id",
        "x-ignite-foo",
        "x-ignite-",
        "x_ignite_anything",
    ]
    .map(str::to_owned)
    .to_vec();
    for separator in "!#$%&'*+.^_`|~".chars() {
        names.push(format!("x{separator}ignite{separator}organization{separator}id"));
        names.push(format!("x-ignite{separator}function-id"));
    }
    names
}

/// What never comes as a trailer, beside the reserved names.
const NO_TRAILERS: [&str; 14] = [
    "host",
    "content-length",
    "content_length",
    "te",
    "trailer",
    "expect",
    "authorization",
    "cookie",
    "set-cookie",
    "proxy-authorization",
    "x-forwarded-for",
    "x_forwarded_for",
    "forwarded",
    "client-cert",
];

/// An app of HTTP/2 that keeps the sections of each request, and answers with these fields in its
/// head and in its trailers.
fn keeping(fields: Vec<(String, String)>) -> (ScriptedApp, Arc<Mutex<Vec<Vec<Section>>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = seen.clone();
    let app = ScriptedApp::start(move |connection| {
        let mut app = connection.http2(&[]);
        let mut last = 0;
        while let Some(id) = app.next_stream(last) {
            last = id;
            let sections = app.answer(id).sections;
            all.lock().unwrap().push(sections);
            let own = fields.iter().map(|(name, value)| (&name[..], &value[..]));
            let head: Vec<_> = [(":status", "200")].into_iter().chain(own.clone()).collect();
            let trailers: Vec<_> = own.chain([("x-sum", "1")]).collect();
            app.send(headers(id, 0, &head));
            app.send(frame(DATA, 0, id, "ok"));
            app.send(headers(id, END_STREAM, &trailers));
        }
    });
    (app, seen)
}

/// A request with one more field in its head and in its trailers.
fn with(id: u32, name: &str) -> Vec<u8> {
    let mut head = request_fields("POST", "/");
    head.push((name, "forged"));
    head.push(("x-kept", "1"));
    [
        headers(id, 0, &head),
        frame(DATA, 0, id, "content"),
        headers(id, END_STREAM, &[("x-sum", "1"), (name, "forged"), ("x-last", "2")]),
    ]
    .concat()
}

#[track_caller]
fn value(section: &Section, name: &str) -> Option<String> {
    let mut found = section.iter().filter(|(known, _)| known == name);
    let value = found.next().map(|(_, value)| value.clone());
    assert!(found.next().is_none(), "{name} twice in {section:?}");
    value
}

#[test]
fn a_caller_of_http2_cannot_set_a_reserved_field_at_an_app_of_http2() {
    let (app, seen) = keeping(Vec::new());
    let gateway = h2c(&[app.address()], |_| {});
    let mut caller = Frames::call(&gateway);
    for (index, name) in (0..).zip(reserved_names()) {
        let id = 2 * index + 1;
        let _ = caller.ask(id, with(id, &name)).expect(200);
        let sections = seen.lock().unwrap().pop().expect("a request");
        let all = sections.concat();
        assert!(all.iter().all(|(_, value)| value != "forged"), "{name}: {all:?}");
        let [head, trailers] = &sections[..] else { panic!("{sections:?}") };
        assert_eq!(value(head, "x-ignite-function-id").as_deref(), Some("acme/hello"));
        assert_eq!(value(head, "x-ignite-organization-id").as_deref(), Some("acme"));
        assert!(value(head, "x-ignite-execution-id").is_some() && value(head, "x-kept").is_some());
        let kept = [("x-sum", "1"), ("x-last", "2")];
        assert_eq!(*trailers, kept.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}

#[test]
fn a_caller_of_http2_cannot_set_a_reserved_field_at_an_app_of_http1() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    for (index, name) in (0..).zip(reserved_names()) {
        let id = 2 * index + 1;
        let _ = caller.ask(id, with(id, &name)).expect(200);
        let seen = app.last();
        assert!(!String::from_utf8_lossy(&seen.head.raw).contains("forged"), "{name}");
        assert_eq!(seen.field("x-ignite-function-id").as_deref(), Some("acme/hello"));
        assert_eq!(seen.trailers, ["x-sum: 1", "x-last: 2"], "{name}");
    }
}

#[test]
fn what_frames_routes_or_authenticates_is_no_trailer_over_http2_either() {
    let (app, seen) = keeping(Vec::new());
    let gateway = h2c(&[app.address()], |_| {});
    let mut caller = Frames::call(&gateway);
    for (index, name) in (0..).zip(NO_TRAILERS) {
        let id = 2 * index + 1;
        caller.send(headers(id, 0, &request_fields("POST", "/")));
        caller.send(frame(DATA, 0, id, "content"));
        let answer = caller.ask(id, headers(id, END_STREAM, &[("x-sum", "1"), (name, "7")]));
        if answer.reset.is_some() {
            // What HTTP/2 itself forbids there, or what contradicts its content, ends the stream.
            assert!(["content-length", "te"].contains(&name), "{name}: {answer:?}");
            continue;
        }
        let _ = answer.expect(200);
        let sections = seen.lock().unwrap().pop().expect("a request");
        assert_eq!(sections[1], [("x-sum".to_owned(), "1".to_owned())], "{name}");
    }
}

#[test]
fn an_app_of_http2_cannot_send_a_reserved_field_to_anybody() {
    let forged: Vec<_> =
        reserved_names().into_iter().map(|name| (name, "forged".to_owned())).collect();
    let (app, _seen) = keeping(forged);
    let gateway = h2c(&[app.address()], |_| {});

    let mut caller = Frames::call(&gateway);
    let mut head = request_fields("GET", "/");
    head.push(("te", "trailers"));
    let answer = caller.ask(1, headers(1, END_STREAM, &head));
    let all = answer.expect(200).sections.concat();
    assert!(all.iter().all(|(_, value)| value != "forged"), "{all:?}");
    assert!(value(&answer.sections[0], "x-ignite-execution-id").is_some());
    assert_eq!(answer.sections[1], [("x-sum".to_owned(), "1".to_owned())]);

    let text = crate::support::caller::request("GET /", "TE: trailers\r\n", "");
    let answer = Caller::ask(&gateway, text).expect(200);
    assert!(!String::from_utf8_lossy(&answer.head.raw).contains("forged"), "{:?}", answer.head);
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "1".to_owned())]);
}

#[test]
fn what_a_stranger_says_over_http2_of_whom_he_speaks_for_is_replaced() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Frames::call(&gateway);
    let mut fields = request_fields("GET", "/");
    let claims = [
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "forwarded",
        "x-real-ip",
        "cf-connecting-ip",
        "client-cert",
    ];
    fields.extend(claims.map(|name| (name, "192.0.2.66")));
    let _ = caller.ask(1, headers(1, END_STREAM, &fields)).expect(200);
    let seen = app.last();
    assert!(!String::from_utf8_lossy(&seen.head.raw).contains("192.0.2.66"), "{:?}", seen.head);
    assert_eq!(seen.field("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.field("via").as_deref(), Some("2.0 ignite-gateway"));
}

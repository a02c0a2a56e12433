//! Lines are read as what was meant, whatever a caller sends.

#![allow(clippy::unwrap_used)]

use http::Method;
use serde_json::Value;

use super::*;
use crate::clock::Instant;
use crate::error::Side;
use crate::telemetry::finished::{Attempt, Stage, Termination};

fn finished(target: &[u8]) -> Finished<'_> {
    let began = Instant::now();
    Finished {
        execution_id: "01a2b3c4-0000-7000-8000-000000000000",
        function_id: "acme/hello",
        organization_id: "acme",
        method: &Method::GET,
        host: b"hello-acme.ignite.test",
        target,
        version: "1.1",
        client: "192.0.2.7:4000".parse().unwrap(),
        status: Some(200),
        grpc_status: None,
        began,
        took: Duration::from_micros(12_345),
        queued: Duration::ZERO,
        first_byte: Some(Duration::from_millis(5)),
        attempts: 1,
        earlier: &[],
        last: Some(Attempt {
            endpoint: "127.0.0.1:3000".parse().unwrap(),
            began,
            ended: began + Duration::from_millis(2),
            connect: None,
            reason: "",
        }),
        bytes_in: 3,
        bytes_out: 5,
        termination: Termination::Complete,
        reason: "",
        detail: "",
        counted: false,
        shed: false,
        trace: None,
    }
}

fn json(of: &Finished<'_>) -> Value {
    let mut out = Vec::new();
    json::write(of, &mut Timestamps::new(), &mut out);
    assert_eq!(out.pop(), Some(b'\n'));
    let text = String::from_utf8(out).unwrap();
    assert!(text.bytes().all(|byte| matches!(byte, 0x20..=0x7e)), "{text}");
    serde_json::from_str(&text).unwrap()
}

fn text(of: &Finished<'_>, colour: bool) -> String {
    let mut out = Vec::new();
    text::write(of, colour, &mut Timestamps::new(), &mut out);
    assert_eq!(out.pop(), Some(b'\n'));
    String::from_utf8(out).unwrap()
}

#[test]
fn numbers_and_addresses_are_written_in_full() {
    let mut of = finished(b"/a?b=c?d");
    let line = json(&of);
    assert_eq!(line["duration_ms"], 12.345);
    assert_eq!(line["first_byte_ms"], 5);
    assert_eq!(line["queue_ms"], 0);
    assert_eq!(line["client.address"], "192.0.2.7");
    assert_eq!(line["client.port"], 4000);
    assert_eq!(line["upstream.address"], "127.0.0.1:3000");
    assert_eq!(line["upstream.connection"], "reused");
    assert_eq!((&line["url.path"], &line["url.query"]), (&"/a".into(), &"b=c?d".into()));
    of.client = "[2001:db8::7]:56324".parse().unwrap();
    of.last.as_mut().unwrap().endpoint = "[::1]:80".parse().unwrap();
    of.last.as_mut().unwrap().connect = Some(Duration::from_micros(60));
    let line = json(&of);
    assert_eq!(line["client.address"], "2001:db8::7");
    assert_eq!(line["upstream.address"], "[::1]:80");
    assert_eq!((&line["upstream.connection"], &line["connect_ms"]), (&"new".into(), &0.06.into()));
}

#[test]
fn whatever_bytes_come_a_line_is_one_line_of_printable_ascii() {
    let all: Vec<u8> = (0..=255).collect();
    let odd = "\"\\\u{85}\u{2028}\u{202e}\u{200b}\u{1f600}é";
    for target in [&all, odd.as_bytes(), b"\r\n\x1b[31m{\"forged\":1}"] {
        let mut of = finished(target);
        of.host = target;
        of.function_id = "";
        let line = json(&of);
        assert!(line.get("forged").is_none());
        assert_eq!(line["server.address"], String::from_utf8_lossy(target).into_owned());
        let words = text(&of, false);
        assert!(words.bytes().all(|byte| matches!(byte, 0x20..=0x7e)), "{words}");
        assert_eq!(words.split(' ').count(), 7, "{words}");
    }
}

#[test]
fn a_failure_is_told_with_every_try() {
    let first = finished(b"/").last.unwrap();
    let earlier = [Attempt { reason: "connect_refused", connect: Some(Duration::ZERO), ..first }];
    let mut of = finished(b"/");
    of.status = Some(502);
    of.attempts = 2;
    of.earlier = &earlier;
    of.queued = Duration::from_millis(3);
    (of.termination, of.reason) = (Termination::By(Side::App, Stage::Response), "app_closed");
    of.detail = "Connection reset by peer (os error 104)";
    let line = json(&of);
    assert_eq!(line["termination"], "app.response");
    assert_eq!(line["error.type"], "app_closed");
    assert_eq!(line["error.message"], of.detail);
    assert_eq!(line["queue_ms"], 3);
    assert_eq!(
        line["earlier_attempts"],
        serde_json::json!([{
            "upstream.address": "127.0.0.1:3000", "upstream.connection": "new",
            "error.type": "connect_refused", "duration_ms": 2, "connect_ms": 0,
        }])
    );
    let words = text(&of, false);
    let told = " GET / 502 12.3ms acme/hello app.response app_closed (Connection reset by peer \
                (os error 104)) at 127.0.0.1:3000, attempts 2, queue 3.0ms ";
    assert!(words.contains(told), "{words}");
}

#[test]
fn colours_say_at_a_glance_how_it_went() {
    let mut of = finished(b"/");
    for (status, colour) in [(Some(200), 32), (Some(404), 33), (Some(503), 31), (None, 31)] {
        of.status = status;
        let number = status.map_or("---".to_owned(), |status| status.to_string());
        let coloured = format!("\x1b[{colour}m{number}\x1b[0m");
        assert!(text(&of, true).contains(&coloured), "{status:?}");
        assert!(!text(&of, false).contains('\x1b'));
    }
    // A response that broke off after its head was no success.
    of.status = Some(200);
    (of.termination, of.reason) = (Termination::By(Side::App, Stage::Body), "app_malformed");
    assert!(text(&of, true).contains("\x1b[31m200"));
}

//! Where a message begins and ends: what two parsers could read in two ways is
//! refused, from callers and from apps, and nothing behind it is served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::app::AppConnection;
use crate::support::caller::{get, request};
use crate::support::{
    Caller, EchoHeads, Gateway, HOST, ScriptedApp, Signal, app, eventually, show,
};

/// A request that must never be seen by the app.
fn smuggled() -> String {
    get("/smuggled")
}

/// Sends bytes with a request behind them; asserts the refusal, the close, and
/// that nothing whole came to the app.
#[track_caller]
fn expect_refused(gateway: &Gateway, app: &EchoHeads, bytes: &[u8], status: u16) {
    let before = app.seen().len();
    let mut caller = Caller::new(gateway);
    caller.send([bytes, smuggled().as_bytes()].concat());
    let response = caller.read_response();
    assert_eq!(response.status, status, "{}\n{response:?}", show(bytes));
    let response = response.expect_problem(status, "http_request_error");
    assert_eq!(response.field("connection").as_deref(), Some("close"), "{}", show(bytes));
    caller.expect_closed();
    assert_eq!(app.seen().len(), before, "{}", show(bytes));
    let received = app.received().concat();
    assert!(!show(&received).contains("smuggled"), "{}", show(&received));
}

fn echo() -> (EchoHeads, Gateway) {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    (app, gateway)
}

#[test]
fn length_and_transfer_encoding_together_are_refused_in_any_order() {
    let (app, gateway) = echo();
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "content-length: 0\r\ntransfer-encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nX-A: 1\r\nCONTENT-LENGTH: 5\r\n",
        "Transfer-Encoding: CHUNKED\r\nContent-Length: 5\r\n",
    ] {
        for body in ["0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"] {
            expect_refused(&gateway, &app, request("POST /", fields, body).as_bytes(), 400);
        }
    }
    app.expect_untouched();
}

#[test]
fn a_transfer_encoding_other_than_chunked_alone_is_not_implemented() {
    let (app, gateway) = echo();
    for value in [
        "gzip",
        "identity",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "chunked;q=1",
        "chunked foo",
        "xchunked",
        "chunkedx",
        "\"chunked\"",
        "'chunked'",
        "chunk\u{212a}ed",
        "chunked\u{a0}",
        "identity, chunked",
        "cow",
        "",
    ] {
        let fields = format!("Transfer-Encoding: {value}\r\n");
        expect_refused(&gateway, &app, request("POST /", &fields, "0\r\n\r\n").as_bytes(), 501);
    }
    for fields in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\ntransfer-encoding:\r\n",
    ] {
        expect_refused(&gateway, &app, request("POST /", fields, "0\r\n\r\n").as_bytes(), 501);
    }
    app.expect_untouched();
}

#[test]
fn chunked_is_known_in_any_case_and_with_white_space_around_it() {
    let (app, gateway) = echo();
    for value in ["chunked", "Chunked", "CHUNKED", "  chunked", "\tchunked", "chunked \t"] {
        let fields = format!("Transfer-Encoding:{value}\r\n");
        let text = request("POST /", &fields, "3\r\nabc\r\n0\r\n\r\n");
        Caller::ask(&gateway, text).expect(200);
        assert_eq!(app.last().content, b"abc", "{value:?}");
    }
}

#[test]
fn transfer_encoding_in_http_1_0_is_refused() {
    let (app, gateway) = echo();
    for fields in [
        "Transfer-Encoding: chunked\r\n",
        "Connection: keep-alive\r\ntransfer-encoding: chunked\r\n",
    ] {
        let text = format!("POST / HTTP/1.0\r\nHost: {HOST}\r\n{fields}\r\n0\r\n\r\n");
        expect_refused(&gateway, &app, text.as_bytes(), 400);
    }
    app.expect_untouched();
}

#[test]
fn a_length_that_is_not_one_plain_number_is_refused() {
    let (app, gateway) = echo();
    for value in [
        "",
        " ",
        "+5",
        "-5",
        "-0",
        "05",
        "00",
        "005",
        "5 5",
        "5,5",
        "5, 5",
        "5,6",
        "5;",
        "5.0",
        "0x5",
        "5e0",
        "five",
        "5\t5",
        "\u{665}",
        "5\u{a0}",
        "18446744073709551616",
        "18446744073709551621",
        "99999999999999999999999999",
        "4294967301,5",
        "\"5\"",
        "1_0",
    ] {
        let fields = format!("Content-Length: {value}\r\n");
        expect_refused(&gateway, &app, request("POST /", &fields, "hello").as_bytes(), 400);
    }
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 6\r\ncontent-length: 5\r\n",
        "Content-Length: 5\r\nX-A: 1\r\ncontent-LENGTH: 0\r\n",
        "Content-Length: 5\r\nContent-Length:\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
    ] {
        expect_refused(&gateway, &app, request("POST /", fields, "hello").as_bytes(), 400);
    }
    app.expect_untouched();
}

#[test]
fn line_ends_other_than_crlf_are_refused() {
    let (app, gateway) = echo();
    for bytes in [
        format!("GET / HTTP/1.1\nHost: {HOST}\n\n"),
        format!("GET / HTTP/1.1\r\nHost: {HOST}\n\r\n"),
        format!("GET / HTTP/1.1\nHost: {HOST}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\n"),
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-A: 1\nX-B: 2\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-A: 1\n\nGET /x HTTP/1.1\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-A: 1\rX-B: 2\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-A: 1\r\r\n\r\n"),
        format!("GET / HTTP/1.1\rHost: {HOST}\r\n\r\n"),
        format!("\nGET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
        format!("\rGET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\rX: 1\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n\nHost: {HOST}\r\n\r\n"),
    ] {
        expect_refused(&gateway, &app, bytes.as_bytes(), 400);
    }
    app.expect_untouched();
}

#[test]
fn malformed_field_lines_are_refused() {
    let (app, gateway) = echo();
    for line in [
        &b"X-A : 1"[..],
        b"X-A\t: 1",
        b" X-A: 1",
        b"\tX-A: 1",
        b"X-A: 1\r\n folded",
        b"X-A: 1\r\n\tfolded",
        b"X-A: 1\r\n ",
        b"Transfer-Encoding : chunked",
        b"Content-Length : 5",
        b"Transfer-Encoding\x0b: chunked",
        b"Transfer-Encoding:\r\n chunked",
        b"Content-Length:\r\n 5",
        b": empty name",
        b":",
        b"no colon",
        b"X A: 1",
        b"X-A(: 1",
        b"X-A\"B: 1",
        b"X-\xc3\xa4: 1",
        b"X\0A: 1",
        b"X-A: a\0b",
        b"X-A: a\x01b",
        b"X-A: a\x0bb",
        b"X-A: a\x1bb",
        b"X-A: a\x7fb",
        b"\0: 1",
    ] {
        let head = [b"GET / HTTP/1.1\r\nHost: ", HOST.as_bytes(), b"\r\n", line, b"\r\n\r\n"];
        expect_refused(&gateway, &app, &head.concat(), 400);
        let first = [b"GET / HTTP/1.1\r\n", line, b"\r\nHost: ", HOST.as_bytes(), b"\r\n\r\n"];
        expect_refused(&gateway, &app, &first.concat(), 400);
    }
    app.expect_untouched();
}

#[test]
fn malformed_chunks_are_refused_and_what_follows_is_not_served() {
    let (app, gateway) = echo();
    for chunk in [
        &b"-1\r\na\r\n0\r\n\r\n"[..],
        b"+1\r\na\r\n0\r\n\r\n",
        b"0x1\r\na\r\n0\r\n\r\n",
        b"1h\r\na\r\n0\r\n\r\n",
        b"g\r\na\r\n0\r\n\r\n",
        b"\r\na\r\n0\r\n\r\n",
        b" 1\r\na\r\n0\r\n\r\n",
        b"1 \r\na\r\n0\r\n\r\n",
        b"1\t\r\na\r\n0\r\n\r\n",
        b"1 1\r\na\r\n0\r\n\r\n",
        b"1,1\r\na\r\n0\r\n\r\n",
        b"1_0\r\na\r\n0\r\n\r\n",
        b";x\r\na\r\n0\r\n\r\n",
        b"1\na\r\n0\r\n\r\n",
        b"1\r\na\n0\r\n\r\n",
        b"1\r\na\r\n0\n\r\n",
        b"1\r\na\r\n0\r\n\n",
        b"1\rX\na\r\n0\r\n\r\n",
        b"1\r\r\na\r\n0\r\n\r\n",
        b"1;a\nb\r\na\r\n0\r\n\r\n",
        b"1;a\rb\r\na\r\n0\r\n\r\n",
        b"1;a\0b\r\na\r\n0\r\n\r\n",
        b"1\r\nab\r\n0\r\n\r\n",
        b"1\r\na0\r\n\r\n",
        b"1\r\na\r0\r\n\r\n",
        b"2\r\na\r\n0\r\n\r\n",
        b"10000000000000001\r\na\r\n0\r\n\r\n",
        b"00000000000000001\r\na\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\na\r\n0\r\n\r\n",
        b"0\r\nX-A : 1\r\n\r\n",
        b"0\r\n folded: 1\r\n\r\n",
        b"0\r\nX-A: 1\r\n folded\r\n\r\n",
        b"0\r\nX-A: a\0b\r\n\r\n",
        b"0\r\nX-A: 1\n\r\n",
        b"0\r\nno colon\r\n\r\n",
    ] {
        let text = request("POST /", "Transfer-Encoding: chunked\r\n", "");
        expect_refused(&gateway, &app, &[text.as_bytes(), chunk].concat(), 400);
    }
}

#[test]
fn chunk_extensions_and_odd_but_valid_sizes_are_read_and_not_passed_on() {
    let (app, gateway) = echo();
    for (body, content) in [
        ("3;a=b\r\nabc\r\n0;x\r\n\r\n", "abc"),
        ("3;a=\"q; r\"\r\nabc\r\n0\r\n\r\n", "abc"),
        ("3 ;a\r\nabc\r\n0\r\n\r\n", "abc"),
        ("0003\r\nabc\r\n000\r\n\r\n", "abc"),
        ("0000000000000003\r\nabc\r\n0000000000000000\r\n\r\n", "abc"),
        ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("A\r\n0123456789\r\n1\r\n!\r\n0\r\n\r\n", "0123456789!"),
        ("0\r\n\r\n", ""),
    ] {
        let mut caller = Caller::new(&gateway);
        caller.send(request("POST /", "Transfer-Encoding: chunked\r\n", body));
        caller.read_response().expect(200);
        let seen = app.last();
        assert_eq!(show(&seen.content), content, "{body:?}");
        assert!(!show(&seen.raw_body).contains(';'), "{}", show(&seen.raw_body));
        caller.get("/next").expect(200);
    }
}

#[test]
fn endless_chunk_lines_and_trailers_are_refused() {
    let (app, gateway) = echo();
    let head = request("POST /", "Transfer-Encoding: chunked\r\n", "");
    for tail in [
        format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(4000)),
        "0".repeat(4000),
        format!("0\r\nX-A: {}\r\n\r\n", "x".repeat(40_000)),
        format!("0\r\n{}\r\n", "X-A: 1\r\n".repeat(500)),
    ] {
        let mut caller = Caller::new(&gateway);
        let _ = caller.try_send(format!("{head}{tail}"));
        caller.read_response().expect_problem(400, "http_request_error");
        caller.expect_closed();
    }
    assert!(app.seen().is_empty());
}

#[test]
fn a_body_of_a_declared_length_ends_there_and_the_next_request_begins() {
    let (app, gateway) = echo();
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST"] {
        let mut caller = Caller::new(&gateway);
        let body = "GET /inner HTTP/1.1\r\nHost: x\r\n\r\n";
        let fields = format!("Content-Length: {}\r\n", body.len());
        let text = request(&format!("{method} /outer"), &fields, body);
        caller.send(format!("{text}{}", get("/next")));
        let response = caller.try_read_response(method == "HEAD").unwrap();
        assert_eq!(response.status, 200, "{method}");
        caller.read_response().expect(200);
        let seen = app.seen();
        let (next, outer) = (&seen[seen.len() - 1], &seen[seen.len() - 2]);
        assert_eq!(show(outer.head.target()), "/outer");
        assert_eq!(show(&outer.content), show(body.as_bytes()), "{method}");
        assert_eq!(show(next.head.target()), "/next");
    }
}

#[test]
fn a_chunked_body_on_get_is_forwarded_whole() {
    let (app, gateway) = echo();
    let mut caller = Caller::new(&gateway);
    let text = request("GET /a", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n");
    caller.send(format!("{text}{}", get("/next")));
    caller.read_response().expect(200);
    caller.read_response().expect(200);
    let seen = app.seen();
    assert_eq!((seen[0].content.as_slice(), seen.len()), (&b"abc"[..], 2));
    assert_eq!(show(seen[1].head.target()), "/next");
}

#[test]
fn a_request_without_framing_has_no_body() {
    let (app, gateway) = echo();
    let mut caller = Caller::new(&gateway);
    caller.send(format!("{}{}", request("POST /a", "", ""), get("/next")));
    caller.read_response().expect(200);
    caller.read_response().expect(200);
    assert_eq!(app.seen()[0].field("content-length").as_deref(), Some("0"));
    assert_eq!(show(app.seen()[1].head.target()), "/next");
}

#[test]
fn each_request_to_the_app_has_one_framing_of_the_gateways_own() {
    let (app, gateway) = echo();
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (method, fields, body) in [
        ("GET", "", ""),
        ("POST", "", ""),
        ("POST", "Content-Length: 0\r\n", ""),
        ("POST", "Content-Length: 3\r\n", "abc"),
        ("POST", chunked, "3\r\nabc\r\n0\r\n\r\n"),
        ("DELETE", chunked, "0\r\n\r\n"),
    ] {
        Caller::ask(&gateway, request(&format!("{method} /"), fields, body)).expect(200);
        let head = app.last().head;
        let framings = head.all("content-length").len() + head.all("transfer-encoding").len();
        assert!(framings <= 1, "{head:?}");
        assert_eq!(app.last().content.len(), if body.contains("abc") { 3 } else { 0 });
    }
}

#[test]
fn data_after_connection_close_is_not_served() {
    let (app, gateway) = echo();
    for fields in ["Connection: close\r\n", "connection: keep-alive, Close\r\n"] {
        let mut caller = Caller::new(&gateway);
        caller.send(format!("{}{}", request("GET /last", fields, ""), smuggled()));
        let response = caller.read_response().expect(200);
        assert_eq!(response.field("connection").as_deref(), Some("close"));
        caller.expect_closed();
        assert_eq!(show(app.last().head.target()), "/last");
    }
    let mut caller = Caller::new(&gateway);
    caller.send(format!("GET /last HTTP/1.0\r\nHost: {HOST}\r\n\r\n{}", smuggled()));
    caller.read_response().expect(200);
    caller.expect_closed();
    assert_eq!(show(app.last().head.target()), "/last");
}

#[test]
fn a_body_that_the_caller_cuts_is_never_whole_at_the_app() {
    let app = ScriptedApp::start(|connection| {
        let head = connection.head();
        let (rest, _) = connection.read_to_close();
        let whole = rest.len() >= 100 || show(&rest).contains("0\\r\\n\\r\\n");
        assert!(!whole, "{head:?} {}", show(&rest));
    });
    let gateway = Gateway::of(app.address());
    let bodies = [
        ("Content-Length: 100\r\n", "only this"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhel"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n"),
    ];
    for (index, (fields, body)) in bodies.into_iter().enumerate() {
        let mut caller = Caller::new(&gateway);
        caller.send(request("POST /", fields, body));
        // One who leaves earlier never reaches the app.
        eventually("the app was called", || app.connections() > index);
        caller.leave();
    }
    gateway.wait_idle();
    drop(gateway);
    app.wait_finished(bodies.len());
}

// What hostile apps answer.

/// An app that answers with these bytes and closes must come out as 502.
#[track_caller]
fn expect_bad_gateway(answer: &[u8], error: &str) {
    let app = ScriptedApp::answering_once(answer);
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(get("/"));
    let response = caller.read_response();
    assert_eq!(response.status, 502, "{}\n{response:?}", show(answer));
    response.expect_problem(502, error);
}

#[test]
fn a_response_whose_framing_could_be_read_in_two_ways_is_a_bad_gateway() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 05\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n5\r\nhello\r\n0\r\n\r\n");
        expect_bad_gateway(answer.as_bytes(), "http_protocol_error");
    }
    let answer = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    expect_bad_gateway(answer, "http_protocol_error");
}

#[test]
fn a_response_head_that_is_not_http_1_is_a_bad_gateway() {
    for answer in [
        &b"garbage\r\n\r\n"[..],
        b"<html>hello</html>",
        b"<html>\r\n</html>\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/3.0 200 OK\r\n\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 600 Odd\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"HTTP/1.1 000 Odd\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A : 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n X-A: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: a\rb\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX A: 1\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    ] {
        expect_bad_gateway(answer, "http_protocol_error");
    }
}

#[test]
fn a_response_head_over_the_limit_is_a_bad_gateway() {
    let answer = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\n", "a".repeat(70 << 10));
    expect_bad_gateway(answer.as_bytes(), "http_response_header_section_size");
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "X-A: 1\r\n".repeat(10_000));
    expect_bad_gateway(endless.as_bytes(), "http_response_header_section_size");
}

#[test]
fn an_app_that_switches_protocols_unasked_is_a_bad_gateway() {
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    for fields in ["", "Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"] {
        let app = ScriptedApp::start(move |connection| {
            connection.head();
            let _ = connection.try_send(format!("{switch}raw bytes of another protocol"));
            connection.expect_closed();
        });
        let gateway = Gateway::of(app.address());
        let response = Caller::ask(&gateway, request("GET /", fields, ""));
        assert_eq!(response.status, 502);
        assert!(!show(&response.body).contains("raw bytes"));
        assert_eq!(response.field("content-type").as_deref(), Some("application/problem+json"));
        app.wait_finished(1);
    }
}

#[test]
fn interim_responses_are_not_relayed_and_a_flood_of_them_ends() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n";
    let answer = format!(
        "HTTP/1.1 100 Continue\r\n\r\n{interim}HTTP/1.1 102 P\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    );
    let app = ScriptedApp::answering(answer);
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    for _ in 0..2 {
        assert_eq!(caller.get("/").expect(200).text(), "ok");
    }

    let app = ScriptedApp::start(move |connection| {
        connection.head();
        let mut sent = 0;
        while connection.try_send(interim).is_ok() {
            sent += 1;
            assert!(sent < 100_000, "the flood was never stopped");
        }
    });
    let gateway = Gateway::of(app.address());
    Caller::ask(&gateway, get("/")).expect_problem(502, "http_protocol_error");
    app.wait_finished(1);
}

/// The response that poisons would be read as the next one's.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

#[test]
fn bytes_sent_together_with_a_response_never_reach_the_next_request() {
    for answer in [
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{POISON}"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{POISON}"),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{POISON}"
        ),
        format!("HTTP/1.1 204 No Content\r\n\r\n{POISON}"),
        format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello{POISON}"),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokk".to_owned(),
    ] {
        let app = ScriptedApp::start(move |connection| {
            connection.head();
            connection.send(&answer);
            connection.expect_closed();
        });
        let gateway = Gateway::of(app.address());
        let mut caller = Caller::new(&gateway);
        for _ in 0..3 {
            let response = caller.get("/");
            assert!(response.status < 400, "{response:?}");
            assert!(matches!(response.text().as_str(), "" | "ok"), "{response:?}");
        }
        caller.expect_silence();
        assert_eq!(app.connections(), 3);
    }
}

#[test]
fn a_body_on_a_response_to_head_never_reaches_the_next_request() {
    let app = ScriptedApp::start(move |connection| {
        while let Some(request) = connection.next_request() {
            let to_head = request.head.word(0) == b"HEAD";
            let body = if to_head { POISON } else { "ok" };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            if connection.try_send(format!("{head}{body}")).is_err() {
                return;
            }
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    for _ in 0..3 {
        caller.send(request("HEAD /", "", ""));
        let response = caller.read_response_to_head().expect(200);
        assert_eq!(response.field("content-length"), Some(POISON.len().to_string()));
        assert_eq!(caller.get("/").expect(200).text(), "ok");
    }
}

#[test]
fn bytes_sent_after_a_response_was_read_never_reach_the_next_request() {
    let (answered, poisoned) = (Signal::new(), Signal::new());
    let app = ScriptedApp::start({
        let (answered, poisoned) = (answered.clone(), poisoned.clone());
        move |connection: &mut AppConnection| {
            while connection.next_request().is_some() {
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                if connection.number == 0 && !poisoned.is_given() {
                    answered.wait();
                    connection.send(POISON);
                    poisoned.give();
                }
            }
        }
    });
    let gateway = Gateway::with(|config| {
        config.apps.push(crate::support::app("acme/hello", &[(80, &[app.address()])]));
    });
    let mut first = Caller::new(&gateway);
    let mut second = Caller::new(&gateway);
    assert_eq!(first.get("/").expect(200).text(), "ok");
    answered.give();
    poisoned.wait();
    // The stray bytes are in the gateway's socket now, before the next request is.
    let response = second.get("/");
    assert_ne!(response.text(), "poison", "another caller got an answer to no request");
    response.expect(200);
}

#[test]
fn one_apps_stray_bytes_never_reach_another_app() {
    let hostile = ScriptedApp::answering(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{POISON}{POISON}"
    ));
    let honest = EchoHeads::start();
    let gateway = Gateway::with(|config| {
        config.apps.push(app("evil/app", &[(80, &[hostile.address()])]));
        config.apps.push(app("acme/hello", &[(80, &[honest.address()])]));
    });
    let mut caller = Caller::new(&gateway);
    for _ in 0..5 {
        caller.send("GET / HTTP/1.1\r\nHost: app-evil.ignite.test\r\n\r\n");
        assert_eq!(caller.read_response().expect(200).text(), "ok");
        assert!(caller.get("/").expect(200).text().starts_with("GET / HTTP/1.1"));
    }
}

#[test]
fn a_response_before_any_request_does_not_shift_those_after_it() {
    let (answered, heard) = (Arc::new(AtomicUsize::new(0)), Signal::new());
    let app = ScriptedApp::start({
        let (answered, heard) = (answered.clone(), heard.clone());
        move |connection| {
            if connection.number == 0 {
                // As soon as it is connected, before it has read anything.
                connection.send(POISON);
            }
            while let Some(request) = connection.next_request() {
                heard.wait();
                let body = show(request.head.target());
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = connection.try_send(format!("{head}{body}"));
                answered.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    // The first answer may be the early one or a refusal: nobody can tell on a new connection.
    let _ = caller.get("/0");
    heard.give();
    for number in 1..10 {
        eventually("the app answered", || answered.load(Ordering::SeqCst) == number);
        let target = format!("/{number}");
        assert_eq!(caller.get(&target).text(), target);
    }
}

/// What a caller gets of a response that breaks off after its head.
#[track_caller]
fn expect_visibly_broken(answer: &str, reset: bool) {
    let answer = answer.to_owned();
    let text = answer.clone();
    let app = ScriptedApp::start(move |connection| {
        connection.head();
        connection.send(&answer);
        if reset {
            connection.reset();
        }
    });
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(get("/"));
    // A reset may overtake the head, which the gateway then never saw.
    if let Ok(response) = caller.try_read_response(false) {
        if response.status == 502 && reset {
            return;
        }
        assert_eq!(response.status, 200, "{text:?}");
        assert!(!response.complete, "looks complete: {text:?} {response:?}");
    }
    caller.expect_closed();
}

#[test]
fn a_response_that_breaks_off_is_visibly_broken() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: 1\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        expect_visibly_broken(answer, false);
        expect_visibly_broken(answer, true);
    }
}

#[test]
fn a_response_with_bad_chunks_is_visibly_broken() {
    for body in [
        "5\r\nhello\r\n-1\r\n",
        "5\r\nhello\r\n0x1\r\na\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : 1\r\n\r\n",
        "5\r\nhello\r\nfffffffffffffffff\r\n",
    ] {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        expect_visibly_broken(&format!("{head}{body}"), false);
    }
}

#[test]
fn a_response_that_only_the_close_ends_is_broken_by_a_reset_alone() {
    let answer = "HTTP/1.1 200 OK\r\n\r\nuntil the close";
    let app = ScriptedApp::answering_once(answer);
    let gateway = Gateway::of(app.address());
    let response = Caller::ask(&gateway, get("/")).expect(200);
    assert_eq!((response.text().as_str(), response.complete), ("until the close", true));

    let gone = Signal::new();
    let app = ScriptedApp::start({
        let gone = gone.clone();
        move |connection| {
            connection.head();
            connection.send(answer);
            gone.wait();
            connection.reset();
        }
    });
    for version in ["1.0", "1.1"] {
        let gateway = Gateway::of(app.address());
        let mut caller = Caller::new(&gateway);
        caller.send(format!("GET / HTTP/{version}\r\nHost: {HOST}\r\n\r\n"));
        let head = caller.read_head();
        assert_eq!(head.word(1), b"200");
        gone.give();
        let (rest, ended) = caller.read_to_close();
        let looks_whole = match version {
            "1.0" => ended == crate::support::Ended::Eof,
            _ => rest.ends_with(b"0\r\n\r\n"),
        };
        assert!(!looks_whole, "HTTP/{version}: {} {ended:?}", show(&rest));
    }
}

#[test]
fn responses_that_have_no_body_by_their_status_have_none() {
    for (line, framing, length) in [
        ("204 No Content", "", None),
        ("204 No Content", "Content-Length: 5\r\n", None),
        ("204 No Content", "Transfer-Encoding: chunked\r\n", None),
        ("304 Not Modified", "", None),
        ("304 Not Modified", "Content-Length: 500\r\n", Some("500")),
        ("304 Not Modified", "Transfer-Encoding: chunked\r\n", None),
    ] {
        let app = ScriptedApp::answering(format!("HTTP/1.1 {line}\r\n{framing}\r\n"));
        let gateway = Gateway::of(app.address());
        let mut caller = Caller::new(&gateway);
        for _ in 0..2 {
            let response = caller.get("/");
            assert!(matches!(response.status, 204 | 304));
            assert_eq!(response.field("content-length").as_deref(), length, "{line} {framing}");
            assert!(!response.head.has("transfer-encoding"), "{line} {framing}");
        }
        caller.expect_silence();
    }
}

#[test]
fn a_response_to_head_keeps_its_length_and_has_no_body() {
    for (framing, length) in [
        ("Content-Length: 1234\r\n", Some("1234")),
        ("Content-Length: 0\r\n", Some("0")),
        ("Transfer-Encoding: chunked\r\n", None),
        ("", None),
    ] {
        let app = ScriptedApp::answering(format!("HTTP/1.1 200 OK\r\n{framing}\r\n"));
        let gateway = Gateway::of(app.address());
        let mut caller = Caller::new(&gateway);
        for _ in 0..2 {
            caller.send(request("HEAD /", "", ""));
            let response = caller.read_response_to_head().expect(200);
            assert_eq!(response.field("content-length").as_deref(), length, "{framing}");
        }
        caller.expect_silence();
    }
}

#[test]
fn a_gateway_made_answer_to_head_has_no_body() {
    let (_app, gateway) = echo();
    let mut caller = Caller::new(&gateway);
    caller.send("HEAD / HTTP/1.1\r\nHost: nobody.test\r\n\r\n");
    caller.read_response_to_head().expect(404);
    caller.expect_silence();
    caller.get("/").expect(200);
}

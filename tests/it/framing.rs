//! Where a request begins and ends: what two parsers could read in two ways is
//! refused, and nothing behind it is served.

use crate::support::caller::{get, request};
use crate::support::{Caller, EchoHeads, Gateway, HOST, ScriptedApp, Signal, eventually, show};

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
    for (fields, body) in [
        ("Content-Length: 100\r\n", "only this"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhel"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n"),
    ] {
        let begun = Signal::new();
        let app = ScriptedApp::start({
            let begun = begun.clone();
            move |connection| {
                connection.head();
                begun.give();
                let (rest, _) = connection.read_to_close();
                let whole = rest.len() >= 100 || rest.ends_with(b"0\r\n\r\n");
                assert!(!whole, "{}", show(&rest));
            }
        });
        let gateway = Gateway::of(app.address());
        let mut caller = Caller::new(&gateway);
        caller.send(request("POST /", fields, body));
        begun.wait();
        caller.leave();
        app.wait_finished(1);
        gateway.wait_idle();
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

#[test]
fn what_is_refused_is_counted_by_its_reason() {
    let (app, gateway) = echo();
    let counted = |reason: &str| {
        let reason = format!("reason=\"{reason}\"");
        gateway.metric("ignite_gateway_refused_requests_total", &reason)
    };
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (reason, bytes) in [
        ("bare_line_feed", format!("GET / HTTP/1.1\nHost: {HOST}\r\n\r\n")),
        ("start_line", format!("GET  / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")),
        ("version", format!("GET / HTTP/3.0\r\nHost: {HOST}\r\n\r\n")),
        ("field", request("GET /", "X-A : 1\r\n", "")),
        ("target", request("GET /a#b", "", "")),
        ("content_length", request("POST /", "Content-Length: +5\r\n", "hello")),
        ("transfer_encoding", format!("POST / HTTP/1.0\r\nHost: {HOST}\r\n{chunked}\r\n")),
        ("transfer_coding", request("POST /", "Transfer-Encoding: gzip\r\n", "")),
        ("chunk", request("POST /", chunked, "0x1\r\na\r\n0\r\n\r\n")),
        ("trailer", request("POST /", chunked, "0\r\nX-A : 1\r\n\r\n")),
        ("connection", request("GET /", "Connection: host\r\n", "")),
        ("host", request("GET /", "Host: other.test\r\n", "")),
        ("method", request("TRACE /", "", "")),
        ("target_too_long", request(&format!("GET /{}", "x".repeat(17_000)), "", "")),
        ("head_too_large", request("GET /", &"X-A: 1\r\n".repeat(200), "")),
    ] {
        assert_eq!(counted(reason), 0, "{reason}");
        let status = Caller::ask(&gateway, &bytes).status;
        assert!((400..=501).contains(&status), "{reason}: {status}");
        eventually(reason, || counted(reason) == 1);
    }
    // A cut is counted when it is seen, by whoever reads on for the app.
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", "Content-Length: 100\r\n", "only this"));
    let has_come = |bytes: &Vec<u8>| bytes.ends_with(b"only this");
    eventually("the app has all there is", || app.received().iter().any(has_come));
    caller.leave();
    eventually("incomplete", || counted("incomplete") == 1);
    assert_eq!(gateway.metric("ignite_gateway_refused_requests_total", ""), 16);
    assert_eq!(gateway.metric("ignite_gateway_panics_total", ""), 0);
}

#[test]
fn empty_lines_do_not_keep_a_connection_open() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| {
        config.timeouts.header = std::time::Duration::from_millis(300);
        config.timeouts.keepalive = std::time::Duration::from_millis(300);
    });
    for first in ["", "GET / HTTP/1.1\r\nHost: hello-acme.ignite.test\r\n\r\n"] {
        let mut caller = Caller::new(&gateway);
        caller.send(first);
        if !first.is_empty() {
            caller.read_response().expect(200);
        }
        // As long as they are taken; they are not for ever.
        eventually("the connection is closed", || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            caller.try_send("\r\n").is_err()
        });
    }
}

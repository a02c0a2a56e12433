//! What goes wrong with a change of protocol, and on the streams of HTTP/2.

use super::{File, Told, ask, assert_all, request};
use crate::binary::{Serve, access_lines};
use crate::support::frames::{END_STREAM, Message, headers};
use crate::support::{Caller, Frames, ScriptedApp};

const SWITCHED_BY_APP: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                               Upgrade: websocket\r\n\r\n";

pub const SWITCHED: &[&str] = &["app_upgraded", "upgrade_timeout"];

#[test]
fn a_switch_that_nobody_asked_for_or_nobody_uses_is_told() {
    let switching = ScriptedApp::start(|connection| {
        connection.head();
        connection.send(SWITCHED_BY_APP);
        connection.expect_closed();
    });
    let at = Some(switching.address());
    let file = File::new("[timeouts]\nupgrade_idle = \"300ms\"\n");
    let serve = file.app("hello", &[switching.address()], "").serve();
    let unasked = ("app.response", "app_upgraded");
    let unasked = ask(&serve, request("GET /", "hello", ""), 502, unasked, at);
    let mut caller = Caller::to(serve.address);
    let asks = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    caller.send(request("GET /", "hello", asks));
    let head = caller.read_head();
    assert_eq!(head.word(1), b"101");
    let _ = caller.read_to_close();
    let id = head.get("x-ignite-execution-id").expect("an execution id");
    let unused = Told::of(id, 101, ("app.tunnel", "upgrade_timeout"), at);
    assert_all(&access_lines(&serve.finish()), &[&unasked, &unused], SWITCHED);
}

pub const STREAMS: &[&str] = &["app_not_upgraded", "deadline_exceeded"];

#[test]
fn a_stream_that_is_no_web_socket_and_a_call_past_its_deadline_are_told() {
    let ordinary = ScriptedApp::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let silent = ScriptedApp::start(|connection| {
        let _ = connection.read_to_close();
    });
    let file = File::new("").app("ordinary", &[ordinary.address()], "");
    let serve = file.app("silent", &[silent.address()], "").serve();
    let socket = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "ordinary-acme.ignite.test"),
        (":path", "/"),
        ("sec-websocket-version", "13"),
    ];
    let answer = answer(&serve, &headers(1, 0, &socket));
    assert_eq!(answer.status(), 502);
    let ended = ("app.response", "app_not_upgraded");
    let not_upgraded = Told::of(id_of(&answer), 502, ended, Some(ordinary.address()));
    let call = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "silent-acme.ignite.test"),
        (":path", "/package.Service/Method"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "150m"),
    ];
    let answer = self::answer(&serve, &headers(1, END_STREAM, &call));
    assert_eq!((answer.status(), answer.field("grpc-status")), (200, Some("4")));
    // Of a gRPC call the line has what any other request would have got, and the call's own.
    let ended = ("app.response", "deadline_exceeded");
    let too_late = Told::of(id_of(&answer), 504, ended, Some(silent.address()));
    let lines = access_lines(&serve.finish());
    assert_all(&lines, &[&not_upgraded, &too_late], STREAMS);
    let line = too_late.assert_in(&lines);
    assert_eq!(line["rpc.grpc.status_code"], 4, "{line:#}");
    assert_eq!(line["network.protocol.version"], "2", "{line:#}");
}

/// The answer to the only request of a connection.
fn answer(serve: &Serve, request: &[u8]) -> Message {
    Frames::call_at(serve.address).ask(1, request)
}

fn id_of(answer: &Message) -> String {
    answer.field("x-ignite-execution-id").expect("an execution id").to_owned()
}

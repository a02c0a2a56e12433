//! The echo app over raw sockets: what is sent is what is shown.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Running {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(listener, async { drop(stopped.await) }));
        Self { address, stop, task }
    }

    /// Sends raw bytes that ask for a close, and reads head and body.
    async fn raw(&self, request: &[u8]) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let body = answer.split_off(end);
        (String::from_utf8(answer).unwrap(), body)
    }

    async fn json(&self, request: &[u8]) -> Value {
        let (head, body) = self.raw(request).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("content-type: application/json\r\n"), "{head}");
        serde_json::from_slice(&body).unwrap()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_request_is_shown_as_it_was_received() {
    let echo = Running::start().await;
    let shown = echo
        .json(
            b"PATCH //a/%2e%2E/../b%2Fc?x=%20&&y HTTP/1.1\r\nHost: h\r\nX-Z: 1\r\nAccept: a\r\n\
              x-z: 2\r\nConnection: close\r\nContent-Length: 6\r\n\r\nh\xc3\xa9llo",
        )
        .await;
    assert_eq!(shown["method"], "PATCH");
    assert_eq!(shown["path"], "//a/%2e%2E/../b%2Fc?x=%20&&y");
    assert_eq!(shown["http_version"], "HTTP/1.1");
    assert_eq!(shown["headers"]["x-z"], json!(["1", "2"]));
    assert_eq!(shown["headers"]["accept"], "a");
    assert_eq!(shown["body"], "héllo");
    assert_eq!(shown["body_bytes"], 6);
    assert_eq!(shown["message"], DIRECT);
    assert!(shown.get("trailers").is_none());
    echo.stop().await;
}

#[tokio::test]
async fn fields_are_shown_in_the_order_of_their_arrival() {
    let echo = Running::start().await;
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nzebra: 1\r\nant: 2\r\nConnection: close\r\n\r\n";
    let (_, body) = echo.raw(request).await;
    let text = String::from_utf8(body).unwrap();
    let place = |name: &str| text.find(name).unwrap();
    assert!(
        place("\"host\"") < place("\"zebra\"") && place("\"zebra\"") < place("\"ant\""),
        "{text}"
    );
    assert!(text.contains("\n  \"method\": \"GET\"") && text.ends_with("}\n"), "{text}");
    echo.stop().await;
}

#[tokio::test]
async fn targets_and_methods_of_any_form_are_answered() {
    let echo = Running::start().await;
    for (line, method, path) in [
        ("OPTIONS * HTTP/1.1", "OPTIONS", "*"),
        ("PURGE /? HTTP/1.1", "PURGE", "/?"),
        ("GET http://h/a?b HTTP/1.1", "GET", "http://h/a?b"),
        ("POST /healthz HTTP/1.1", "POST", "/healthz"),
    ] {
        let request =
            format!("{line}\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        let shown = echo.json(request.as_bytes()).await;
        assert_eq!((&shown["method"], &shown["path"]), (&json!(method), &json!(path)));
        assert_eq!((&shown["body"], &shown["body_bytes"]), (&json!(""), &json!(0)));
    }
    echo.stop().await;
}

#[tokio::test]
async fn health_is_204() {
    let echo = Running::start().await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let (head, body) = echo.raw(request).await;
    assert!(head.starts_with("HTTP/1.1 204 No Content\r\n"), "{head}");
    assert_eq!(body, b"");
    echo.stop().await;
}

#[tokio::test]
async fn what_the_gateway_added_is_pointed_out() {
    let echo = Running::start().await;
    let request =
        b"GET / HTTP/1.1\r\nHost: h\r\nx-ignite-execution-id: 1\r\nConnection: close\r\n\r\n";
    assert_eq!(echo.json(request).await["message"], THROUGH_GATEWAY);
    echo.stop().await;
}

#[tokio::test]
async fn binary_bodies_are_base64_and_trailers_are_shown() {
    let echo = Running::start().await;
    let shown = echo
        .json(
            b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
              Trailer: x-sum\r\n\r\n2\r\n\xff\x00\r\n0\r\nx-sum: 7\r\n\r\n",
        )
        .await;
    assert_eq!(shown["body"], json!({ "base64": "/wA=" }));
    assert_eq!(shown["body_bytes"], 2);
    assert_eq!(shown["trailers"], json!({ "x-sum": "7" }));
    echo.stop().await;
}

#[tokio::test]
async fn a_large_body_is_counted_whole_and_kept_in_part() {
    let echo = Running::start().await;
    let sent = MAX_BODY + 4096;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {sent}\r\n\r\n"
    );
    let mut request = head.into_bytes();
    request.resize(request.len() + sent, b'x');
    let shown = echo.json(&request).await;
    assert_eq!(shown["body_bytes"], sent);
    assert_eq!(shown["body"].as_str().unwrap().len(), MAX_BODY);
    echo.stop().await;
}

#[test]
fn a_character_that_our_cut_parted_does_not_make_text_binary() {
    assert_eq!(shown_body(b"ab\xc3", true), ShownBody::Text("ab".into()));
    assert_eq!(shown_body(b"ab\xc3", false), ShownBody::Binary { base64: "YWLD".into() });
    assert_eq!(shown_body(b"\xffab", true), ShownBody::Binary { base64: "/2Fi".into() });
}

#[test]
fn base64_agrees_with_the_rfc() {
    let examples = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|t| base64(t.as_bytes()));
    assert_eq!(examples, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
}

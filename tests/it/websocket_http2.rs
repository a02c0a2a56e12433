//! Web sockets on streams of HTTP/2, RFC 8441, for an app that knows them as
//! upgrades of HTTP/1.1.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::app::AppConnection;
use crate::support::wire::Head;
use crate::support::{Ended, Gateway, HOST, LIMIT, ScriptedApp};
use ignite_gateway::config;

/// One WebSocket opened by an extended CONNECT: what the gateway says, and the stream.
struct Opened {
    response: Response<RecvStream>,
    outgoing: SendStream<Bytes>,
    requests: SendRequest<Bytes>,
}

async fn connect(gateway: &Gateway) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut requests = requests.ready().await.unwrap();
    // The gateway's settings come with its first frames.
    while !requests.is_extended_connect_protocol_enabled() {
        requests = requests.ready().await.unwrap();
        tokio::task::yield_now().await;
    }
    requests
}

async fn open(gateway: &Gateway, protocol: &'static str, early: &'static str) -> Opened {
    let mut requests = connect(gateway).await;
    let request = Request::connect(format!("http://{HOST}/chat?room=1"))
        .extension(Protocol::from_static(protocol))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .header("x-ignite-forged", "1")
        .body(())
        .unwrap();
    let (response, mut outgoing) = requests.send_request(request, false).unwrap();
    if !early.is_empty() {
        outgoing.send_data(Bytes::from_static(early.as_bytes()), false).unwrap();
    }
    let response = timeout(LIMIT, response).await.expect("an answer in time").unwrap();
    Opened { response, outgoing, requests }
}

/// The next content; the end may come as a frame without any.
async fn read(incoming: &mut RecvStream) -> Option<Bytes> {
    loop {
        let data = timeout(LIMIT, incoming.data()).await.expect("data in time")?.unwrap();
        incoming.flow_control().release_capacity(data.len()).unwrap();
        if !data.is_empty() {
            return Some(data);
        }
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// RFC 6455 section 4.2.2.
fn proof(head: &Head) -> String {
    let key = head.get("sec-websocket-key").expect("a key");
    assert_eq!(BASE64.decode(&key).unwrap().len(), 16);
    let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, [&key, guid].concat().as_bytes()))
}

/// An app that switches as RFC 6455 asks, then goes on with the script.
fn switching(script: impl Fn(&mut AppConnection) + Send + Sync + 'static) -> ScriptedApp {
    ScriptedApp::start(move |connection| {
        let head = connection.head();
        assert_eq!(head.line(), b"GET /chat?room=1 HTTP/1.1");
        assert_eq!(head.all("host"), [HOST]);
        assert_eq!(head.all("connection"), ["Upgrade"]);
        assert_eq!(head.all("upgrade"), ["websocket"]);
        assert_eq!(head.all("sec-websocket-version"), ["13"]);
        assert_eq!(head.all("sec-websocket-protocol"), ["chat"]);
        assert!(!head.has("x-ignite-forged") && !head.is_chunked());
        connection.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
            proof(&head)
        ));
        script(connection);
    })
}

#[test]
fn a_stream_becomes_an_upgrade_and_every_byte_passes_in_both_directions() {
    let app = switching(|connection| {
        assert_eq!(connection.body(5), b"early");
        connection.send("welcome");
        assert_eq!(connection.body(3), b"abc");
        assert_eq!(connection.read_to_close(), (vec![], Ended::Eof));
        connection.send("farewell");
    });
    let gateway = Gateway::of(app.address());
    run(async {
        let mut opened = open(&gateway, "websocket", "early").await;
        assert_eq!(opened.response.status(), 200);
        let headers = opened.response.headers();
        assert_eq!(headers["sec-websocket-protocol"], "chat");
        assert!(headers.contains_key("x-ignite-execution-id"));
        for absent in ["sec-websocket-accept", "upgrade", "connection", "content-length"] {
            assert!(!headers.contains_key(absent), "{absent}");
        }
        let incoming = opened.response.body_mut();
        assert_eq!(read(incoming).await.as_deref(), Some(&b"welcome"[..]));
        opened.outgoing.send_data(Bytes::from_static(b"abc"), false).unwrap();
        opened.outgoing.send_data(Bytes::new(), true).unwrap();
        assert_eq!(read(incoming).await.as_deref(), Some(&b"farewell"[..]));
        assert_eq!(read(incoming).await, None);
    });
    app.wait_finished(1);
    gateway.wait_idle();
}

#[test]
fn much_passes_within_the_windows() {
    const MUCH: usize = 4 << 20;
    let app = switching(|connection| {
        let body = connection.body(MUCH);
        connection.send(body);
    });
    let gateway = Gateway::of(app.address());
    run(async {
        let Opened { response, mut outgoing, requests: _requests } =
            open(&gateway, "websocket", "").await;
        let mut incoming = response.into_body();
        let sending = async {
            outgoing.reserve_capacity(MUCH);
            let mut rest = Bytes::from(vec![7; MUCH]);
            while !rest.is_empty() {
                let room = std::future::poll_fn(|cx| outgoing.poll_capacity(cx)).await;
                let part = rest.split_to(room.unwrap().unwrap().min(rest.len()));
                outgoing.send_data(part, false).unwrap();
            }
        };
        let receiving = async {
            let mut come = 0;
            while let Some(data) = read(&mut incoming).await {
                assert!(data.iter().all(|byte| *byte == 7));
                come += data.len();
            }
            come
        };
        let ((), come) = tokio::join!(sending, receiving);
        assert_eq!(come, MUCH);
    });
}

#[test]
fn a_caller_who_resets_the_stream_takes_the_app_along() {
    let app = switching(|connection| {
        assert_eq!(connection.body(1), b"x");
        connection.read_to_close();
    });
    let gateway = Gateway::of(app.address());
    run(async {
        let mut opened = open(&gateway, "websocket", "x").await;
        opened.outgoing.send_reset(h2::Reason::CANCEL);
        // The connection itself goes on.
        let mut requests = opened.requests.clone().ready().await.unwrap();
        let request = Request::get("http://nobody.ignite.test/").body(()).unwrap();
        let (response, _) = requests.send_request(request, true).unwrap();
        assert_eq!(response.await.unwrap().status(), 404);
        tokio::task::spawn_blocking(move || app.wait_finished(1)).await.unwrap();
    });
    gateway.wait_idle();
}

#[test]
fn an_app_that_breaks_off_resets_the_stream() {
    let app = switching(AppConnection::reset);
    let gateway = Gateway::of(app.address());
    run(async {
        let mut opened = open(&gateway, "websocket", "").await;
        assert_eq!(opened.response.status(), 200);
        let end = timeout(LIMIT, opened.response.body_mut().data()).await.expect("an end in time");
        assert!(end.is_some_and(|data| data.is_err_and(|error| error.is_reset())));
    });
}

#[test]
fn an_app_that_proves_nothing_or_does_not_switch_is_not_taken_for_one_that_did() {
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                    Upgrade: websocket\r\n";
    for (answer, status) in [
        (format!("{switched}\r\n"), 502),
        (format!("{switched}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"), 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_owned(), 502),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), 502),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned(), 403),
    ] {
        let app = ScriptedApp::answering_once(&answer);
        let gateway = Gateway::of(app.address());
        run(async {
            let opened = open(&gateway, "websocket", "").await;
            assert_eq!(opened.response.status(), status, "{answer}");
            let problem = opened.response.headers().get("proxy-status");
            let expected = (status == 502).then_some("ignite-gateway; error=http_upgrade_failed");
            assert_eq!(problem.map(|value| value.to_str().unwrap()), expected);
        });
    }
}

#[test]
fn an_app_that_speaks_http2_alone_is_not_taken_for_one_that_switched() {
    let app = ScriptedApp::start(|_| ());
    let gateway = Gateway::of_with(app.address(), |config| {
        config.apps[0].ports[0].protocol = config::Protocol::H2c;
    });
    run(async {
        let opened = open(&gateway, "websocket", "").await;
        assert_eq!(opened.response.status(), 502);
    });
}

#[test]
fn other_protocols_and_a_bare_connect_are_not_implemented() {
    let app = ScriptedApp::start(|_| panic!("nothing is for the app"));
    let gateway = Gateway::of(app.address());
    run(async {
        assert_eq!(open(&gateway, "connect-udp", "").await.response.status(), 501);
        let mut requests = connect(&gateway).await;
        let request = Request::connect(format!("{HOST}:443")).body(()).unwrap();
        let (response, _outgoing) = requests.send_request(request, false).unwrap();
        assert_eq!(response.await.unwrap().status(), 501);
    });
    assert_eq!(app.connections(), 0);
}

//! Silence within a body: whoever owes the next piece is given up, unless the
//! other side is speaking meanwhile.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use ignite_gateway::config::Protocol;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::caller::request;
use crate::support::{Caller, Gateway, HOST, LIMIT, ScriptedApp};

const IDLE: Duration = Duration::from_millis(400);
const PAUSE: Duration = Duration::from_millis(150);
/// Together far longer than may be idle.
const PIECES: usize = 8;

fn impatient(app: &ScriptedApp) -> Gateway {
    Gateway::of_with(app.address(), |config| config.timeouts.idle_body = IDLE)
}

#[test]
fn a_caller_who_listens_while_the_app_speaks_is_not_late() {
    let app = ScriptedApp::start(|connection| {
        connection.head();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..PIECES {
            std::thread::sleep(PAUSE);
            connection.send("1\r\nx\r\n");
        }
        assert_eq!(connection.chunk().expect("the caller's word"), b"end");
        assert_eq!(connection.chunk(), None);
        connection.send("0\r\n\r\n");
    });
    let gateway = impatient(&app);
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", "Transfer-Encoding: chunked\r\n", ""));
    assert_eq!(caller.read_head().word(1), b"200");
    for _ in 0..PIECES {
        assert_eq!(caller.read_chunk().expect("a piece"), b"x");
    }
    caller.send("3\r\nend\r\n0\r\n\r\n");
    assert_eq!(caller.read_chunk(), None);
}

#[test]
fn an_app_that_listens_while_the_caller_speaks_is_not_late() {
    let app = ScriptedApp::start(|connection| {
        connection.head();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..PIECES {
            assert_eq!(connection.chunk().expect("a piece"), b"x");
        }
        assert_eq!(connection.chunk(), None);
        connection.send("3\r\nend\r\n0\r\n\r\n");
    });
    let gateway = impatient(&app);
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", "Transfer-Encoding: chunked\r\n", ""));
    assert_eq!(caller.read_head().word(1), b"200");
    for _ in 0..PIECES {
        std::thread::sleep(PAUSE);
        caller.send("1\r\nx\r\n");
    }
    caller.send("0\r\n\r\n");
    assert_eq!(caller.read_chunk().expect("the app's word"), b"end");
    assert_eq!(caller.read_chunk(), None);
}

#[test]
fn when_both_are_silent_the_conversation_ends() {
    let app = ScriptedApp::start(|connection| {
        connection.head();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
        connection.read_to_close();
    });
    let gateway = impatient(&app);
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", "Transfer-Encoding: chunked\r\n", ""));
    assert_eq!(caller.read_head().word(1), b"200");
    assert_eq!(caller.read_chunk().expect("a piece"), b"x");
    assert_eq!(caller.read_to_close().0, b"", "no end that looks complete");
    gateway.wait_idle();
}

/// An app that speaks HTTP/2: it sends pieces with pauses, or takes them, then the other way round.
async fn converse_at_the_app(listener: tokio::net::TcpListener, speaks_first: bool) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    let talk = async move {
        let mut incoming = request.into_body();
        let mut outgoing = respond.send_response(http::Response::new(()), false).unwrap();
        if speaks_first {
            speak(&mut outgoing).await;
        }
        hear(&mut incoming).await;
        if !speaks_first {
            speak(&mut outgoing).await;
        }
        outgoing.send_data(Bytes::new(), true).unwrap();
    };
    let serve = async { while connection.accept().await.is_some() {} };
    tokio::join!(talk, serve);
}

async fn speak(outgoing: &mut h2::SendStream<Bytes>) {
    for _ in 0..PIECES {
        sleep(PAUSE).await;
        outgoing.send_data(Bytes::from_static(b"x"), false).unwrap();
    }
}

async fn hear(incoming: &mut h2::RecvStream) {
    let mut come = 0;
    while come < PIECES {
        let data = timeout(LIMIT, incoming.data()).await.expect("in time").expect("more");
        come += data.expect("the stream goes on").len();
    }
}

async fn call(requests: &mut SendRequest<Bytes>, speaks_first: bool) {
    let request = Request::post(format!("http://{HOST}/")).body(()).unwrap();
    let (response, mut outgoing) = requests.send_request(request, false).unwrap();
    let response = timeout(LIMIT, response).await.expect("in time").unwrap();
    let mut incoming = response.into_body();
    if speaks_first {
        speak(&mut outgoing).await;
        outgoing.send_data(Bytes::new(), true).unwrap();
    }
    hear(&mut incoming).await;
    if !speaks_first {
        speak(&mut outgoing).await;
        outgoing.send_data(Bytes::new(), true).unwrap();
    }
    let end = timeout(LIMIT, incoming.data()).await.expect("in time");
    assert!(end.is_none_or(|data| data.expect("an end").is_empty()));
}

#[test]
fn neither_side_of_a_conversation_over_http2_is_late_while_the_other_speaks() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for caller_first in [true, false] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let gateway = Gateway::of_with(listener.local_addr().unwrap(), |config| {
                config.timeouts.idle_body = IDLE;
                config.apps[0].ports[0].protocol = Protocol::H2c;
            });
            let stream = TcpStream::connect(gateway.address()).await.unwrap();
            let (requests, connection) = h2::client::handshake(stream).await.unwrap();
            let connection = tokio::spawn(connection);
            let mut requests = requests.ready().await.unwrap();
            let app = tokio::spawn(converse_at_the_app(listener, !caller_first));
            call(&mut requests, caller_first).await;
            drop(requests);
            connection.abort();
            drop(gateway);
            app.await.unwrap();
        }
    });
}

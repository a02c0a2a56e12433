//! Trailers, in both directions, whatever the caller and the app speak.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use ignite_gateway::config::Protocol;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::caller::request;
use crate::support::{Caller, Gateway, HOST, LIMIT, ScriptedApp};

/// What an app saw of a request's end.
type Seen = (Vec<u8>, Vec<(String, String)>);

/// Whether a sender that speaks HTTP/2 also declares its content's length.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Declared {
    Yes,
    No,
}

fn trailers(count: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-count", count.parse().unwrap());
    trailers.insert("x-ignite-function-id", "forged".parse().unwrap());
    trailers
}

/// An app that answers `hello` with `world` and trailers.
fn http1_app() -> ScriptedApp {
    ScriptedApp::start(|connection| {
        while let Some(head) = connection.next_head() {
            assert!(head.is_chunked(), "{head:?}");
            let seen = connection.chunked();
            assert_eq!(seen.content, b"hello");
            let [count] = &seen.trailers[..] else { panic!("{:?}", seen.trailers) };
            assert_eq!(count.to_lowercase(), "x-count: 5");
            connection.send(
                "HTTP/1.1 200 OK\r\nTrailer: X-Count\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5\r\nworld\r\n0\r\nX-Count: 6\r\nX-Ignite-Function-Id: forged\r\n\r\n",
            );
        }
    })
}

/// The same in HTTP/2.
async fn http2_app(listener: TcpListener, declared: Declared) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted.unwrap();
        tokio::spawn(async move {
            let (content, seen) = read(request.into_body()).await;
            assert_eq!((&content[..], &seen[..]), (&b"hello"[..], &[count("5")][..]));
            let mut response = Response::builder().header("trailer", "x-count");
            if declared == Declared::Yes {
                response = response.header("content-length", "5");
            }
            let mut body = respond.send_response(response.body(()).unwrap(), false).unwrap();
            body.send_data(Bytes::from_static(b"world"), false).unwrap();
            body.send_trailers(trailers("6")).unwrap();
        });
    }
}

fn count(value: &str) -> (String, String) {
    ("x-count".to_owned(), value.to_owned())
}

async fn read(mut body: h2::RecvStream) -> Seen {
    let mut content = Vec::new();
    while let Some(data) = timeout(LIMIT, body.data()).await.expect("in time") {
        content.extend(data.expect("whole content"));
    }
    let trailers = timeout(LIMIT, body.trailers()).await.expect("in time").unwrap();
    let pairs = trailers.iter().flatten();
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    (content, pairs.map(|(name, value)| (name.to_string(), text(value))).collect())
}

async fn http2_caller(gateway: &Gateway, declared: Declared) {
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut requests = requests.ready().await.unwrap();
    let mut request = Request::post(format!("http://{HOST}/"))
        .header("te", "trailers")
        .header("trailer", "x-count");
    if declared == Declared::Yes {
        request = request.header("content-length", "5");
    }
    let (response, mut body) = requests.send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(b"hello"), false).unwrap();
    body.send_trailers(trailers("5")).unwrap();
    let response = timeout(LIMIT, response).await.expect("in time").unwrap();
    assert_eq!(response.status(), 200);
    let seen = read(response.into_body()).await;
    assert_eq!(seen, (b"world".to_vec(), vec![count("6")]));
}

fn http1_caller(gateway: &Gateway) {
    let fields = "TE: trailers\r\nConnection: TE\r\nTrailer: X-Count\r\n\
                  Transfer-Encoding: chunked\r\n";
    let body = "5\r\nhello\r\n0\r\nX-Count: 5\r\nX-Ignite-Function-Id: forged\r\n\r\n";
    let mut caller = Caller::new(gateway);
    caller.send(request("POST /", fields, body));
    let response = caller.read_response().expect(200);
    assert!(response.complete && response.head.is_chunked());
    assert_eq!((response.text().as_str(), response.trailers), ("world", vec![count("6")]));
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

#[test]
fn a_caller_of_http_1_and_an_app_of_http_1() {
    let app = http1_app();
    http1_caller(&Gateway::of(app.address()));
}

#[test]
fn a_caller_of_http_2_and_an_app_of_http_1() {
    for declared in [Declared::No, Declared::Yes] {
        let app = http1_app();
        let gateway = Gateway::of(app.address());
        run(http2_caller(&gateway, declared));
    }
}

#[test]
fn a_caller_of_http_1_and_an_app_of_http_2() {
    for declared in [Declared::No, Declared::Yes] {
        run(async {
            let (gateway, app) = h2c(declared).await;
            tokio::task::spawn_blocking(move || http1_caller(&gateway)).await.unwrap();
            app.abort();
        });
    }
}

#[test]
fn a_caller_of_http_2_and_an_app_of_http_2() {
    for declared in [Declared::No, Declared::Yes] {
        run(async {
            let (gateway, app) = h2c(declared).await;
            http2_caller(&gateway, declared).await;
            app.abort();
        });
    }
}

async fn h2c(declared: Declared) -> (Gateway, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::of_with(listener.local_addr().unwrap(), |config| {
        config.apps[0].ports[0].protocol = Protocol::H2c;
    });
    (gateway, tokio::spawn(http2_app(listener, declared)))
}

//! gRPC through the gateway: what it says to calls itself, how long they may
//! take, and real libraries on both sides.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use ignite_gateway::config::{Config, Protocol};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::{Gateway, HOST, LIMIT};

mod deadlines;
mod errors;
mod goodbyes;
mod libraries;
mod limits;
mod probes;

/// The path of a method.
const METHOD: &str = "/echo.Echo/Say";

/// Connections go on while a test waits for its gateway to end.
fn run<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(1).enable_all().build().unwrap().block_on(test)
}

/// Something that must come in time.
#[track_caller]
fn soon<T>(wait: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move { timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("nothing came: {place}")) }
}

/// A gateway whose one app speaks HTTP/2 at `address`.
fn gateway(address: SocketAddr, change: impl FnOnce(&mut Config)) -> Gateway {
    Gateway::of_with(address, |config| {
        config.apps[0].ports[0].protocol = Protocol::H2c;
        change(config);
    })
}

/// An app in the test's own runtime that gives each request to `script`.
async fn app<S, F>(script: S) -> SocketAddr
where
    S: Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::new(script);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let script = script.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(script(request, respond));
                }
            });
        }
    });
    address
}

/// An app that takes calls and never answers.
async fn silent_app() -> SocketAddr {
    app(|request, respond| async move {
        let _held = (request, respond);
        std::future::pending::<()>().await;
    })
    .await
}

/// One HTTP/2 connection to a gateway.
async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    requests.ready().await.unwrap()
}

/// Begins a call with further fields; its request goes on.
fn begin(
    requests: &mut SendRequest<Bytes>,
    host: &str,
    fields: &[(&str, &str)],
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut request = Request::post(format!("http://{host}{METHOD}")).header("te", "trailers");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    if !fields.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/grpc");
    }
    requests.send_request(request.body(()).unwrap(), false).unwrap()
}

/// A call with one message to the default app, as far as to the response's head.
async fn call(gateway: &Gateway, fields: &[(&str, &str)]) -> Response<RecvStream> {
    let mut requests = connect(gateway.address()).await;
    let (response, mut outgoing) = begin(&mut requests, HOST, fields);
    outgoing.send_data(message(b"hello"), true).unwrap();
    soon(response).await.unwrap()
}

/// A message with its prefix.
fn message(content: &[u8]) -> Bytes {
    let mut message = vec![0];
    message.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
    message.extend(content);
    message.into()
}

fn field<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
    fields.get(name).map(|value| value.to_str().unwrap())
}

/// Asserts that the gateway itself ended the call, by a head without content.
#[track_caller]
fn expect_status(response: &Response<RecvStream>, status: &str, error: &str) {
    let fields = response.headers();
    assert_eq!(response.status(), 200, "{fields:?}");
    assert_eq!(field(fields, "content-type"), Some("application/grpc"));
    assert_eq!(field(fields, "grpc-status"), Some(status), "{fields:?}");
    assert!(field(fields, "grpc-message").is_some_and(|message| message.ends_with('.')));
    let wanted = format!("ignite-gateway; error={error}");
    assert_eq!(field(fields, "proxy-status"), Some(wanted.as_str()));
    assert_eq!(field(fields, "x-ignite-execution-id").map(str::len), Some(36));
    assert!(response.body().is_end_stream(), "a head that is its trailers");
}

/// What the default app's calls were counted as.
fn counted(gateway: &Gateway) -> Vec<(&'static str, &'static str, u64)> {
    gateway.wait_idle();
    gateway.route(HOST).shared.metrics.requests().collect()
}

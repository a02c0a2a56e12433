//! A request that meets a defect: its caller is told so, everybody else is served,
//! and it is counted. The defect is a real one: the pool of connections, borrowed
//! twice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::config::{self, Config, Protocol};
use crate::gateway::overload::Load;
use crate::gateway::routes::{AppSpec, PortSpec};
use crate::gateway::{Gateway, Shared};
use crate::ids::Domain;
use crate::listener::{Listener, Local};
use crate::shutdown::Drain;
use crate::telemetry::lines::Lines;
use crate::upstream::turns::Concurrency;

const HOST: &str = "hello-acme.ignite.dodil.cloud";
const LIMIT: Duration = Duration::from_secs(20);

/// One worker's gateway and listener, and an app behind it.
struct Edge {
    address: SocketAddr,
    gateway: Rc<Gateway>,
    /// Lets the app finish an answer to `/slow`.
    go_on: Arc<Notify>,
    log: Written,
}

/// What was written to the access log.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn app(go_on: Arc<Notify>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, go_on.clone()));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, go_on: Arc<Notify>) {
    let mut head = Vec::new();
    while stream.read_buf(&mut head).await.is_ok_and(|count| count > 0) {
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let (begin, end) = if head.starts_with(b"GET /slow/chunks ") {
            ("Transfer-Encoding: chunked\r\n\r\n3\r\nhal\r\n", "1\r\nf\r\n0\r\n\r\n")
        } else {
            ("Content-Length: 4\r\n\r\nhal", "f")
        };
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{begin}").as_bytes()).await.unwrap();
        if head.starts_with(b"GET /slow") {
            go_on.notified().await;
        }
        stream.write_all(end.as_bytes()).await.unwrap();
        head.clear();
    }
}

impl Edge {
    async fn start() -> Self {
        let go_on = Arc::new(Notify::new());
        let log = Written::default();
        let mut shared = Shared::new(&Config::new(Domain::default()));
        shared.log.lines = Lines::start(log.clone()).unwrap();
        let shared = Arc::new(shared);
        let port = PortSpec {
            port: 80,
            endpoints: vec![app(go_on.clone()).await],
            draining: Vec::new(),
            protocol: Protocol::Http1,
        };
        let spec = AppSpec {
            id: "acme/hello".parse().unwrap(),
            ports: vec![port],
            concurrency: Concurrency::default(),
            rate_limit: None,
            ready: true,
        };
        assert_eq!(shared.routes.register(&spec, &Domain::default()), []);
        let gateway = Gateway::new(shared, Load::alone());
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (local, drain) = (Rc::new(Local::default()), Drain::new());
        tokio::task::spawn_local({
            let gateway = gateway.clone();
            async move {
                let listener = Rc::new(Listener::new(&config::Listener::at(address), None));
                while let Ok((stream, peer)) = socket.accept().await {
                    let (listener, local) = (listener.clone(), local.clone());
                    let (gateway, drain) = (gateway.clone(), drain.clone());
                    tokio::task::spawn_local(async move {
                        let served =
                            listener.serve(stream, peer, local, gateway.clone(), drain.watch());
                        let mut silent = served.await.unwrap();
                        while let Some(caller) = silent {
                            caller.stream.readable().await.unwrap();
                            silent = caller.resume(gateway.clone(), drain.watch()).await;
                        }
                    });
                }
            }
        });
        Self { address, gateway, go_on, log }
    }

    /// The access log's lines of what failed; nothing is logged after this.
    fn failures(&self) -> Vec<Value> {
        self.gateway.observers().flush();
        self.gateway.shared().log.lines.finish();
        let text = String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["termination"] != "complete").collect()
    }

    fn panics(&self) -> u64 {
        self.gateway.shared().refusals.panics()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Nothing of what failed is still counted as under way.
    async fn expect_idle(&self) {
        let route = self.gateway.shared().routes.routes().remove(0);
        let idle = async {
            while route.shared.metrics.in_flight() > 0 || route.endpoints[0].in_flight() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, idle).await.expect("nothing is in flight");
    }
}

async fn ask(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
}

/// Reads until `end` came.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let read = tokio::time::timeout(LIMIT, stream.read_buf(&mut text)).await;
        let count = read.expect("more comes").unwrap();
        assert!(count > 0, "the connection ended after {}", text.escape_ascii());
    }
    String::from_utf8(text).unwrap()
}

async fn read_to_close(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut text)).await;
    read.expect("an end").unwrap();
    String::from_utf8(text).unwrap()
}

async fn run(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_panic_in_a_request_is_a_500_that_touches_no_other_connection() {
    run(async {
        let edge = Edge::start().await;
        let mut other = edge.connect().await;
        ask(&mut other, "/before").await;
        read_to(&mut other, "\r\n\r\nhalf").await;

        let defect = edge.gateway.upstream().pool().break_down();
        let mut hit = edge.connect().await;
        ask(&mut hit, "/").await;
        let answer = read_to_close(&mut hit).await;
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(answer.contains("proxy-status: ignite-gateway; error=proxy_internal_error"));
        assert!(answer.contains("connection: close"), "{answer}");
        assert_eq!(edge.panics(), 1);
        drop(defect);

        ask(&mut other, "/after").await;
        read_to(&mut other, "\r\n\r\nhalf").await;
        edge.expect_idle().await;
        assert_eq!(edge.panics(), 1);

        let failures = edge.failures();
        assert_eq!(failures.len(), 1, "{failures:#?}");
        let line = &failures[0];
        let id = line["ignite.execution_id"].as_str().unwrap();
        assert!(answer.contains(&format!("x-ignite-execution-id: {id}\r\n")), "{answer}");
        assert_eq!(line["termination"], "gateway.connect", "{line:#}");
        assert_eq!(line["error.type"], "internal", "{line:#}");
        assert_eq!(line["http.response.status_code"], 500, "{line:#}");
        assert_eq!(line["ignite.function_id"], "acme/hello", "{line:#}");
    })
    .await;
}

#[tokio::test]
async fn a_panic_within_an_answer_breaks_that_answer_off_and_nothing_else() {
    run(async {
        let edge = Edge::start().await;
        let mut other = edge.connect().await;
        ask(&mut other, "/before").await;
        read_to(&mut other, "\r\n\r\nhalf").await;

        let mut hit = edge.connect().await;
        ask(&mut hit, "/slow").await;
        read_to(&mut hit, "\r\n\r\nhal").await;
        let defect = edge.gateway.upstream().pool().break_down();
        edge.go_on.notify_one();
        // Of four bytes three came: nobody takes that for the whole.
        assert_eq!(read_to_close(&mut hit).await, "");
        assert_eq!(edge.panics(), 1);
        drop(defect);

        ask(&mut other, "/after").await;
        read_to(&mut other, "\r\n\r\nhalf").await;
        edge.expect_idle().await;
    })
    .await;
}

#[tokio::test]
async fn a_panic_within_an_answer_that_the_close_ends_resets_its_connection() {
    run(async {
        let edge = Edge::start().await;
        let mut hit = edge.connect().await;
        let request = format!("GET /slow/chunks HTTP/1.0\r\nHost: {HOST}\r\n\r\n");
        hit.write_all(request.as_bytes()).await.unwrap();
        read_to(&mut hit, "\r\n\r\nhal").await;
        let defect = edge.gateway.upstream().pool().break_down();
        edge.go_on.notify_one();
        let read = tokio::time::timeout(LIMIT, hit.read_to_end(&mut Vec::new())).await;
        let error = read.expect("an end").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        drop(defect);
        edge.expect_idle().await;
    })
    .await;
}

#[tokio::test]
async fn a_panic_in_a_stream_leaves_the_other_streams_of_its_connection_alone() {
    run(async {
        let edge = Edge::start().await;
        let stream = edge.connect().await;
        let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request =
            |path: &str| http::Request::get(format!("http://{HOST}{path}")).body(()).unwrap();
        let (slow, _) = requests.send_request(request("/slow"), true).unwrap();
        let mut slow = slow.await.unwrap().into_body();
        assert_eq!(slow.data().await.unwrap().unwrap(), "hal");

        let defect = edge.gateway.upstream().pool().break_down();
        let (hit, _) = requests.send_request(request("/"), true).unwrap();
        assert_eq!(hit.await.unwrap().status(), 500);
        assert_eq!(edge.panics(), 1);
        drop(defect);

        edge.go_on.notify_one();
        assert_eq!(slow.data().await.unwrap().unwrap(), "f");
        assert!(slow.data().await.is_none());

        // Within an answer: its stream is reset, and says that it is not whole.
        let (hit, _) = requests.send_request(request("/slow"), true).unwrap();
        let mut hit = hit.await.unwrap().into_body();
        assert_eq!(hit.data().await.unwrap().unwrap(), "hal");
        let defect = edge.gateway.upstream().pool().break_down();
        edge.go_on.notify_one();
        let error = hit.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
        assert_eq!(edge.panics(), 2);
        drop(defect);

        let (after, _) = requests.send_request(request("/"), true).unwrap();
        assert_eq!(after.await.unwrap().status(), 200);
        edge.expect_idle().await;
    })
    .await;
}

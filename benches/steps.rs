//! The steps of one request, each alone: host look-up, header rewrite, and the
//! whole way through a worker's gateway over in-memory streams on the caller's
//! side and a loopback socket on the app's.
//!
//! `cargo bench --bench steps`; criterion keeps the last run and prints the change.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ignite_gateway::body::Body;
use ignite_gateway::config::{Config, Protocol};
use ignite_gateway::gateway::headers::{forwarded::Peer, rewrite_request};
use ignite_gateway::gateway::routes::{AppSpec, PortSpec};
use ignite_gateway::gateway::{Gateway, Shared, host};
use ignite_gateway::http1::head::{HeadScan, Limits, take_request};
use ignite_gateway::ids::ExecutionIds;
use ignite_gateway::listener::connection;
use ignite_gateway::message::Request;
use ignite_gateway::shutdown::Drain;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HEAD: &str = "GET /v1/items?limit=20 HTTP/1.1\r\n\
    Host: app-7-org.ignite.dodil.cloud\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\
    Accept: application/json\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Connection: keep-alive\r\n\r\n";

const LIMITS: Limits = Limits { bytes: 32 << 10, fields: 100, target: 16 << 10 };

fn shared(apps: usize, endpoint: Option<std::net::SocketAddr>) -> Arc<Shared> {
    let config = Config::new("ignite.dodil.cloud".parse().unwrap());
    let shared = Arc::new(Shared::new(&config));
    for app in 0..apps {
        let spec = AppSpec {
            id: format!("org/app-{app}").parse().unwrap(),
            ports: vec![PortSpec {
                port: 80,
                endpoints: endpoint.into_iter().collect(),
                protocol: Protocol::Http1,
            }],
            concurrency: 0,
            ready: true,
        };
        shared.routes.register(&spec, &config.domain);
    }
    shared
}

fn request() -> Request {
    let mut buffer = BytesMut::from(HEAD);
    let head = take_request(&mut buffer, &mut HeadScan::default(), &LIMITS).unwrap().unwrap();
    Request {
        method: head.method,
        target: head.target,
        authority: None,
        version: head.version,
        fields: head.fields,
        body: Body::empty(),
        expects_continue: false,
        upgrade: None,
    }
}

fn steps(criterion: &mut Criterion) {
    criterion.bench_function("parse a request head", |bencher| {
        let text = Bytes::from_static(HEAD.as_bytes());
        bencher.iter_batched(
            || BytesMut::from(&text[..]),
            |mut buffer| take_request(&mut buffer, &mut HeadScan::default(), &LIMITS),
            BatchSize::SmallInput,
        );
    });
    for apps in [10, 100_000] {
        let shared = shared(apps, None);
        let request = request();
        criterion.bench_function(&format!("find a host among {apps} apps"), |bencher| {
            bencher.iter(|| {
                let host = host::of_request(black_box(&request)).unwrap();
                shared.routes.find(&host)
            });
        });
    }
    criterion.bench_function("rewrite a request's fields", |bencher| {
        let route = shared(8, None).routes.routes().remove(0);
        let peer = Peer::new("192.0.2.7:4000".parse().unwrap(), &[]);
        let id = ExecutionIds::new().mint();
        bencher.iter_batched(
            request,
            |mut request| rewrite_request(&mut request, &route, &peer, &id).map(|()| request),
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("mint an execution id", |bencher| {
        let mut ids = ExecutionIds::new();
        bencher.iter(|| ids.mint());
    });
}

/// An app that answers every request with 32 bytes.
async fn app(listener: tokio::net::TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::task::spawn_local(async move {
            stream.set_nodelay(true).unwrap();
            let mut buffer = vec![0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n0123456789abcdef0123456789abcdef";
                stream.write_all(answer).await.unwrap();
            }
        });
    }
}

fn whole(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = tokio::task::LocalSet::new();
    let mut caller = tasks.block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = shared(8, Some(listener.local_addr().unwrap()));
        tokio::task::spawn_local(app(listener));
        let gateway: Rc<Gateway> = Gateway::new(shared);
        let (caller, stream) = tokio::io::duplex(64 << 10);
        let peer = Peer::new("192.0.2.7:4000".parse().unwrap(), &[]);
        tokio::task::spawn_local(connection::serve(stream, peer, gateway, Drain::new().watch()));
        caller
    });
    let mut answer = vec![0; 4096];
    criterion.bench_function("one request through a worker", |bencher| {
        bencher.iter(|| {
            tasks.block_on(&runtime, async {
                caller.write_all(HEAD.as_bytes()).await.unwrap();
                caller.read(&mut answer).await.unwrap()
            })
        });
    });
}

criterion_group!(benches, steps, whole);
criterion_main!(benches);

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
use ignite_gateway::gateway::overload::Load;
use ignite_gateway::gateway::routes::{AppSpec, PortSpec};
use ignite_gateway::gateway::{Gateway, Shared, host};
use ignite_gateway::http1::head::{HeadScan, Limits, take_request};
use ignite_gateway::http2::hpack::{Decoder, Encoder};
use ignite_gateway::ids::ExecutionIds;
use ignite_gateway::listener::connection;
use ignite_gateway::message::Request;
use ignite_gateway::shutdown::Drain;
use ignite_gateway::upstream::turns::Concurrency;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HEAD: &str = "GET /v1/items?limit=20 HTTP/1.1\r\n\
    Host: app-7-org.ignite.dodil.cloud\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\
    Accept: application/json\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Connection: keep-alive\r\n\r\n";

/// The field block of a browser's first request on a connection, and of its second one: the path is
/// a literal, all else is in the tables.
const FIRST_BLOCK: &str = "8241941d75aceac7b265cd3546495790f21a85c941ed9387148d63b858324b4a3fca0d4993008140874148b1\
    275ad1ffb8fe6f4f61e935b4ff3f7de0fe42d03f9fa53f9d274c10ff976c1d527f3f7de0fe44d7f3f4a7f388\
    e79a82a97a7b0f497f9fbef07f21681fcf408b4148b1275ad1ad49e3350582ff01408d4148b1275ad1ad5d03\
    4ca7b29f87fe739aab7cff3f4092b6b9ac1c8558d520a4b6c2ad617b5a54251f810f7aced07f66a281b0dae0\
    53fafc087ed4ce6aadf2a7979c89c6bfb521aeba0bc8b1e632586d975765c53facd8f7e8cff4a506ea553114\
    9d4ffda97a7b0f49580b405c0b817029b8728ec330db2eaecb9f53c0497ca589d34d1f43aeba0c41a4c7a98f\
    33a69a3fdf9a68fa1d75d0620d263d4c79a68fbed00177fe8d48e62b03ee697e8d48e62b1e0b1d7f5f2c7cfd\
    f6800bbd408a4148b4a549275906497f83a8f517408a4148b4a549275a93c85f86a87dcd30d25f408a4148b4\
    a549275a42a13f8690e4b692d49f50929bd9abfa5242cb40d25fa523b3e94f684c9f518b2d4b70ddf45abefb\
    4005df609c4150831ea81e942d15a6e5214a30b8e8db1b2e4859246a328c4db4cf4086aec31ec327d785b600\
    7d286f";
const SECOND_BLOCK: &str =
    "82cb87149463b858324b4a1869d087fc2f9ac754901fc545b3cac9c8c7c6c5c4c3c2c1c0bfbe";

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
                draining: Vec::new(),
                protocol: Protocol::Http1,
            }],
            concurrency: Concurrency::default(),
            rate_limit: None,
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
            |mut request| rewrite_request(&mut request, &route, &peer, &id, None).map(|()| request),
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("mint an execution id", |bencher| {
        let mut ids = ExecutionIds::new();
        bencher.iter(|| ids.mint());
    });
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    let (pairs, _) = digits.as_chunks();
    pairs.iter().map(|[high, low]| u8::try_from(high << 4 | low).unwrap()).collect()
}

fn field_blocks(criterion: &mut Criterion) {
    let (first, second) = (from_hex(FIRST_BLOCK), from_hex(SECOND_BLOCK));
    criterion.bench_function("hpack: decode a first request", |bencher| {
        bencher.iter_batched(
            || Decoder::new(4096),
            |mut decoder| {
                let taken = decoder.decode(&first, |name, value| {
                    black_box((name, value));
                });
                taken.map(|()| decoder)
            },
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("hpack: decode a repeated request", |bencher| {
        let mut decoder = Decoder::new(4096);
        decoder.decode(&first, |_, _| {}).unwrap();
        bencher.iter(|| {
            decoder.decode(black_box(&second), |name, value| {
                black_box((name, value));
            })
        });
    });
    criterion.bench_function("hpack: encode a repeated response", |bencher| {
        let mut encoder = Encoder::new();
        let mut out = BytesMut::with_capacity(4096);
        let mut ids = ExecutionIds::new();
        let ids: Vec<_> = (0..64).map(|_| ids.mint()).collect();
        let mut turn = ids.iter().cycle();
        bencher.iter(|| {
            out.clear();
            encoder.begin(&mut out);
            for (name, value) in [
                (":status", "200"),
                ("Content-Type", "application/json; charset=utf-8"),
                ("Content-Length", "4096"),
                ("Date", "Mon, 21 Oct 2025 20:13:21 GMT"),
                ("Server", "uvicorn"),
                ("via", "2.0 ignite"),
            ] {
                encoder.field(black_box(name.as_bytes()), black_box(value.as_bytes()), &mut out);
            }
            let id = turn.next().unwrap();
            encoder.field(b"x-ignite-execution-id", id.as_str().as_bytes(), &mut out);
            out.len()
        });
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
        let gateway: Rc<Gateway> = Gateway::new(shared, Load::alone());
        let (caller, stream) = tokio::io::duplex(64 << 10);
        let peer = Rc::new(Peer::new("192.0.2.7:4000".parse().unwrap(), &[]));
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

criterion_group!(benches, steps, field_blocks, whole);
criterion_main!(benches);

//! A worker's gateway without its thread: callers come over memory, the app
//! listens on loopback and reads each byte that reaches it.
//!
//! It stays from one input to the next, as a worker does, so what one input
//! leaves behind in the pool would show in the next. All of it runs on the
//! calling thread.

use std::cell::RefCell;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ignite_gateway::config::{Config, LogFormat, Protocol};
use ignite_gateway::gateway::headers::forwarded::Peer;
use ignite_gateway::gateway::overload::Load;
use ignite_gateway::gateway::routes::{AppSpec, PortSpec, RouteTable};
use ignite_gateway::gateway::{Gateway, Shared};
use ignite_gateway::listener::connection;
use ignite_gateway::shutdown::Drain;
use ignite_gateway::upstream::app::Route;
use ignite_gateway::upstream::turns::Concurrency;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::reference::Limits;

/// Small limits, so that inputs reach them.
pub const LIMITS: Limits = Limits { bytes: 4 << 10, fields: 24, target: 1 << 10 };
/// The longest that a step may take, in seconds; a machine may be slow, but not by this much.
const PATIENCE: usize = 30;

/// What an app does on one connection: what came so far, and what it answers to.
pub trait App: 'static {
    /// Called whenever bytes came; takes what it has understood, and says what to do.
    fn came(&mut self, bytes: &mut Vec<u8>) -> Vec<Reply>;
}

/// What an app does.
#[derive(Debug)]
pub enum Reply {
    Write(Vec<u8>),
    /// Lets the gateway read what was written.
    Pause,
    Close,
}

/// The stage.
pub struct Stage {
    runtime: Runtime,
    tasks: LocalSet,
    gateway: Rc<Gateway>,
}

impl Stage {
    /// A stage whose app's connections are each made by `open`.
    pub fn new<A: App>(open: impl Fn() -> A + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tasks = LocalSet::new();
        let gateway = tasks.block_on(&runtime, async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::task::spawn_local(async move {
                loop {
                    let (stream, _) = listener.accept().await.expect("the app accepts");
                    tokio::task::spawn_local(serve_app(stream, open()));
                }
            });
            Gateway::new(shared(address), Load::alone())
        });
        Self { runtime, tasks, gateway }
    }

    /// Runs a caller against a connection of the gateway to its end.
    pub fn run<T>(&self, caller: impl AsyncFnOnce(DuplexStream) -> T) -> T {
        self.tasks.block_on(&self.runtime, async {
            let (near, far) = tokio::io::duplex(64 << 10);
            let peer = Rc::new(Peer::new("192.0.2.7:4000".parse().unwrap(), &[]));
            let watch = Drain::new().watch();
            let serving = connection::serve(far, peer, self.gateway.clone(), watch);
            let serving = tokio::task::spawn_local(serving);
            let result = in_time("the caller is answered", caller(near)).await;
            let ended = in_time("the connection ends", serving).await;
            let silent = ended.expect("the connection does not panic");
            assert!(silent.is_none(), "it ends with its caller");
            result
        })
    }
}

/// Waits, but not for ever. Second by second: of the time in which the process is stopped, to leave
/// the machine to others, no more than one counts.
pub async fn in_time<T>(what: &str, step: impl Future<Output = T>) -> T {
    let mut step = std::pin::pin!(step);
    for _ in 0..PATIENCE {
        if let Ok(done) = tokio::time::timeout(Duration::from_secs(1), &mut step).await {
            return done;
        }
    }
    panic!("it never happens that {what}")
}

/// Writes in the pieces that `cuts` makes, with turns for the reader in between.
pub async fn write_in_pieces(
    stream: &mut (impl AsyncWriteExt + Unpin),
    bytes: &[u8],
    cuts: &[usize],
) -> std::io::Result<()> {
    let mut start = 0;
    for end in cuts.iter().copied().filter(|cut| *cut < bytes.len()).chain([bytes.len()]) {
        if end > start {
            stream.write_all(&bytes[start..end]).await?;
            start = end;
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// A few places at which to cut, made of the bytes alone, so that an input repeats itself.
pub fn cuts(bytes: &[u8]) -> Vec<usize> {
    let mut hash = fnv(bytes);
    let count = (hash % 4) as usize;
    let mut cuts: Vec<usize> = (0..count)
        .map(|_| {
            hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
            (hash % (bytes.len() as u64 + 1)) as usize
        })
        .collect();
    cuts.sort_unstable();
    cuts
}

/// A number of the bytes.
pub fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// A route to the one app.
pub fn route() -> Arc<Route> {
    let table = RouteTable::new();
    table.register(&spec(None), &"ignite.test".parse().unwrap());
    table.routes().remove(0)
}

fn spec(endpoint: Option<SocketAddr>) -> AppSpec {
    AppSpec {
        id: "acme/hello".parse().unwrap(),
        ports: vec![PortSpec {
            port: 80,
            endpoints: endpoint.into_iter().collect(),
            draining: Vec::new(),
            protocol: Protocol::Http1,
        }],
        concurrency: Concurrency::default(),
        rate_limit: None,
        ready: true,
    }
}

fn shared(endpoint: SocketAddr) -> Arc<Shared> {
    let mut config = Config::new("ignite.test".parse().unwrap());
    config.limits.header_bytes = LIMITS.bytes;
    config.limits.headers = LIMITS.fields;
    config.limits.request_target_bytes = LIMITS.target;
    config.limits.response_header_bytes = LIMITS.bytes;
    config.access_log.format = LogFormat::Off;
    let shared = Arc::new(Shared::new(&config));
    assert_eq!(shared.routes.register(&spec(Some(endpoint)), &config.domain), []);
    shared
}

async fn serve_app<A: App>(mut stream: TcpStream, mut app: A) {
    stream.set_nodelay(true).unwrap();
    let mut bytes = Vec::new();
    while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
        for reply in app.came(&mut bytes) {
            match reply {
                // A gateway that has left is no failure of the app.
                Reply::Write(answer) => drop(stream.write_all(&answer).await),
                Reply::Pause => {
                    for _ in 0..4 {
                        tokio::task::yield_now().await;
                    }
                }
                Reply::Close => return,
            }
        }
    }
}

/// A value that a target keeps for its thread, and never drops: a runtime cannot end among the
/// thread's other values.
pub struct PerThread<T: 'static>(RefCell<Option<&'static T>>);

impl<T> PerThread<T> {
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }

    /// The value, made at the first use.
    pub fn get(&self, make: impl FnOnce() -> T) -> &'static T {
        self.0.borrow_mut().get_or_insert_with(|| Box::leak(Box::new(make())))
    }
}

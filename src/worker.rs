//! A worker: one thread, one runtime, its own listening sockets, connections
//! and pool. What a request needs stays on it from accept to answer.
//!
//! The kernel spreads connections by hash, which is uneven for few of them, so
//! a worker with clearly more than the least loaded one hands the newcomer
//! over, before a byte of it was read.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::clock;
use crate::gateway::{Gateway, Shared};
use crate::listener::accept::{accept, accept_rest, listen};
use crate::listener::{Listener, Local};
use crate::shutdown::Drain;
use crate::telemetry::metrics::WorkerMetrics;

mod crew;
mod housekeeping;
mod idle;
mod leisure;
mod pace;

pub use crew::Crew;
use crew::{Handover, Member, QUESTIONS, Question};
use housekeeping::keep_house;
use idle::{Idle, rest, wake};

/// Tasks polled between two looks at the sockets. The default of 61 looks too
/// often under load: 200 was measured best at 512 connections.
const EVENT_INTERVAL: u32 = 200;

/// One worker before it runs.
pub struct Worker {
    index: usize,
    crew: Arc<Crew>,
    inbox: mpsc::UnboundedReceiver<Handover>,
    questions: mpsc::Receiver<Question>,
    listeners: Vec<Socket>,
    shared: Arc<Shared>,
    drain: Drain,
    stop_accepting: Drain,
    end: Drain,
}

/// A worker's socket of one listener.
pub type Socket = (std::net::TcpListener, Arc<Listener>);

/// The signals of all workers.
#[derive(Clone)]
pub struct Signals {
    /// Idle connections close, others after their request.
    pub drain: Vec<Drain>,
    /// Listening sockets close.
    pub stop_accepting: Vec<Drain>,
    /// Whatever still runs is dropped.
    pub end: Drain,
}

/// Makes `count` workers; `listeners` holds each worker's sockets.
pub fn crew(
    listeners: Vec<Vec<Socket>>,
    shared: &Arc<Shared>,
) -> (Arc<Crew>, Vec<Worker>, Signals) {
    let (members, inboxes): (Vec<_>, Vec<_>) = listeners
        .iter()
        .map(|_| {
            let (inbox, receiver) = mpsc::unbounded_channel();
            let (questions, asked) = mpsc::channel(QUESTIONS);
            (Member::new(inbox, questions), (receiver, asked))
        })
        .unzip();
    let crew = Arc::new(Crew::new(members));
    let mut signals = Signals { drain: Vec::new(), stop_accepting: Vec::new(), end: Drain::new() };
    let workers = listeners
        .into_iter()
        .zip(inboxes)
        .enumerate()
        .map(|(index, (listeners, (inbox, questions)))| {
            let (drain, stop_accepting) = (Drain::new(), Drain::new());
            signals.drain.push(drain.clone());
            signals.stop_accepting.push(stop_accepting.clone());
            let (crew, shared, end) = (crew.clone(), shared.clone(), signals.end.clone());
            Worker { index, crew, inbox, questions, listeners, shared, drain, stop_accepting, end }
        })
        .collect();
    (crew, workers, signals)
}

impl Worker {
    /// Starts the thread; it ends when its connections have ended after a drain. Tells when it
    /// accepts from all of its sockets.
    pub fn start(self) -> io::Result<(std::thread::JoinHandle<()>, oneshot::Receiver<()>)> {
        let (accepts, accepting) = oneshot::channel();
        let name = format!("worker-{}", self.index);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .on_thread_unpark(clock::keep)
            .build()?;
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            clock::keep();
            let tasks = LocalSet::new();
            tasks.block_on(&runtime, self.run(accepts));
        });
        thread.map(|thread| (thread, accepting))
    }

    async fn run(mut self, accepts: oneshot::Sender<()>) {
        let gateway = Gateway::new(self.shared.clone(), self.crew.load(self.index));
        let idle = match Idle::new() {
            Ok(idle) => idle,
            Err(error) => return tracing::error!(%error, "a worker cannot watch sockets"),
        };
        let own = Rc::new(Own::new(self.index, self.crew.clone(), idle));
        let waking =
            tokio::task::spawn_local(wake(gateway.clone(), own.clone(), self.drain.clone()));
        let housekeeping = tokio::task::spawn_local(keep_house(gateway.clone(), own.clone()));
        let measuring = tokio::task::spawn_local(pace::measure(gateway.clone()));
        let mut accepting = Vec::new();
        for (socket, listener) in std::mem::take(&mut self.listeners) {
            match listen(&socket).and_then(|()| TcpListener::from_std(socket)) {
                Ok(socket) => accepting.push(tokio::task::spawn_local(accept_all(
                    socket,
                    listener,
                    gateway.clone(),
                    own.clone(),
                    self.drain.clone(),
                    self.stop_accepting.clone(),
                ))),
                // Without it the process must not be taken for one that accepts.
                Err(error) => return tracing::error!(%error, "a listening socket is lost"),
            }
        }
        let _ = accepts.send(());
        loop {
            tokio::select! {
                handed = self.inbox.recv() => {
                    let Some(handed) = handed else { break };
                    take_over(handed, &gateway, &own, &self.drain);
                }
                Some(question) = self.questions.recv() => question(&gateway),
                () = self.drain.begun() => break,
            }
        }
        for task in accepting {
            let _ = task.await;
        }
        // A colleague may have handed over a connection before he saw the signal.
        let rest = async {
            loop {
                tokio::select! {
                    Some(handed) = self.inbox.recv() => {
                        take_over(handed, &gateway, &own, &self.drain);
                    }
                    Some(question) = self.questions.recv() => question(&gateway),
                    else => std::future::pending::<()>().await,
                }
            }
        };
        tokio::select! {
            biased;
            () = rest => {}
            () = own.emptied() => {}
            () = self.end.begun() => {}
        }
        housekeeping.abort();
        measuring.abort();
        waking.abort();
        own.idle.close_all();
        own.seen(u64::MAX);
    }
}

/// A worker's own part in the crew.
struct Own {
    index: usize,
    crew: Arc<Crew>,
    local: Rc<Local>,
    idle: Idle,
}

impl Own {
    fn new(index: usize, crew: Arc<Crew>, idle: Idle) -> Self {
        let metrics = crew.members.get(index).map(|member| member.metrics.clone());
        let local = Local::new(metrics.unwrap_or_default(), crew.per_client.clone());
        Self { index, crew, local: Rc::new(local), idle }
    }

    fn member(&self) -> Option<&Member> {
        self.crew.members.get(self.index)
    }

    fn count(&self, field: impl Fn(&WorkerMetrics) -> &AtomicU64) {
        if let Some(member) = self.member() {
            field(&member.metrics).fetch_add(1, Ordering::Relaxed);
        }
    }

    fn seen(&self, at: u64) {
        if let Some(member) = self.member() {
            member.seen.store(at, Ordering::Relaxed);
        }
    }

    fn load(&self) -> usize {
        self.member().map_or(0, |member| member.load.load(Ordering::Relaxed))
    }

    fn closed(&self) {
        self.crew.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(member) = self.member() {
            member.load.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Waits until no connection is left.
    async fn emptied(&self) {
        while self.load() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Counts a connection as long as it lives.
struct Open(Rc<Own>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed();
    }
}

async fn accept_all(
    socket: TcpListener,
    listener: Arc<Listener>,
    gateway: Rc<Gateway>,
    own: Rc<Own>,
    drain: Drain,
    stop: Drain,
) {
    let newcomers = pace::Newcomers::default();
    loop {
        tokio::select! {
            (stream, address) = next(&socket, &newcomers, &gateway) => {
                admit(stream, address, &listener, &gateway, &own, &drain);
            }
            () = stop.begun() => break,
        }
    }
    // What the kernel has accepted already would be reset with the socket.
    for (stream, address) in accept_rest(socket) {
        admit(stream, address, &listener, &gateway, &own, &drain);
    }
}

/// The next connection, at leisure while there is too much to do.
async fn next(
    socket: &TcpListener,
    newcomers: &pace::Newcomers,
    gateway: &Gateway,
) -> (TcpStream, SocketAddr) {
    newcomers.ease(gateway).await;
    accept(socket).await
}

/// Counts a newcomer, and keeps, hands over or refuses it.
fn admit(
    stream: TcpStream,
    address: SocketAddr,
    listener: &Arc<Listener>,
    gateway: &Rc<Gateway>,
    own: &Rc<Own>,
    drain: &Drain,
) {
    own.count(|metrics| &metrics.accepted);
    let limit = gateway.shared().settings.load().limits.connections;
    if own.crew.open.fetch_add(1, Ordering::Relaxed) >= limit {
        own.crew.open.fetch_sub(1, Ordering::Relaxed);
        own.count(|metrics| &metrics.refused_total);
        return;
    }
    if let Some(other) = own.crew.relief(own.index).filter(|_| !drain.is_draining()) {
        hand_over(stream, address, listener, other, own);
    } else {
        if let Some(member) = own.member() {
            member.load.fetch_add(1, Ordering::Relaxed);
        }
        begin(stream, address, listener.clone(), gateway, own, drain);
    }
}

/// A connection that another worker accepted, and counted here.
fn take_over(handed: Handover, gateway: &Rc<Gateway>, own: &Rc<Own>, drain: &Drain) {
    let Handover { stream, address, listener } = handed;
    match TcpStream::from_std(stream) {
        Ok(stream) => begin(stream, address, listener, gateway, own, drain),
        Err(_) => own.closed(),
    }
}

fn hand_over(
    stream: TcpStream,
    address: SocketAddr,
    listener: &Arc<Listener>,
    other: &Member,
    own: &Own,
) {
    let listener = listener.clone();
    own.count(|metrics| &metrics.handed_over);
    // Counted at once, so that the next newcomer does not go there as well.
    other.load.fetch_add(1, Ordering::Relaxed);
    let sent = stream
        .into_std()
        .map(|stream| other.inbox.send(Handover { stream, address, listener }).is_ok());
    if !sent.unwrap_or(false) {
        other.load.fetch_sub(1, Ordering::Relaxed);
        own.crew.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn begin(
    stream: TcpStream,
    address: SocketAddr,
    listener: Arc<Listener>,
    gateway: &Rc<Gateway>,
    own: &Rc<Own>,
    drain: &Drain,
) {
    let open = Open(own.clone());
    let (local, gateway) = (own.local.clone(), gateway.clone());
    let drain = drain.watch();
    tokio::task::spawn_local(async move {
        match listener.serve(stream, address, local, gateway.clone(), drain).await {
            Ok(silent) => rest(silent, &gateway, open),
            Err(refused) => {
                open.0.count(|metrics| refused.counter(metrics));
                // Only for whoever looks for it: a load balancer's health checks end here, and a
                // stranger must not be able to fill the log.
                tracing::debug!(client = %address, reason = %refused, "connection closed");
            }
        }
    });
}

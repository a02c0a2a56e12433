//! Load that no tool at hand makes: full handshakes, WebSocket messages, requests at a fixed rate,
//! connections that are held and do nothing.
//!
//! A process of its own on the load's cores, a thread on each of them. What it counted it prints as
//! wrk's script does, in one line; the first thing that went wrong goes to standard error.

mod handshake;
mod idle;
mod kept;
mod metronome;
mod paced;
mod websocket;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use crate::load::MARK;
use crate::{Fallible, tls};

const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    Handshake,
    Websocket,
    Paced,
    Idle,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Websocket => "websocket",
            Self::Paced => "paced",
            Self::Idle => "idle",
        }
    }
}

#[derive(Clone, clap::Args)]
pub(crate) struct Order {
    pub(crate) kind: Kind,
    pub(crate) target: SocketAddr,
    #[arg(long)]
    pub(crate) connections: usize,
    #[arg(long)]
    pub(crate) size: usize,
    #[arg(long, default_value_t = 1)]
    pub(crate) seconds: u64,
    #[arg(long)]
    pub(crate) threads: usize,
    /// The one that is believed.
    #[arg(long)]
    pub(crate) certificate: PathBuf,
    #[arg(long)]
    pub(crate) tls: bool,
    /// Requests a second, of all threads together.
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u64,
    /// Not the first only: connection by connection another one.
    #[arg(long)]
    pub(crate) every_app: bool,
}

/// What one thread counted.
#[derive(Default)]
struct Tally {
    latencies_us: Vec<u64>,
    bytes: usize,
    errors: u64,
    late: u64,
    /// When the first request was due, where that is not the start.
    begun: Option<Instant>,
}

impl Tally {
    fn count(&mut self, since: Instant, bytes: usize) {
        self.latencies_us.push(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
        self.bytes += bytes;
    }

    /// One voids the run: there is nothing to gain from going on.
    fn complain(&mut self, error: &(dyn std::error::Error + 'static)) {
        if self.errors + self.late == 0 {
            eprintln!("{error}");
        }
        let cause = error.downcast_ref::<io::Error>();
        if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut) {
            self.late += 1;
        } else {
            self.errors += 1;
        }
    }
}

pub(crate) fn run(order: &Order) -> Fallible<()> {
    let client = tls::Client::trusting(&order.certificate)?;
    if order.kind == Kind::Idle {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return LocalSet::new().block_on(&runtime, idle::hold(order, &client));
    }
    let begun = Instant::now();
    let threads: Vec<_> = (0..order.threads)
        .map(|thread| {
            let (mut order, client) = (order.clone(), client.clone());
            order.connections = (order.connections + thread) / order.threads;
            thread::spawn(move || on_a_thread(&order, &client, begun))
        })
        .collect();
    let mut whole = Tally::default();
    for thread in threads {
        let part = thread.join().map_err(|_| "a thread of the load panicked")??;
        whole.latencies_us.extend(part.latencies_us);
        whole.bytes += part.bytes;
        whole.errors += part.errors;
        whole.late += part.late;
        whole.begun = whole.begun.or(part.begun);
    }
    let duration = whole.begun.unwrap_or(begun).elapsed().as_micros();
    whole.latencies_us.sort_unstable();
    let latencies = &whole.latencies_us;
    let share = |of: usize| latencies.get(latencies.len() * of / 1000).copied().unwrap_or(0);
    let (requests, p50, p99, p999) = (latencies.len(), share(500), share(990), share(999));
    let Tally { bytes, errors, late, .. } = whole;
    println!("{MARK} {requests} {duration} {bytes} {p50} {p99} {p999} 0 {errors} 0 {late} 0");
    Ok(())
}

fn on_a_thread(order: &Order, client: &tls::Client, begun: Instant) -> io::Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tally = Rc::new(RefCell::new(Tally::default()));
    let local = LocalSet::new();
    if order.kind == Kind::Paced {
        let paced = paced::drive(order.clone(), client.clone(), Rc::clone(&tally));
        if let Err(error) = local.block_on(&runtime, paced) {
            tally.borrow_mut().complain(&*error);
        }
        return Ok(tally.take());
    }
    let end = begun + Duration::from_secs(order.seconds);
    for _ in 0..order.connections {
        let (order, client, tally) = (order.clone(), client.clone(), Rc::clone(&tally));
        local.spawn_local(async move {
            let worked = match order.kind {
                Kind::Websocket => websocket::again(&order, &tally, end).await,
                _ => handshake::again(&order, &client, &tally, end).await,
            };
            if let Err(error) = worked {
                tally.borrow_mut().complain(&*error);
            }
        });
    }
    runtime.block_on(local);
    Ok(tally.take())
}

async fn in_time<Output>(step: impl Future<Output = Fallible<Output>>) -> Fallible<Output> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
    tokio::time::timeout(PATIENCE, step).await.map_err(late)?
}

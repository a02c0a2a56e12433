//! Load that no tool at hand makes: full handshakes, WebSocket messages.
//!
//! A process of its own on the load's cores, a thread on each of them. What it counted it prints as
//! wrk's script does, in one line; the first thing that went wrong goes to standard error.

mod handshake;
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

#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Kind {
    Handshake,
    Websocket,
}

#[derive(Clone, clap::Args)]
pub(crate) struct Order {
    pub(crate) kind: Kind,
    pub(crate) target: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) size: usize,
    pub(crate) seconds: u64,
    pub(crate) threads: usize,
    /// The one that is believed.
    pub(crate) certificate: PathBuf,
}

/// What one thread counted.
#[derive(Default)]
struct Tally {
    latencies_us: Vec<u64>,
    bytes: usize,
    errors: u64,
}

impl Tally {
    fn count(&mut self, since: Instant, bytes: usize) {
        self.latencies_us.push(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
        self.bytes += bytes;
    }
}

pub(crate) fn run(order: &Order) -> Fallible<()> {
    let client = tls::Client::trusting(&order.certificate)?;
    let begun = Instant::now();
    let end = begun + Duration::from_secs(order.seconds);
    let threads: Vec<_> = (0..order.threads)
        .map(|thread| {
            let (order, client) = (order.clone(), client.clone());
            let evenly = (order.connections + thread) / order.threads;
            thread::spawn(move || on_a_thread(&order, &client, evenly, end))
        })
        .collect();
    let mut whole = Tally::default();
    for thread in threads {
        let part = thread.join().map_err(|_| "a thread of the load panicked")??;
        whole.latencies_us.extend(part.latencies_us);
        whole.bytes += part.bytes;
        whole.errors += part.errors;
    }
    let duration = begun.elapsed().as_micros();
    whole.latencies_us.sort_unstable();
    let latencies = &whole.latencies_us;
    let share = |percent| latencies.get(latencies.len() * percent / 100).copied().unwrap_or(0);
    let (requests, p50, p99) = (latencies.len(), share(50), share(99));
    let (bytes, errors) = (whole.bytes, whole.errors);
    println!("{MARK} {requests} {duration} {bytes} {p50} {p99} 0 {errors} 0 0 0");
    Ok(())
}

fn on_a_thread(
    order: &Order,
    client: &tls::Client,
    connections: usize,
    end: Instant,
) -> io::Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tally = Rc::new(RefCell::new(Tally::default()));
    let local = LocalSet::new();
    for _ in 0..connections {
        let (order, client, tally) = (order.clone(), client.clone(), Rc::clone(&tally));
        local.spawn_local(async move {
            let worked = match order.kind {
                Kind::Handshake => handshake::again(&order, &client, &tally, end).await,
                Kind::Websocket => websocket::again(&order, &tally, end).await,
            };
            if let Err(error) = worked {
                // One voids the run: there is nothing to gain from going on.
                if tally.borrow().errors == 0 {
                    eprintln!("{error}");
                }
                tally.borrow_mut().errors += 1;
            }
        });
    }
    runtime.block_on(local);
    Ok(Rc::try_unwrap(tally).map(RefCell::into_inner).unwrap_or_default())
}

async fn in_time<Output>(step: impl Future<Output = Fallible<Output>>) -> Fallible<Output> {
    tokio::time::timeout(PATIENCE, step).await.map_err(|_| "no answer in time")?
}

//! The only wiring: sockets, workers, discovery and admin put together.
//!
//! [`bind`] takes every address before anything runs, so a taken port is an
//! error at start-up and whoever asked for port 0 learns the real one.
//! [`Bound::run`] lives until it is told to drain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{JoinHandle, available_parallelism};

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::admin::{self, Admin};
use crate::config::{Config, Listener, reload};
use crate::discovery::file::FileDiscovery;
use crate::gateway::Shared;
use crate::listener::tls::{Keeper, TlsError};
use crate::listener::{self, accept};
use crate::telemetry::state::State;
use crate::upstream::health::Timings;
use crate::worker::{self, Crew, Signals, Worker};

mod memory;

/// Why the gateway did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error("cannot listen on {address} ({what}): is another process using it?")]
    Bind {
        /// What it was for.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The certificates of a listener are not good.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A worker did not start.
    #[error("cannot start a worker thread")]
    Worker(#[source] io::Error),
}

impl StartError {
    /// Whether the configuration is wrong, whatever else runs on this machine.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Tls(TlsError::Files(_)))
    }
}

/// What a running gateway can be told.
#[derive(Debug)]
pub enum Command {
    /// Use this configuration from now on.
    Reload(Box<Config>),
    /// A configuration was refused; the running one stays.
    ReloadFailed(String),
    /// Finish what runs, then end. A second time: end at once.
    Drain,
}

/// A gateway whose addresses are taken and that does not run yet.
pub struct Bound {
    config: Config,
    shared: Arc<Shared>,
    crew: Arc<Crew>,
    workers: Vec<Worker>,
    signals: Signals,
    addresses: Vec<SocketAddr>,
    admin: tokio::net::TcpListener,
    admin_address: SocketAddr,
    keeper: Keeper,
    timings: Option<Timings>,
}

/// Takes every address of the configuration. Needs a tokio runtime.
pub fn bind(config: Config) -> Result<Bound, StartError> {
    let count = match config.workers {
        0 => available_parallelism().map_or(1, usize::from),
        count => count,
    };
    // Before any address is taken: a bad file is told at once.
    let keeper = Keeper::load(&config.listeners)?;
    let mut acceptors = keeper.acceptors();
    let mut per_worker: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for listener in &config.listeners {
        let address = listener.address;
        let fail = |source| StartError::Bind { what: "listener", address, source };
        let tls = listener.tls.as_ref().and_then(|_| acceptors.next());
        let options = Arc::new(listener::Listener::new(listener, tls));
        let sockets = accept::bind(address, count).map_err(fail)?;
        for (position, (worker, socket)) in per_worker.iter_mut().zip(sockets).enumerate() {
            if position == 0 {
                addresses.push(socket.local_addr().map_err(fail)?);
            }
            worker.push((socket, options.clone()));
        }
    }
    let address = config.admin.address;
    let fail = |source| StartError::Bind { what: "admin", address, source };
    let admin = std::net::TcpListener::bind(address)
        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
        .and_then(tokio::net::TcpListener::from_std)
        .map_err(fail)?;
    let admin_address = admin.local_addr().map_err(fail)?;
    let shared = Arc::new(Shared::new(&config));
    let (crew, workers, signals) = worker::crew(per_worker, &shared);
    let timings = Some(Timings::CONTRACT.without_initial_delay());
    drop(acceptors);
    Ok(Bound {
        config,
        shared,
        crew,
        workers,
        signals,
        addresses,
        admin,
        admin_address,
        keeper,
        timings,
    })
}

impl Bound {
    /// The listeners' real addresses, in the configuration's order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The admin listener's real address.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// What the workers share, for whoever embeds the gateway.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Probes endpoints by other timings than the contract's.
    pub fn set_probe_timings(&mut self, timings: Timings) {
        self.timings = Some(timings);
    }

    /// Probes nothing: whoever embeds the gateway says when an endpoint is ready.
    pub fn set_no_probes(&mut self) {
        self.timings = None;
    }

    /// Serves until it is drained, or `commands` has no more senders.
    pub async fn run(self, mut commands: mpsc::Receiver<Command>) -> Result<(), StartError> {
        let state = Arc::new(State::new());
        // First of all: a large configuration takes a moment, and a liveness probe must not wait.
        let mut keeper = self.keeper;
        let certificates = keeper.state().clone();
        let admin = Admin::new(self.shared.clone(), self.crew.clone(), state.clone(), certificates);
        let admin = tokio::spawn(admin::serve(self.admin, admin));
        let mut discovery = match self.timings {
            Some(timings) => FileDiscovery::with_timings(self.shared.clone(), timings),
            None => FileDiscovery::without_probes(self.shared.clone()),
        };
        discovery.apply(&self.config);
        let threads = self
            .workers
            .into_iter()
            .map(Worker::start)
            .collect::<Result<Vec<_>, _>>()
            .map_err(StartError::Worker)?;
        state.serving();
        let memory = memory::watch(self.shared.clone(), self.signals.drain.clone());
        let memory = tokio::spawn(memory);
        let mut config = self.config;
        loop {
            let command = tokio::select! {
                command = commands.recv() => command,
                never = keeper.keep() => match never {},
            };
            match command {
                Some(Command::Reload(new)) => {
                    match apply(&mut config, *new, &self.shared, &mut discovery, &mut keeper).await
                    {
                        Ok(()) => state.reloaded(),
                        Err(error) => {
                            tracing::error!(
                                "the configuration was not reloaded; the running one stays:\n{error}"
                            );
                            state.reload_failed(error.to_string());
                        }
                    }
                }
                Some(Command::ReloadFailed(error)) => state.reload_failed(error),
                Some(Command::Drain) | None => break,
            }
        }
        drain(&config, &state, &self.signals, &self.crew, threads, &mut commands).await;
        admin.abort();
        memory.abort();
        Ok(())
    }
}

/// All of it, or nothing. What cannot change while the process runs is said, not ignored.
async fn apply(
    old: &mut Config,
    new: Config,
    shared: &Shared,
    discovery: &mut FileDiscovery,
    keeper: &mut Keeper,
) -> Result<(), TlsError> {
    let fixed = |config: &Config| config.listeners.iter().map(Listener::fixed).collect::<Vec<_>>();
    let new_listeners = fixed(old) != fixed(&new);
    if !new_listeners {
        // First, because it alone can fail.
        keeper.reconfigure(&new.listeners).await?;
        old.listeners.clone_from(&new.listeners);
    }
    let fixed = [
        ("workers", old.workers != new.workers),
        ("listener", new_listeners),
        ("admin.address", old.admin != new.admin),
        ("access_log.format", old.access_log.format != new.access_log.format),
    ];
    for (key, changed) in fixed {
        if changed {
            tracing::warn!(key, "this change needs a restart; the old value stays in force");
        }
    }
    shared.reconfigure(&new);
    discovery.apply(&new);
    tracing::info!(apps = new.apps.len(), "configuration reloaded");
    *old = Config {
        workers: old.workers,
        listeners: std::mem::take(&mut old.listeners),
        admin: old.admin.clone(),
        ..new
    };
    Ok(())
}

/// Unready first, then closed, then emptied; a second command or closed
/// commands end each wait.
async fn drain(
    config: &Config,
    state: &State,
    signals: &Signals,
    crew: &Crew,
    threads: Vec<JoinHandle<()>>,
    commands: &mut mpsc::Receiver<Command>,
) {
    state.draining();
    if !config.timeouts.drain_delay.is_zero() {
        tracing::info!(delay = ?config.timeouts.drain_delay, "not ready any more; still accepting");
    }
    let mut ended = JoinSet::new();
    for thread in threads {
        ended.spawn_blocking(move || thread.join());
    }
    let work = async {
        tokio::time::sleep(config.timeouts.drain_delay).await;
        signals.stop_accepting.iter().for_each(crate::shutdown::Drain::begin);
        signals.drain.iter().for_each(crate::shutdown::Drain::begin);
        tracing::info!(connections = crew.open(), limit = ?config.timeouts.drain, "draining");
        let emptied = async { while ended.join_next().await.is_some() {} };
        tokio::time::timeout(config.timeouts.drain, emptied).await.is_ok()
    };
    let again = async {
        while let Some(command) = commands.recv().await {
            if matches!(command, Command::Drain) {
                return;
            }
        }
        std::future::pending::<()>().await;
    };
    let clean = tokio::select! {
        clean = work => clean,
        () = again => false,
    };
    if clean {
        tracing::info!("drained");
    } else {
        tracing::warn!(connections = crew.open(), "ending with connections still open");
        signals.stop_accepting.iter().for_each(crate::shutdown::Drain::begin);
        signals.drain.iter().for_each(crate::shutdown::Drain::begin);
        signals.end.begin();
    }
}

impl From<reload::Change> for Command {
    fn from(change: reload::Change) -> Self {
        match change {
            reload::Change::Good(config) => Self::Reload(config),
            reload::Change::Bad(problem) => Self::ReloadFailed(problem),
        }
    }
}

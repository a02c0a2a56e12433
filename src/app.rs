//! The only wiring: sockets, workers, discovery and admin put together.
//!
//! [`bind`] takes every address before anything runs, so a taken port is an
//! error at start-up and whoever asked for port 0 learns the real one.
//! [`Bound::run`] lives until it is told to drain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{JoinHandle, available_parallelism};
use std::time::Duration;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::admin::{self, Admin, Events, Places};
use crate::config::{Config, reload};
use crate::discovery::file::FileDiscovery;
use crate::gateway::Shared;
use crate::inherited::{InheritError, Inherited};
use crate::listener::tls::{Keeper, TlsError};
use crate::shutdown::Drain;
use crate::supervisor::Supervisor;
use crate::takeover::{Door, DoorError, HandedOver, Predecessor, TakeoverError};
use crate::telemetry::access_log::Output;
use crate::telemetry::level::LogLevel;
use crate::telemetry::state::State;
use crate::upstream::health::Timings;
use crate::worker::{self, Crew, Signals, Worker};

mod addresses;
mod apply;
mod memory;
mod succession;
mod traces;
mod usage;

use addresses::Addresses;
use apply::apply;
use succession::{Farewell, Succession};

/// How long workers may take to drop what is still under way.
const LAST_WORDS: Duration = Duration::from_secs(1);

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
    /// The trace collector cannot be called over TLS.
    #[error("cannot read the system's certificate authorities, which `tracing.endpoint` needs")]
    Collector(#[source] io::Error),
    /// The sockets that were passed are not those of the configuration.
    #[error(transparent)]
    Inherit(#[from] InheritError),
    /// The take-over socket cannot be at its place.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// Nobody said where a running gateway can be asked.
    #[error(
        "where is the running gateway? Neither --takeover-socket is given nor $RUNTIME_DIRECTORY \
         or $XDG_RUNTIME_DIR set"
    )]
    NoPlace,
    /// The running gateway goes on serving.
    #[error("the take-over failed; the running gateway goes on")]
    Takeover(#[from] TakeoverError),
}

impl StartError {
    /// Whether the configuration is wrong, whatever else runs on this machine.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Tls(TlsError::Files(_)) | Self::Inherit(_) | Self::NoPlace)
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
    /// Finish what runs, then end: another process accepts in this one's place.
    HandedOver(HandedOver),
}

/// What a process was given when it started, and whom it tells; nothing, for one that stands alone.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Sockets that are bound already.
    pub inherited: Inherited,
    /// The gateway whose sockets they are.
    pub predecessor: Option<Predecessor>,
    /// Where the next gateway asks for the sockets.
    pub door: Option<Door>,
    /// Who started this process.
    pub supervisor: Supervisor,
    /// Where access logs are written.
    pub log: Output,
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
    log_level: Option<LogLevel>,
    succession: Succession,
}

/// Takes every address of the configuration. Needs a tokio runtime.
pub fn bind(config: Config) -> Result<Bound, StartError> {
    bind_among(config, Surroundings::default())
}

/// The same with what this process was given.
pub fn bind_among(config: Config, mut surroundings: Surroundings) -> Result<Bound, StartError> {
    let count = match config.workers {
        0 => available_parallelism().map_or(1, usize::from),
        count => count,
    };
    // Before any address is taken: a bad file is told at once.
    let keeper = Keeper::load(&config.listeners)?;
    let inherited = std::mem::take(&mut surroundings.inherited);
    let addresses = Addresses::take(&config, count, keeper.acceptors(), inherited)?;
    let log = std::mem::take(&mut surroundings.log);
    let shared = Arc::new(Shared { log, ..Shared::new(&config) });
    let (crew, workers, signals) = worker::crew(addresses.per_worker, &shared);
    let timings = Some(Timings::CONTRACT.without_initial_delay());
    Ok(Bound {
        config,
        shared,
        crew,
        workers,
        signals,
        addresses: addresses.listeners,
        admin: addresses.admin,
        admin_address: addresses.admin_address,
        keeper,
        timings,
        log_level: None,
        succession: Succession::new(surroundings, addresses.held),
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

    /// Lets the operator's listener change which log lines are written.
    pub fn set_log_level(&mut self, level: LogLevel) {
        self.log_level = Some(level);
    }

    /// Serves until it is drained, or `commands` has no more senders.
    pub async fn run(self, mut commands: mpsc::Receiver<Command>) -> Result<(), StartError> {
        let traces = traces::Traces::start(&self.config, &self.shared)?;
        let state = Arc::new(State::new());
        let mut keeper = self.keeper;
        let mut succession = self.succession;
        let in_force = Arc::new(ArcSwap::from_pointee(self.config));
        let admin = Admin {
            shared: self.shared.clone(),
            crew: self.crew.clone(),
            state: state.clone(),
            certificates: keeper.state().clone(),
            config: in_force.clone(),
            log_level: self.log_level,
            places: Places::new(),
            events: Events::default(),
        };
        let (stop_admin, (answer, may_answer)) = (Drain::new(), oneshot::channel::<()>());
        let serve_admin = admin::serve(self.admin, admin, stop_admin.clone());
        let mut admin = tokio::spawn(async {
            let _ = may_answer.await;
            serve_admin.await;
        });
        // First of all: a large configuration takes a moment, and a liveness probe must not wait. A
        // gateway that ran before goes on answering, and is ready.
        let answer = succession.has_predecessor().then_some(answer);
        let mut discovery = match self.timings {
            Some(timings) => FileDiscovery::with_timings(self.shared.clone(), timings),
            None => FileDiscovery::without_probes(self.shared.clone()),
        };
        discovery.apply(&in_force.load());
        if !succession.prepared(discovery.all_heard(), &mut commands).await? {
            return Ok(());
        }
        let threads = start(self.workers).await?;
        state.serving();
        let memory = memory::watch(self.shared.clone(), self.signals.drain.clone());
        let memory = tokio::spawn(memory);
        drop(answer);
        let mut config = in_force.load_full();
        let failed = succession.accepts(&config, &self.crew).await.err();
        // A take-over that failed this late: what was accepted is served, the rest is not ours.
        let succeeded = loop {
            if failed.is_some() {
                break true;
            }
            let command = tokio::select! {
                command = succession.next(&mut commands) => command,
                never = keeper.keep() => match never {},
            };
            match command {
                Some(Command::Reload(new)) => {
                    succession.reloading();
                    match apply(&config, *new, &self.shared, &mut discovery, &mut keeper).await {
                        Ok(new) => {
                            config = Arc::new(new);
                            in_force.store(config.clone());
                            state.reloaded();
                            succession.serving(&config);
                        }
                        Err(error) => {
                            tracing::error!(
                                "the configuration was not reloaded; the running one stays:\n{error}"
                            );
                            state.reload_failed(error.to_string());
                            succession.not_reloaded();
                        }
                    }
                }
                Some(Command::ReloadFailed(error)) => {
                    succession.reloading();
                    state.reload_failed(error);
                    succession.not_reloaded();
                }
                Some(Command::HandedOver(HandedOver { pid })) => {
                    tracing::info!(pid, "taken over by a new process");
                    break true;
                }
                Some(Command::Drain) | None => break false,
            }
        };
        let farewell = if succeeded {
            // Who asks on a connection that is open still hears that the gateway is ready: it is.
            stop_admin.begin();
            succession.end_of_predecessor(&config)
        } else {
            state.draining();
            succession.end(&config)
        };
        let workers = (&*self.shared, &self.signals, &*self.crew);
        let deadline = Instant::now() + farewell.delay + config.timeouts.drain;
        let clean = drain(&config, workers, threads, &mut commands, farewell);
        if clean.await && succeeded {
            let _ = tokio::time::timeout(config.timeouts.drain, &mut admin).await;
        }
        admin.abort();
        memory.abort();
        traces.finish(deadline.saturating_duration_since(Instant::now()).max(LAST_WORDS)).await;
        usage::tell(&self.shared);
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Starts all workers and waits until they accept.
async fn start(workers: Vec<Worker>) -> Result<Vec<JoinHandle<()>>, StartError> {
    let mut threads = Vec::new();
    let mut accepting = Vec::new();
    for worker in workers {
        let (thread, accepts) = worker.start().map_err(StartError::Worker)?;
        threads.push(thread);
        accepting.push(accepts);
    }
    for accepts in accepting {
        accepts.await.map_err(|lost| StartError::Worker(io::Error::other(lost)))?;
    }
    Ok(threads)
}

/// Unready first, then closed, then emptied; a second command or closed
/// commands end each wait.
async fn drain(
    config: &Config,
    (shared, signals, crew): (&Shared, &Signals, &Crew),
    threads: Vec<JoinHandle<()>>,
    commands: &mut mpsc::Receiver<Command>,
    farewell: Farewell,
) -> bool {
    if !farewell.delay.is_zero() {
        tracing::info!(delay = ?farewell.delay, "not ready any more; still accepting");
    }
    let mut ended = JoinSet::new();
    for thread in threads {
        ended.spawn_blocking(move || thread.join());
    }
    let work = async {
        tokio::time::sleep(farewell.delay).await;
        farewell.held.release();
        signals.stop_accepting.iter().for_each(Drain::begin);
        signals.drain.iter().for_each(|drain| drain.begin_patiently(farewell.patience));
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
        farewell.held.release();
        signals.stop_accepting.iter().for_each(Drain::begin);
        signals.drain.iter().for_each(Drain::begin);
        shared.ending.store(true, Ordering::Relaxed);
        signals.end.begin();
        // Whatever is cut off is told all the same.
        let ended = async { while ended.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_WORDS, ended).await;
    }
    clean
}

impl From<reload::Change> for Command {
    fn from(change: reload::Change) -> Self {
        match change {
            reload::Change::Good(config) => Self::Reload(config),
            reload::Change::Bad(problem) => Self::ReloadFailed(problem),
        }
    }
}

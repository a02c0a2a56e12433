//! `serve`: the data plane, from a configuration file, reloaded when it changes.

use std::path::PathBuf;

use clap::Args;
#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{
    Resource, Rlimit, getpriority_process, getrlimit, setpriority_process, setrlimit,
};
use tokio::sync::mpsc;

use super::{Failure, signals};
use crate::app::{self, Command, StartError, Surroundings};
use crate::config::{file, reload};
use crate::inherited::Inherited;
use crate::supervisor::Supervisor;
use crate::takeover::{self, Door, Predecessor};
use crate::telemetry::access_log::Output;
use crate::telemetry::log;

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file; `config/gateway.toml` shows every setting
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Take over from the gateway that runs: get its listening sockets, and let it finish its calls
    /// and end once this one serves. Without one, start as usual
    #[arg(long)]
    takeover: bool,
    /// The Unix socket for it, of both processes; without it `takeover.sock` in
    /// `$RUNTIME_DIRECTORY`, which systemd sets, or `ignite-gateway-takeover.sock` in
    /// `$XDG_RUNTIME_DIR`
    #[arg(long, value_name = "PATH")]
    takeover_socket: Option<PathBuf>,
    /// Let the system write the memory of this process to a core file, and debuggers of the same
    /// user read it, although it holds the private keys of a TLS listener
    #[arg(long)]
    core_dumps: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    // First of all: nothing else may have opened a descriptor or started a thread.
    let passed = Inherited::from_environment().map_err(Failure::usage)?;
    // Read before it is loaded: a change in between is noticed when the watch begins.
    let known = std::fs::read(&arguments.config).ok();
    let loaded = file::load(&arguments.config, file::environment()).map_err(Failure::usage)?;
    let logging = log::start(loaded.config.access_log.format).map_err(Failure::running)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit(loaded.config.limits.connections);
    // Before a key is read. Whether a listener speaks TLS is no reload's to change.
    if loaded.config.listeners.iter().any(|listener| listener.tls.is_some())
        && !arguments.core_dumps
    {
        keep_memory_private();
    }
    let runtime = super::runtime().on_thread_start(give_way).build().map_err(Failure::running)?;
    runtime.block_on(async {
        // Before anybody can know of this process: a signal must not meet it unprepared.
        let (commands, receiver) = mpsc::channel::<Command>(8);
        signals::forward(commands.clone(), arguments.config.clone()).map_err(Failure::running)?;
        let surroundings =
            surroundings(arguments, passed, logging.output()).await.map_err(refused)?;
        let mut bound = app::bind_among(loaded.config, surroundings).map_err(refused)?;
        bound.set_log_level(logging.level().clone());
        for address in bound.addresses() {
            tracing::info!(%address, "listening");
        }
        tracing::info!(address = %bound.admin_address(), "admin listening");
        let _watch = reload::watch(arguments.config.clone(), known, commands)
            .inspect_err(|error| {
                tracing::warn!(%error, "the file is not watched; SIGHUP still reloads it");
            })
            .ok();
        bound.run(receiver).await.map_err(Failure::running)
    })
}

/// What this process is given: sockets of a running gateway or of a service manager.
async fn surroundings(
    arguments: &Arguments,
    passed: Inherited,
    log: Output,
) -> Result<Surroundings, StartError> {
    let explicit = arguments.takeover_socket.clone();
    let is_asked_for = explicit.is_some() || arguments.takeover;
    let place = explicit.or_else(takeover::default_path);
    let met = match &place {
        Some(place) if arguments.takeover => Predecessor::meet(place).await?,
        None if arguments.takeover => return Err(StartError::NoPlace),
        _ => None,
    };
    let (predecessor, inherited) = match met {
        Some((predecessor, sockets)) => (Some(predecessor), sockets),
        None => (None, passed),
    };
    if let (true, None, Some(place)) = (arguments.takeover, &predecessor, &place) {
        tracing::info!(place = %place.display(), "no gateway runs there to take over from");
    }
    let door = match place {
        Some(place) => match Door::beside(place, predecessor.is_some()).await {
            Ok(door) => Some(door),
            Err(error) if is_asked_for => return Err(error.into()),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no other process can take over from this one"
                );
                None
            }
        },
        None => None,
    };
    let supervisor = Supervisor::from_environment();
    Ok(Surroundings { inherited, predecessor, door, supervisor, log })
}

fn refused(error: StartError) -> Failure {
    if error.is_usage() { Failure::usage(error) } else { Failure::running(error) }
}

/// Takes as many file descriptors as the system allows, and says if that is fewer than the
/// configured connections need: each has one, and its request another at the app.
fn raise_descriptor_limit(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_mul(2);
    if let Some(allowed) = limit.maximum.filter(|allowed| *allowed < needed) {
        tracing::warn!(
            allowed,
            needed,
            "fewer file descriptors than limits.connections needs: raise the limit (ulimit -n, \
             LimitNOFILE=) or lower limits.connections"
        );
    }
}

/// Of a core that a worker wants, too, a thread beside the workers gets a tenth: reading a
/// configuration of 100,000 apps takes a second, in which p99 of a gateway with one core rose from 11
/// to 68 ms, and with this to 21.
fn give_way() {
    const FOR_WORKERS: i32 = 10;
    let usual = getpriority_process(None).unwrap_or(0);
    let _ = setpriority_process(None, usual.saturating_add(FOR_WORKERS).min(19));
}

/// Leaves no core file, wherever the system would put it, and lets no process of the same user look
/// into this one: both would show private keys. A limit on the size of core files would not do: a
/// system that pipes them into a program does not ask for it (core(5)).
fn keep_memory_private() {
    #[cfg(target_os = "linux")]
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "a crash may write private keys to a core file");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_with_keys_is_not_dumped() {
        keep_memory_private();
        let now = rustix::process::dumpable_behavior().expect("Linux tells");
        assert_eq!(now, DumpableBehavior::NotDumpable);
    }
}

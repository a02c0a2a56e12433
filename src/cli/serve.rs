//! `serve`: the data plane, from a configuration file, reloaded when it changes.

use std::path::PathBuf;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::mpsc;

use super::{Failure, signals};
use crate::app::{self, Command};
use crate::config::{file, reload};
use crate::telemetry::log;

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file; `config/gateway.toml` shows every setting
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Read before it is loaded: a change in between is noticed when the watch begins.
    let known = std::fs::read(&arguments.config).ok();
    let loaded = file::load(&arguments.config, file::environment()).map_err(Failure::usage)?;
    let _logging = log::start(loaded.config.access_log.format);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit(loaded.config.limits.connections);
    super::runtime()?.block_on(async {
        // Before anybody can know of this process: a signal must not meet it unprepared.
        let (commands, receiver) = mpsc::channel::<Command>(8);
        signals::forward(commands.clone(), arguments.config.clone()).map_err(Failure::running)?;
        let bound = app::bind(loaded.config).map_err(refused)?;
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

fn refused(error: app::StartError) -> Failure {
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

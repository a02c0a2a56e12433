//! Another configuration put in force while the gateway runs.

use crate::config::traces::Traces;
use crate::config::{Config, Listener};
use crate::discovery::file::FileDiscovery;
use crate::gateway::Shared;
use crate::listener::tls::{Keeper, TlsError};

/// All of it, or nothing; what is in force then. What cannot change while the process runs is said,
/// not ignored.
pub(super) async fn apply(
    old: &Config,
    mut new: Config,
    shared: &Shared,
    discovery: &mut FileDiscovery,
    keeper: &mut Keeper,
) -> Result<Config, TlsError> {
    let fixed = |config: &Config| config.listeners.iter().map(Listener::fixed).collect::<Vec<_>>();
    let new_listeners = fixed(old) != fixed(&new);
    if !new_listeners {
        // First, because it alone can fail.
        keeper.reconfigure(&new.listeners).await?;
    }
    let fixed = [
        ("workers", old.workers != new.workers),
        ("listener", new_listeners),
        ("admin", old.admin != new.admin),
        ("access_log.format", old.access_log.format != new.access_log.format),
        ("tracing", old.traces.fixed() != new.traces.fixed()),
    ];
    for (key, changed) in fixed {
        if changed {
            tracing::warn!(key, "this change needs a restart; the old value stays in force");
        }
    }
    new.access_log.format = old.access_log.format;
    shared.reconfigure(&new);
    discovery.change(old, &new);
    tracing::info!(apps = new.apps.len(), "configuration reloaded");
    let listeners = if new_listeners { old.listeners.clone() } else { new.listeners };
    let traces = Traces { sampling: new.traces.sampling, ..old.traces.clone() };
    Ok(Config { workers: old.workers, listeners, admin: old.admin.clone(), traces, ..new })
}

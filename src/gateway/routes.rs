//! The route table: an exact host to its route.
//!
//! A look-up is one read of one shard, whatever the number of apps, and a
//! change touches only the hosts of the app that changed. A host belongs to
//! the app that registered it first and never changes hands silently.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use rustc_hash::FxBuildHasher;
use thiserror::Error;

use super::host::Host;
use crate::config::Protocol;
use crate::config::load::RateLimit;
use crate::ids::{AppId, Domain, HostName, NameError};
use crate::rate_limit::AppRate;
use crate::telemetry::usage::Usage;
use crate::upstream::app::{Endpoint, Route};
use crate::upstream::turns::{Concurrency, Turns};

mod ledger;

use ledger::Ledger;

/// Why a port of an app was not registered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RegisterError {
    /// The host does not fit DNS.
    #[error("{app} port {port}: {source}")]
    Name {
        /// The app.
        app: AppId,
        /// Its port.
        port: u16,
        /// What does not fit.
        source: NameError,
    },
    /// Another app has the host.
    #[error("{app} port {port}: the host {host} belongs to {owner} already; rename one of them")]
    Taken {
        /// The app that comes too late.
        app: AppId,
        /// Its port.
        port: u16,
        /// The host that both compute.
        host: HostName,
        /// The app that has it.
        owner: AppId,
    },
}

/// A port to register.
#[derive(Debug, Clone)]
pub struct PortSpec {
    /// The container's port.
    pub port: u16,
    /// Where the app listens.
    pub endpoints: Vec<SocketAddr>,
    /// Those of them that get nothing new while another is ready.
    pub draining: Vec<SocketAddr>,
    /// What it speaks there.
    pub protocol: Protocol,
}

/// An app to register.
#[derive(Debug, Clone)]
pub struct AppSpec {
    /// The app.
    pub id: AppId,
    /// Its ports.
    pub ports: Vec<PortSpec>,
    /// Requests that it and its endpoints work on at once.
    pub concurrency: Concurrency,
    /// How often it may be called; `None`: no limit.
    pub rate_limit: Option<RateLimit>,
    /// Whether endpoints count as ready before anybody asked them.
    pub ready: bool,
}

/// What all ports of an app have in common.
struct Common {
    turns: Arc<Turns>,
    rate: Option<Arc<AppRate>>,
}

/// Hosts and their routes.
#[derive(Debug)]
pub struct RouteTable {
    hosts: DashMap<HostName, Arc<Route>, FxBuildHasher>,
    /// Each app's hosts, so that a change of one app looks at no other.
    owned: DashMap<AppId, HashSet<HostName>, FxBuildHasher>,
    /// Requests that wait, of all apps.
    waiting: Arc<AtomicUsize>,
    /// What was used on hosts that are no more. Held while a host goes there, so that its usage is
    /// in one place at any time.
    ledger: Mutex<Ledger>,
}

impl RouteTable {
    /// No hosts.
    pub fn new() -> Self {
        Self {
            hosts: DashMap::with_hasher(FxBuildHasher),
            owned: DashMap::with_hasher(FxBuildHasher),
            waiting: Arc::default(),
            ledger: Mutex::default(),
        }
    }

    /// The route of a host.
    pub fn find(&self, host: &Host) -> Option<Arc<Route>> {
        self.hosts.get(host.as_str()).map(|entry| entry.value().clone())
    }

    /// Registers an app or changes it in place: ports and endpoints that stay
    /// keep their state and their connections. Ports that are refused are left
    /// out and reported; the others serve.
    pub fn register(&self, app: &AppSpec, domain: &Domain) -> Vec<RegisterError> {
        let mut refused = Vec::new();
        let mut kept = HashSet::new();
        let common = Common { turns: self.turns(app, domain), rate: self.rate(app, domain) };
        for port in &app.ports {
            match self.register_port(app, port, domain, &common) {
                Ok(host) => {
                    kept.insert(host);
                }
                Err(error) => refused.push(error),
            }
        }
        let before = self.owned.insert(app.id.clone(), kept.clone());
        for host in before.unwrap_or_default().difference(&kept) {
            self.remove_host(host, &app.id);
        }
        refused
    }

    /// Removes an app; requests in flight finish on the routes they hold.
    pub fn remove(&self, app: &AppId) {
        for host in self.owned.remove(app).map(|(_, hosts)| hosts).unwrap_or_default() {
            self.remove_host(&host, app);
        }
    }

    /// Removes every route for which `keep` says no. Looks at all of them.
    pub fn retain(&self, keep: impl Fn(&Route) -> bool) {
        for route in self.routes().iter().filter(|route| !keep(route)) {
            if let Some(mut hosts) = self.owned.get_mut(&route.app) {
                hosts.remove(&route.host);
            }
            self.remove_host(&route.host, &route.app);
        }
        self.owned.retain(|_, hosts| !hosts.is_empty());
    }

    /// Every route, in no order.
    pub fn routes(&self) -> Vec<Arc<Route>> {
        self.hosts.iter().map(|entry| entry.value().clone()).collect()
    }

    /// What every app used that was ever called, also those that are gone.
    pub fn usage(&self) -> BTreeMap<AppId, Usage> {
        let mut ledger = self.ledger();
        ledger.tidy(|app| self.owned.contains_key(app));
        let mut sums = ledger.sums();
        for route in &self.hosts {
            if route.shared.metrics.begun() > 0 {
                *sums.entry(route.app.clone()).or_default() += route.shared.metrics.usage();
            }
        }
        sums
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The app's turns, as long as one of its hosts stays.
    fn turns(&self, app: &AppSpec, domain: &Domain) -> Arc<Turns> {
        let turns = self.known(app, domain).next().map_or_else(
            || Arc::new(Turns::new(self.waiting.clone())),
            |route| route.turns.clone(),
        );
        turns.set_concurrency(app.concurrency);
        turns
    }

    /// The bucket that the app has already, unless its rate is another.
    fn rate(&self, app: &AppSpec, domain: &Domain) -> Option<Arc<AppRate>> {
        let wanted = app.rate_limit?;
        let mut known = self.known(app, domain).filter_map(|route| route.rate.clone());
        let same = |rate: &Arc<AppRate>| *rate.rate() == wanted;
        Some(known.find(same).unwrap_or_else(|| Arc::new(AppRate::new(wanted))))
    }

    /// The routes that the app's ports have already.
    fn known(&self, app: &AppSpec, domain: &Domain) -> impl Iterator<Item = Arc<Route>> {
        app.ports
            .iter()
            .filter_map(|port| HostName::of_port(&app.id, port.port, domain).ok())
            .filter_map(|host| self.hosts.get(&host).map(|entry| entry.value().clone()))
            .filter(|route| route.app == app.id)
    }

    fn register_port(
        &self,
        app: &AppSpec,
        port: &PortSpec,
        domain: &Domain,
        common: &Common,
    ) -> Result<HostName, RegisterError> {
        let host = HostName::of_port(&app.id, port.port, domain).map_err(|source| {
            RegisterError::Name { app: app.id.clone(), port: port.port, source }
        })?;
        match self.hosts.entry(host.clone()) {
            Entry::Occupied(mut entry) => {
                let old = entry.get().clone();
                if old.app != app.id || old.port != port.port {
                    let (app, owner) = (app.id.clone(), old.app.clone());
                    return Err(RegisterError::Taken { app, port: port.port, host, owner });
                }
                let route = Arc::new(route(app, port, host.clone(), Some(&old), common));
                entry.insert(route.clone());
                drop(entry);
                retire_missing(&old, &route);
                common.turns.rerouted(&route);
            }
            Entry::Vacant(entry) => {
                entry.insert(Arc::new(route(app, port, host.clone(), None, common)));
            }
        }
        Ok(host)
    }

    fn remove_host(&self, host: &HostName, owner: &AppId) {
        let mut ledger = self.ledger();
        let removed = self.hosts.remove_if(host, |_, route| route.app == *owner);
        if let Some((_, route)) = &removed
            && ledger.enter(owner, &route.shared)
        {
            ledger.tidy(|app| self.owned.contains_key(app));
        }
        drop(ledger);
        if let Some((_, route)) = removed {
            route.endpoints.iter().for_each(|endpoint| endpoint.retire());
            // Whoever waits for an endpoint of it learns that there will be none.
            route.turns.gone(route.port);
        }
    }
}

impl Default for RouteTable {
    fn default() -> Self {
        Self::new()
    }
}

fn route(
    app: &AppSpec,
    port: &PortSpec,
    host: HostName,
    old: Option<&Arc<Route>>,
    common: &Common,
) -> Route {
    let known = |address: &SocketAddr| {
        old?.endpoints.iter().find(|endpoint| endpoint.address() == *address).cloned()
    };
    let endpoint = |address: &SocketAddr| {
        let endpoint = known(address)
            .unwrap_or_else(|| Arc::new(Endpoint::of(&common.turns, *address, app.ready)));
        if port.draining.contains(address) {
            endpoint.drain();
        } else {
            endpoint.stay();
        }
        endpoint
    };
    let endpoints = port.endpoints.iter().map(endpoint).collect();
    Route {
        app: app.id.clone(),
        port: port.port,
        host,
        function_id: app.id.function_id(),
        organization_id: app.id.organization_id(),
        protocol: port.protocol,
        endpoints,
        shared: old.map_or_else(|| common.turns.hosts.open(), |old| old.shared.clone()),
        turns: common.turns.clone(),
        rate: common.rate.clone(),
    }
}

fn retire_missing(old: &Route, new: &Route) {
    for endpoint in &old.endpoints {
        if !new.endpoints.iter().any(|kept| Arc::ptr_eq(kept, endpoint)) {
            endpoint.retire();
        }
    }
}

#[cfg(test)]
mod tests;

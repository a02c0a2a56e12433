//! The listeners' certificates as they are in force, and what follows when
//! their files or their settings change.
//!
//! Files are looked at every second rather than watched: a link that is
//! swapped, as in a mounted Kubernetes secret, a folder that is replaced and a
//! network file system are all the same to a look, and it costs 2 µs a file. A
//! change makes new configurations and puts them in the old ones' places:
//! whoever connects next gets them, and no session is touched.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::doubt::{self, Doubt};
use super::marks::{self, Marks};
use super::material::{Loaded, Material};
use super::{Acceptor, TlsError, settings};
use crate::config::Listener;
use crate::config::file::{ConfigErrors, Problem};
use crate::config::tls::Tls;
use crate::telemetry::tls::Certificates;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);
/// Between two reminders that a certificate expires.
const REMIND: Duration = Duration::from_secs(24 * 60 * 60);

/// Every listener's certificates.
#[derive(Debug)]
pub struct Keeper {
    provider: Arc<CryptoProvider>,
    /// Seals the sessions of all listeners that ask callers for no certificate: what began at
    /// one is resumed at any.
    ticketer: Arc<dyn ProducesTickets>,
    /// Those that speak TLS, in the configuration's order.
    listeners: Vec<Kept>,
    state: Arc<Certificates>,
    marks: Marks,
    /// What was wrong at the last look.
    suspected: Vec<Problem>,
    /// What is wrong and was said.
    reported: Vec<Problem>,
    looks: Option<Interval>,
    reminded: Option<Instant>,
}

/// One listener's.
#[derive(Debug, Clone)]
struct Kept {
    tls: Tls,
    material: Material,
    ticketer: Arc<dyn ProducesTickets>,
    acceptor: Arc<Acceptor>,
}

/// A listener whose files are to be read, and what they held before.
type Wanted = (Tls, Option<Material>);

/// What was read.
struct Found {
    listeners: Vec<(Tls, Material)>,
    problems: Vec<Problem>,
    marks: Marks,
}

impl Keeper {
    /// Reads the files of all listeners; every one that is bad is told.
    pub fn load(listeners: &[Listener]) -> Result<Self, TlsError> {
        let mut keeper = Self {
            provider: settings::provider(),
            ticketer: settings::ticketer()?,
            listeners: Vec::new(),
            state: Arc::default(),
            marks: Marks::default(),
            suspected: Vec::new(),
            reported: Vec::new(),
            looks: None,
            reminded: None,
        };
        let found = find(keeper.wanted(listeners), &keeper.provider)?;
        keeper.put(found)?;
        Ok(keeper)
    }

    /// Who accepts for each listener that speaks TLS, in the configuration's order.
    pub fn acceptors(&self) -> impl Iterator<Item = Arc<Acceptor>> {
        self.listeners.iter().map(|kept| kept.acceptor.clone())
    }

    /// What the operator sees of the certificates.
    pub fn state(&self) -> &Arc<Certificates> {
        &self.state
    }

    /// What callers may not believe of what is in force.
    pub fn doubts(&self) -> Vec<(Doubt, Problem)> {
        let now = SystemTime::now();
        let pairs = self.listeners.iter().flat_map(|kept| &kept.material.pairs);
        pairs.filter_map(|loaded| doubt::of(loaded, now)).collect()
    }

    /// Takes other settings of the same listeners over, all or none; every file is read again.
    pub async fn reconfigure(&mut self, listeners: &[Listener]) -> Result<(), TlsError> {
        let found = self.find(self.wanted(listeners)).await?;
        let problems = found.problems.clone();
        self.put(found)?;
        self.report(problems);
        Ok(())
    }

    /// Looks after the certificates. Nothing is lost where this is dropped and called again.
    pub async fn keep(&mut self) -> Infallible {
        loop {
            if self.reminded.is_none_or(|last| last.elapsed() > REMIND) {
                self.remind();
            }
            self.looks.get_or_insert_with(looks).tick().await;
            if let Err(error) = self.look().await {
                tracing::error!(%error, "certificates were not reloaded; the old ones stay");
            }
        }
    }

    fn remind(&mut self) {
        self.reminded = Some(Instant::now());
        for (doubt, problem) in self.doubts() {
            match doubt {
                Doubt::Soon => tracing::warn!("{problem}"),
                Doubt::Expired | Doubt::NotYet => tracing::error!("{problem}"),
            }
        }
    }

    async fn look(&mut self) -> Result<(), TlsError> {
        let wanted: Vec<Wanted> = self
            .listeners
            .iter()
            .map(|kept| (kept.tls.clone(), Some(kept.material.clone())))
            .collect();
        let files = files(&wanted);
        let marks = blocking(move || marks::of(&files)).await;
        if marks == self.marks && self.suspected == self.reported {
            return Ok(());
        }
        let found = self.find(wanted).await?;
        let problems = found.problems.clone();
        self.put(found)?;
        // A certificate and its key are not written at once: what is wrong now may be whole at
        // the next look.
        if problems.is_empty() || problems == self.suspected {
            self.report(problems);
        } else {
            self.suspected = problems;
        }
        Ok(())
    }

    fn report(&mut self, problems: Vec<Problem>) {
        for problem in problems.iter().filter(|problem| !self.reported.contains(problem)) {
            tracing::error!("certificate not reloaded; the one before stays in force: {problem}");
            self.state.failed();
        }
        self.suspected.clone_from(&problems);
        self.reported = problems;
    }

    fn wanted(&self, listeners: &[Listener]) -> Vec<Wanted> {
        let wanted = listeners.iter().filter_map(|listener| listener.tls.clone());
        let last = self.listeners.iter().map(|kept| Some(kept.material.clone()));
        wanted.zip(last.chain(std::iter::repeat(None))).collect()
    }

    async fn find(&self, wanted: Vec<Wanted>) -> Result<Found, ConfigErrors> {
        let provider = self.provider.clone();
        blocking(move || find(wanted, &provider)).await
    }

    /// Puts what was found in force, if all of it can be.
    fn put(&mut self, found: Found) -> Result<(), TlsError> {
        let next: Result<Vec<_>, _> = found
            .listeners
            .into_iter()
            .enumerate()
            .map(|(index, (tls, material))| self.next(self.listeners.get(index), tls, material))
            .collect();
        let mut listeners = Vec::new();
        for (kept, config) in next? {
            if let Some(config) = config {
                kept.acceptor.renew(config);
                self.state.succeeded();
                for loaded in &kept.material.pairs {
                    let (name, file) =
                        (loaded.pair.name(), loaded.files.certificate.path.display());
                    tracing::info!(name, %file, "certificate in force");
                }
            }
            listeners.push(kept);
        }
        self.listeners = listeners;
        self.marks = found.marks;
        let pairs = self.listeners.iter().flat_map(|kept| &kept.material.pairs);
        self.state.show(pairs.map(Loaded::facts));
        Ok(())
    }

    /// What a listener becomes, with the configuration to put in force if that is another one.
    fn next(
        &self,
        old: Option<&Kept>,
        tls: Tls,
        material: Material,
    ) -> Result<(Kept, Option<Arc<ServerConfig>>), TlsError> {
        if let Some(old) = old.filter(|old| old.tls == tls && old.material.is_same(&material)) {
            return Ok((Kept { tls, material, ..old.clone() }, None));
        }
        // A ticket tells that its caller was let in once, and nobody asks again. So it must not
        // work where other callers are let in: at a listener that wants certificates while this
        // one does not, or after the authorities have changed.
        let same_callers = |old: &&Kept| {
            old.tls.clients == tls.clients && old.material.has_same_authorities(&material)
        };
        let ticketer = match old.filter(same_callers) {
            Some(old) => old.ticketer.clone(),
            None if tls.clients.is_none() => self.ticketer.clone(),
            None => settings::ticketer()?,
        };
        let config = settings::server(&tls, &material, &self.provider, ticketer.clone())?;
        let config = Arc::new(config);
        let (acceptor, config) = match old {
            Some(old) => (old.acceptor.clone(), Some(config)),
            None => (Arc::new(Acceptor::new(config)), None),
        };
        Ok((Kept { tls, material, ticketer, acceptor }, config))
    }
}

fn looks() -> Interval {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

fn files(wanted: &[Wanted]) -> Vec<PathBuf> {
    wanted.iter().flat_map(|(tls, _)| tls.files()).map(|file| file.path.clone()).collect()
}

/// Reads the files. Blocks for a moment.
fn find(wanted: Vec<Wanted>, provider: &CryptoProvider) -> Result<Found, ConfigErrors> {
    // Before the reading: what changes after it is seen at the next look.
    let marks = marks::of(&files(&wanted));
    let mut problems = Vec::new();
    let listeners: Vec<_> = wanted
        .into_iter()
        .map(|(tls, last)| {
            let material = Material::load(&tls, provider, last.as_ref(), &mut problems);
            material.map(|material| (tls, material))
        })
        .collect();
    match listeners.into_iter().collect() {
        Some(listeners) => Ok(Found { listeners, problems, marks }),
        None => Err(ConfigErrors::of(problems)),
    }
}

/// Files may lie on a disk that takes its time, and the probes share this runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

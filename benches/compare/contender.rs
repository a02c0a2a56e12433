//! A contender: a proxy in front of the backend, running on a core of its own.
//!
//! Each kind says in its own file how it is configured (a `Recipe`); here it is started and proven to
//! do the work that is asked of all (`check`). Who cannot is absent, with the reason, from one
//! scenario or from all; nobody is left out silently.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::churn::Churn;
use crate::fleet::Stage;
use crate::process::Process;
use crate::scenario::Scenario;
use crate::setting::{ACCESS_LOG, EVERYTHING, Edge, FLOOR, Setting};
use crate::tls::{Client, Identity};
use crate::{Fallible, check, envoy, gateway, haproxy, nginx};

/// With a hundred thousand apps to read, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Where a contender's files go, where it listens, and what it stands in front of.
pub(crate) struct Place<'run> {
    /// For itself alone: the gateway watches the folder that its configuration is in.
    pub(crate) folder: PathBuf,
    pub(crate) setting: Setting,
    pub(crate) identity: &'run Identity,
    pub(crate) listen: SocketAddr,
    /// The app for this edge.
    pub(crate) backend: SocketAddr,
    /// A second free address, for an admin listener.
    pub(crate) spare: SocketAddr,
}

/// How to start a contender.
pub(crate) struct Recipe {
    pub(crate) command: Vec<OsString>,
    pub(crate) version: String,
    /// What changes while it is measured.
    pub(crate) churn: Option<Churn>,
}

impl Recipe {
    pub(crate) fn of(command: Vec<OsString>, version: String) -> Self {
        Self { command, version, churn: None }
    }
}

/// It does not claim to do this: no defect, but no row either.
#[derive(Debug)]
pub(crate) struct Unsupported(pub(crate) String);

impl fmt::Display for Unsupported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for Unsupported {}

/// Why a contender has no part in a scenario.
#[derive(Clone)]
pub(crate) struct Absence {
    pub(crate) reason: String,
    pub(crate) unsupported: bool,
}

impl fmt::Display for Absence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.unsupported { "not able" } else { "absent" };
        // What a program said last, in further lines, is told once, at its start.
        write!(formatter, "{what}: {}", self.reason.lines().next().unwrap_or_default())
    }
}

impl From<Box<dyn Error>> for Absence {
    fn from(error: Box<dyn Error>) -> Self {
        Self { reason: error.to_string(), unsupported: error.is::<Unsupported>() }
    }
}

pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) state: Result<Running, Absence>,
}

pub(crate) struct Running {
    pub(crate) version: String,
    pub(crate) address: SocketAddr,
    /// What it was found not to do, though it was asked to.
    pub(crate) remarks: Vec<String>,
    /// Scenarios that it has no part in, though it runs.
    absences: Vec<(Scenario, Absence)>,
    /// It writes a line for every request.
    pub(crate) logs: bool,
    pub(crate) churn: Option<Churn>,
    pub(crate) process: Process,
}

impl Contender {
    pub(crate) fn absence(&self, scenario: Scenario) -> Option<&Absence> {
        match &self.state {
            Err(absence) => Some(absence),
            Ok(running) => {
                let mut of = running.absences.iter().filter(|(from, _)| *from == scenario);
                of.next().map(|(_, absence)| absence)
            }
        }
    }

    /// From which group of scenarios it is absent, and why, each reason once; no group: from all.
    pub(crate) fn reasons(&self) -> Vec<(Option<&'static str>, &str)> {
        match &self.state {
            Err(absence) => vec![(None, &absence.reason)],
            Ok(running) => {
                let each = running.absences.iter();
                let mut reasons: Vec<_> = each
                    .map(|(from, absence)| (Some(from.group), absence.reason.as_str()))
                    .collect();
                reasons.dedup();
                reasons
            }
        }
    }
}

impl Running {
    pub(crate) async fn start(name: &str, place: &Place<'_>, stage: &Stage<'_>) -> Fallible<Self> {
        let options = stage.options;
        let recipe = match name {
            FLOOR => relay(place)?,
            "haproxy" => haproxy::recipe(place)?,
            "nginx" => nginx::recipe(place)?,
            "envoy" => envoy::recipe(place, options.envoy.as_deref())?,
            ours => gateway::recipe(place, ours, options)?,
        };
        let Recipe { command, version, churn } = recipe;
        let cores = stage.cores.proxy.as_deref();
        let process = Process::start(&file_name(name), &command, cores, &stage.folder)?;
        let mut running = Self {
            version,
            address: place.listen,
            remarks: Vec::new(),
            absences: Vec::new(),
            logs: [ACCESS_LOG, EVERYTHING].contains(&name),
            churn,
            process,
        };
        running.until_ready(place.setting.edge, stage.client).await?;
        Ok(running)
    }

    /// The process to account for; its descendants belong to it.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    async fn until_ready(&mut self, edge: Edge, client: &Client) -> Fallible<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.process.ended() {
                let words = self.process.last_words();
                return Err(format!("ended with {status}{words}").into());
            }
            match check::answers(self.address, edge, client).await {
                Ok(()) => return Ok(()),
                Err(reason) if Instant::now() > deadline => {
                    let words = self.process.last_words();
                    return Err(format!("not ready in time: {reason}{words}").into());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Does the scenario's work once; who cannot is absent from it.
    pub(crate) async fn prove(&mut self, scenario: Scenario, client: &Client) {
        match check::works(self.address, scenario, client).await {
            Ok(remarks) => self.remarks.extend(remarks),
            Err(error) => self.absences.push((scenario, error.into())),
        }
        self.remarks.dedup();
    }
}

fn relay(place: &Place<'_>) -> Fallible<Recipe> {
    if place.setting.edge.has_tls() {
        return Err(Unsupported("it has no TLS".into()).into());
    }
    let mut command = vec![std::env::current_exe()?.into_os_string()];
    command.extend(["relay".into(), place.listen.to_string().into()]);
    command.push(place.backend.to_string().into());
    Ok(Recipe::of(command, "part of this bench".into()))
}

pub(crate) fn file_name(contender: &str) -> String {
    contender.replace(' ', "-")
}

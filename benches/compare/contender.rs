//! A contender: a proxy in front of the backend, running on a core of its own.
//!
//! Each kind says in its own file how it is configured (a `Recipe`); here it is started, proven to do
//! the work that is asked of all (`check`), and ended. All are ended together, when the `Fleet` goes.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::process::Process;
use crate::tools::Cores;
use crate::{Fallible, Options, check, envoy, gateway, haproxy, nginx};

const READY_WITHIN: Duration = Duration::from_secs(10);

/// In the order of the report: ours, the floor, the peers.
pub(crate) const NAMES: [&str; 5] = ["gateway", "relay", "haproxy", "nginx", "envoy"];

/// Where a contender's files go, where it listens, and what it stands in front of.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) backend: SocketAddr,
    /// A second free address, for an admin listener.
    pub(crate) spare: SocketAddr,
}

/// How to start a contender.
pub(crate) struct Recipe {
    pub(crate) command: Vec<OsString>,
    pub(crate) version: String,
}

pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) address: SocketAddr,
    /// What it was found not to do, though it was asked to.
    pub(crate) remarks: Vec<String>,
    process: Process,
}

impl Contender {
    /// Starts it and holds it to the work; an error says why it is left out.
    pub(crate) async fn start(
        name: &'static str,
        place: &Place,
        options: &Options,
        cores: &Cores,
    ) -> Fallible<Self> {
        let recipe = match name {
            "gateway" => gateway::recipe(place, &options.gateway)?,
            "relay" => relay(place)?,
            "haproxy" => haproxy::recipe(place)?,
            "nginx" => nginx::recipe(place)?,
            "envoy" => envoy::recipe(place, options.envoy.as_deref())?,
            _ => return Err(format!("there is no contender of that name: {NAMES:?}").into()),
        };
        let Recipe { command, version } = recipe;
        let process = Process::start(name, &command, cores.proxy.as_deref(), &place.folder)?;
        let mut contender =
            Self { name, version, address: place.listen, remarks: Vec::new(), process };
        contender.until_ready().await?;
        if name != "relay" {
            contender.remarks = check::works(contender.address).await?;
        }
        Ok(contender)
    }

    /// The process to account for; its descendants belong to it.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    async fn until_ready(&mut self) -> Fallible<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(end) = self.process.ended() {
                return Err(end.into());
            }
            match check::answers(self.address).await {
                Ok(()) => return Ok(()),
                Err(reason) if Instant::now() > deadline => {
                    let words = self.process.last_words();
                    return Err(format!("not ready in time: {reason}{words}").into());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

fn relay(place: &Place) -> Fallible<Recipe> {
    let mut command = vec![std::env::current_exe()?.into_os_string()];
    command.extend(["relay".into(), place.listen.to_string().into()]);
    command.push(place.backend.to_string().into());
    Ok(Recipe { command, version: "part of this bench".into() })
}

/// All that run.
#[derive(Default)]
pub(crate) struct Fleet(pub(crate) Vec<Contender>);

impl Drop for Fleet {
    /// Everyone is told first: they end side by side, not one after the other's grace.
    fn drop(&mut self) {
        for contender in &mut self.0 {
            contender.process.tell_to_end();
        }
    }
}

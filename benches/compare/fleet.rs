//! All contenders of one edge, side by side: started, proven, ended together.

use std::path::PathBuf;

use crate::Fallible;
use crate::backend::Backends;
use crate::contender::{Contender, NAMES, Place, Running};
use crate::options::Options;
use crate::scenario::{Edge, Scenario};
use crate::tls::{Client, Identity};
use crate::tools::{Cores, free_addresses};

/// What the whole run shares.
pub(crate) struct Stage<'run> {
    pub(crate) folder: PathBuf,
    pub(crate) options: &'run Options,
    pub(crate) cores: &'run Cores,
    pub(crate) identity: &'run Identity,
    pub(crate) client: &'run Client,
    pub(crate) backends: Backends,
    /// The backend's process.
    pub(crate) backend: u32,
}

/// All who take part at one edge. They end together, with it.
pub(crate) struct Fleet(pub(crate) Vec<Contender>);

impl Fleet {
    pub(crate) async fn start(
        edge: Edge,
        scenarios: &[Scenario],
        stage: &Stage<'_>,
    ) -> Fallible<Self> {
        let mut fleet = Self(Vec::new());
        let addresses = free_addresses(2 * NAMES.len())?;
        for (name, pair) in NAMES.into_iter().zip(addresses.chunks_exact(2)) {
            let &[listen, spare] = pair else { continue };
            if !stage.options.wants_contender(name) {
                continue;
            }
            let Stage { folder, identity, backends, .. } = stage;
            let backend = if edge == Edge::Grpc { backends.grpc } else { backends.http1 };
            let place = Place { folder: folder.clone(), edge, identity, listen, backend, spare };
            let mut outcome =
                Running::start(name, &place, stage.options, stage.cores, stage.client).await;
            if let (Ok(running), true) = (&mut outcome, name != "relay") {
                for scenario in scenarios {
                    running.prove(*scenario, stage.client).await;
                }
            }
            fleet.0.push(Contender { name, state: outcome.map_err(Into::into) });
        }
        Ok(fleet)
    }
}

impl Drop for Fleet {
    /// Everyone is told first: they end side by side, not one after the other's grace.
    fn drop(&mut self) {
        for running in self.0.iter_mut().filter_map(|contender| contender.state.as_mut().ok()) {
            running.process.tell_to_end();
        }
    }
}

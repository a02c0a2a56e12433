//! All contenders of one setting, side by side: started, proven, ended together.

use std::fs;
use std::path::PathBuf;

use crate::Fallible;
use crate::backend::Backends;
use crate::contender::{Contender, Place, Running, file_name};
use crate::load::Load;
use crate::options::Options;
use crate::scenario::Scenario;
use crate::setting::{Edge, FLOOR, Setting};
use crate::tls::{Client, Identity};
use crate::tools::{Cores, free_addresses};

/// What is around the contenders of one setting.
pub(crate) struct Stage<'run> {
    pub(crate) folder: PathBuf,
    pub(crate) options: &'run Options,
    pub(crate) cores: &'run Cores,
    pub(crate) load: &'run Load,
    pub(crate) identity: &'run Identity,
    pub(crate) client: &'run Client,
    pub(crate) backends: Backends,
    /// The backend's process.
    pub(crate) backend: u32,
}

/// All who take part in one setting. They end together, with it.
pub(crate) struct Fleet(pub(crate) Vec<Contender>);

impl Fleet {
    pub(crate) async fn start(
        setting: Setting,
        scenarios: &[Scenario],
        stage: &Stage<'_>,
    ) -> Fallible<Self> {
        let mut fleet = Self(Vec::new());
        let names = setting.contenders(stage.options);
        let addresses = free_addresses(2 * names.len())?;
        for (name, pair) in names.into_iter().zip(addresses.chunks_exact(2)) {
            let &[listen, spare] = pair else { continue };
            let Stage { folder, identity, backends, .. } = stage;
            let folder = folder.join(file_name(name));
            fs::create_dir_all(&folder)?;
            let grpc = setting.edge == Edge::Grpc;
            let backend = if grpc { backends.grpc } else { backends.http1 };
            let place = Place { folder, setting, identity, listen, backend, spare };
            let mut outcome = Running::start(name, &place, stage).await;
            if let (Ok(running), true) = (&mut outcome, name != FLOOR) {
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

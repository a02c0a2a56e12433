//! The exporter of spans beside the workers, and its last batch at the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::StartError;
use crate::config::Config;
use crate::gateway::Shared;
use crate::shutdown::Drain;
use crate::telemetry::trace::export::Exporter;

/// A running exporter, if there is a collector.
pub(super) struct Traces {
    task: Option<JoinHandle<()>>,
    stop: Drain,
}

impl Traces {
    /// Starts it.
    pub(super) fn start(config: &Config, shared: &Arc<Shared>) -> Result<Self, StartError> {
        let stop = Drain::new();
        let exporter = match &shared.traces {
            Some(traces) => Exporter::new(traces, &config.traces).map_err(StartError::Collector)?,
            None => None,
        };
        let task = exporter.map(|exporter| tokio::spawn(exporter.run(stop.clone())));
        Ok(Self { task, stop })
    }

    /// Sends what is left, as long as there is time.
    pub(super) async fn finish(self, time: Duration) {
        let Some(mut task) = self.task else { return };
        self.stop.begin();
        if tokio::time::timeout(time, &mut task).await.is_err() {
            tracing::warn!("the trace collector did not take the last spans in time");
            task.abort();
        }
    }
}

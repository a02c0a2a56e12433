//! This bench's own callers (`caller`), as a process that is pinned like any other tool.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Place, Run};
use crate::Fallible;
use crate::scenario::{Scenario, Work};
use crate::tls::Identity;

pub(super) struct Own {
    program: PathBuf,
    certificate: PathBuf,
}

impl Own {
    pub(super) fn prepare(identity: &Identity) -> Fallible<Self> {
        Ok(Self { program: env::current_exe()?, certificate: identity.certificate.clone() })
    }

    pub(super) async fn run(
        &self,
        place: &Place,
        scenario: Scenario,
        target: SocketAddr,
        seconds: u64,
    ) -> Fallible<Run> {
        let Scenario { work, connections, size, .. } = scenario;
        let kind = if work == Work::WebSocket { "websocket" } else { "handshake" };
        let mut line = vec![self.program.clone().into_os_string(), "caller".into(), kind.into()];
        line.push(target.to_string().into());
        line.extend(
            [connections.to_string(), size.to_string(), seconds.to_string()].map(Into::into),
        );
        line.push(place.threads_for(connections).to_string().into());
        line.push(self.certificate.clone().into_os_string());
        let (printed, complaints) = place.output(line, None, seconds).await?;
        Run::from_line(&printed, &complaints, size)
    }
}

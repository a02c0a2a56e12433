//! This bench's own callers (`caller`), as a process that is pinned like any other tool.

use std::env;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Pace, Place, Run};
use crate::Fallible;
use crate::caller::Kind;
use crate::scenario::{Scenario, Work};
use crate::setting::Cast;
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
        asked: Pace,
    ) -> Fallible<Run> {
        let mut line = self.line(place, scenario, target);
        line.push(format!("--seconds={}", asked.seconds).into());
        line.push(format!("--rate={}", asked.rate.unwrap_or(0)).into());
        let (printed, complaints) = place.output(line, None, asked.seconds).await?;
        Run::from_line(&printed, &complaints, scenario.size)
    }

    pub(super) fn line(
        &self,
        place: &Place,
        scenario: Scenario,
        target: SocketAddr,
    ) -> Vec<OsString> {
        let Scenario { work, connections, size, setting, .. } = scenario;
        let kind = match work {
            Work::WebSocket => Kind::Websocket,
            Work::Paced => Kind::Paced,
            Work::Idle => Kind::Idle,
            _ => Kind::Handshake,
        };
        let mut line = vec![self.program.clone().into_os_string(), "caller".into()];
        line.extend(
            [
                kind.name().to_owned(),
                target.to_string(),
                format!("--connections={connections}"),
                format!("--size={size}"),
                format!("--threads={}", place.threads_for(connections)),
            ]
            .map(OsString::from),
        );
        line.push("--certificate".into());
        line.push(self.certificate.clone().into_os_string());
        if setting.edge.has_tls() {
            line.push("--tls".into());
        }
        if matches!(setting.cast, Cast::Apps(_)) {
            line.push("--every-app".into());
        }
        line
    }
}

//! `wrk`: HTTP/1.1 with kept connections, plain and over TLS, downloads and uploads.
//!
//! Its script runs at the start and at the end only: what wrk prints for people is rounded
//! ("1.25ms"), the numbers behind it are not. OpenSSL's settings are in a file, for wrk has no
//! option for them.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Place, Run};
use crate::Fallible;
use crate::apps::CALLED;
use crate::scenario::{Scenario, Work};
use crate::tls::{GROUP, SUITE};
use crate::tools;

const SCRIPT: &str = r#"function init(arguments)
  local upload = tonumber(arguments[1])
  if upload then
    wrk.method = "POST"
    wrk.body = string.rep("x", upload)
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("compare: %d %d %d %d %d %d %d %d %d %d %d\n",
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    e.connect, e.read, e.write, e.timeout, e.status))
end
"#;
/// What an upload is answered with.
const RECEIPT: usize = 32;

pub(super) struct Wrk {
    program: PathBuf,
    script: PathBuf,
    openssl: PathBuf,
}

impl Wrk {
    pub(super) fn prepare(place: &Place) -> Fallible<Option<Self>> {
        let Some(program) = tools::find("wrk") else { return Ok(None) };
        let script = place.folder.join("wrk.lua");
        fs::write(&script, SCRIPT)?;
        let openssl = place.folder.join("openssl.cnf");
        fs::write(
            &openssl,
            format!(
                "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = offer\n\
                 [offer]\nMinProtocol = TLSv1.3\nCiphersuites = {SUITE}\nGroups = {GROUP}\n"
            ),
        )?;
        Ok(Some(Self { program, script, openssl }))
    }

    pub(super) fn version(&self) -> String {
        let line = tools::version(&self.program, "-v");
        line.split(" [").next().unwrap_or_default().to_owned()
    }

    pub(super) async fn run(
        &self,
        place: &Place,
        scenario: Scenario,
        target: SocketAddr,
        seconds: u64,
    ) -> Fallible<Run> {
        let Scenario { work, connections, size, .. } = scenario;
        let answer = if work == Work::Upload { RECEIPT } else { size };
        let threads = place.threads_for(connections);
        let mut line = vec![self.program.clone().into_os_string()];
        line.extend(
            [format!("-t{threads}"), format!("-c{connections}"), format!("-d{seconds}s")]
                .map(Into::into),
        );
        line.extend(["--latency", "-H"].map(Into::into));
        line.push(format!("Host: {}", CALLED.host()).into());
        line.extend(["-s".into(), self.script.clone().into_os_string()]);
        line.push(format!("{}://{target}/{answer}", scenario.edge().scheme()).into());
        if work == Work::Upload {
            line.push(size.to_string().into());
        }
        let environment = Some(("OPENSSL_CONF", self.openssl.as_path()));
        let (printed, complaints) = place.output(line, environment, seconds).await?;
        Run::from_line(&printed, &complaints, answer)
    }
}

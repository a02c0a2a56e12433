//! The load, on cores of its own: `wrk` for HTTP/1.1, `h2load` for HTTP/2 and gRPC, and this bench's
//! own callers for what neither of them does.

mod h2load;
mod own;
mod wrk;

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::Fallible;
use crate::scenario::{Scenario, Work};
use crate::tls::Identity;
use crate::tools::{self, Cores};

use h2load::H2load;
use own::Own;
use wrk::Wrk;

/// Begins the line in which a tool says what it counted.
pub(crate) const MARK: &str = "compare:";
/// How much longer than asked a tool may take before it is taken for stuck.
const SLACK: Duration = Duration::from_secs(20);
const MOST_THREADS: usize = 2;

pub(crate) struct Load {
    wrk: Wrk,
    h2load: Option<H2load>,
    own: Own,
    place: Place,
}

/// Where tools run and put their files.
struct Place {
    folder: PathBuf,
    cores: Option<String>,
    threads: usize,
}

/// One run: what the tool counted.
pub(crate) struct Run {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Everything that went wrong, in words; such a run is no measurement.
    pub(crate) failure: Option<String>,
}

impl Load {
    /// `None`: wrk is not installed.
    pub(crate) fn prepare(
        folder: &Path,
        cores: &Cores,
        identity: &Identity,
    ) -> Fallible<Option<Self>> {
        let threads = cores.load_count.min(MOST_THREADS);
        // Not beside the configurations: the gateway watches the folder of its own.
        let folder = folder.join("load");
        fs::create_dir_all(&folder)?;
        let place = Place { folder, cores: cores.load.clone(), threads };
        let Some(wrk) = Wrk::prepare(&place)? else { return Ok(None) };
        let (h2load, own) = (H2load::prepare(&place), Own::prepare(identity)?);
        Ok(Some(Self { wrk, h2load, own, place }))
    }

    pub(crate) fn versions(&self) -> String {
        let h2load = self.h2load.as_ref().map_or_else(|| "no h2load".into(), H2load::version);
        format!("{}, {h2load}", self.wrk.version())
    }

    /// Why this load cannot be made here.
    pub(crate) fn lacks(&self, scenario: Scenario) -> Option<&'static str> {
        let needed = matches!(scenario.work, Work::Http2 | Work::Grpc);
        (needed && self.h2load.is_none())
            .then_some("h2load is not installed (apt-get install nghttp2-client)")
    }

    pub(crate) async fn run(
        &self,
        scenario: Scenario,
        target: SocketAddr,
        seconds: u64,
    ) -> Fallible<Run> {
        match (scenario.work, &self.h2load) {
            (Work::Download | Work::Upload, _) => {
                self.wrk.run(&self.place, scenario, target, seconds).await
            }
            (Work::Handshake | Work::WebSocket, _) => {
                self.own.run(&self.place, scenario, target, seconds).await
            }
            (Work::Http2 | Work::Grpc, Some(h2load)) => {
                h2load.run(&self.place, scenario, target, seconds).await
            }
            (Work::Http2 | Work::Grpc, None) => Err("h2load is not installed".into()),
        }
    }
}

impl Place {
    /// Tools share connections out evenly and forget the rest.
    fn threads_for(&self, connections: usize) -> usize {
        if connections.is_multiple_of(self.threads) { self.threads } else { 1 }
    }

    /// What the tool printed to standard output, and to standard error.
    async fn output(
        &self,
        tool: Vec<OsString>,
        environment: Option<(&str, &Path)>,
        seconds: u64,
    ) -> Fallible<(String, String)> {
        let mut line = tools::on_cores(self.cores.as_deref());
        line.extend(tool);
        let (program, arguments) = line.split_first().ok_or("an empty command")?;
        let running = Command::new(program)
            .args(arguments)
            .envs(environment)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let limit = Duration::from_secs(seconds) + SLACK;
        let output =
            tokio::time::timeout(limit, running).await.map_err(|_| "the load is stuck")??;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Ok((text(&output.stdout), text(&output.stderr)))
    }
}

impl Run {
    /// From the line of numbers that wrk's script and our own callers print.
    fn from_line(printed: &str, complaints: &str, least: usize) -> Fallible<Self> {
        let Some(line) = printed.lines().find_map(|line| line.strip_prefix(MARK)) else {
            return Err(format!("the load printed {complaints} {printed}").into());
        };
        let numbers: Vec<u64> =
            line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let Ok([requests, duration, bytes, p50, p99, connect, read, write, timeout, status]) =
            <[u64; 10]>::try_from(numbers)
        else {
            return Err(format!("the load printed {line:?}").into());
        };
        let mut wrong = named([
            ("connect errors", connect),
            ("read errors", read),
            ("write errors", write),
            ("timeouts", timeout),
            ("bad statuses", status),
        ]);
        wrong.extend(too_short(requests, bytes, least));
        if !wrong.is_empty() && !complaints.is_empty() {
            wrong.push(complaints.to_owned());
        }
        Ok(Self {
            requests,
            seconds: Duration::from_micros(duration).as_secs_f64(),
            p50_us: p50 as f64,
            p99_us: p99 as f64,
            failure: (!wrong.is_empty()).then(|| wrong.join(", ")),
        })
    }
}

/// Those kinds of errors of which there were any.
fn named<const N: usize>(kinds: [(&str, u64); N]) -> Vec<String> {
    let there = kinds.iter().filter(|(_, count)| *count > 0);
    there.map(|(kind, count)| format!("{count} {kind}")).collect()
}

fn too_short(requests: u64, bytes: u64, least: usize) -> Option<String> {
    match bytes.checked_div(requests) {
        None => Some("no request was answered".into()),
        Some(each) if each < least as u64 => {
            Some(format!("answers of {each} bytes instead of {least}"))
        }
        Some(_) => None,
    }
}

//! The load, on cores of its own: `wrk` for HTTP/1.1, `h2load` for HTTP/2 and gRPC, and this bench's
//! own callers for what neither of them does.

mod failure;
mod h2load;
mod held;
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

pub(crate) use failure::Failure;
pub(crate) use held::Held;

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

/// For how long, and how fast.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) seconds: u64,
    /// Requests a second; `None`: as many as are answered.
    pub(crate) rate: Option<u64>,
}

impl Pace {
    pub(crate) fn of(seconds: u64) -> Self {
        Self { seconds, rate: None }
    }
}

/// One run: what the tool counted.
pub(crate) struct Run {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    /// Everything that went wrong; such a run is no measurement.
    pub(crate) failure: Option<Failure>,
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
        pace: Pace,
    ) -> Fallible<Run> {
        match (scenario.work, &self.h2load) {
            (Work::Download | Work::Upload, _) => {
                self.wrk.run(&self.place, scenario, target, pace.seconds).await
            }
            (Work::Handshake | Work::WebSocket | Work::Paced, _) => {
                self.own.run(&self.place, scenario, target, pace).await
            }
            (Work::Http2 | Work::Grpc, Some(h2load)) => {
                h2load.run(&self.place, scenario, target, pace.seconds).await
            }
            (Work::Http2 | Work::Grpc, None) => Err("h2load is not installed".into()),
            (Work::Idle, _) => Err("idle connections are held, not run".into()),
        }
    }

    /// Opens as many connections and holds them.
    pub(crate) async fn hold(
        &self,
        scenario: Scenario,
        target: SocketAddr,
        connections: usize,
    ) -> Fallible<Held> {
        let line = self.own.line(&self.place, Scenario { connections, ..scenario }, target);
        Held::open(self.place.on_cores(line)).await
    }
}

impl Place {
    /// Tools share connections out evenly and forget the rest.
    fn threads_for(&self, connections: usize) -> usize {
        if connections.is_multiple_of(self.threads) { self.threads } else { 1 }
    }

    fn on_cores(&self, tool: Vec<OsString>) -> Vec<OsString> {
        let mut line = tools::on_cores(self.cores.as_deref());
        line.extend(tool);
        line
    }

    /// What the tool printed to standard output, and to standard error.
    async fn output(
        &self,
        tool: Vec<OsString>,
        environment: Option<(&str, &Path)>,
        seconds: u64,
    ) -> Fallible<(String, String)> {
        let line = self.on_cores(tool);
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
        let Ok([requests, duration, bytes, p50, p99, p999, connect, read, write, timeout, status]) =
            <[u64; 11]>::try_from(numbers)
        else {
            return Err(format!("the load printed {line:?}").into());
        };
        let failure = Failure::of(
            [
                ("connect errors", connect),
                ("read errors", read),
                ("write errors", write),
                ("bad statuses", status),
            ],
            ("timeouts", timeout),
        );
        let failure = failure.or(failure::too_short(requests, bytes, least));
        Ok(Self {
            requests,
            seconds: Duration::from_micros(duration).as_secs_f64(),
            p50_us: p50 as f64,
            p99_us: p99 as f64,
            p999_us: p999 as f64,
            failure: failure.map(|failure| failure.because(complaints)),
        })
    }
}

//! The load: `wrk`, on cores of its own, its results read from a line that a script of ours prints.
//!
//! The script runs once, at the end: what wrk prints for people is rounded ("1.25ms"), the numbers
//! behind it are not.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::Fallible;
use crate::apps::CALLED;
use crate::tools::{self, Cores};

const MARK: &str = "compare:";
const SCRIPT: &str = r#"function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("compare: %d %d %d %d %d %d %d %d %d %d\n",
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.timeout, e.status))
end
"#;
/// How much longer than asked wrk may take before it is taken for stuck.
const SLACK: Duration = Duration::from_secs(20);
const MOST_THREADS: usize = 2;

pub(crate) struct Load {
    program: PathBuf,
    script: PathBuf,
    cores: Option<String>,
    threads: usize,
}

/// One run: what wrk counted.
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
    pub(crate) fn prepare(folder: &Path, cores: &Cores) -> Fallible<Option<Self>> {
        let Some(program) = tools::find("wrk") else { return Ok(None) };
        let script = folder.join("wrk.lua");
        fs::write(&script, SCRIPT)?;
        let threads = cores.load_count.min(MOST_THREADS);
        Ok(Some(Self { program, script, cores: cores.load.clone(), threads }))
    }

    pub(crate) fn version(&self) -> String {
        let line = tools::version(&self.program, "-v");
        line.split(" [").next().unwrap_or_default().to_owned()
    }

    pub(crate) async fn run(
        &self,
        target: SocketAddr,
        connections: usize,
        size: usize,
        seconds: u64,
    ) -> Fallible<Run> {
        let mut line = tools::on_cores(self.cores.as_deref());
        line.push(self.program.clone().into_os_string());
        // wrk shares connections out evenly and forgets the rest.
        let even = connections.is_multiple_of(self.threads);
        let threads = if even { self.threads } else { 1 };
        line.extend(
            [format!("-t{threads}"), format!("-c{connections}"), format!("-d{seconds}s")]
                .map(Into::into),
        );
        line.extend(["--latency", "-H"].map(Into::into));
        line.push(format!("Host: {}", CALLED.host()).into());
        line.extend(["-s".into(), self.script.clone().into_os_string()]);
        line.push(format!("http://{target}/{size}").into());

        let (program, arguments) = line.split_first().ok_or("an empty command")?;
        let running =
            Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
        let limit = Duration::from_secs(seconds) + SLACK;
        let output = tokio::time::timeout(limit, running).await.map_err(|_| "wrk is stuck")??;
        let printed = String::from_utf8_lossy(&output.stdout);
        let Some(numbers) = printed.lines().find_map(|line| line.strip_prefix(MARK)) else {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(format!("wrk: {} {}", words.trim(), printed.trim()).into());
        };
        Run::parse(numbers, size).ok_or_else(|| format!("wrk printed {numbers:?}").into())
    }
}

impl Run {
    fn parse(numbers: &str, size: usize) -> Option<Self> {
        let numbers: Vec<u64> =
            numbers.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [requests, duration, bytes, p50, p99, connect, read, write, timeout, status] =
            numbers.try_into().ok()?;
        let kinds = [
            ("connect errors", connect),
            ("read errors", read),
            ("write errors", write),
            ("timeouts", timeout),
            ("bad statuses", status),
        ];
        let mut wrong: Vec<String> = kinds
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        if requests == 0 {
            wrong.push("no request was answered".into());
        } else if bytes / requests < size as u64 {
            wrong.push(format!("answers of {} bytes instead of {size}", bytes / requests));
        }
        Some(Self {
            requests,
            seconds: Duration::from_micros(duration).as_secs_f64(),
            p50_us: p50 as f64,
            p99_us: p99 as f64,
            failure: (!wrong.is_empty()).then(|| wrong.join(", ")),
        })
    }
}

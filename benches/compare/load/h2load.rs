//! `h2load`: HTTP/2 over TLS, many streams on few connections; with a body, gRPC calls.
//!
//! It prints no percentiles, so it is told to log every request, and they are taken from there. What
//! it negotiated it prints: a run in another protocol than all others' is no measurement.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::failure::{self, Failure};
use super::{Place, Run};
use crate::Fallible;
use crate::apps::CALLED;
use crate::backend::grpc::framed;
use crate::backend::pattern;
use crate::scenario::{Scenario, Work};
use crate::tls::{GROUP, SUITE};
use crate::tools;

pub(super) struct H2load {
    program: PathBuf,
    log: PathBuf,
    message: PathBuf,
}

impl H2load {
    pub(super) fn prepare(place: &Place) -> Option<Self> {
        let program = tools::find("h2load")?;
        let (log, message) = (place.folder.join("h2load.tsv"), place.folder.join("message"));
        Some(Self { program, log, message })
    }

    pub(super) fn version(&self) -> String {
        format!("h2load {}", tools::version(&self.program, "--version").replace("h2load ", ""))
    }

    pub(super) async fn run(
        &self,
        place: &Place,
        scenario: Scenario,
        target: SocketAddr,
        seconds: u64,
    ) -> Fallible<Run> {
        let Scenario { work, connections, size, .. } = scenario;
        let threads = place.threads_for(connections);
        let streams = work.streams().unwrap_or(1);
        let mut line = vec![self.program.clone().into_os_string()];
        line.extend(
            [
                format!("-c{connections}"),
                format!("-m{streams}"),
                format!("-t{threads}"),
                format!("-D{seconds}"),
                "--npn-list=h2".into(),
                format!("--tls13-ciphers={SUITE}"),
                format!("--groups={GROUP}"),
                format!("--connect-to={target}"),
                format!("--log-file={}", self.log.display()),
            ]
            .map(Into::into),
        );
        let (host, message) = (CALLED.host(), framed(&pattern(size)));
        let least = if work == Work::Grpc {
            fs::write(&self.message, &message)?;
            line.extend(
                ["-H", "content-type: application/grpc", "-H", "te: trailers"].map(Into::into),
            );
            line.extend(["-d".into(), self.message.clone().into_os_string()]);
            line.push(format!("https://{host}/compare.Echo/Unary").into());
            // It does not look at trailers: a call that failed shows by its missing message.
            message.len()
        } else {
            line.push(format!("https://{host}/{size}").into());
            size
        };
        // It would go on writing where the last run ended.
        let _ = fs::remove_file(&self.log);
        let (printed, complaints) = place.output(line, None, seconds).await?;
        parse(&printed, &self.log, least)
            .ok_or_else(|| format!("h2load printed {complaints} {printed}").into())
    }
}

fn parse(printed: &str, log: &Path, least: usize) -> Option<Run> {
    let after = |label: &str| printed.lines().find_map(|line| line.strip_prefix(label));
    let seconds = duration(after("finished in ")?.split(',').next()?)?;
    // "211197 total, 212797 started, 211197 done, 211197 succeeded, 0 failed, 0 errored, ..."
    let [_, _, done, _, failed, errored, late] = counts(after("requests: ")?)?;
    let [_, _, refused, other] = counts(after("status codes: ")?)?;
    // "20.32MB (21307960) total, ... (space savings 50.51%), 6.57MB (6887168) data"
    let data = after("traffic: ")?.strip_suffix(") data")?.rsplit('(').next()?.parse().ok()?;
    let broken = [
        ("failed", failed),
        ("errors", errored),
        ("statuses of 4xx", refused),
        ("statuses of 5xx", other),
    ];
    let mut failure =
        Failure::of(broken, ("timeouts", late)).or(failure::too_short(done, data, least));
    for (label, expected) in
        [("TLS Protocol: ", "TLSv1.3"), ("Cipher: ", SUITE), ("Application protocol: ", "h2")]
    {
        // A missing line proves nothing: its threads print at once, so one may break another's. By ALPN
        // only h2 is offered, and one intact line of many runs is enough to see the rest.
        if let Some(negotiated) = after(label).filter(|negotiated| *negotiated != expected) {
            failure = Some(Failure::wrong(format!("{label}{negotiated}, not {expected}")));
        }
    }
    let mut latencies: Vec<u32> = fs::read_to_string(log)
        .ok()?
        .lines()
        .filter_map(|line| line.rsplit('\t').next()?.parse().ok())
        .collect();
    latencies.sort_unstable();
    let share = |of_thousand| {
        latencies.get(latencies.len() * of_thousand / 1000).copied().map_or(f64::NAN, f64::from)
    };
    Some(Run {
        requests: done,
        seconds,
        p50_us: share(500),
        p99_us: share(990),
        p999_us: share(999),
        failure,
    })
}

/// The number in front of each word.
fn counts<const N: usize>(list: &str) -> Option<[u64; N]> {
    let numbers = list.split(", ").map(|part| part.split(' ').next()?.parse().ok());
    numbers.collect::<Option<Vec<u64>>>()?.try_into().ok()
}

/// "5.01s", "877.53ms" or "12us".
fn duration(text: &str) -> Option<f64> {
    let units = [("ms", 1e-3), ("us", 1e-6), ("s", 1.0)];
    let (number, unit) =
        units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    number.parse::<f64>().ok().map(|number| number * unit)
}

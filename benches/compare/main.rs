//! `cargo bench --bench compare`: this gateway and every peer that is installed, side by side.
//!
//! All run at once behind one backend; round by round each gets the same load on a core of its own,
//! and the kernel's accounting says what a request cost it. `benches/README.md` has the method, what
//! makes it fair, and where its numbers lie. Servers listen on loopback and end with the bench.

// A program that prints its results; what it divides are counts far below 2^52.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::cast_precision_loss, missing_docs)]

mod accounting;
mod apps;
mod backend;
mod caller;
mod check;
mod churn;
mod contender;
mod envoy;
mod fleet;
mod gateway;
mod goal;
mod haproxy;
mod head;
mod load;
mod machine;
mod measure;
mod nginx;
mod options;
mod process;
mod relay;
mod report;
mod scenario;
mod setting;
mod soak;
mod syscalls;
mod tls;
mod tools;
mod websocket;

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::backend::Backends;
use crate::fleet::{Fleet, Stage};
use crate::load::Load;
use crate::machine::Machine;
use crate::measure::{Row, Table};
use crate::options::Options;
use crate::process::Process;
use crate::report::Report;
use crate::scenario::{Scenario, Work};
use crate::setting::{Edge, Setting, is_ours};
use crate::tls::{Client, Identity};
use crate::tools::{Cores, free_addresses};

/// A bench reports its errors to a person at once: their text is all that is needed of them.
pub(crate) type Fallible<T> = Result<T, Box<dyn Error>>;

/// The bench's own servers and callers: processes of their own, so that each is accounted for by
/// itself.
#[derive(Subcommand)]
pub(crate) enum Part {
    #[command(hide = true)]
    Backend {
        #[command(flatten)]
        at: Backends,
        threads: usize,
        #[arg(value_delimiter = ',')]
        sizes: Vec<usize>,
    },
    #[command(hide = true)]
    Relay { listen: SocketAddr, to: SocketAddr },
    #[command(hide = true)]
    Caller(caller::Order),
}

fn main() -> ExitCode {
    // `cargo test --benches` runs this without `--bench`, perhaps with a filter that is not ours.
    let first = env::args().nth(1).unwrap_or_default();
    let is_part = ["backend", "relay", "caller"].contains(&first.as_str());
    if !is_part && (env::args().all(|word| word != "--bench") || env::args().any(|w| w == "--test"))
    {
        println!("compare: nothing to test; run it by `cargo bench --bench compare`");
        return ExitCode::SUCCESS;
    }
    let options = Options::of_the_command_line();
    run(&options).unwrap_or_else(|error| {
        eprintln!("compare: {error}");
        ExitCode::FAILURE
    })
}

fn run(options: &Options) -> Fallible<ExitCode> {
    match &options.part {
        // These have threads, and runtimes in them, of their own.
        Some(Part::Backend { at, sizes, threads }) => backend::serve(*at, sizes, *threads)?,
        Some(Part::Caller(order)) => caller::run(order)?,
        Some(Part::Relay { listen, to }) => in_a_runtime(relay::serve(*listen, *to))??,
        None => {
            // Whoever loses the race is dropped, and with it every process that it had started.
            return in_a_runtime(async {
                tokio::select! {
                    outcome = compare(options) => outcome,
                    signal = asked_to_stop() => Err(format!("stopped by {}", signal?).into()),
                }
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn in_a_runtime<Output>(what: impl Future<Output = Output>) -> Fallible<Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(LocalSet::new().block_on(&runtime, what))
}

async fn asked_to_stop() -> Fallible<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| "SIGINT")?,
        _ = terminate.recv() => "SIGTERM",
        _ = hang_up.recv() => "SIGHUP",
    })
}

async fn compare(options: &Options) -> Fallible<ExitCode> {
    let folder = tempfile::Builder::new().prefix("ignite-compare-").tempdir()?;
    let identity = Identity::make(folder.path())?;
    let client = Client::trusting(&identity.certificate)?;
    let cores = Cores::share_out(1);
    let Some(load) = Load::prepare(folder.path(), &cores, &identity)? else {
        eprintln!("compare: the load generator wrk is not installed (apt-get install wrk)");
        return Ok(ExitCode::from(2));
    };
    let mut scenarios = match options.soak {
        Some(_) => soak::scenarios(),
        None => Scenario::wanted(options),
    };
    let mut report = Report::open(Machine::describe(&load, &cores), options);
    scenarios.retain(|scenario| match load.lacks(*scenario) {
        Some(reason) => {
            println!("left out: {}: {reason}", scenario.group);
            false
        }
        None => true,
    });
    for setting in Setting::of_all(&scenarios) {
        let here: Vec<Scenario> =
            scenarios.iter().copied().filter(|scenario| scenario.setting == setting).collect();
        let cores = Cores::share_out(setting.cores());
        let Some(load) = Load::prepare(folder.path(), &cores, &identity)? else { continue };
        let &[http1, grpc] = free_addresses(2)?.as_slice() else { return Err("no address".into()) };
        let mut stage = Stage {
            folder: folder.path().to_owned(),
            options,
            cores: &cores,
            load: &load,
            identity: &identity,
            client: &client,
            backends: Backends { http1, grpc },
            backend: 0,
        };
        let backend = start_backend(&stage, &here).await?;
        stage.backend = backend.id();
        let fleet = Fleet::start(setting, &here, &stage).await?;
        report.fleet(setting, &fleet);
        if let Some(duration) = options.soak {
            return soak::run(duration, &here, &fleet, &stage).await;
        }
        for scenario in here {
            report.table(measure::table(scenario, &fleet, &stage).await);
            if options.profile_syscalls && scenario.work != Work::Idle {
                syscalls::print_profiles(scenario, &fleet, &load, folder.path()).await;
            }
        }
    }
    report.close()?;

    // A run that was to measure the gateway and could not has failed, whatever the peers did.
    let ours = |table: &Table| {
        table.row("gateway").is_some()
            && table.rows.iter().filter(|row| is_ours(row.name)).all(|row| accepted(row, options))
    };
    let failed = options.wants_contender("gateway") && !report.tables.iter().all(ours);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What it does not claim to do is no failure, unless everything is asked of it; and where the question
/// is only whether it works, a machine too busy to measure on is none either.
fn accepted(row: &Row, options: &Options) -> bool {
    let works = options.quick && row.absence.is_none() && !row.broken;
    row.valid() || works || (row.unsupported() && !options.complete)
}

async fn start_backend(stage: &Stage<'_>, scenarios: &[Scenario]) -> Fallible<Process> {
    let Backends { http1, grpc } = stage.backends;
    let downloads = scenarios.iter().filter(|scenario| scenario.work != Work::Upload);
    let mut sizes: Vec<String> = downloads.map(|scenario| scenario.size.to_string()).collect();
    // What an upload is answered with.
    sizes.push("32".into());
    let threads = stage.cores.backend_count.to_string();
    let mut command = vec![env::current_exe()?.into_os_string(), "backend".into()];
    command.extend([http1.to_string(), grpc.to_string(), threads, sizes.join(",")].map(Into::into));
    let cores = stage.cores.backend.as_deref();
    let mut process = Process::start("backend", &command, cores, &stage.folder)?;
    for _ in 0..500 {
        if check::answers(http1, Edge::Plain, stage.client).await.is_ok() {
            return Ok(process);
        }
        if let Some(status) = process.ended() {
            let words = process.last_words();
            return Err(format!("the backend ended with {status}{words}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("the backend does not answer{}", process.last_words()).into())
}

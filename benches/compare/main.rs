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
mod check;
mod contender;
mod envoy;
mod gateway;
mod haproxy;
mod load;
mod machine;
mod measure;
mod nginx;
mod process;
mod relay;
mod report;
mod syscalls;
mod tools;

use std::env;
use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::contender::{Contender, Fleet, NAMES, Place};
use crate::load::Load;
use crate::machine::Machine;
use crate::measure::{Scenario, Table};
use crate::process::Process;
use crate::tools::Cores;

/// A bench reports its errors to a person at once: their text is all that is needed of them.
pub(crate) type Fallible<T> = Result<T, Box<dyn Error>>;

/// This gateway and every installed peer, side by side: what a request costs each of them.
#[derive(Parser)]
#[command(name = "compare", args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// Numbers of connections; each is measured with the first size
    #[arg(long, value_delimiter = ',', default_value = "64,512", value_name = "N,...")]
    connections: Vec<usize>,
    /// Sizes of the answer in bytes; each is measured with the first number of connections
    #[arg(long, value_delimiter = ',', default_value = "32,65536", value_name = "BYTES,...")]
    sizes: Vec<usize>,
    /// Rounds; the report shows their medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Seconds of load for each contender in each round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Only these contenders: gateway, relay, haproxy, nginx, envoy
    #[arg(long, value_delimiter = ',', value_name = "NAME,...", value_parser = NAMES)]
    only: Vec<String>,
    /// The first scenario only, one round of one second: does it work at all
    #[arg(long)]
    quick: bool,
    /// Write the report to this file as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also count the system calls of every contender under load, with strace
    #[arg(long)]
    profile_syscalls: bool,
    /// Another gateway binary than the one just built
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_ignite-gateway"))]
    gateway: PathBuf,
    /// Envoy's binary, if it is not on PATH (or: environment ENVOY)
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// What cargo says to a bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// The bench's own servers: processes of their own, so that each is accounted for by itself.
#[derive(Subcommand)]
enum Part {
    #[command(hide = true)]
    Backend {
        listen: SocketAddr,
        #[arg(value_delimiter = ',')]
        sizes: Vec<usize>,
    },
    #[command(hide = true)]
    Relay { listen: SocketAddr, to: SocketAddr },
}

fn main() -> ExitCode {
    // `cargo test --benches` runs this without `--bench`, perhaps with a filter that is not ours.
    let first = env::args().nth(1).unwrap_or_default();
    let is_part = ["backend", "relay"].contains(&first.as_str());
    if !is_part && (env::args().all(|word| word != "--bench") || env::args().any(|w| w == "--test"))
    {
        println!("compare: nothing to test; run it by `cargo bench --bench compare`");
        return ExitCode::SUCCESS;
    }
    let mut options = Options::parse();
    options.envoy = options.envoy.or_else(|| env::var_os("ENVOY").map(PathBuf::from));
    // Children run in a folder of their own: a relative path would mean another file there.
    options.gateway = options.gateway.canonicalize().unwrap_or(options.gateway);
    options.envoy = options.envoy.map(|path| path.canonicalize().unwrap_or(path));
    if options.quick {
        (options.rounds, options.seconds) = (1, 1);
        options.connections.truncate(1);
        options.sizes.truncate(1);
    }
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(&options)));
    outcome.unwrap_or_else(|error| {
        eprintln!("compare: {error}");
        ExitCode::FAILURE
    })
}

async fn run(options: &Options) -> Fallible<ExitCode> {
    match &options.part {
        Some(Part::Backend { listen, sizes }) => backend::serve(*listen, sizes).await?,
        Some(Part::Relay { listen, to }) => relay::serve(*listen, *to).await?,
        None => {
            // Whoever loses the race is dropped, and with it every process that it had started.
            return tokio::select! {
                outcome = compare(options) => outcome,
                signal = asked_to_stop() => Err(format!("stopped by {}", signal?).into()),
            };
        }
    }
    Ok(ExitCode::SUCCESS)
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
    let cores = Cores::share_out();
    let Some(load) = Load::prepare(folder.path(), &cores)? else {
        eprintln!("compare: the load generator wrk is not installed (apt-get install wrk)");
        return Ok(ExitCode::from(2));
    };
    let addresses = free_addresses(1 + 2 * NAMES.len())?;
    let (backend, rest) = addresses.split_first().ok_or("no address for the backend")?;
    let _backend_process = start_backend(*backend, options, &cores, folder.path()).await?;

    let mut fleet = Fleet::default();
    let wanted = |name: &&str| options.only.is_empty() || options.only.iter().any(|o| o == name);
    for (name, pair) in NAMES.iter().zip(rest.chunks_exact(2)).filter(|(name, _)| wanted(name)) {
        let &[listen, spare] = pair else { continue };
        let place = Place { folder: folder.path().to_owned(), listen, backend: *backend, spare };
        match Contender::start(name, &place, options, &cores).await {
            Ok(contender) => fleet.0.push(contender),
            Err(reason) => println!("left out: {name}: {reason}"),
        }
    }
    if fleet.0.is_empty() {
        return Err("no contender runs".into());
    }
    let machine = Machine::describe(&load, &cores);
    report::print_opening(&machine, &fleet.0, options);

    let mut tables: Vec<Table> = Vec::new();
    for scenario in Scenario::star(&options.connections, &options.sizes) {
        let table = measure::table(scenario, &fleet.0, *backend, &load, options).await;
        report::print_table(&table);
        tables.push(table);
    }
    if options.profile_syscalls {
        for contender in &fleet.0 {
            syscalls::print_profile(contender, &load, folder.path()).await;
        }
    }
    if let Some(file) = &options.json {
        report::write_json(file, &machine, &fleet.0, options, &tables)?;
    }

    // A run that was to measure the gateway and could not has failed, whatever the peers did.
    let measured = tables.iter().all(|table| table.row("gateway").is_some_and(measure::Row::valid));
    Ok(if wanted(&"gateway") && !measured { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn start_backend(
    address: SocketAddr,
    options: &Options,
    cores: &Cores,
    folder: &Path,
) -> Fallible<Process> {
    let sizes: Vec<String> = options.sizes.iter().map(usize::to_string).collect();
    let mut command = vec![env::current_exe()?.into_os_string()];
    command.extend(["backend".into(), address.to_string().into(), sizes.join(",").into()]);
    let mut process = Process::start("backend", &command, cores.backend.as_deref(), folder)?;
    for _ in 0..100 {
        if check::answers(address).await.is_ok() {
            return Ok(process);
        }
        if let Some(end) = process.ended() {
            return Err(format!("the backend {end}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("the backend does not answer{}", process.last_words()).into())
}

/// All are held until the last is found, so that no two are the same.
fn free_addresses(count: usize) -> Fallible<Vec<SocketAddr>> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    Ok(held.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?)
}

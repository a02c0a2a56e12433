//! What the command line asks for: which contenders, which scenarios, how long.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;

use crate::Part;
use crate::scenario::GROUPS;
use crate::setting::NAMES;

/// This gateway and every installed peer, side by side: what a request costs each of them.
#[derive(Parser)]
#[command(name = "compare", args_conflicts_with_subcommands = true)]
#[expect(clippy::struct_excessive_bools, reason = "the switches of a command line")]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) part: Option<Part>,
    /// Numbers of connections of `http1`; each is measured with the first size
    #[arg(long, value_delimiter = ',', default_value = "1,64,512", value_name = "N,...")]
    pub(crate) connections: Vec<usize>,
    /// Answers of `http1` in bytes; each other than the first is measured with 64 connections
    #[arg(long, value_delimiter = ',', default_value = "32", value_name = "BYTES,...")]
    pub(crate) sizes: Vec<usize>,
    /// Rounds; the report shows their medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rounds: u64,
    /// Seconds of load for each contender in each round
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Only these contenders, only these groups of scenarios
    #[arg(long, value_delimiter = ',', value_name = "NAME,...", value_parser = names())]
    pub(crate) only: Vec<String>,
    /// One scenario of each kind, one round of one second: does it work at all
    #[arg(long)]
    pub(crate) quick: bool,
    /// What the gateway does not support fails the run too
    #[arg(long)]
    pub(crate) complete: bool,
    /// Write the report to this file as JSON too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the summary into this file as SVG; the course of a soak
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Instead of everything else: load for so long (10m, 90s), memory and latency over the time
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) soak: Option<Duration>,
    /// Also count the system calls of every contender under load, with strace
    #[arg(long)]
    pub(crate) profile_syscalls: bool,
    /// Another gateway binary than the one just built
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_ignite-gateway"))]
    pub(crate) gateway: PathBuf,
    /// Envoy's binary, if it is not on PATH (or: environment ENVOY)
    #[arg(long, value_name = "PATH")]
    pub(crate) envoy: Option<PathBuf>,
    /// What cargo says to a bench
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub(crate) fn of_the_command_line() -> Self {
        let mut options = Self::parse();
        options.envoy = options.envoy.or_else(|| env::var_os("ENVOY").map(PathBuf::from));
        // Children run in a folder of their own: a relative path would mean another file there.
        options.gateway = options.gateway.canonicalize().unwrap_or(options.gateway);
        options.envoy = options.envoy.map(|path| path.canonicalize().unwrap_or(path));
        if options.quick {
            (options.rounds, options.seconds) = (1, 1);
        }
        options
    }

    /// A soak is the gateway's, unless others are named.
    pub(crate) fn wants_contender(&self, name: &str) -> bool {
        let named = self.only.iter().any(|it| NAMES.contains(&it.as_str()));
        self.wants(&NAMES, name) && (self.soak.is_none() || named || name == "gateway")
    }

    pub(crate) fn wants_group(&self, group: &str) -> bool {
        self.wants(&GROUPS, group)
    }

    /// Who names no contender wants them all, and who names no group wants every one.
    fn wants(&self, kind: &[&str], name: &str) -> bool {
        let mut named = self.only.iter().filter(|it| kind.contains(&it.as_str())).peekable();
        named.peek().is_none() || named.any(|it| it == name)
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    let duration = parsed.map_err(|error| error.to_string())?;
    Duration::try_from(duration).map_err(|error| error.to_string())
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(NAMES.into_iter().chain(GROUPS))
}

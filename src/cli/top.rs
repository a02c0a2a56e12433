//! `top`: what a running gateway does, live in a terminal, or once for scripts.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Failure;
use crate::top::{self, Options, report};

/// Arguments of `top`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The gateway's admin address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    admin: SocketAddr,
    /// Seconds between two looks: 0.1 to 60
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,
    /// Look twice, an interval apart, print what happened in between, and end
    #[arg(long)]
    once: bool,
    /// How `--once` prints
    #[arg(long, value_enum, default_value_t = Output::Text, requires = "once")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table
    Text,
    /// One JSON object
    Json,
}

#[expect(clippy::print_stdout, reason = "what was asked for")]
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let options = Options { admin: arguments.admin, interval: arguments.interval };
    if !arguments.once {
        return top::run(options).map_err(Failure::running);
    }
    let state = top::once(options).map_err(Failure::running)?;
    match arguments.output {
        Output::Text => print!("{}", report::text(&state)),
        Output::Json => println!("{}", report::json(&state).map_err(Failure::running)?),
    }
    Ok(())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=60.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "give 0.1 to 60".to_owned())
}

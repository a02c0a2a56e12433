//! The command line: what can be asked, and what a failure looks like.
//!
//! Exit codes: 0, 1 when something failed while running, 2 for wrong usage or
//! a wrong configuration.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod check;
mod dev;
mod health;
mod serve;
mod signals;
mod top;

/// The edge of the Ignite platform: resolves an app's public name and forwards
/// each call to its container.
#[derive(Debug, Parser)]
#[command(name = "ignite-gateway", version, about, max_term_width = 100)]
#[command(after_help = "Every setting of the configuration file can be given in the environment \
as well:\n  IGNITE_GATEWAY__TIMEOUTS__CONNECT=1s ignite-gateway serve --config gateway.toml\n\n\
Exit codes: 0; 1 failed while running; 2 wrong usage or configuration.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the data plane in front of the apps of a configuration file
    Serve(serve::Arguments),
    /// Validate a configuration file and print the host table
    Check(check::Arguments),
    /// Run a command as an app behind a gateway on this machine
    Dev(dev::Arguments),
    /// Ask a running gateway whether it is ready; for container health checks
    Health(health::Arguments),
    /// Show what a running gateway does, live
    Top(top::Arguments),
}

/// How a command failed.
#[derive(Debug)]
enum Failure {
    /// While running: exit code 1.
    Running(Box<dyn Error>),
    /// In what was asked: exit code 2.
    Usage(Box<dyn Error>),
}

impl Failure {
    fn running(error: impl Into<Box<dyn Error>>) -> Self {
        Self::Running(error.into())
    }

    fn usage(error: impl Into<Box<dyn Error>>) -> Self {
        Self::Usage(error.into())
    }
}

/// Runs the command of this process's arguments.
pub fn run() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Dev(arguments) => dev::run(&arguments),
        Command::Health(arguments) => health::run(&arguments),
        Command::Top(arguments) => top::run(&arguments),
    };
    let (error, code) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Running(error)) => (error, 1),
        Err(Failure::Usage(error)) => (error, 2),
    };
    report(&*error);
    ExitCode::from(code)
}

/// The runtime of everything that is not on a worker: probes, admin, signals, reloads.
fn runtime() -> tokio::runtime::Builder {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(1).thread_name("control").enable_all();
    runtime
}

/// The error and what caused it, a line each.
#[expect(clippy::print_stderr, reason = "the process ends with this message")]
fn report(error: &dyn Error) {
    eprintln!("ignite-gateway: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
}

//! `health`: asks a running gateway whether it is ready, for container images
//! that hold no other client.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::Failure;
use crate::upstream::health::{self, Speech};

/// Arguments of `health`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The gateway's admin address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    admin: SocketAddr,
    /// What to ask: /readyz or /livez
    #[arg(long, value_name = "PATH", default_value = "/readyz")]
    path: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let probe =
        health::probe(arguments.admin, &arguments.path, Speech::Http1, Duration::from_secs(2));
    super::runtime().build().map_err(Failure::running)?.block_on(probe).map_err(Failure::running)
}

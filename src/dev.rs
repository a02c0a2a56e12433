//! The pieces of `ignite-gateway dev`: a local platform that runs a command as
//! an app under the container contract.
//!
//! They know nothing of each other nor of the gateway: the `dev` subcommand
//! wires them. Nothing here runs on a worker.

pub mod diagnose;
pub mod echo;
pub mod free_port;
pub mod process;

//! `ignite-gateway dev`: a local platform that runs a command as an app under the
//! container contract, behind a gateway on this machine.
//!
//! [`platform`] puts it together and is the only part that knows the gateway; the
//! pieces know nothing of each other. Nothing here runs on a worker.

mod addresses;
mod banner;
pub mod certificate;
pub mod diagnose;
pub mod echo;
pub mod free_port;
mod liveness;
pub mod platform;
pub mod process;
mod screen;
pub mod settings;

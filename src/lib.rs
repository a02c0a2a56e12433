//! ignite-gateway.
pub mod config;
pub mod ids;

//! What the operator sees of the requests: numbers and lines.

pub mod access_log;
pub mod connections;
pub mod executions;
pub mod finished;
pub mod latency;
pub mod level;
pub mod lines;
pub mod load;
pub mod log;
pub mod metrics;
pub mod refusals;
pub mod state;
pub mod tls;
pub mod trace;
pub mod usage;

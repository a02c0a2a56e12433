//! The gateway from outside: every test talks to a whole gateway over sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::format_push_string,
    clippy::indexing_slicing,
    clippy::items_after_statements,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    clippy::needless_for_each,
    clippy::needless_pass_by_value,
    clippy::type_complexity,
    unreachable_pub,
    missing_docs
)]

mod aborts;
mod access_log;
mod admin;
mod binary;
mod bodies;
mod clients;
mod cold_start;
mod concurrency;
mod connections_per_client;
mod dashboard;
mod departures;
mod draining;
mod endpoints;
mod failures;
mod faults;
mod framing;
mod grpc;
mod headers;
mod hostile;
mod http2_hostile;
mod idle;
mod idle_connections;
mod isolation;
mod leaks;
mod lifecycle;
mod outlier;
mod overload;
mod overload_load;
mod proxy_protocol;
mod rate_limits;
mod real_apps;
mod refusals;

mod resilience;
mod retries;
mod rolling_restart;
mod routing;
mod secrets;
mod slow_floods;
mod slow_peers;
mod streaming;
mod streaming_http2;
mod streaming_memory;
mod support;
mod takeover;
mod takeover_load;
mod tls;
mod top;
mod traces;
mod trailers;
mod upgrade;
mod usage;
mod verbatim;
mod websocket_http2;
mod workers;

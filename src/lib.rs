//! The edge of the Ignite platform: every call from the internet passes through here.
//!
//! # The way of a request
//!
//! A worker is a thread with its own sockets, connections and pool; a request
//! stays on it, in one task, from accept to answer.
//!
//! | # | step | where | refuses with |
//! |---|---|---|---|
//! | 1 | accept, or hand over to a less loaded worker | [`listener::accept`], [`worker`] | the socket is closed, counted |
//! | 2 | who called, where a load balancer announces it | [`listener::proxy_protocol`] | the socket is closed, counted |
//! | 3 | TLS, where the listener has certificates; its ALPN says which HTTP follows | [`listener::tls`] | an alert, counted |
//! | 4 | HTTP/1.1 or HTTP/2: read and parse the head | [`listener::connection`], [`http1::head`]; [`listener::http2`], [`http2`] | 400, 408, 414, 431, 501; a reset or GOAWAY |
//! | 5 | open the record, mint the execution id; is it a gRPC call, and until when? | [`gateway::Gateway::handle`], [`gateway::record`], [`ids`], [`gateway::grpc`] | |
//! | 6 | resolve the host to a route | [`gateway::host`], [`gateway::routes`] | 400, 404 |
//! | 7 | admit: the gateway's own load, method, size, the client's and the app's rate | [`gateway::overload`], [`gateway::admit`] | 405, 413, 429, 501, 503 |
//! | 8 | rewrite the request's fields | [`gateway::headers`] | 400 |
//! | 9 | a turn at the app: choose an endpoint within the limits, or wait in line for one | [`upstream::turns`], [`upstream::balance`], [`upstream::wait`] | 503 |
//! | 10 | lease a connection, or connect; where no endpoint accepts one, back to the line | [`upstream::pool`], [`upstream::connect`] | 502, 504 |
//! | 11 | exchange: send the request, read the response head | [`upstream::exchange`], [`upstream::http2`] | 502, 504 |
//! | 12 | rewrite the response's fields | [`gateway::headers`] | |
//! | 13 | relay the body, or both directions after an upgrade; keep or close both connections | [`listener::connection`], [`http1::decode`], [`http1::upgrade`] | a visibly broken message |
//! | 14 | close the record: one log line, one count | [`gateway::record`], [`telemetry`] | |
//!
//! A step that refuses ends the climb with an [`error::Error`]; [`gateway::reply`]
//! turns it into the answer, for a gRPC call as [`gateway::grpc`] says. Nothing
//! else makes answers.
//!
//! Two orders are security. The ids are put in after every hop-by-hop and
//! reserved field is gone, so nothing that a caller nominates can remove or
//! double them. The request-target is taken once from the parsed head and never
//! rebuilt from pieces, so what the app sees is what the caller sent.
//!
//! # Beside the way
//!
//! [`app`] wires everything; [`discovery`] tells the route table what there is
//! and probes endpoints ([`upstream::health`]); [`admin`] shows the operator;
//! [`dev`] runs a command as an app on a laptop; [`top`] watches a gateway from a
//! terminal; [`takeover`] is a restart without losing a call; [`inherited`] and
//! [`supervisor`] are what a service manager gives and hears; [`cli`] is the command
//! line. [`config`], [`clock`], [`shutdown`],
//! [`fields`], [`rate_limit`], [`message`] and [`body`] are the plain values below
//! all of them.
//!
//! # Tenets, in rank order
//!
//! 1. Safe between organizations. 2. Correct HTTP. 3. Fast. 4. Readable in one
//!    sitting. 5. Configurable. When two disagree, the lower number wins.

pub mod admin;
pub mod app;
pub mod body;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dev;
pub mod discovery;
pub mod error;
pub mod fields;
pub mod gateway;
pub mod http1;
pub mod http2;
pub mod ids;
pub mod inherited;
mod io;
pub mod listener;
pub mod message;
pub mod rate_limit;
pub mod shutdown;
pub mod supervisor;
pub mod takeover;
pub mod telemetry;
pub mod top;
pub mod upstream;
pub mod worker;

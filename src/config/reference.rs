//! Every setting once: its key, its default, its meaning.
//!
//! The annotated `config/gateway.toml`, the README's table, the keys that the
//! reader knows and the environment variables all come from [`SETTINGS`].
//! Tests hold its defaults to those of [`super::Config`].

mod apps;
mod sections;
mod setting;
mod text;

use apps::APPS;
use sections::SECTIONS;
pub(super) use sections::{header, keys};
use setting::row;
pub use setting::{PREFIX, Setting};
pub use text::{annotated_default, markdown_table};

/// No name of a key or of a variable is longer.
pub(super) const LONGEST_NAME: usize = 64;

/// Every setting, in the order of the file.
pub const SETTINGS: &[Setting] = &all();

#[expect(clippy::indexing_slicing, reason = "runs while compiling, where an index fails the build")]
const fn all() -> [Setting; GATEWAY.len() + APPS.len()] {
    let mut all = [GATEWAY[0]; GATEWAY.len() + APPS.len()];
    let mut at = 1;
    while at < all.len() {
        all[at] = if at < GATEWAY.len() { GATEWAY[at] } else { APPS[at - GATEWAY.len()] };
        at += 1;
    }
    all
}

/// The gateway's own settings.
const GATEWAY: &[Setting] = &[
    row(
        "",
        "domain",
        "\"ignite.dodil.cloud\"",
        "The domain under which every app gets its hosts: `<name>-<organization>.<domain>` for \
         port 80, `<name>-<organization>-<port>.<domain>` for any other.",
    ),
    row("", "workers", "0", "Worker threads, at most 1024; 0: one per available core."),
    row(
        "",
        "trusted_proxies",
        "[]",
        "Proxies whose `X-Forwarded-*` fields and PROXY protocol headers are believed: networks or \
         addresses, e.g. `[\"10.0.0.0/8\"]`.",
    ),
    row("listener", "address", "\"0.0.0.0:8080\"", "The address to bind; port 0: any free port."),
    row(
        "listener",
        "proxy_protocol",
        "false",
        "true: a load balancer in front announces each caller in a PROXY protocol header, version \
         1 or 2; connections without one, or from outside `trusted_proxies`, are closed.",
    ),
    row(
        "listener.tls",
        "certificates",
        "",
        "Certificates and their keys, PEM. One is chosen by the name that the caller asks for \
         (SNI); the first when none has it. Required.",
    ),
    row(
        "listener.tls.certificates",
        "certificate",
        "",
        "The certificate, then those that lead to its authority. Required.",
    ),
    row("listener.tls.certificates", "key", "", "Its private key. Required."),
    row("listener.tls", "min_version", "\"1.2\"", "The oldest version spoken: `1.2` or `1.3`."),
    row(
        "listener.tls",
        "client_ca",
        "",
        "Certificates of the authorities that callers' certificates are checked against, PEM; \
         without it callers show none.",
    ),
    row(
        "listener.tls",
        "client_auth",
        "\"required\"",
        "`required`: a caller without a certificate is turned away; `optional`: it is served. \
         Only with `client_ca`.",
    ),
    row("admin", "address", "\"127.0.0.1:9090\"", "The address to bind; port 0: any free port."),
    row(
        "admin",
        "executions",
        "10000",
        "The last executions that are kept to be looked up by their ids, all workers together: 0 to \
         1000000, some 500 bytes each.",
    ),
    row(
        "timeouts",
        "handshake",
        "\"10s\"",
        "From accepting a TLS connection to the end of its handshake.",
    ),
    row(
        "timeouts",
        "header",
        "\"10s\"",
        "From the first byte of a request's head to its last; before that, for a PROXY protocol \
         header.",
    ),
    row("timeouts", "connect", "\"2s\"", "To connect to an endpoint, each try."),
    row(
        "timeouts",
        "response",
        "\"300s\"",
        "From the whole request sent to the response's head received.",
    ),
    row(
        "timeouts",
        "request",
        "\"0s\"",
        "From the request's head to the response's, with all waits and tries; 0s: no bound.",
    ),
    row(
        "timeouts",
        "idle_body",
        "\"60s\"",
        "Between two pieces of a body; where both sides send at once, of either direction.",
    ),
    row(
        "timeouts",
        "upgrade_idle",
        "\"1h\"",
        "Without a byte in either direction of a WebSocket, or of another connection that changed \
         its protocol.",
    ),
    row("timeouts", "keepalive", "\"75s\"", "How long a caller's idle connection is kept."),
    row(
        "timeouts",
        "upstream_keepalive",
        "\"60s\"",
        "How long an idle connection to an endpoint is kept; an app's own `Keep-Alive: timeout` \
         shortens it.",
    ),
    row(
        "timeouts",
        "ready",
        "\"30s\"",
        "How long a request waits for a ready endpoint and its turn at the app.",
    ),
    row(
        "timeouts",
        "drain_delay",
        "\"5s\"",
        "From the first signal to closing the listeners, so that load balancers notice; may be 0s.",
    ),
    row(
        "timeouts",
        "drain",
        "\"30s\"",
        "From closing the listeners to ending what still runs; may be 0s.",
    ),
    row(
        "limits",
        "connections",
        "65536",
        "Connections of callers, all workers together: 1 to 10000000.",
    ),
    row(
        "limits",
        "connections_per_client",
        "4096",
        "Connections of one client, an IPv4 address or an IPv6 /64; with `proxy_protocol`, of the \
         announced one. `trusted_proxies` speak for many and are not counted. 0 to 10000000; 0: no \
         limit.",
    ),
    row(
        "limits",
        "handshakes",
        "1024",
        "TLS handshakes under way on one worker, 1 to 1000000; more wait.",
    ),
    row("limits", "header_bytes", "\"32KiB\"", "Size of a request's head: 1KiB to 1MiB."),
    row("limits", "headers", "100", "Fields of a request's head: 1 to 1000."),
    row(
        "limits",
        "request_target_bytes",
        "\"16KiB\"",
        "Size of a request's target, its path and query: 64B to 65534B, at most `header_bytes`.",
    ),
    row("limits", "request_body", "\"0\"", "Size of a request's body; 0: no limit."),
    row("limits", "response_header_bytes", "\"64KiB\"", "Size of a response's head: 1KiB to 1MiB."),
    row(
        "limits",
        "concurrent_streams",
        "256",
        "Requests that a caller may have under way on one HTTP/2 connection: 1 to 65536.",
    ),
    row(
        "limits",
        "stream_window",
        "\"256KiB\"",
        "Bytes of one HTTP/2 request's body that are taken before the app reads them: 65535B to \
         1GiB.",
    ),
    row(
        "limits",
        "connection_window",
        "\"1MiB\"",
        "The same for all requests of a connection together.",
    ),
    row(
        "limits",
        "stream_resets",
        "200",
        "HTTP/2 requests that a caller may cancel before they are answered; beyond, a connection \
         on which most requests were cancelled is closed: 1 to 1000000.",
    ),
    row(
        "limits",
        "control_frames",
        "1000",
        "HTTP/2 frames without content that a caller may send beyond the ten that each request or \
         piece of content, and each second, allows: 100 to 1000000.",
    ),
    row(
        "limits",
        "app_in_flight",
        "\"auto\"",
        "Requests under way of one app, over all its ports and all workers, waiting ones and \
         WebSockets included; more get 503: `auto`, which is half of `connections`; a number; or \
         0: no limit.",
    ),
    row("limits", "app_concurrency", "0", "Requests that an app works on at once; 0: no limit."),
    row(
        "limits",
        "endpoint_concurrency",
        "0",
        "Requests that one endpoint of an app works on at once; 0: no limit.",
    ),
    row("limits", "app_queue", "1024", "Requests that wait for one app: 0 to 1000000."),
    row("limits", "queue", "65536", "Requests that wait for all apps together: 0 to 10000000."),
    row(
        "limits",
        "upstream_idle",
        "1024",
        "Idle connections that one worker keeps to one endpoint: 0 to 65536.",
    ),
    row(
        "limits",
        "in_flight",
        "0",
        "Requests under way, all apps and workers together, waiting ones and WebSockets included; \
         more get 503. 0: no limit.",
    ),
    row(
        "limits",
        "memory",
        "\"auto\"",
        "Resident memory above which new requests get 503 and connections idle for a second are closed: `auto`, \
         which is 90 % of the cgroup's limit where it has one; a size; or 0: no limit.",
    ),
    row(
        "outlier_ejection",
        "consecutive_failures",
        "3",
        "Failures in a row that eject an endpoint: no connection, closed before an answer, an answer \
         that is no HTTP; 0: none do.",
    ),
    row("outlier_ejection", "consecutive_5xx", "0", "Answers of 5xx in a row that do; 0: none."),
    row("outlier_ejection", "base_time", "\"1s\"", "How long at first; each time twice as long."),
    row("outlier_ejection", "max_time", "\"30s\"", "How long at most."),
    row("outlier_ejection", "max_percent", "50", "The most of an app's endpoints at once, in %."),
    row("retries", "max", "2", "The most retries of one request: 0 to 10."),
    row("retries", "budget_percent", "20", "The most of recent requests that are, in per cent."),
    row("retries", "min_per_second", "3", "As many a second always may be, of each app's port."),
    row(
        "rate_limit",
        "requests",
        "0",
        "Requests of one client in each period, 1 to 1000000; more get 429. 0: no limit.",
    ),
    row("rate_limit", "per", "\"1s\"", "The period: 1ms to 24h."),
    row(
        "rate_limit",
        "burst",
        "0",
        "Requests that may come at once after a pause, 1 to 1000000; 0: as many as `requests`.",
    ),
    row(
        "rate_limit",
        "clients",
        "65536",
        "Busy clients that are told apart at once, 32 bytes each: 1024 to 16777216. Of more, those \
         that have used least begin anew.",
    ),
    row(
        "overload",
        "target_lag",
        "\"500ms\"",
        "How late a worker may be with its work. One that is later again and again refuses with 503 \
         whatever waited longer than that, and accepts connections slowly, until it is not: 5ms to \
         10s; 0s: never.",
    ),
    row(
        "access_log",
        "format",
        "\"auto\"",
        "`auto`: text on a terminal, JSON elsewhere; or `json`, `text`, `off`.",
    ),
    row(
        "access_log",
        "sample",
        "1.0",
        "The share of successful requests that is logged, 0 to 1; errors always are, except what \
         the gateway refuses when it has too much to do.",
    ),
    row(
        "tracing",
        "endpoint",
        "\"\"",
        "The collector's address, e.g. `http://127.0.0.1:4317`, or `https://`, whose certificate one \
         of the system's authorities must have signed; empty: no traces.",
    ),
    row(
        "tracing",
        "protocol",
        "\"grpc\"",
        "OTLP over `grpc`, or `http`: then `/v1/traces` is added to the endpoint.",
    ),
    row(
        "tracing",
        "sample",
        "0.01",
        "The share of requests that is traced, 0 to 1, where no parent decides.",
    ),
    row(
        "tracing",
        "parent",
        "\"trusted\"",
        "Whose `traceparent` decides whether a request is traced: `trusted`, that of \
         `trusted_proxies`; or `all`.",
    ),
    row(
        "tracing",
        "timeout",
        "\"10s\"",
        "For the collector to take one batch of spans, each try: 100ms to 1m.",
    ),
    row(
        "tracing",
        "queue",
        "8192",
        "Traced requests that wait to be sent, 1 to 1000000, about 1 KiB each; more are dropped \
         and counted.",
    ),
];

#[cfg(test)]
mod tests;

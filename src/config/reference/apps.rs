//! The settings of an app.

use super::setting::{Setting, row};

/// In the order of the file.
pub(super) const APPS: &[Setting] = &[
    row("app", "organization", "", "Who owns the app: a DNS label. Required."),
    row("app", "name", "", "The app's name: a DNS label. Required."),
    row(
        "app",
        "endpoints",
        "",
        "Where the app listens, when port 80 is its only one, e.g. `[\"127.0.0.1:3000\"]`. \
         Either this or `ports`.",
    ),
    row(
        "app.endpoints",
        "address",
        "",
        "Where the app listens, as by the address alone. Required.",
    ),
    row(
        "app.endpoints",
        "draining",
        "false",
        "Finishes what it has, and gets nothing new while another endpoint is ready.",
    ),
    row(
        "app",
        "concurrency",
        "",
        "Requests that the app works on at once, over all its ports; 0: no limit. Else \
         `limits.app_concurrency`.",
    ),
    row(
        "app",
        "endpoint_concurrency",
        "",
        "Requests that one of its endpoints works on at once; 0: no limit. Else \
         `limits.endpoint_concurrency`.",
    ),
    row(
        "app",
        "rate_limit",
        "",
        "How often the app may be called by all callers together, on all its ports, e.g. \
         `{ requests = 100, per = \"1s\", burst = 200 }`; without it: no limit.",
    ),
    row(
        "app.rate_limit",
        "requests",
        "",
        "Requests in each period, 1 to 1000000; more get 429. Required.",
    ),
    row("app.rate_limit", "per", "\"1s\"", "The period: 1ms to 24h."),
    row(
        "app.rate_limit",
        "burst",
        "0",
        "Requests that may come at once after a pause, 1 to 1000000; 0: as many as `requests`.",
    ),
    row(
        "app",
        "deployment_mode",
        "\"image\"",
        "`image`: the app's own container. `compile`: a container that the platform built; it has \
         port 80, and the keys below are ignored with a warning.",
    ),
    row(
        "app",
        "health_path",
        "\"/healthz\"",
        "Where the app says that it is ready; begins with `/`.",
    ),
    row(
        "app",
        "invoke_path",
        "\"/\"",
        "The app's main route, as documentation: it routes nothing; begins with `/`.",
    ),
    row("app", "ports", "", "The app's ports, 1 to 32, each with a host of its own."),
    row(
        "app.ports",
        "port",
        "",
        "The container's port, 1 to 65535: it chooses the host. Required.",
    ),
    row("app.ports", "endpoints", "", "Where the app listens for this port. Required."),
    row(
        "app.ports",
        "protocol",
        "\"http1\"",
        "What the app speaks: `http1`, `h2c` (HTTP/2 without TLS, as gRPC servers do), or `auto`: \
         each endpoint is asked once.",
    ),
    row(
        "app",
        "health_check",
        "true",
        "Active probes of `health_path`; false: every endpoint counts as ready.",
    ),
];

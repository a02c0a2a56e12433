//! The names of all metrics and what they tell, in the order of the exposition.
//! `docs/metrics.md` repeats them; a test compares.

/// A metric: its name as it is exported, and what it tells.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

/// What a number means. An info is always 1: its labels are the fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

const fn family(kind: Kind, name: &'static str, help: &'static str) -> Family {
    Family { name, kind, help }
}

pub(super) const DURATION: Family = family(
    Kind::Histogram,
    "http_server_request_duration_seconds",
    "Time from a request's head read to the end of its response.",
);
pub(super) const REQUESTS: Family = family(
    Kind::Counter,
    "ignite_gateway_requests_total",
    "Requests that ended, by method and class of status; class none got no response.",
);
pub(super) const FAILURES: Family = family(
    Kind::Counter,
    "ignite_gateway_failed_requests_total",
    "Requests that were refused or did not end well, by whose doing it was and why.",
);
pub(super) const ACTIVE: Family = family(
    Kind::Gauge,
    "http_server_active_requests",
    "Requests under way, waiting ones included.",
);
pub(super) const REQUEST_BYTES: Family = family(
    Kind::Counter,
    "ignite_gateway_request_body_bytes_total",
    "Bytes of request bodies received from callers, counted when a request ends.",
);
pub(super) const RESPONSE_BYTES: Family = family(
    Kind::Counter,
    "ignite_gateway_response_body_bytes_total",
    "Bytes of response bodies written to callers, counted when a request ends.",
);
pub(super) const RATE_LIMITED: Family = family(
    Kind::Counter,
    "ignite_gateway_rate_limited_requests_total",
    "Requests refused with 429, by whose rate they were beyond.",
);
pub(super) const FIRST_BYTE: Family = family(
    Kind::Histogram,
    "ignite_gateway_upstream_first_byte_seconds",
    "Time from the choice of an endpoint to the whole head of its response, connecting included.",
);
pub(super) const QUEUE: Family = family(
    Kind::Histogram,
    "ignite_gateway_queue_seconds",
    "Time that requests waited for a ready endpoint or for their turn, of those that had to.",
);
pub(super) const ENDPOINTS: Family =
    family(Kind::Gauge, "ignite_gateway_endpoints", "Endpoints of an app's port, by state.");
pub(super) const EJECTIONS: Family = family(
    Kind::Counter,
    "ignite_gateway_endpoint_ejections_total",
    "Times that an endpoint was left alone for a while because it failed requests, by reason.",
);
pub(super) const RETRIES: Family = family(
    Kind::Counter,
    "ignite_gateway_retries_total",
    "Retries of requests, by result: sent, or refused by the budget.",
);
pub(super) const IN_FLIGHT: Family = family(
    Kind::Gauge,
    "ignite_gateway_in_flight_requests",
    "Requests at the app, all its ports together; those that wait are not.",
);
pub(super) const WAITING: Family = family(
    Kind::Gauge,
    "ignite_gateway_waiting_requests",
    "Requests that wait for a ready endpoint or for their turn at the app, all its ports together.",
);
pub(super) const OLDEST_WAIT: Family = family(
    Kind::Gauge,
    "ignite_gateway_oldest_wait_seconds",
    "How long the first of the requests that wait for an app has waited; 0: none waits.",
);
pub(super) const APPS: Family = family(Kind::Gauge, "ignite_gateway_apps", "Apps that are routed.");
pub(super) const USAGE_INVOCATIONS: Family = family(
    Kind::Counter,
    "ignite_gateway_usage_invocations_total",
    "Invocations of an app that ended.",
);
pub(super) const USAGE_MILLISECONDS: Family = family(
    Kind::Counter,
    "ignite_gateway_usage_milliseconds_total",
    "Time of an app's invocations without waiting, each rounded up to a millisecond.",
);
pub(super) const USAGE_REQUEST_BYTES: Family = family(
    Kind::Counter,
    "ignite_gateway_usage_request_bytes_total",
    "Bytes of request bodies that came with an app's invocations.",
);
pub(super) const USAGE_RESPONSE_BYTES: Family = family(
    Kind::Counter,
    "ignite_gateway_usage_response_bytes_total",
    "Bytes of response bodies that an app gave to its invocations.",
);
pub(super) const REQUEST_SIZE: Family = family(
    Kind::Histogram,
    "http_server_request_body_size_bytes",
    "Sizes of request bodies as far as they were received, of all apps together.",
);
pub(super) const RESPONSE_SIZE: Family = family(
    Kind::Histogram,
    "http_server_response_body_size_bytes",
    "Sizes of response bodies as far as they were passed on, of all apps together.",
);
pub(super) const CONNECT: Family = family(
    Kind::Histogram,
    "ignite_gateway_upstream_connect_seconds",
    "Time that requests waited for a new connection to an endpoint, of all apps together.",
);
pub(super) const CONNECTIONS: Family = family(
    Kind::Gauge,
    "ignite_gateway_downstream_connections",
    "Open connections of callers; read once a second.",
);
pub(super) const IDLE: Family = family(
    Kind::Gauge,
    "ignite_gateway_downstream_idle_connections",
    "Open connections of callers that have been silent and are kept as bare sockets; read once a second.",
);
pub(super) const ACCEPTED: Family = family(
    Kind::Counter,
    "ignite_gateway_downstream_connections_accepted_total",
    "Connections of callers accepted, refused ones included.",
);
pub(super) const REFUSED: Family = family(
    Kind::Counter,
    "ignite_gateway_downstream_connections_refused_total",
    "Connections of callers closed at once because there were too many, by whose: of all, or of \
     their client.",
);
pub(super) const HANDED_OVER: Family = family(
    Kind::Counter,
    "ignite_gateway_downstream_connections_handed_over_total",
    "Connections of callers that this worker accepted and gave to a less loaded one.",
);
pub(super) const REFUSED_REQUESTS: Family = family(
    Kind::Counter,
    "ignite_gateway_refused_requests_total",
    "Requests refused for what their callers sent, or did not send in time, by reason.",
);
pub(super) const PANICS: Family = family(
    Kind::Counter,
    "ignite_gateway_panics_total",
    "Requests and connections that ended in a panic: each is a defect of the gateway.",
);
pub(super) const HTTP2_ERRORS: Family = family(
    Kind::Counter,
    "ignite_gateway_http2_connection_errors_total",
    "HTTP/2 connections ended because of what the caller sent, by error code.",
);
pub(super) const HANDSHAKES: Family = family(
    Kind::Counter,
    "ignite_gateway_tls_handshakes_total",
    "TLS handshakes that succeeded, by version and kind.",
);
pub(super) const HANDSHAKE_FAILURES: Family = family(
    Kind::Counter,
    "ignite_gateway_tls_handshake_failures_total",
    "TLS handshakes that failed, by reason.",
);
pub(super) const HANDSHAKES_UNDER_WAY: Family = family(
    Kind::Gauge,
    "ignite_gateway_tls_handshakes_under_way",
    "TLS connections that have not finished their handshake, those that said nothing yet included.",
);
pub(super) const CERTIFICATE_EXPIRY: Family = family(
    Kind::Gauge,
    "ignite_gateway_tls_certificate_expiry_timestamp_seconds",
    "When a certificate in force expires, in seconds since 1970.",
);
pub(super) const CERTIFICATE_RELOADS: Family = family(
    Kind::Counter,
    "ignite_gateway_tls_certificate_reloads_total",
    "Changed certificate files since the start, by result: taken over by a listener, or refused.",
);
pub(super) const UPSTREAM_IDLE: Family = family(
    Kind::Gauge,
    "ignite_gateway_upstream_idle_connections",
    "Idle connections to endpoints; read once a second.",
);
pub(super) const PROXY_PROTOCOL_REFUSED: Family = family(
    Kind::Counter,
    "ignite_gateway_downstream_proxy_protocol_refused_total",
    "Connections of callers closed for their PROXY protocol header, by reason.",
);
pub(super) const UPSTREAM_REQUESTS: Family = family(
    Kind::Counter,
    "ignite_gateway_upstream_requests_total",
    "Tries to send a request to an endpoint, by the connection used; read once a second.",
);
pub(super) const SHED: Family = family(
    Kind::Counter,
    "ignite_gateway_shed_requests_total",
    "Requests refused because the gateway itself has too much to do, by reason.",
);
pub(super) const LAG: Family = family(
    Kind::Histogram,
    "ignite_gateway_worker_lag_seconds",
    "How late a worker was with an event of its own, as late as with everything else.",
);
pub(super) const SPANS_EXPORTED: Family = family(
    Kind::Counter,
    "ignite_gateway_trace_spans_exported_total",
    "Spans that the trace collector took.",
);
pub(super) const SPANS_DROPPED: Family = family(
    Kind::Counter,
    "ignite_gateway_trace_spans_dropped_total",
    "Spans of sampled requests that never reached the trace collector, by reason.",
);
pub(super) const RELOADS: Family = family(
    Kind::Counter,
    "ignite_gateway_config_reloads_total",
    "Reloads of the configuration since the start, by result.",
);
pub(super) const GENERATION: Family = family(
    Kind::Gauge,
    "ignite_gateway_config_generation",
    "Number of the configuration in force: 1 from the start, one more with each that is taken over.",
);
pub(super) const LOG_DROPPED: Family = family(
    Kind::Counter,
    "ignite_gateway_log_lines_dropped_total",
    "Log lines lost because standard output was not read fast enough, or not at all.",
);
pub(super) const LAST_SUCCESS: Family = family(
    Kind::Gauge,
    "ignite_gateway_config_last_success_timestamp_seconds",
    "When the configuration in force was taken over, in seconds since 1970.",
);
pub(super) const START: Family = family(
    Kind::Gauge,
    "process_start_time_seconds",
    "When the process started, in seconds since 1970.",
);
pub(super) const BUILD: Family =
    family(Kind::Info, "ignite_gateway_build_info", "The version that runs.");

impl Kind {
    /// The ending of the exported name that is no part of the `OpenMetrics` family.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::Histogram => "",
        }
    }

    /// As a `TYPE` line of `OpenMetrics` names it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

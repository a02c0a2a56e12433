//! The names of all metrics, what they tell, and how a family is written in
//! either format. `docs/metrics.md` repeats them; a test compares.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::Format;
use crate::telemetry::metrics::{BUCKETS, Durations};

/// A metric: its name as it is exported, and what it tells.
pub(super) struct Family {
    name: &'static str,
    kind: Kind,
    help: &'static str,
}

/// What a number means. An info is always 1: its labels are the fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
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
pub(super) const LAST_SUCCESS: Family = family(
    Kind::Gauge,
    "ignite_gateway_config_last_success_timestamp_seconds",
    "When the configuration in force was taken over, in seconds since 1970.",
);
pub(super) const BUILD: Family =
    family(Kind::Info, "ignite_gateway_build_info", "The version that runs.");

impl Kind {
    /// The ending of the exported name that is no part of the `OpenMetrics` family.
    fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::Histogram => "",
        }
    }

    fn metric_type(self, format: Format) -> MetricType {
        match (self, format) {
            (Self::Counter, _) => MetricType::Counter,
            (Self::Histogram, _) => MetricType::Histogram,
            (Self::Info, Format::OpenMetrics) => MetricType::Info,
            (Self::Gauge, _) | (Self::Info, Format::Text) => MetricType::Gauge,
        }
    }
}

/// Writes one family after the other.
pub(super) struct Writer<'a> {
    encoder: DescriptorEncoder<'a>,
    format: Format,
}

/// Writes the samples of one family.
pub(super) struct Samples<'a> {
    encoder: MetricEncoder<'a>,
    kind: Kind,
    format: Format,
}

impl<'a> Writer<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>, format: Format) -> Self {
        Self { encoder, format }
    }

    /// Begins a family: its `HELP` and `TYPE`.
    pub(super) fn begin(&mut self, family: &Family) -> Result<Samples<'_>, fmt::Error> {
        let name = match self.format {
            Format::OpenMetrics => family.name.strip_suffix(family.kind.suffix()),
            Format::Text => None,
        };
        let name = name.unwrap_or(family.name);
        let metric_type = family.kind.metric_type(self.format);
        let encoder = self.encoder.encode_descriptor(name, family.help, None, metric_type)?;
        Ok(Samples { encoder, kind: family.kind, format: self.format })
    }

    /// A family of a single sample without labels.
    pub(super) fn single(&mut self, family: &Family, value: u64) -> fmt::Result {
        let mut samples = self.begin(family)?;
        write(&mut samples.encoder, samples.kind, samples.format, value)
    }
}

impl Samples<'_> {
    /// One sample.
    pub(super) fn add(&mut self, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
        if (self.kind, self.format) == (Kind::Info, Format::OpenMetrics) {
            return self.encoder.encode_info(labels);
        }
        write(&mut self.encoder.encode_family(labels)?, self.kind, self.format, value)
    }

    /// One sample of a time.
    pub(super) fn add_seconds(
        &mut self,
        labels: &impl EncodeLabelSet,
        time: Duration,
    ) -> fmt::Result {
        self.encoder.encode_family(labels)?.encode_gauge(&time.as_secs_f64())
    }

    /// One histogram.
    pub(super) fn add_durations(
        &mut self,
        labels: &impl EncodeLabelSet,
        durations: &Durations,
    ) -> fmt::Result {
        let bounds = BUCKETS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(durations.buckets).collect();
        // Counted from the buckets, so that the two always agree.
        let count = durations.buckets.iter().sum();
        let mut encoder = self.encoder.encode_family(labels)?;
        encoder.encode_histogram::<NoLabelSet>(durations.sum, count, &buckets, None)
    }
}

/// `encode_counter` appends the `_total` that a name in Prometheus' text has already.
fn write(encoder: &mut MetricEncoder<'_>, kind: Kind, format: Format, value: u64) -> fmt::Result {
    match (kind, format) {
        (Kind::Counter, Format::OpenMetrics) => {
            encoder.encode_counter::<NoLabelSet, u64, u64>(&value, None)
        }
        _ => encoder.encode_gauge(&value),
    }
}

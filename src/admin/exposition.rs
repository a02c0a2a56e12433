//! Metrics in the Prometheus and OpenMetrics text format, read off the
//! counters when they are asked for.
//!
//! Labels are apps from the configuration and fixed words. All requests for
//! hosts that no app has share one row, so callers cannot make series; an app
//! that was never called has none.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::gateway::Shared;
use crate::telemetry::metrics::{BUCKETS, RouteMetrics, WorkerMetrics};
use crate::telemetry::state::State;
use crate::upstream::app::Route;
use crate::worker::Crew;

/// The organization and app of requests for hosts that no app has.
const UNKNOWN: &str = "_unknown";

type Labels = Vec<(&'static str, String)>;
type NoExemplar = prometheus_client::metrics::exemplar::Exemplar<Labels, f64>;

/// A registry that reads what the process counts.
pub(super) fn registry(shared: Arc<Shared>, crew: Arc<Crew>, state: Arc<State>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition { shared, crew, state }));
    registry
}

struct Exposition {
    shared: Arc<Shared>,
    crew: Arc<Crew>,
    state: Arc<State>,
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exposition")
    }
}

/// A reading of one host's counters, under its labels.
struct Row<'a> {
    labels: Labels,
    metrics: &'a RouteMetrics,
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let routes = self.shared.routes.routes();
        let unknown = Row { labels: labels(UNKNOWN, UNKNOWN, ""), metrics: &self.shared.unknown };
        let rows: Vec<Row<'_>> = routes
            .iter()
            .map(|route| Row { labels: route_labels(route), metrics: &route.shared.metrics })
            .chain([unknown])
            .filter(|row| row.metrics.was_used())
            .collect();
        requests(&mut encoder, &rows)?;
        endpoints(&mut encoder, &routes)?;
        self.workers(&mut encoder)?;
        self.process(&mut encoder, &routes)
    }
}

fn labels(organization: &str, app: &str, port: &str) -> Labels {
    vec![
        ("organization", organization.to_owned()),
        ("app", app.to_owned()),
        ("port", port.to_owned()),
    ]
}

fn route_labels(route: &Route) -> Labels {
    let app = &route.app;
    labels(app.organization.as_str(), app.name.as_str(), &route.port.to_string())
}

fn with(labels: &Labels, more: &[(&'static str, &str)]) -> Labels {
    let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
    labels.iter().cloned().chain(more).collect()
}

fn requests(encoder: &mut DescriptorEncoder<'_>, rows: &[Row<'_>]) -> fmt::Result {
    let help = "Requests that ended, by method and class of status; class none: no answer was sent";
    family(encoder, "ignite_gateway_requests", help, MetricType::Counter, |metric| {
        for row in rows {
            for (method, class, count) in row.metrics.requests() {
                let more = [("http_request_method", method), ("http_response_status_class", class)];
                counter(metric, &with(&row.labels, &more), count)?;
            }
        }
        Ok(())
    })?;
    let help = "From the whole request head to the end of the response, in seconds";
    family(
        encoder,
        "http_server_request_duration_seconds",
        help,
        MetricType::Histogram,
        |metric| {
            for row in rows {
                let durations = row.metrics.durations();
                let bounds = BUCKETS.into_iter().chain([f64::INFINITY]);
                let buckets: Vec<(f64, u64)> = bounds.zip(durations.buckets).collect();
                let count = durations.buckets.iter().sum();
                metric.encode_family(&row.labels)?.encode_histogram::<Labels>(
                    durations.sum,
                    count,
                    &buckets,
                    None,
                )?;
            }
            Ok(())
        },
    )?;
    let help = "Requests under way";
    family(encoder, "http_server_active_requests", help, MetricType::Gauge, |metric| {
        rows.iter().try_for_each(|row| gauge(metric, &row.labels, row.metrics.in_flight()))
    })?;
    let help = "Bytes of request bodies received";
    family(encoder, "ignite_gateway_request_body_bytes", help, MetricType::Counter, |metric| {
        rows.iter().try_for_each(|row| counter(metric, &row.labels, row.metrics.bytes().0))
    })?;
    let help = "Bytes of response bodies relayed";
    family(encoder, "ignite_gateway_response_body_bytes", help, MetricType::Counter, |metric| {
        rows.iter().try_for_each(|row| counter(metric, &row.labels, row.metrics.bytes().1))
    })
}

fn endpoints(encoder: &mut DescriptorEncoder<'_>, routes: &[Arc<Route>]) -> fmt::Result {
    let help = "Endpoints, by whether they are ready";
    family(encoder, "ignite_gateway_endpoints", help, MetricType::Gauge, |metric| {
        for route in routes {
            let ready = route.endpoints.iter().filter(|endpoint| endpoint.is_ready()).count();
            let labels = route_labels(route);
            let unready = route.endpoints.len() - ready;
            gauge(metric, &with(&labels, &[("state", "ready")]), ready as u64)?;
            gauge(metric, &with(&labels, &[("state", "unready")]), unready as u64)?;
        }
        Ok(())
    })?;
    let help = "Requests that wait, for a ready endpoint or for their turn at the app";
    family(encoder, "ignite_gateway_waiting_requests", help, MetricType::Gauge, |metric| {
        let mut told = HashSet::new();
        for route in routes.iter().filter(|route| route.shared.metrics.was_used()) {
            let labels = route_labels(route);
            let ready = route.shared.waiting.load(Ordering::Relaxed) as u64;
            gauge(metric, &with(&labels, &[("for", "endpoint")]), ready)?;
            // Turns are the whole app's, so one of its ports tells of them.
            if told.insert(&route.app) {
                let turns = route.shared.app.queued.load(Ordering::Relaxed) as u64;
                gauge(metric, &with(&labels, &[("for", "turn")]), turns)?;
            }
        }
        Ok(())
    })
}

/// A worker's counter, its name and what it tells.
type WorkerCounter = (&'static str, &'static str, fn(&WorkerMetrics) -> &AtomicU64);

const WORKER_COUNTERS: [WorkerCounter; 3] = [
    ("ignite_gateway_downstream_connections_accepted", "Connections accepted", |m| &m.accepted),
    (
        "ignite_gateway_downstream_connections_refused",
        "Connections closed at once because of limits.connections",
        |m| &m.refused,
    ),
    (
        "ignite_gateway_downstream_connections_handed_over",
        "Connections handed to a less loaded worker",
        |m| &m.handed_over,
    ),
];

const WORKER_GAUGES: [WorkerCounter; 2] = [
    ("ignite_gateway_downstream_connections", "Connections open", |m| &m.connections),
    ("ignite_gateway_upstream_idle_connections", "Idle connections to endpoints", |m| &m.pool_idle),
];

impl Exposition {
    fn workers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let workers: Vec<_> = self
            .crew
            .metrics()
            .enumerate()
            .map(|(index, metrics)| (vec![("worker", index.to_string())], metrics))
            .collect();
        for (name, help, read) in WORKER_COUNTERS {
            family(encoder, name, help, MetricType::Counter, |metric| {
                workers.iter().try_for_each(|(labels, metrics)| {
                    counter(metric, labels, read(metrics).load(Ordering::Relaxed))
                })
            })?;
        }
        for (name, help, read) in WORKER_GAUGES {
            family(encoder, name, help, MetricType::Gauge, |metric| {
                workers.iter().try_for_each(|(labels, metrics)| {
                    gauge(metric, labels, read(metrics).load(Ordering::Relaxed))
                })
            })?;
        }
        let help = "Requests sent to endpoints, by whether a kept connection served";
        family(encoder, "ignite_gateway_upstream_requests", help, MetricType::Counter, |metric| {
            workers.iter().try_for_each(|(labels, metrics)| {
                let reused = metrics.pool_reused.load(Ordering::Relaxed);
                counter(metric, &with(labels, &[("connection", "reused")]), reused)?;
                let new = metrics.pool_missed.load(Ordering::Relaxed);
                counter(metric, &with(labels, &[("connection", "new")]), new)
            })
        })
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>, routes: &[Arc<Route>]) -> fmt::Result {
        let none = Labels::new();
        let (good, bad) = self.state.reloads();
        let help = "Changed configurations, by what became of them";
        family(encoder, "ignite_gateway_config_reloads", help, MetricType::Counter, |metric| {
            counter(metric, &with(&none, &[("result", "success")]), good)?;
            counter(metric, &with(&none, &[("result", "failure")]), bad)
        })?;
        let name = "ignite_gateway_config_last_success_timestamp_seconds";
        let help = "When a configuration was last taken over, in seconds since 1970";
        family(encoder, name, help, MetricType::Gauge, |metric| {
            gauge(metric, &none, self.state.last_success())
        })?;
        family(
            encoder,
            "ignite_gateway_hosts",
            "Public hosts served",
            MetricType::Gauge,
            |metric| gauge(metric, &none, routes.len() as u64),
        )?;
        let help = "Always 1; the version is in the label";
        family(encoder, "ignite_gateway_build_info", help, MetricType::Gauge, |metric| {
            gauge(metric, &with(&none, &[("version", env!("CARGO_PKG_VERSION"))]), 1)
        })
    }
}

fn family(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    write(&mut encoder.encode_descriptor(name, help, None, kind)?)
}

fn counter(metric: &mut MetricEncoder<'_>, labels: &Labels, value: u64) -> fmt::Result {
    metric.encode_family(labels)?.encode_counter(&value, None::<&NoExemplar>)
}

fn gauge(metric: &mut MetricEncoder<'_>, labels: &Labels, value: u64) -> fmt::Result {
    metric.encode_family(labels)?.encode_gauge(&value)
}

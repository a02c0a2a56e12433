//! What `/metrics` exports, read with the strict reader, and its table in
//! `docs/metrics.md`.

use crate::upstream::outlier::Fault;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;

use crate::error::{Limit, Overload};
use crate::telemetry::tls::{Certificate, Failure, Handshake};

use super::exposition::{Exposition, Family};
use super::{Gateway, Reply};

const OPEN: &str = "Accept: application/openmetrics-text; version=1.0.0\r\n";
const HELLO: [(&str, &str); 3] = [("organization", "acme"), ("app", "hello"), ("port", "80")];
const UNKNOWN: [(&str, &str); 3] =
    [("organization", "_unknown"), ("app", "_unknown"), ("port", "_unknown")];

/// A gateway in which every family has a sample.
async fn busy() -> Gateway {
    let gateway = Gateway::start().await;
    gateway.state.serving();
    let route = gateway.route("hello-acme.ignite.dodil.cloud");
    let metrics = &route.shared.metrics;
    for (millis, status) in [(1, Some(200)), (30, Some(204)), (30, Some(503)), (60_000, None)] {
        metrics.begin();
        metrics.end(&Method::GET, status, Duration::from_millis(millis), (10, 100));
    }
    metrics.limited(Limit::App);
    (0..3).for_each(|_| metrics.begin());
    route.shared.waiting.store(2, Ordering::Relaxed);
    gateway.shared.unknown.begin();
    gateway.shared.unknown.end(&Method::POST, Some(404), Duration::ZERO, (0, 7));
    for (worker, number) in gateway.crew.metrics().zip(1..) {
        worker.connections.store(number, Ordering::Relaxed);
        worker.accepted.store(10 * number, Ordering::Relaxed);
        worker.pool_reused.store(100 * number, Ordering::Relaxed);
        worker.pool_missed.store(5, Ordering::Relaxed);
    }
    for worker in gateway.crew.metrics() {
        worker.load.shed(Overload::Lag);
        worker.load.measured(Duration::from_millis(30), 250);
        worker.handshakes.count(Handshake::Done { tls13: true, resumed: false });
        worker.handshakes.count(Handshake::Failed(Failure::Timeout));
    }
    let certificate = Certificate {
        file: "/etc/tls/tls.crt".to_owned(),
        name: "*.ignite.test".to_owned(),
        not_after: 1_800_000_000,
    };
    gateway.certificates.show([certificate].into_iter());
    gateway.certificates.succeeded();
    gateway.route("hello-acme.ignite.dodil.cloud").shared.ejections.count(Fault::Reset);
    gateway
}

async fn scrape(gateway: &Gateway, accept: &str) -> (Reply, Exposition) {
    let reply = gateway.ask("GET", "/metrics", accept).await;
    assert_eq!(reply.status, 200);
    let exposition = Exposition::parse(&reply.body);
    (reply, exposition)
}

/// The family's name as its samples carry it in Prometheus' text.
fn exported(family: &Family) -> String {
    match &*family.kind {
        "counter" => format!("{}_total", family.name),
        "info" => format!("{}_info", family.name),
        _ => family.name.clone(),
    }
}

#[tokio::test]
async fn numbers_of_requests_are_exported_per_host() {
    let gateway = busy().await;
    let (_, found) = scrape(&gateway, OPEN).await;
    let value = |name, more: &[(&str, &str)]| found.value(name, &[&HELLO[..], more].concat());
    let near = |left: f64, right: f64| assert!((left - right).abs() < 1e-6, "{left} {right}");

    near(value("http_server_request_duration_seconds_count", &[]), 4.0);
    near(value("http_server_request_duration_seconds_sum", &[]), 60.061);
    for (le, count) in [("0.005", 1.0), ("0.025", 1.0), ("0.05", 3.0), ("10.0", 3.0)] {
        near(value("http_server_request_duration_seconds_bucket", &[("le", le)]), count);
    }
    for (class, count) in [("2xx", 2.0), ("5xx", 1.0), ("none", 1.0)] {
        let labels = [("http_request_method", "GET"), ("http_response_status_class", class)];
        near(value("ignite_gateway_requests_total", &labels), count);
    }
    near(value("http_server_active_requests", &[]), 3.0);
    near(value("ignite_gateway_request_body_bytes_total", &[]), 40.0);
    near(value("ignite_gateway_response_body_bytes_total", &[]), 400.0);
    near(value("ignite_gateway_endpoints", &[("state", "ready")]), 1.0);
    near(value("ignite_gateway_endpoints", &[("state", "unready")]), 1.0);
    near(found.value("ignite_gateway_in_flight_requests", &HELLO[..2]), 1.0);
    near(found.value("ignite_gateway_waiting_requests", &HELLO[..2]), 2.0);
    near(found.value("ignite_gateway_oldest_wait_seconds", &HELLO[..2]), 0.0);
    near(found.value("ignite_gateway_apps", &[]), 3.0);
}

#[tokio::test]
async fn unknown_hosts_share_one_row() {
    let gateway = busy().await;
    let (_, found) = scrape(&gateway, OPEN).await;
    let rows = found.samples("http_server_request_duration_seconds_count", &UNKNOWN);
    assert_eq!(rows.len(), 1);
    let rows = found.samples("ignite_gateway_requests_total", &UNKNOWN);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].labels["http_response_status_class"], "4xx");
}

#[tokio::test]
async fn an_app_without_requests_exports_its_endpoints_only() {
    let gateway = busy().await;
    let (_, found) = scrape(&gateway, OPEN).await;
    let idle = [("organization", "acme-corp"), ("app", "my-data-processor")];
    let samples = found.0.iter().flat_map(|family| &family.samples);
    let names: BTreeSet<_> = samples
        .filter(|sample| sample.labels.get("app").is_some_and(|app| app == idle[1].1))
        .map(|sample| &*sample.name)
        .collect();
    assert_eq!(names, BTreeSet::from(["ignite_gateway_endpoints"]));
    let nowhere = [("app", "nowhere"), ("state", "ready")];
    assert!(found.value("ignite_gateway_endpoints", &nowhere) < 0.5, "a zero is shown");
}

#[tokio::test]
async fn workers_and_reloads_are_exported() {
    let gateway = busy().await;
    gateway.state.reloaded();
    gateway.state.reload_failed("bad".to_owned());
    gateway.state.reload_failed("bad".to_owned());
    let (_, found) = scrape(&gateway, OPEN).await;
    let near = |name, labels: &[(&str, &str)], right: f64| {
        let left = found.value(name, labels);
        assert!((left - right).abs() < 0.5, "{name} {left}");
    };
    near("ignite_gateway_downstream_connections", &[("worker", "0")], 1.0);
    near("ignite_gateway_downstream_connections", &[("worker", "1")], 2.0);
    near("ignite_gateway_downstream_connections_accepted_total", &[("worker", "1")], 20.0);
    let second = [("worker", "1"), ("connection", "reused")];
    near("ignite_gateway_upstream_requests_total", &second, 200.0);
    near("ignite_gateway_config_reloads_total", &[("result", "success")], 1.0);
    near("ignite_gateway_config_reloads_total", &[("result", "failure")], 2.0);
    let loaded = found.value("ignite_gateway_config_last_success_timestamp_seconds", &[]);
    assert!(loaded > 1.7e9);
    near("ignite_gateway_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
}

#[tokio::test]
async fn handshakes_and_certificates_are_exported_for_all_workers_together() {
    let gateway = busy().await;
    let (_, found) = scrape(&gateway, OPEN).await;
    let near = |name, labels: &[(&str, &str)], right: f64| {
        let left = found.value(name, labels);
        assert!((left - right).abs() < 0.5, "{name} {left}");
    };
    let kind = |version, handshake| [("version", version), ("handshake", handshake)];
    near("ignite_gateway_tls_handshakes_total", &kind("1.3", "full"), 2.0);
    near("ignite_gateway_tls_handshakes_total", &kind("1.2", "resumed"), 0.0);
    near("ignite_gateway_tls_handshake_failures_total", &[("reason", "timeout")], 2.0);
    let certificate = [("name", "*.ignite.test"), ("file", "/etc/tls/tls.crt")];
    near("ignite_gateway_tls_certificate_expiry_timestamp_seconds", &certificate, 1.8e9);
    near("ignite_gateway_tls_certificate_reloads_total", &[("result", "success")], 1.0);
}

#[tokio::test]
async fn what_is_refused_for_a_rate_or_for_too_much_to_do_is_exported() {
    let gateway = busy().await;
    let (_, found) = scrape(&gateway, OPEN).await;
    let near = |name, labels: &[(&str, &str)], right: f64| {
        let left = found.value(name, labels);
        assert!((left - right).abs() < 0.5, "{name} {left}");
    };
    let limited = [&HELLO[..], &[("limit", "app")]].concat();
    near("ignite_gateway_rate_limited_requests_total", &limited, 1.0);
    let second = |reason| [("worker", "1"), ("reason", reason)];
    near("ignite_gateway_shed_requests_total", &second("lag"), 1.0);
    near("ignite_gateway_shed_requests_total", &second("memory"), 0.0);
    let bucket = |le| [("worker", "0"), ("le", le)];
    near("ignite_gateway_worker_lag_seconds_bucket", &bucket("0.025"), 0.0);
    near("ignite_gateway_worker_lag_seconds_bucket", &bucket("0.05"), 1.0);
}

#[tokio::test]
async fn both_formats_hold_the_same_samples_under_the_names_they_ask_for() {
    let gateway = busy().await;
    let (open_reply, open) = scrape(&gateway, OPEN).await;
    let (text_reply, text) = scrape(&gateway, "Accept: */*\r\n").await;
    let open_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open_reply.header("content-type"), Some(open_type));
    let text_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(text_reply.header("content-type"), Some(text_type));

    let samples = |text: &str| {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(samples(&open_reply.body), samples(&text_reply.body));
    for (open, text) in open.0.iter().zip(&text.0) {
        assert_eq!(exported(open), text.name);
        // Prometheus refuses a text of its own format that holds any other type.
        assert!(["counter", "gauge", "histogram"].contains(&&*text.kind));
        assert!(!open.name.ends_with("_total") && !open.name.ends_with("_info"));
    }
}

#[tokio::test]
async fn the_documented_metrics_are_the_exported_ones() {
    let gateway = busy().await;
    let (_, found) = scrape(&gateway, OPEN).await;
    let exported: Vec<_> = found
        .0
        .iter()
        .map(|family| {
            let keys = family.samples.iter().flat_map(|sample| sample.labels.keys());
            let keys: BTreeSet<_> = keys.map(|key| &**key).filter(|key| *key != "le").collect();
            assert!(!family.samples.is_empty(), "{} has no sample here", family.name);
            let keys: Vec<_> = keys.into_iter().collect();
            [exported(family), family.kind.clone(), keys.join(", "), family.help.clone()]
        })
        .collect();
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md"));
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let documented: Vec<_> = rows
        .map(|row| {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [name, kind, labels, tells] = cells[..] else { panic!("{row}") };
            let mut labels: Vec<_> = labels.split(", ").map(|key| key.trim_matches('`')).collect();
            labels.sort_unstable();
            let name = name.trim_matches('`').to_owned();
            [name, kind.to_owned(), labels.join(", "), tells.replace('`', "")]
        })
        .collect();
    assert_eq!(documented, exported, "docs/metrics.md repeats src/admin/metrics/family.rs");
}

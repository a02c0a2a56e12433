//! What `/metrics` exports, read with the strict reader, and its table in
//! `docs/metrics.md`.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;

use crate::error::{Limit, Overload, Side};
use crate::telemetry::finished::{Attempt, Finished, Stage, Termination};
use crate::telemetry::metrics::tests::finished;
use crate::telemetry::tls::{Certificate, Failure, Handshake};
use crate::upstream::outlier::Fault;

use super::exposition::{Exposition, Family};
use super::{Gateway, Reply};

pub(super) const OPEN: &str = "Accept: application/openmetrics-text; version=1.0.0\r\n";
const HELLO: [(&str, &str); 3] = [("organization", "acme"), ("app", "hello"), ("port", "80")];
const UNKNOWN: [(&str, &str); 3] =
    [("organization", "_unknown"), ("app", "_unknown"), ("port", "_unknown")];

/// A gateway in which every family has a sample.
pub(super) async fn busy() -> Gateway {
    let gateway = Gateway::start().await;
    gateway.state.serving();
    let route = gateway.route("hello-acme.ignite.dodil.cloud");
    let metrics = &route.shared.metrics;
    let requests = [
        (1, Some(200), Termination::Complete, ""),
        (30, Some(204), Termination::Complete, ""),
        (30, Some(503), Termination::By(Side::Gateway, Stage::Queue), "queue_full"),
        (60_000, None, Termination::By(Side::Caller, Stage::Body), "caller_gone"),
    ];
    for (worker, (millis, status, termination, reason)) in requests.into_iter().enumerate() {
        metrics.begin(worker);
        let request = Finished { status, termination, reason, ..finished() };
        let (took, queued) = (Duration::from_millis(millis), Duration::from_micros(300));
        metrics.end(worker, &Finished { took, queued, bytes_in: 10, bytes_out: 100, ..request });
    }
    metrics.limited(0, Limit::App);
    (0..3).for_each(|_| metrics.begin(1));
    route.shared.waiting.store(2, Ordering::Relaxed);
    gateway.shared.unknown.begin(0);
    let (method, status) = (&Method::POST, Some(404));
    gateway.shared.unknown.end(0, &Finished { method, status, bytes_out: 7, ..finished() });
    let request = finished();
    let (endpoint, began) = (([127, 0, 0, 1], 3000).into(), request.began);
    let connect = Some(Duration::from_millis(2));
    let last = Some(Attempt { endpoint, began, ended: began, connect, reason: "" });
    for worker in 0..2 {
        let (bytes_in, bytes_out) = (0, 5000);
        gateway.shared.traffic.of(worker).end(&Finished { last, bytes_in, bytes_out, ..request });
    }
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

pub(super) async fn scrape(gateway: &Gateway, accept: &str) -> (Reply, Exposition) {
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
    for (side, reason) in [("gateway", "queue_full"), ("caller", "caller_gone")] {
        let labels = [("side", side), ("reason", reason)];
        near(value("ignite_gateway_failed_requests_total", &labels), 1.0);
    }
    near(value("ignite_gateway_upstream_first_byte_seconds_count", &[]), 4.0);
    near(value("ignite_gateway_queue_seconds_count", &[]), 4.0);
    near(value("ignite_gateway_queue_seconds_sum", &[]), 0.0012);
    near(value("ignite_gateway_endpoints", &[("state", "ready")]), 1.0);
    near(value("ignite_gateway_endpoints", &[("state", "unready")]), 1.0);
    near(found.value("ignite_gateway_in_flight_requests", &HELLO[..2]), 1.0);
    near(found.value("ignite_gateway_waiting_requests", &HELLO[..2]), 2.0);
    near(found.value("ignite_gateway_oldest_wait_seconds", &HELLO[..2]), 0.0);
    near(found.value("ignite_gateway_apps", &[]), 3.0);
}

#[tokio::test]
async fn sizes_and_connects_are_exported_for_all_apps_together() {
    let gateway = busy().await;
    let (_, found) = scrape(&gateway, OPEN).await;
    let near = |name, labels: &[(&str, &str)], right: f64| {
        let left = found.value(name, labels);
        assert!((left - right).abs() < 1e-6, "{name} {left}");
    };
    near("http_server_request_body_size_bytes_bucket", &[("le", "256.0")], 2.0);
    near("http_server_response_body_size_bytes_bucket", &[("le", "4096.0")], 0.0);
    near("http_server_response_body_size_bytes_bucket", &[("le", "16384.0")], 2.0);
    near("http_server_response_body_size_bytes_sum", &[], 10_000.0);
    near("ignite_gateway_upstream_connect_seconds_sum", &[], 0.004);
}

#[tokio::test]
async fn slow_buckets_lead_to_an_execution_in_the_format_that_knows_exemplars() {
    let gateway = busy().await;
    let (_, found) = scrape(&gateway, OPEN).await;
    let bucket = |le| {
        let labels = [&HELLO[..], &[("le", le)]].concat();
        let samples = found.samples("http_server_request_duration_seconds_bucket", &labels);
        samples[0].exemplar.clone()
    };
    let id = finished().execution_id;
    // 0x01938f3a7c55 milliseconds since 1970, and what it took.
    let expected = format!("{{execution_id=\"{id}\"}} 0.03 1733274795.123");
    assert_eq!(bucket("0.05"), Some(expected));
    assert!(bucket("+Inf").is_some_and(|text| text.contains(" 60.0 ")));
    assert_eq!(bucket("0.25"), None);
    let (reply, text) = scrape(&gateway, "Accept: */*\r\n").await;
    assert!(!reply.body.contains(" # "));
    assert!(text.0.iter().flat_map(|family| &family.samples).all(|one| one.exemplar.is_none()));
}

#[tokio::test]
async fn usage_is_exported_per_app_and_stays_when_the_app_goes() {
    let gateway = busy().await;
    let usage = async || {
        let (_, found) = scrape(&gateway, OPEN).await;
        ["invocations", "milliseconds", "request_bytes", "response_bytes"].map(|what| {
            let name = format!("ignite_gateway_usage_{what}_total");
            found.value(&name, &HELLO[..2]).to_string()
        })
    };
    // Without the one that waited in vain; each of the others a part of a millisecond less.
    let used = ["3", "60031", "30", "300"];
    assert_eq!(usage().await, used);
    gateway.shared.routes.remove(&"acme/hello".parse().expect("an id"));
    assert_eq!(usage().await, used);
    let (_, found) = scrape(&gateway, OPEN).await;
    assert!(found.samples("http_server_active_requests", &HELLO).is_empty());
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
    near("ignite_gateway_config_generation", &[], 2.0);
    assert!(found.value("process_start_time_seconds", &[]) > 1.7e9);
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
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| line.split(" # ").next().unwrap_or_default().to_owned();
        lines.map(sample).collect::<Vec<_>>()
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

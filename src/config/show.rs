//! The configuration in force as JSON: every setting by the name that the file
//! gives it, whether it was typed or not.
//!
//! Keys and certificates are shown by their paths, never by their content: it is
//! no part of a [`Config`]. Each part is taken apart without `..`: a setting that
//! is not shown does not compile. What is shown, read as a file, is the same
//! configuration; a test holds it to that.

use std::time::Duration;

use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::load::{AppInFlight, ClientRateLimit, MemoryLimit, Overload, RateLimit};
use super::tls::{ClientAuth, Clients, KeyPair, Tls, TlsVersion};
use super::traces::{self, Parent, Sampling, Traces};
use super::{
    AccessLog, Admin, App, AppPort, Config, DeploymentMode, Limits, Listener, LogFormat,
    OutlierEjection, Protocol, Retries, Timeouts,
};

/// What is shown of a configuration.
#[derive(serde::Serialize)]
pub struct Shown<'a> {
    #[serde(flatten)]
    settings: Map<String, Value>,
    app: Apps<'a>,
}

/// Written one after the other: a tree of 100,000 of them would take a gigabyte.
struct Apps<'a>(&'a [App]);

impl Serialize for Apps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(app))
    }
}

/// Shows a configuration.
pub fn show(config: &Config) -> Shown<'_> {
    let Config {
        domain,
        workers,
        trusted_proxies,
        listeners,
        admin: Admin { address, executions },
        timeouts: times,
        limits: bounds,
        outlier_ejection: ejection,
        retries,
        rate_limit,
        overload: Overload { target_lag },
        access_log: AccessLog { format, sample },
        traces,
        apps,
    } = config;
    let settings = json!({
        "domain": domain.to_string(),
        "workers": workers,
        "trusted_proxies": trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "listener": listeners.iter().map(listener).collect::<Vec<_>>(),
        "admin": { "address": address, "executions": executions },
        "timeouts": timeouts(times),
        "limits": limits(bounds),
        "outlier_ejection": outlier_ejection(ejection),
        "retries": self::retries(retries),
        "rate_limit": client_rate_limit(rate_limit.as_ref()),
        "overload": { "target_lag": time(*target_lag) },
        "access_log": { "format": log_format(*format), "sample": sample },
        "tracing": tracing(traces),
    });
    let settings = if let Value::Object(settings) = settings { settings } else { Map::new() };
    Shown { settings, app: Apps(apps) }
}

fn tracing(traces: &Traces) -> Value {
    let Traces { endpoint, protocol, sampling: Sampling { share, parent }, timeout, queue } =
        traces;
    json!({
        "endpoint": endpoint.as_ref().map(ToString::to_string).unwrap_or_default(),
        "protocol": match protocol {
            traces::Protocol::Grpc => "grpc",
            traces::Protocol::Http => "http",
        },
        "sample": share,
        "parent": match parent {
            Parent::Trusted => "trusted",
            Parent::All => "all",
        },
        "timeout": time(*timeout),
        "queue": queue,
    })
}

/// A duration as the file writes it.
fn time(time: Duration) -> String {
    match (time.as_secs(), time.subsec_nanos()) {
        (seconds, 0) if seconds > 0 && seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        (seconds, 0) => format!("{seconds}s"),
        (_, nanos) if nanos % 1_000_000 == 0 => format!("{}ms", time.as_millis()),
        (_, nanos) if nanos % 1000 == 0 => format!("{}us", time.as_micros()),
        _ => format!("{}ns", time.as_nanos()),
    }
}

/// A size as the file writes it.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = UNITS.into_iter().find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    whole.map_or_else(|| format!("{bytes}B"), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

fn listener(listener: &Listener) -> Value {
    let Listener { address, proxy_protocol, tls } = listener;
    let mut shown = json!({ "address": address, "proxy_protocol": proxy_protocol });
    if let Some(Tls { certificates, min_version, clients }) = tls {
        let pair = |pair: &KeyPair| {
            let KeyPair { certificate, key } = pair;
            json!({ "certificate": certificate.path, "key": key.path })
        };
        let min_version = match min_version {
            TlsVersion::Tls12 => "1.2",
            TlsVersion::Tls13 => "1.3",
        };
        let certificates: Vec<_> = certificates.iter().map(pair).collect();
        let mut tls = json!({ "certificates": certificates, "min_version": min_version });
        if let Some(Clients { ca, auth }) = clients {
            let auth = match auth {
                ClientAuth::Required => "required",
                ClientAuth::Optional => "optional",
            };
            put(&mut tls, "client_ca", json!(ca.path));
            put(&mut tls, "client_auth", json!(auth));
        }
        put(&mut shown, "tls", tls);
    }
    shown
}

/// Adds to a table.
fn put(table: &mut Value, key: &str, value: Value) {
    if let Value::Object(table) = table {
        table.insert(key.to_owned(), value);
    }
}

fn timeouts(timeouts: &Timeouts) -> Value {
    let Timeouts {
        handshake,
        header,
        connect,
        response,
        request,
        idle_body,
        upgrade_idle,
        keepalive,
        upstream_keepalive,
        ready,
        drain_delay,
        drain,
    } = *timeouts;
    json!({
        "handshake": time(handshake),
        "header": time(header),
        "connect": time(connect),
        "response": time(response),
        "request": time(request),
        "idle_body": time(idle_body),
        "upgrade_idle": time(upgrade_idle),
        "keepalive": time(keepalive),
        "upstream_keepalive": time(upstream_keepalive),
        "ready": time(ready),
        "drain_delay": time(drain_delay),
        "drain": time(drain),
    })
}

fn limits(limits: &Limits) -> Value {
    let Limits {
        connections,
        connections_per_client,
        handshakes,
        header_bytes,
        headers,
        request_target_bytes,
        request_body,
        response_header_bytes,
        concurrent_streams,
        stream_window,
        connection_window,
        stream_resets,
        control_frames,
        app_in_flight,
        app_concurrency,
        endpoint_concurrency,
        app_queue,
        queue,
        upstream_idle,
        in_flight,
        memory,
    } = *limits;
    json!({
        "connections": connections,
        "connections_per_client": connections_per_client,
        "handshakes": handshakes,
        "header_bytes": size(header_bytes as u64),
        "headers": headers,
        "request_target_bytes": size(request_target_bytes as u64),
        "request_body": size(request_body),
        "response_header_bytes": size(response_header_bytes as u64),
        "concurrent_streams": concurrent_streams,
        "stream_window": size(stream_window.into()),
        "connection_window": size(connection_window.into()),
        "stream_resets": stream_resets,
        "control_frames": control_frames,
        "app_in_flight": match app_in_flight {
            AppInFlight::Auto => json!("auto"),
            AppInFlight::Requests(most) => json!(most),
        },
        "app_concurrency": app_concurrency,
        "endpoint_concurrency": endpoint_concurrency,
        "app_queue": app_queue,
        "queue": queue,
        "upstream_idle": upstream_idle,
        "in_flight": in_flight,
        "memory": match memory {
            MemoryLimit::Auto => "auto".to_owned(),
            MemoryLimit::Bytes(bytes) => size(bytes),
        },
    })
}

fn outlier_ejection(ejection: &OutlierEjection) -> Value {
    let OutlierEjection { consecutive_failures, consecutive_5xx, base_time, max_time, max_percent } =
        *ejection;
    json!({
        "consecutive_failures": consecutive_failures,
        "consecutive_5xx": consecutive_5xx,
        "base_time": time(base_time),
        "max_time": time(max_time),
        "max_percent": max_percent,
    })
}

fn retries(retries: &Retries) -> Value {
    let Retries { max, budget_percent, min_per_second } = *retries;
    json!({ "max": max, "budget_percent": budget_percent, "min_per_second": min_per_second })
}

fn rate_limit(rate: RateLimit) -> Value {
    let RateLimit { requests, per, burst } = rate;
    json!({ "requests": requests, "per": time(per), "burst": burst })
}

fn client_rate_limit(limit: Option<&ClientRateLimit>) -> Value {
    let none = RateLimit { requests: 0, per: RateLimit::PER, burst: 0 };
    let none = ClientRateLimit { rate: none, clients: ClientRateLimit::CLIENTS };
    let ClientRateLimit { rate, clients } = *limit.unwrap_or(&none);
    let mut shown = rate_limit(rate);
    put(&mut shown, "clients", json!(clients));
    shown
}

fn log_format(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Auto => "auto",
        LogFormat::Json => "json",
        LogFormat::Text => "text",
        LogFormat::Off => "off",
    }
}

fn app(app: &App) -> Value {
    let App {
        id,
        concurrency,
        endpoint_concurrency,
        deployment_mode,
        health_path,
        invoke_path,
        ports,
        health_check,
        rate_limit: rate,
    } = app;
    let mut shown = json!({
        "organization": id.organization.as_str(),
        "name": id.name.as_str(),
        "deployment_mode": match deployment_mode {
            DeploymentMode::Image => "image",
            DeploymentMode::Compile => "compile",
        },
        "ports": ports.iter().map(port).collect::<Vec<_>>(),
        "health_path": health_path,
        "invoke_path": invoke_path,
        "health_check": health_check,
    });
    // Absent, each is what `limits` says.
    if let Some(concurrency) = concurrency {
        put(&mut shown, "concurrency", json!(concurrency));
    }
    if let Some(concurrency) = endpoint_concurrency {
        put(&mut shown, "endpoint_concurrency", json!(concurrency));
    }
    if let Some(rate) = rate {
        put(&mut shown, "rate_limit", rate_limit(*rate));
    }
    shown
}

fn port(port: &AppPort) -> Value {
    let AppPort { port, endpoints, draining, protocol } = port;
    let endpoint = |address| json!({ "address": address, "draining": draining.contains(address) });
    json!({
        "port": port,
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        "protocol": match protocol {
            Protocol::Http1 => "http1",
            Protocol::H2c => "h2c",
            Protocol::Auto => "auto",
        },
    })
}

#[cfg(test)]
mod tests;

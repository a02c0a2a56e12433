//! From what a person typed to what is meant.
//!
//! The file and the environment are read whole, every mistake recorded with
//! its line; a [`Config`] comes out only when there is none. Nothing is
//! defaulted here: what was not typed keeps the value of [`Config::new`].

use std::io;
use std::path::Path;

use toml::de::DeTable;

use super::{AccessLog, Admin, Config, Limits, LogFormat, Timeouts};
use crate::ids::Domain;

mod apps;
mod cross;
mod environment;
mod load;
mod problem;
mod section;
mod tls;
mod traces;
mod upstream;
mod value;

pub use problem::{ConfigErrors, Place, Problem};

use cross::Bound;
use environment::Overrides;
use problem::Report;
use section::{Given, Section};
use value::{KIB, MIB};

/// A good configuration, and what its author should know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What is meant.
    pub config: Config,
    /// What was accepted but has no effect, or hardly the one that was wanted.
    pub warnings: Vec<Problem>,
}

/// Reads a file, over which the environment's `IGNITE_GATEWAY__` variables win.
pub fn load(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, ConfigErrors> {
    let bytes = std::fs::read(path)
        .map_err(|error| ConfigErrors::unreadable(&path.display().to_string(), error))?;
    load_bytes(path, bytes, environment)
}

/// The same with what was read off the file already.
pub fn load_bytes(
    path: &Path,
    bytes: Vec<u8>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, ConfigErrors> {
    let name = path.display().to_string();
    let text = String::from_utf8(bytes)
        .map_err(|_| ConfigErrors::unreadable(&name, io::Error::other("it is not UTF-8")))?;
    read(&text, &name, path.parent().unwrap_or(Path::new("")), environment)
}

/// This process's environment, without what is no text: no setting is written that way.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Reads a file's text; `source` is the file's name in errors.
pub fn parse(
    text: &str,
    source: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, ConfigErrors> {
    read(text, source, Path::new(source).parent().unwrap_or(Path::new("")), environment)
}

/// The files that the text names are sought from `folder`: they lie beside it, wherever the
/// gateway was started.
fn read(
    text: &str,
    source: &str,
    folder: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, ConfigErrors> {
    let environment: Vec<(String, String)> = environment.into_iter().collect();
    let mut report = Report::new(source, text);
    let overrides = Overrides::read(&environment, &mut report);
    let (table, broken) = DeTable::parse_recoverable(text);
    // One open bracket can spoil every line after it: beyond ten errors there is only echo.
    for error in broken.iter().take(10) {
        report.syntax(error);
    }
    let config = if broken.is_empty() {
        let root = Section::root(table.get_ref(), &overrides, &mut report);
        config(&root, folder, &mut report)
    } else {
        // What the parser saved from a broken file would only be guessed at.
        Config::new(Domain::default())
    };
    let warnings = report.finish()?;
    Ok(Loaded { config, warnings })
}

fn config(root: &Section<'_>, folder: &Path, report: &mut Report) -> Config {
    let domain = root.read("domain", report, value::domain).unwrap_or_default();
    let default = Config::new(domain);
    let workers = root.read("workers", report, |given| value::count(given, &(0..=1024)));
    let proxies = root.given("trusted_proxies", report);
    let proxies = proxies.map(|given| given.list("[\"10.0.0.0/8\"]", report, value::network));
    let listeners = listeners(root, folder, &default, report);
    let (admin, admin_place) = admin(&root.table("admin", report), report);
    let apps: Vec<_> = root
        .tables("app", report)
        .unwrap_or_default()
        .iter()
        .filter_map(|section| apps::read(section, report))
        .collect();

    cross::addresses(&listeners, &admin, admin_place, report);
    cross::apps(&apps, &default.domain, report);
    let proxies = proxies.unwrap_or(default.trusted_proxies);
    cross::proxy_protocol(&listeners, &proxies, report);

    Config {
        workers: workers.unwrap_or(default.workers),
        trusted_proxies: proxies,
        listeners: listeners.into_iter().map(Bound::listener).collect(),
        admin,
        timeouts: timeouts(&root.table("timeouts", report), report),
        limits: limits(&root.table("limits", report), report),
        outlier_ejection: upstream::outlier_ejection(
            &root.table("outlier_ejection", report),
            report,
        ),
        retries: upstream::retries(&root.table("retries", report), report),
        rate_limit: load::client_rate_limit(&root.table("rate_limit", report), report),
        overload: load::overload(&root.table("overload", report), report),
        access_log: access_log(&root.table("access_log", report), report),
        traces: traces::read(&root.table("tracing", report), report),
        apps: apps.into_iter().map(|placed| placed.app).collect(),
        domain: default.domain,
    }
}

/// The variable's addresses, else the file's `[[listener]]`s, else the default's.
fn listeners<'a>(
    root: &Section<'a>,
    folder: &Path,
    default: &Config,
    report: &mut Report,
) -> Vec<Bound<'a>> {
    let defaults = || {
        let addresses = default.listeners.iter().map(|listener| listener.address);
        addresses.map(|address| Bound::at(address, Place::File))
    };
    if let Some(given) = root.in_environment("listener") {
        let addresses = given.list("addresses joined by commas", report, value::address);
        if given.value.as_array().is_some_and(|list| list.is_empty()) {
            report.wrong(&given, "empty; give at least one address, e.g. 0.0.0.0:8080");
        }
        cross::replaced(&given, root.in_file("listener", report).as_ref(), report);
        let bound = |address| Bound::at(address, given.place.clone());
        return addresses.into_iter().map(bound).collect();
    }
    let Some(sections) = root.tables("listener", report) else {
        return defaults().collect();
    };
    if sections.is_empty()
        && let Some(given) = root.given("listener", report)
        && given.value.as_array().is_some_and(|list| list.is_empty())
    {
        report.wrong(&given, "empty; write at least one [[listener]], or leave it out");
    }
    let bound = |section: &Section<'a>| {
        let given = section.given("address", report);
        let place = given.map_or_else(|| section.place.clone(), |given| given.place);
        let typed = section.read("address", report, value::address);
        let on = section.read("proxy_protocol", report, value::boolean) == Some(true);
        let proxy_protocol = section.given("proxy_protocol", report).filter(|_| on);
        let address = typed.or_else(|| defaults().next().map(|bound| bound.address))?;
        let tls = tls::read(section, folder, report);
        Some(Bound { address, tls, place, proxy_protocol })
    };
    sections.iter().filter_map(bound).collect()
}

fn admin(section: &Section<'_>, report: &mut Report) -> (Admin, Option<Place>) {
    let given = section.given("address", report);
    let address = section.read("address", report, value::address);
    if let (Some(given), Some(address)) = (&given, address)
        && !address.ip().to_canonical().is_loopback()
    {
        report.warn(
            given,
            "reachable from other machines, and shows every app without asking who looks; let \
             only probes and Prometheus reach it, or bind 127.0.0.1",
        );
    }
    let place = given.map(|given| given.place);
    let executions =
        section.read("executions", report, |given| value::count(given, &(0..=1_000_000)));
    let default = Admin::default();
    let admin = Admin {
        address: address.unwrap_or(default.address),
        executions: executions.unwrap_or(default.executions),
    };
    (admin, place)
}

fn timeouts(section: &Section<'_>, report: &mut Report) -> Timeouts {
    let default = Timeouts::default();
    let mut time = |key, default| section.read(key, report, value::duration).unwrap_or(default);
    Timeouts {
        handshake: time("handshake", default.handshake),
        header: time("header", default.header),
        connect: time("connect", default.connect),
        response: time("response", default.response),
        idle_body: time("idle_body", default.idle_body),
        upgrade_idle: time("upgrade_idle", default.upgrade_idle),
        keepalive: time("keepalive", default.keepalive),
        upstream_keepalive: time("upstream_keepalive", default.upstream_keepalive),
        ready: time("ready", default.ready),
        request: section
            .read("request", report, value::duration_or_zero)
            .unwrap_or(default.request),
        drain_delay: section
            .read("drain_delay", report, value::duration_or_zero)
            .unwrap_or(default.drain_delay),
        drain: section.read("drain", report, value::duration_or_zero).unwrap_or(default.drain),
    }
}

fn limits(section: &Section<'_>, report: &mut Report) -> Limits {
    let default = Limits::default();
    let mut count = |key, default, range| {
        section.read(key, report, |given| value::count(given, &range)).unwrap_or(default)
    };
    let connections = count("connections", default.connections, 1..=10_000_000);
    let connections_per_client =
        count("connections_per_client", default.connections_per_client, 0..=10_000_000);
    let handshakes = count("handshakes", default.handshakes, 1..=1_000_000);
    let headers = count("headers", default.headers, 1..=1000);
    // Far beyond what a process can hold.
    let app_concurrency = count("app_concurrency", default.app_concurrency, 0..=1_000_000_000);
    let queue = count("queue", default.queue, 0..=10_000_000);
    let app_queue = count("app_queue", default.app_queue, 0..=1_000_000);
    let upstream_idle = count("upstream_idle", default.upstream_idle, 0..=65_536);
    let in_flight = count("in_flight", default.in_flight, 0..=1_000_000_000);

    let mut number = |key, default, range| {
        section.read(key, report, |given| value::count(given, &range)).unwrap_or(default)
    };
    let concurrent_streams = number("concurrent_streams", default.concurrent_streams, 1..=65_536);
    let stream_resets = number("stream_resets", default.stream_resets, 1..=1_000_000);
    let control_frames = number("control_frames", default.control_frames, 100..=1_000_000);
    let endpoint_concurrency =
        number("endpoint_concurrency", default.endpoint_concurrency, 0..=1_000_000_000);
    let mut window = |key, default| {
        let bytes = section.read(key, report, |given| value::size(given, &(65_535..=MIB << 10)));
        bytes.and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(default)
    };
    let stream_window = window("stream_window", default.stream_window);
    let connection_window = window("connection_window", default.connection_window);

    let mut size = |key, default, range| {
        let bytes = section.read(key, report, |given| value::size(given, &range));
        bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(default)
    };
    let header_bytes = size("header_bytes", default.header_bytes, KIB..=MIB);
    let request_target_bytes =
        size("request_target_bytes", default.request_target_bytes, 64..=65_534);
    let response_header_bytes =
        size("response_header_bytes", default.response_header_bytes, KIB..=MIB);
    let request_body =
        section.read("request_body", report, |given| value::size(given, &(0..=1 << 60)));

    if request_target_bytes > header_bytes {
        // Whichever was typed; both defaults together are good.
        let given = section
            .given("request_target_bytes", report)
            .or_else(|| section.given("header_bytes", report));
        if let Some(given) = given {
            let [target, head] =
                [request_target_bytes, header_bytes].map(|n| value::bytes(n as u64));
            let message = format!(
                "request_target_bytes ({target}) is more than header_bytes ({head}), which holds \
                 the target too; lower the first or raise the second"
            );
            report.wrong(&given, message);
        }
    }
    Limits {
        connections,
        app_in_flight: load::app_in_flight(section, report).unwrap_or(default.app_in_flight),
        connections_per_client,
        handshakes,
        header_bytes,
        headers,
        request_target_bytes,
        request_body: request_body.unwrap_or(default.request_body),
        response_header_bytes,
        concurrent_streams,
        stream_window,
        connection_window,
        stream_resets,
        control_frames,
        app_concurrency,
        endpoint_concurrency,
        app_queue,
        queue,
        upstream_idle,
        in_flight,
        memory: load::memory(section, report).unwrap_or(default.memory),
    }
}

fn access_log(section: &Section<'_>, report: &mut Report) -> AccessLog {
    let default = AccessLog::default();
    let formats = [
        ("auto", LogFormat::Auto),
        ("json", LogFormat::Json),
        ("text", LogFormat::Text),
        ("off", LogFormat::Off),
    ];
    let format = section.read("format", report, |given| value::choice(given, &formats));
    let sample = section.read("sample", report, value::share);
    AccessLog { format: format.unwrap_or(default.format), sample: sample.unwrap_or(default.sample) }
}

#[cfg(test)]
mod tests;

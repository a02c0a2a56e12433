//! The `[[app]]` sections: one app each, with its ports and endpoints.
//!
//! What two apps do to each other is not decided here but in `cross`.

use std::net::SocketAddr;

use super::load;
use super::problem::{Place, Report};
use super::section::{Given, Section};
use super::value;
use crate::config::{App, AppPort, DeploymentMode, Protocol};
use crate::ids::{AppId, HostName};

/// An app and where the file says so.
pub(super) struct PlacedApp {
    pub(super) app: App,
    pub(super) place: Place,
    /// The places of `app.ports`, in the same order.
    pub(super) ports: Vec<Place>,
}

struct PlacedPort {
    port: AppPort,
    place: Place,
}

const ENDPOINTS: &str = "[\"127.0.0.1:3000\"]";
/// The section of a table among them.
const ENDPOINT: &str = "app.endpoints";

/// Reads one app; `None`, with the errors recorded, when it has no whole name.
pub(super) fn read(section: &Section<'_>, report: &mut Report) -> Option<PlacedApp> {
    let organization = section.required("organization", "\"acme\"", report, value::label);
    let name = section.required("name", "\"hello\"", report, value::label);
    // The operator's, whoever built the app.
    let concurrency =
        section.read("concurrency", report, |given| value::count(given, &(0..=1_000_000_000)));
    let endpoint_concurrency = section
        .read("endpoint_concurrency", report, |given| value::count(given, &(0..=1_000_000_000)));
    let modes = [("image", DeploymentMode::Image), ("compile", DeploymentMode::Compile)];
    let mode = section.read("deployment_mode", report, |given| value::choice(given, &modes));
    let deployment_mode = mode.unwrap_or(DeploymentMode::Image);
    let settings = match deployment_mode {
        DeploymentMode::Image => Settings::read(section, report),
        DeploymentMode::Compile => Settings::of_the_platform(section, report),
    };

    let rate_limit = load::app_rate_limit(section, report);
    let Settings { health_path, invoke_path, ports, health_check } = settings;
    let (ports, places) = ports.into_iter().map(|placed| (placed.port, placed.place)).unzip();
    let id = AppId::new(organization?, name?);
    let app = App {
        id,
        concurrency,
        endpoint_concurrency,
        deployment_mode,
        health_path,
        invoke_path,
        ports,
        health_check,
        rate_limit,
    };
    Some(PlacedApp { app, place: section.place.clone(), ports: places })
}

/// What an app with an image of its own chooses for itself.
struct Settings {
    health_path: String,
    invoke_path: String,
    ports: Vec<PlacedPort>,
    health_check: bool,
}

impl Settings {
    fn read(section: &Section<'_>, report: &mut Report) -> Self {
        let mut path = |key, default: &str| {
            section.read(key, report, value::path).unwrap_or_else(|| default.to_owned())
        };
        Self {
            health_path: path("health_path", App::HEALTH_PATH),
            invoke_path: path("invoke_path", App::INVOKE_PATH),
            health_check: section
                .read("health_check", report, value::boolean)
                .unwrap_or(App::HEALTH_CHECK),
            ports: ports(section, report),
        }
    }

    /// A compiled container is the platform's: what the file says about it has no effect.
    fn of_the_platform(section: &Section<'_>, report: &mut Report) -> Self {
        for key in ["health_path", "invoke_path", "ports", "health_check"] {
            if let Some(given) = section.given(key, report) {
                report.warn(
                    &given,
                    "ignored, because the app's deployment_mode is compile; remove it",
                );
            }
        }
        let given = section.given("endpoints", report);
        if given.is_none() {
            let message = format!(
                "missing; a compile app listens on port 80 only: write endpoints = {ENDPOINTS}"
            );
            section.missing("endpoints", &message, report);
        }
        Self {
            health_path: App::HEALTH_PATH.to_owned(),
            invoke_path: App::INVOKE_PATH.to_owned(),
            ports: given.map(|given| only_port(section, &given, report)).into_iter().collect(),
            health_check: App::HEALTH_CHECK,
        }
    }
}

fn ports(section: &Section<'_>, report: &mut Report) -> Vec<PlacedPort> {
    match (section.given("endpoints", report), section.given("ports", report)) {
        (Some(endpoints), None) => vec![only_port(section, &endpoints, report)],
        (None, Some(ports)) => listed_ports(section, &ports, report),
        (Some(_), Some(ports)) => {
            let message =
                "given beside `endpoints`, which means port 80 alone; keep one of the two";
            report.wrong(&ports, message);
            listed_ports(section, &ports, report)
        }
        (None, None) => {
            // From a file nothing else says where the app runs.
            let message = format!(
                "missing; give `endpoints`, e.g. endpoints = {ENDPOINTS}, or `ports` when the app \
                 has others than port 80"
            );
            section.missing("endpoints", &message, report);
            Vec::new()
        }
    }
}

fn only_port<'a>(section: &Section<'a>, given: &Given<'a>, report: &mut Report) -> PlacedPort {
    let (endpoints, draining) = endpoints(section, given, report);
    let port = AppPort {
        port: HostName::DEFAULT_PORT,
        endpoints,
        draining,
        protocol: Protocol::default(),
    };
    PlacedPort { port, place: given.place.clone() }
}

fn listed_ports<'a>(
    section: &Section<'a>,
    given: &Given<'a>,
    report: &mut Report,
) -> Vec<PlacedPort> {
    let example = format!("[{{ port = 80, endpoints = {ENDPOINTS} }}]");
    let Some(elements) = given.elements(&example, report) else {
        return Vec::new();
    };
    if elements.is_empty() || elements.len() > App::MAX_PORTS {
        let message = format!("{} ports are listed; give 1 to {}", elements.len(), App::MAX_PORTS);
        report.wrong(given, message);
    }
    let mut ports: Vec<PlacedPort> = Vec::new();
    for element in elements {
        let Some(entry) = section.open("app.ports", &element, report) else {
            continue;
        };
        let Some(placed) = listed_port(&entry, report) else {
            continue;
        };
        if ports.iter().any(|known| known.port.port == placed.port.port) {
            let message = format!("port {} is listed twice; remove one", placed.port.port);
            report.error(placed.place, "app.ports.port", message);
        } else {
            ports.push(placed);
        }
    }
    ports
}

fn listed_port(entry: &Section<'_>, report: &mut Report) -> Option<PlacedPort> {
    let port = entry.required("port", "80", report, |given| value::count(given, &(1..=u16::MAX)));
    let protocols = [("http1", Protocol::Http1), ("h2c", Protocol::H2c), ("auto", Protocol::Auto)];
    let protocol = entry.read("protocol", report, |given| value::choice(given, &protocols));
    let given = entry.given("endpoints", report);
    if given.is_none() {
        let message = format!("missing; write endpoints = {ENDPOINTS}");
        entry.missing("endpoints", &message, report);
    }
    let given = given.map(|given| endpoints(entry, &given, report));
    let (endpoints, draining) = given.unwrap_or_default();
    let port = AppPort { port: port?, endpoints, draining, protocol: protocol.unwrap_or_default() };
    Some(PlacedPort { port, place: entry.place.clone() })
}

/// Every address, and those of them that drain.
fn endpoints<'a>(
    section: &Section<'a>,
    given: &Given<'a>,
    report: &mut Report,
) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
    if given.value.as_array().is_some_and(|list| list.is_empty()) {
        report.warn(given, "empty, so every call to this port will fail; list the app's addresses");
    }
    let (mut all, mut draining) = (Vec::new(), Vec::new());
    for element in given.elements(ENDPOINTS, report).unwrap_or_default() {
        let Some((address, drains)) = endpoint(section, &element, report) else { continue };
        if all.contains(&address) {
            let is_plain = element.value.is_str();
            let shown = if is_plain { value::found(element.value) } else { address.to_string() };
            report.wrong(&element, format!("{shown} is listed twice; remove one"));
            continue;
        }
        all.push(address);
        draining.extend(drains.then_some(address));
    }
    (all, draining)
}

/// An address, or a table of one and whether it drains.
fn endpoint<'a>(
    section: &Section<'a>,
    given: &Given<'a>,
    report: &mut Report,
) -> Option<(SocketAddr, bool)> {
    if !given.value.is_table() {
        let read = value::endpoint(given).map_err(|message| report.wrong(given, message));
        return Some((read.ok()?, false));
    }
    let entry = section.open(ENDPOINT, given, report)?;
    let address = entry.required("address", "\"127.0.0.1:3000\"", report, value::endpoint);
    let draining = entry.read("draining", report, value::boolean).unwrap_or(false);
    Some((address?, draining))
}

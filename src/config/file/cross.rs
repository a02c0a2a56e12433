//! What no setting can tell alone: two that contradict each other.
//!
//! Names that collide are refused whole, never settled by order: a host must
//! not pass from one organization to another because a file was edited.

use std::collections::HashMap;
use std::net::SocketAddr;

use ipnet::IpNet;
use toml::de::DeValue;

use super::apps::PlacedApp;
use super::problem::{Place, Report};
use super::section::Given;
use crate::config::tls::Tls;
use crate::config::{Admin, Listener};
use crate::ids::{AppId, Domain, HostName};

/// A listener and where its address was given.
pub(super) struct Bound<'a> {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<Tls>,
    pub(super) place: Place,
    /// What turns the PROXY protocol on.
    pub(super) proxy_protocol: Option<Given<'a>>,
}

impl Bound<'_> {
    /// A listener of which nothing but the address is known.
    pub(super) fn at(address: SocketAddr, place: Place) -> Self {
        Self { address, tls: None, place, proxy_protocol: None }
    }

    /// What is meant.
    pub(super) fn listener(self) -> Listener {
        let Self { address, tls, proxy_protocol, .. } = self;
        Listener { address, proxy_protocol: proxy_protocol.is_some(), tls }
    }
}

/// No address is bound twice. Port 0 stands for a different port each time.
pub(super) fn addresses(
    listeners: &[Bound<'_>],
    admin: &Admin,
    admin_place: Option<Place>,
    report: &mut Report,
) {
    let mut seen = HashMap::new();
    for listener in listeners.iter().filter(|listener| listener.address.port() != 0) {
        if let Some(first) = seen.insert(listener.address, &listener.place) {
            let message = format!(
                "{} is already a listener's address ({}); remove one",
                listener.address,
                at(first)
            );
            report.error(listener.place.clone(), "listener.address", message);
        }
    }
    if let Some(listener) = seen.get(&admin.address) {
        let message = format!(
            "{} is also a listener's address ({}); give the admin listener its own",
            admin.address,
            at(listener)
        );
        // The default, which nobody typed, is shown where the listener took it.
        let place = admin_place.unwrap_or_else(|| (*listener).clone());
        report.error(place, "admin.address", message);
    }
}

/// A header is taken from trusted proxies only, so without any a listener that requires one
/// refuses everybody.
pub(super) fn proxy_protocol(listeners: &[Bound<'_>], trusted: &[IpNet], report: &mut Report) {
    if !trusted.is_empty() {
        return;
    }
    for given in listeners.iter().filter_map(|listener| listener.proxy_protocol.as_ref()) {
        report.warn(
            given,
            "every connection will be refused, because trusted_proxies is empty; list the load \
             balancers there",
        );
    }
}

/// Addresses from the environment take the place of the file's listeners whole. What those ask of a
/// connection beyond its address goes with them, and callers would be served without it.
pub(super) fn replaced(given: &Given<'_>, file: Option<&Given<'_>>, report: &mut Report) {
    let Some(elements) = file.and_then(|file| file.value.as_array()) else { return };
    let mut dropped = Vec::new();
    for element in elements {
        let Some(table) = element.get_ref().as_table() else { continue };
        let off = |value: &DeValue<'_>| value.as_bool() == Some(false);
        let asked = |key: &&str| table.get(*key).is_some_and(|value| !off(value.get_ref()));
        let keys: Vec<_> = ["proxy_protocol", "tls"].into_iter().filter(asked).collect();
        if !keys.is_empty() {
            let place = report.line(element.span().start);
            dropped.push(format!("{} of the listener at {}", keys.join(" and "), at(&place)));
        }
    }
    if !dropped.is_empty() {
        let message = format!(
            "the file's listeners are replaced, and with them {}: callers are served without it; \
             set the addresses in the file to keep it",
            dropped.join(", ")
        );
        report.warn(given, message);
    }
}

/// No app stands twice, and no two ports compute the same host.
pub(super) fn apps(apps: &[PlacedApp], domain: &Domain, report: &mut Report) {
    let mut seen: HashMap<&AppId, &Place> = HashMap::new();
    let mut owners: HashMap<HostName, (&AppId, &Place)> = HashMap::new();
    for PlacedApp { app, place, ports } in apps {
        if let Some(first) = seen.get(&app.id) {
            let message = format!(
                "{} is already an app of this file ({}); remove one, or join their ports",
                app.id,
                at(first)
            );
            report.error(place.clone(), "app", message);
            // Its hosts collide too, which says nothing more.
            continue;
        }
        seen.insert(&app.id, place);
        for (port, place) in app.ports.iter().zip(ports) {
            let host = match HostName::of_port(&app.id, port.port, domain) {
                Ok(host) => host,
                Err(error) => {
                    report.error(place.clone(), "app", format!("{}: {error}", app.id));
                    continue;
                }
            };
            if let Some((owner, first)) = owners.get(&host) {
                let message = format!(
                    "{} and {owner} ({}) have the same host {host}; rename one of them",
                    app.id,
                    at(first)
                );
                report.error(place.clone(), "app", message);
            } else {
                owners.insert(host, (&app.id, place));
            }
        }
    }
}

fn at(place: &Place) -> String {
    match place {
        Place::File => "the default".to_owned(),
        Place::Line(line) => format!("line {line}"),
        Place::Variable(name) => name.clone(),
    }
}

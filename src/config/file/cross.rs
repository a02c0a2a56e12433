//! What no setting can tell alone: two that contradict each other.
//!
//! Names that collide are refused whole, never settled by order: a host must
//! not pass from one organization to another because a file was edited.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::apps::PlacedApp;
use super::problem::{Place, Report};
use crate::config::Admin;
use crate::config::tls::Tls;
use crate::ids::{AppId, Domain, HostName};

/// An address to bind and where it was given.
pub(super) struct Bound {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<Tls>,
    pub(super) place: Place,
}

/// No address is bound twice. Port 0 stands for a different port each time.
pub(super) fn addresses(
    listeners: &[Bound],
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

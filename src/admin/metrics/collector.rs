//! Reads the counters at the moment of asking and writes them, family by family.
//!
//! Labels come from configured apps and fixed lists only. A host that never had
//! a request has rows for its endpoints and no others, so that many idle apps
//! cost a scrape little; what is counted of unknown hosts shares one row.

use super::text::Text;
use super::{family, traces};
use crate::admin::{Admin, apps};
use crate::telemetry::lines::Lines;
use crate::telemetry::metrics::{Durations, Http2Metrics, Sizes, Traffic};
use crate::telemetry::refusals::Refusals;
use crate::telemetry::state::State;
use crate::telemetry::tls::{Certificate, Certificates};

mod hosts;
mod workers;

/// All numbers of a gateway.
pub(super) fn collect(text: &mut Text, admin: &Admin) {
    let Admin { shared, crew, state, certificates, .. } = admin;
    let routes = apps::sorted(shared);
    hosts::requests(text, &routes, &shared.unknown);
    hosts::endpoints(text, &routes);
    hosts::failures(text, &routes);
    hosts::demand(text, &routes);
    hosts::usage(text, &shared.routes.usage());
    traffic(text, &shared.traffic.iter().collect::<Vec<_>>());
    workers::connections(text, crew);
    workers::load(text, crew);
    refusals(text, &shared.refusals);
    http2(text, &shared.http2);
    workers::handshakes(text, crew);
    certificates_in_force(text, certificates);
    traces::spans(text, shared.traces.as_ref());
    process(text, state, &shared.log.lines);
}

/// Of all apps together, so that the number of series does not grow with them.
fn traffic(text: &mut Text, cells: &[&Traffic]) {
    let sizes = Sizes::all(cells.iter().map(|cell| &cell.request_sizes));
    text.begin(&family::REQUEST_SIZE).add_sizes(&[], &sizes);
    let sizes = Sizes::all(cells.iter().map(|cell| &cell.response_sizes));
    text.begin(&family::RESPONSE_SIZE).add_sizes(&[], &sizes);
    let connects = Durations::all(cells.iter().map(|cell| &cell.connects));
    text.begin(&family::CONNECT).add_durations(&[], &connects);
}

fn refusals(text: &mut Text, refusals: &Refusals) {
    let mut samples = text.begin(&family::REFUSED_REQUESTS);
    for (reason, count) in refusals.refused() {
        samples.add(&[("reason", reason)], count);
    }
    text.single(&family::PANICS, refusals.panics());
}

fn http2(text: &mut Text, metrics: &Http2Metrics) {
    let mut samples = text.begin(&family::HTTP2_ERRORS);
    for (reason, count) in metrics.errors() {
        samples.add(&[("reason", reason)], count);
    }
}

fn certificates_in_force(text: &mut Text, certificates: &Certificates) {
    let mut samples = text.begin(&family::CERTIFICATE_EXPIRY);
    for Certificate { name, file, not_after } in certificates.in_force() {
        samples.add(&[("name", &name), ("file", &file)], not_after);
    }
    let (succeeded, failed) = certificates.reloads();
    let mut samples = text.begin(&family::CERTIFICATE_RELOADS);
    samples.add(&[("result", "success")], succeeded);
    samples.add(&[("result", "failure")], failed);
}

fn process(text: &mut Text, state: &State, lines: &Lines) {
    let (succeeded, failed) = state.reloads();
    let mut samples = text.begin(&family::RELOADS);
    samples.add(&[("result", "success")], succeeded);
    samples.add(&[("result", "failure")], failed);
    text.single(&family::GENERATION, succeeded + 1);
    text.single(&family::LOG_DROPPED, lines.dropped());
    text.single(&family::LAST_SUCCESS, state.last_success());
    text.single(&family::START, state.started());
    text.begin(&family::BUILD).add(&[("version", env!("CARGO_PKG_VERSION"))], 1);
}

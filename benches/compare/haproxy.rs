//! Contender `haproxy`: a thread for each worker, connections to the backend shared among all callers.
//!
//! Written as a careful operator would for the same contract, with no log. Buffers are the default
//! ones, splicing is off: see `benches/README.md` for what was tried. gRPC goes to the app by `proto
//! h2`, streams of many callers on one connection.

use std::fmt::Write as _;
use std::fs;

use crate::Fallible;
use crate::apps::APPS;
use crate::contender::{Place, Recipe};
use crate::setting::{Edge, Setting};
use crate::tools;

pub(crate) fn recipe(place: &Place<'_>) -> Fallible<Recipe> {
    let program = tools::find("haproxy").ok_or("not installed (apt-get install haproxy)")?;
    let hosts = place.folder.join("haproxy-hosts.map");
    let mut lines = String::new();
    for app in &APPS {
        let _ = writeln!(lines, "{} {}_{}", app.host(), app.organization, app.name);
    }
    fs::write(&hosts, lines)?;
    let file = place.folder.join("haproxy.cfg");
    fs::write(&file, configuration(place, &hosts.to_string_lossy()))?;
    let version = tools::version(&program, "-v");
    let command = vec![program.into(), "-db".into(), "-f".into(), file.into_os_string()];
    Ok(Recipe::of(command, version))
}

fn configuration(place: &Place<'_>, hosts: &str) -> String {
    let Place { setting: Setting { edge, workers, .. }, identity, listen, backend, .. } = place;
    let scheme = edge.scheme();
    let tls = if edge.has_tls() {
        format!(" ssl crt {} alpn h2,http/1.1", identity.both.display())
    } else {
        String::new()
    };
    let protocol = if *edge == Edge::Grpc { " proto h2" } else { "" };
    // Names with `_` or `.` for `-` are removed as well: backends fold them into the real name.
    let mut text = format!(
        r"global
    nbthread {workers}
    maxconn 12000
    no strict-limits

defaults
    mode http
    no log
    maxconn 12000
    timeout connect 2s
    timeout client 75s
    timeout server 300s
    timeout tunnel 1h
    timeout http-request 10s
    timeout http-keep-alive 75s
    option http-keep-alive
    option http-restrict-req-hdr-names delete
    http-reuse always

frontend edge
    bind {listen}{tls}
    unique-id-format %[uuid(4)]
    http-request del-header x-ignite- -m beg
    http-request set-header x-ignite-execution-id %[unique-id]
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto {scheme}
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request add-header Via 1.1\ haproxy
    http-response del-header x-ignite- -m beg
    http-response set-header x-ignite-execution-id %[unique-id]
    use_backend %[req.hdr(host),field(1,:),lower,map({hosts},nobody)]

backend nobody
    http-request return status 404
"
    );
    for app in &APPS {
        let _ = write!(
            text,
            r"
backend {organization}_{name}
    http-request set-header x-ignite-function-id {id}
    http-request set-header x-ignite-organization-id {organization}
    server app {backend}{protocol}
",
            organization = app.organization,
            name = app.name,
            id = app.function_id(),
        );
    }
    text
}

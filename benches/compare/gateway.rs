//! Contender `gateway`: this project's own binary, with one worker.
//!
//! All is as configured by default, but for the pool (the peers' are as large as the load too) and
//! the wait before it closes its listeners, which would only delay the end of the bench.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Fallible;
use crate::apps::{APPS, App, DOMAIN};
use crate::contender::{Place, Recipe};
use crate::scenario::Edge;
use crate::tools;

pub(crate) fn recipe(place: &Place<'_>, program: &Path) -> Fallible<Recipe> {
    if !program.is_file() {
        return Err(format!("{} is not there (--gateway PATH)", program.display()).into());
    }
    let file = place.folder.join("gateway.toml");
    fs::write(&file, configuration(place))?;
    let command =
        vec![program.as_os_str().into(), "serve".into(), "--config".into(), file.into_os_string()];
    Ok(Recipe { command, version: tools::version(program, "--version") })
}

fn configuration(place: &Place<'_>) -> String {
    let Place { edge, identity, listen, backend, spare, .. } = place;
    let tls = if edge.has_tls() {
        format!(
            "[listener.tls]\ncertificates = [ {{ certificate = \"{}\", key = \"{}\" }} ]\n",
            identity.certificate.display(),
            identity.key.display()
        )
    } else {
        String::new()
    };
    let app = match edge {
        Edge::Plain | Edge::Tls => format!(r#"endpoints = ["{backend}"]"#),
        Edge::Grpc => {
            format!(r#"ports = [ {{ port = 80, endpoints = ["{backend}"], protocol = "h2c" }} ]"#)
        }
    };
    let mut text = format!(
        r#"domain = "{DOMAIN}"
workers = 1

[[listener]]
address = "{listen}"
{tls}
[admin]
address = "{spare}"

[limits]
upstream_idle = 4096

[timeouts]
drain_delay = "0s"

[access_log]
format = "off"
"#
    );
    for App { organization, name } in &APPS {
        let _ = write!(
            text,
            r#"
[[app]]
organization = "{organization}"
name = "{name}"
{app}
health_check = false
"#
        );
    }
    text
}

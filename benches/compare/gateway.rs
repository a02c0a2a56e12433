//! Contender `gateway`: this project's own binary, and the configurations of it that are measured
//! against each other.
//!
//! All is as configured by default, but for the pool (the peers' are as large as the load too), the
//! access log (off, where it is not what is measured) and the wait before it closes its listeners,
//! which would only delay the end of the bench.

use std::fmt::Write as _;
use std::fs;

use crate::Fallible;
use crate::apps::{APPS, App, DOMAIN};
use crate::churn::Churn;
use crate::contender::{Place, Recipe};
use crate::options::Options;
use crate::setting::{ACCESS_LOG, Cast, EVERYTHING, Edge, MANY_APPS, Setting};
use crate::tools;

const FEW_APPS: usize = 10;

/// `variant`: the name of its row.
pub(crate) fn recipe(place: &Place<'_>, variant: &str, options: &Options) -> Fallible<Recipe> {
    let program = &options.gateway;
    if !program.is_file() {
        return Err(format!("{} is not there (--gateway PATH)", program.display()).into());
    }
    let file = place.folder.join("gateway.toml");
    let head = configuration(place, variant);
    let churn = match (place.setting.cast, variant) {
        (Cast::Apps(many), MANY_APPS) => Some(many),
        (Cast::Apps(_), _) => Some(FEW_APPS),
        _ => None,
    };
    let churn = churn.map(|apps| {
        let others = apps - APPS.len();
        let changes = variant == MANY_APPS;
        Churn::new((&file, &head), others, place.backend, place.listen, changes)
    });
    match &churn {
        Some(churn) => churn.write()?,
        None => fs::write(&file, head)?,
    }
    let command =
        vec![program.as_os_str().into(), "serve".into(), "--config".into(), file.into_os_string()];
    Ok(Recipe { command, version: tools::version(program, "--version"), churn })
}

fn configuration(place: &Place<'_>, variant: &str) -> String {
    let Place { setting: Setting { edge, workers, .. }, identity, listen, backend, spare, .. } =
        place;
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
    let access_log = if [ACCESS_LOG, EVERYTHING].contains(&variant) { "json" } else { "off" };
    let mut text = format!(
        r#"domain = "{DOMAIN}"
workers = {workers}

[[listener]]
address = "{listen}"
{tls}
[admin]
address = "{spare}"

[limits]
upstream_idle = 4096
connections_per_client = 0

[timeouts]
drain_delay = "0s"

[access_log]
format = "{access_log}"
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

//! Contender `gateway`: this project's own binary, and the configurations of it that are measured
//! against each other.
//!
//! All is as configured by default, but for the pool (the peers' are as large as the load too), the
//! limit of connections of one client (the load is one), the access log (off, where it is not what is
//! measured) and the wait before it closes its listeners, which would only delay the end of the bench.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

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
    let head = configuration(place, variant, &Known { program, folder: &place.folder });
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

/// Tells which settings the binary has: the bench measures older ones, too, which refuse what they do
/// not know.
struct Known<'run> {
    program: &'run Path,
    folder: &'run Path,
}

impl Known<'_> {
    /// The line, with its end, if the section may have it.
    fn line(&self, section: &str, line: &str) -> String {
        let file = self.folder.with_extension("probe.toml");
        let text = format!("{section}\n{line}\n");
        let asked = fs::write(&file, &text).and_then(|()| {
            Command::new(self.program).arg("check").arg("--config").arg(&file).output()
        });
        if asked.is_ok_and(|asked| asked.status.success()) {
            format!("{line}\n")
        } else {
            String::new()
        }
    }
}

/// How much of what it does a gateway tells.
struct Observation {
    access_log: &'static str,
    executions: String,
    tracing: String,
}

impl Observation {
    fn of(place: &Place<'_>, variant: &str, known: &Known<'_>) -> Self {
        let access_log = if [ACCESS_LOG, EVERYTHING].contains(&variant) { "json" } else { "off" };
        let (mut executions, mut tracing) = (String::new(), String::new());
        if variant == EVERYTHING {
            // The app takes what a collector would.
            let endpoint = format!("endpoint = \"http://{}\"\nprotocol = \"http\"", place.backend);
            tracing = known.line("[tracing]", &endpoint);
        } else if place.setting.cast == Cast::Observed {
            executions = known.line("[admin]", "executions = 0");
        }
        if !tracing.is_empty() {
            tracing.insert_str(0, "[tracing]\n");
        }
        Self { access_log, executions, tracing }
    }
}

fn configuration(place: &Place<'_>, variant: &str, known: &Known<'_>) -> String {
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
    let Observation { access_log, executions, tracing } = Observation::of(place, variant, known);
    let per_client = known.line("[limits]", "connections_per_client = 0");
    let mut text = format!(
        r#"domain = "{DOMAIN}"
workers = {workers}

[[listener]]
address = "{listen}"
{tls}
[admin]
address = "{spare}"
{executions}
[limits]
upstream_idle = 4096
{per_client}
{tracing}
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

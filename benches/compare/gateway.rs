//! Contender `gateway`: this project's own binary, with one worker.
//!
//! All is as configured by default, but for the pool: the peers' are as large as the load too.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Fallible;
use crate::apps::{APPS, DOMAIN};
use crate::contender::{Place, Recipe};
use crate::tools;

pub(crate) fn recipe(place: &Place, program: &Path) -> Fallible<Recipe> {
    if !program.is_file() {
        return Err(format!("{} is not there (--gateway PATH)", program.display()).into());
    }
    let file = place.folder.join("gateway.toml");
    fs::write(&file, configuration(place))?;
    let command =
        vec![program.as_os_str().into(), "serve".into(), "--config".into(), file.into_os_string()];
    Ok(Recipe { command, version: tools::version(program, "--version") })
}

fn configuration(place: &Place) -> String {
    let Place { listen, backend, spare, .. } = place;
    let mut text = format!(
        r#"domain = "{DOMAIN}"
workers = 1

[[listener]]
address = "{listen}"

[admin]
address = "{spare}"

[limits]
upstream_idle = 4096

[access_log]
format = "off"
"#
    );
    for app in &APPS {
        let _ = write!(
            text,
            r#"
[[app]]
organization = "{}"
name = "{}"
endpoints = ["{backend}"]
health_check = false
"#,
            app.organization, app.name
        );
    }
    text
}

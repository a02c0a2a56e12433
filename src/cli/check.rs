//! `check`: every mistake of a configuration file, or the hosts it would serve.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::Failure;
use crate::config::Config;
use crate::config::file::{self, ConfigErrors, Problem};
use crate::listener::tls::{Doubt, Keeper};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How to print the host table
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    /// Columns
    Text,
    /// One JSON document
    Json,
}

struct Row {
    host: String,
    app: String,
    port: u16,
    endpoints: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let loaded = file::load(&arguments.config, file::environment()).map_err(Failure::usage)?;
    let doubts = certificates(&loaded.config)?;
    let rows: Vec<Row> = loaded
        .config
        .hosts()
        .into_iter()
        .map(|(host, app, port)| Row {
            host: host.to_string(),
            app: app.id.to_string(),
            port: port.port,
            endpoints: port.endpoints.iter().map(ToString::to_string).collect(),
        })
        .collect();
    let warnings = loaded.warnings.iter().chain(&doubts);
    let warnings: Vec<String> = warnings.map(ToString::to_string).collect();
    let text = match arguments.output {
        Output::Text => table(&rows, &warnings),
        Output::Json => document(&rows, &warnings),
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(Failure::running)
}

/// Reads the listeners' certificates; what will be wrong with them is a warning.
fn certificates(config: &Config) -> Result<Vec<Problem>, Failure> {
    let keeper = Keeper::load(&config.listeners).map_err(Failure::usage)?;
    let (soon, wrong): (Vec<_>, Vec<_>) =
        keeper.doubts().into_iter().partition(|(doubt, _)| *doubt == Doubt::Soon);
    if wrong.is_empty() {
        return Ok(soon.into_iter().map(|(_, problem)| problem).collect());
    }
    let wrong = wrong.into_iter().map(|(_, problem)| problem).collect();
    Err(Failure::usage(ConfigErrors::of(wrong)))
}

fn table(rows: &[Row], warnings: &[String]) -> String {
    let width = |cell: fn(&Row) -> usize, title: &str| {
        rows.iter().map(cell).max().unwrap_or(0).max(title.len())
    };
    let host = width(|row| row.host.len(), "HOST");
    let app = width(|row| row.app.len(), "APP");
    let mut text = String::new();
    for warning in warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    if rows.is_empty() {
        text.push_str("The configuration is valid and has no apps.\n");
        return text;
    }
    let _ = writeln!(text, "{:host$}  {:app$}  {:>5}  ENDPOINTS", "HOST", "APP", "PORT");
    for row in rows {
        let endpoints = row.endpoints.join(", ");
        let (name, id, port) = (&row.host, &row.app, row.port);
        let _ = writeln!(text, "{name:host$}  {id:app$}  {port:>5}  {endpoints}");
    }
    text
}

fn document(rows: &[Row], warnings: &[String]) -> String {
    let hosts: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({ "host": row.host, "app": row.app, "port": row.port, "endpoints": row.endpoints })
        })
        .collect();
    format!("{:#}\n", json!({ "hosts": hosts, "warnings": warnings }))
}

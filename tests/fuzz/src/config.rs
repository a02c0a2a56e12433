//! Configuration files: any text is a configuration or a list of mistakes that points into it.

use std::collections::HashSet;

use ignite_gateway::config::App;
use ignite_gateway::config::file::{self, Place, Problem};

/// The target.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // What stands behind a NUL is the environment, a variable a line.
    let (text, environment) = text.split_once('\0').unwrap_or((text, ""));
    let variables = environment.lines().filter_map(|line| line.split_once('='));
    let variables: Vec<_> =
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let lines = text.lines().count().max(1) + 1;
    match file::parse(text, "gateway.toml", variables) {
        Ok(loaded) => {
            let config = &loaded.config;
            loaded.warnings.iter().for_each(|problem| points_into(problem, lines));
            assert!(!config.listeners.is_empty());
            assert!((1..=1000).contains(&config.limits.headers));
            assert!((1 << 10..=1 << 20).contains(&config.limits.header_bytes));
            assert!(config.limits.request_target_bytes <= config.limits.header_bytes);
            let declared: usize = config.apps.iter().map(|app| app.ports.len()).sum();
            let hosts: Vec<_> = config.hosts().into_iter().map(|(host, ..)| host).collect();
            assert_eq!(hosts.len(), declared, "every port has a host");
            let unique: HashSet<_> = hosts.iter().collect();
            assert_eq!(unique.len(), hosts.len(), "no host has two owners");
            for app in &config.apps {
                assert!((1..=App::MAX_PORTS).contains(&app.ports.len()));
                assert!(app.health_path.starts_with('/'));
            }
        }
        Err(errors) => {
            assert!(!errors.problems().is_empty());
            errors.problems().iter().for_each(|problem| points_into(problem, lines));
        }
    }
}

/// It names a line of the file, and cannot move a terminal's cursor.
fn points_into(problem: &Problem, lines: usize) {
    if let Place::Line(line) = problem.place {
        assert!((1..=lines).contains(&line), "{problem}");
    }
    let shown = problem.to_string();
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
}

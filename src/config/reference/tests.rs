//! Holds the table of settings to the configuration that it describes.
//!
//! `config/gateway.toml` is rewritten by `WRITE_CONFIG=1 cargo test --lib config_gateway_toml`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use super::text::is_spelled_out;
use super::*;
use crate::config::file::{Loaded, parse};
use crate::config::tls::{Clients, Tls};
use crate::config::{App, AppPort, Config, DeploymentMode, Protocol};
use crate::ids::Domain;

fn read(text: &str) -> Loaded {
    parse(text, "gateway.toml", []).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn hello() -> App {
    App {
        id: "acme/hello".parse().unwrap(),
        concurrency: None,
        endpoint_concurrency: None,
        deployment_mode: DeploymentMode::Image,
        health_path: App::HEALTH_PATH.to_owned(),
        invoke_path: App::INVOKE_PATH.to_owned(),
        ports: vec![AppPort {
            port: 80,
            endpoints: vec!["127.0.0.1:3000".parse().unwrap()],
            draining: Vec::new(),
            protocol: Protocol::Http1,
        }],
        health_check: App::HEALTH_CHECK,
        rate_limit: None,
    }
}

#[test]
fn the_annotated_defaults_are_the_real_ones() {
    let loaded = read(&annotated_default());
    let expected = Config { apps: vec![hello()], ..Config::new(Domain::default()) };
    assert_eq!(loaded, Loaded { config: expected, warnings: Vec::new() });
}

#[test]
fn every_setting_of_the_annotated_default_is_spelled_out_once() {
    let text = annotated_default();
    for setting in SETTINGS.iter().filter(|setting| is_spelled_out(setting.section)) {
        let line = format!("{} = {}", setting.key, setting.default);
        assert!(text.lines().any(|found| found == line), "{line}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn the_default_of_every_setting_of_an_app_is_the_real_one() {
    let mut app = "[[app]]\norganization = \"acme\"\nname = \"hello\"\n".to_owned();
    let mut port = "port = 80, endpoints = [\"127.0.0.1:3000\"]".to_owned();
    for setting in SETTINGS.iter().filter(|setting| !setting.default.is_empty()) {
        match setting.section {
            "app" => app.extend([setting.key, " = ", setting.default, "\n"]),
            "app.ports" => port.extend([", ", setting.key, " = ", setting.default]),
            _ => {}
        }
    }
    let spelled_out = format!("{app}ports = [{{ {port} }}]\n");
    assert!(spelled_out.contains("health_check") && spelled_out.contains("protocol"));
    assert_eq!(read(&spelled_out).config.apps, [hello()]);
}

#[test]
fn the_second_example_app_is_good_once_its_comment_signs_are_gone() {
    let text = annotated_default();
    let (_, example) = text.split_once("# [[app]]\n").expect("a commented-out app");
    let example = example.replace("\n# ", "\n").replacen("# ", "", 1);
    let loaded = read(&format!("[[app]]\n{example}"));
    let app = &loaded.config.apps[0];
    assert_eq!(app.id.to_string(), "acme-corp/my-data-processor");
    assert_eq!(app.ports.iter().map(|port| port.port).collect::<Vec<_>>(), [80, 8080]);
    let hosts: Vec<_> = loaded.config.hosts().iter().map(|(host, ..)| host.to_string()).collect();
    for host in hosts {
        assert!(text.contains(&host), "{host}");
    }
    for setting in SETTINGS.iter().filter(|setting| setting.section.starts_with("app")) {
        assert!(example.contains(setting.key), "{}", setting.key);
    }
}

#[test]
fn the_example_of_tls_is_good_once_its_comment_signs_are_gone() {
    let text = annotated_default();
    let (_, example) = text.split_once("# [listener.tls]\n").expect("a commented-out section");
    let (example, _) = example.split_once("\n\n").expect("an end");
    let example = example.replace("\n# ", "\n").replacen("# ", "", 1);
    let loaded = read(&format!("[[listener]]\n[listener.tls]\n{example}"));
    let tls = loaded.config.listeners[0].tls.as_ref().expect("TLS");
    assert_eq!(tls.certificates.len(), 1);
    assert_eq!(tls.min_version, Tls::MIN_VERSION);
    assert_eq!(tls.clients.as_ref().expect("clients").auth, Clients::AUTH);
    for setting in SETTINGS.iter().filter(|setting| setting.section.starts_with("listener.tls")) {
        assert!(example.contains(setting.key), "{}", setting.key);
    }
}

#[test]
fn the_markdown_table_has_a_row_for_every_setting() {
    let table = markdown_table();
    assert_eq!(table.lines().count(), SETTINGS.len() + 2);
    assert!(table.lines().all(|row| row.matches('|').count() == 5), "{table}");
    assert!(
        table.contains("| `timeouts.header` | `\"10s\"` | `IGNITE_GATEWAY__TIMEOUTS__HEADER` |")
    );
    assert!(
        table.contains("| `listener.address` | `\"0.0.0.0:8080\"` | `IGNITE_GATEWAY__LISTENERS` |")
    );
    assert!(table.contains("| `app.name` |  |  |"));
}

#[test]
fn no_name_is_longer_than_the_longest() {
    for setting in SETTINGS {
        let name = setting.variable().unwrap_or_default();
        assert!(setting.key.len().max(name.len()) <= LONGEST_NAME, "{name}");
    }
}

#[test]
fn config_gateway_toml_is_the_annotated_default() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/gateway.toml");
    if std::env::var_os("WRITE_CONFIG").is_some() {
        std::fs::write(path, annotated_default()).unwrap();
    }
    let written = std::fs::read_to_string(path).expect("config/gateway.toml");
    assert!(
        written == annotated_default(),
        "config/gateway.toml is stale: run WRITE_CONFIG=1 cargo test --lib config_gateway_toml"
    );
}

#[test]
fn the_readmes_table_is_the_real_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (before, rest) = readme.split_once("<!-- settings -->\n").unwrap();
    let (table, after) = rest.split_once("<!-- /settings -->").unwrap();
    let real = markdown_table();
    if std::env::var_os("WRITE_CONFIG").is_some() {
        let text = format!("{before}<!-- settings -->\n{real}<!-- /settings -->{after}");
        std::fs::write(path, text).unwrap();
        return;
    }
    assert_eq!(table, real, "write it with WRITE_CONFIG=1 cargo test --lib readme");
}

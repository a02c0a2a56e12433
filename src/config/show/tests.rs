//! What is shown is held to the file's own reader and to the table of settings.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;
use crate::config::file::parse;
use crate::config::reference::{SETTINGS, annotated_default};

/// A file that has every section.
const EVERYTHING: &str = r#"
domain = "example.org"
workers = 3
trusted_proxies = ["10.0.0.0/8", "2001:db8::1"]

[[listener]]
address = "127.0.0.1:8080"
proxy_protocol = true

[[listener]]
address = "[::1]:8443"
[listener.tls]
certificates = [{ certificate = "/tls/tls.crt", key = "/tls/tls.key" }]
min_version = "1.3"
client_ca = "/tls/ca.crt"
client_auth = "optional"

[timeouts]
connect = "1500ms"
request = "2h"

[limits]
memory = "3GiB"
app_in_flight = 1000
request_body = "100000B"

[rate_limit]
requests = 10
per = "1m"
burst = 20
clients = 2048

[access_log]
format = "json"
sample = 0.25

[tracing]
endpoint = "https://collector.example:4318/otlp"
protocol = "http"
parent = "all"
timeout = "250ms"

[[app]]
organization = "acme-corp"
name = "my-data-processor"
concurrency = 200
endpoint_concurrency = 100
rate_limit = { requests = 100, per = "1s", burst = 200 }
health_path = "/health"
invoke_path = "/go"
health_check = false
ports = [
  { port = 80, endpoints = ["10.0.0.5:80", "10.0.0.6:80"] },
  { port = 8080, protocol = "h2c", endpoints = [{ address = "10.0.0.5:8080", draining = true }] },
]
"#;

fn read(text: &str) -> Config {
    parse(text, "/etc/gateway.toml", []).unwrap_or_else(|errors| panic!("{errors}\n{text}")).config
}

fn shown(config: &Config) -> Value {
    serde_json::to_value(show(config)).unwrap()
}

#[test]
fn what_is_shown_read_as_a_file_is_the_same_configuration() {
    for text in [EVERYTHING, &annotated_default(), ""] {
        let config = read(text);
        let mut shown = shown(&config);
        // 0 for no limit is the file's word, with the other keys beside it.
        if config.rate_limit.is_none() {
            assert_eq!(shown["rate_limit"]["requests"], 0);
        }
        if shown["app"].as_array().unwrap().is_empty() {
            shown.as_object_mut().unwrap().remove("app");
        }
        let file = toml::to_string(&shown).unwrap();
        assert_eq!(read(&file), config, "{file}");
    }
}

#[test]
fn every_setting_is_shown() {
    let shown = shown(&read(EVERYTHING));
    // The short form of `ports`.
    let settings = SETTINGS.iter().filter(|setting| {
        (setting.section, setting.key) != ("app", "endpoints") && setting.section != "app.endpoints"
    });
    for setting in settings {
        let mut values = vec![&shown];
        for key in setting.path().split('.') {
            let of = |value: &'_ Value| match value {
                Value::Array(list) => list.iter().filter_map(|one| one.get(key)).count() > 0,
                other => other.get(key).is_some(),
            };
            assert!(values.iter().any(|value| of(value)), "{} is not shown", setting.path());
            values = values
                .into_iter()
                .flat_map(|value| match value {
                    Value::Array(list) => list.iter().filter_map(|one| one.get(key)).collect(),
                    other => other.get(key).into_iter().collect::<Vec<_>>(),
                })
                .collect();
        }
    }
}

#[test]
fn times_and_sizes_are_written_as_in_the_file() {
    let millis = Duration::from_millis;
    for (duration, text) in
        [(0, "0s"), (250, "250ms"), (75_000, "75s"), (3_600_000, "1h"), (1500, "1500ms")]
    {
        assert_eq!(time(millis(duration)), text);
    }
    for (bytes, text) in [(0, "0B"), (65_535, "65535B"), (32 << 10, "32KiB"), (3 << 30, "3GiB")] {
        assert_eq!(size(bytes), text);
    }
}

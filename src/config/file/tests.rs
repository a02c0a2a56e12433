//! What the reader accepts, and for each mistake its line and its words.
//!
//! The tables hold one mistake a row: a new refusal gets a row, not a test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use std::time::Duration;

use super::*;
use crate::config::load::{AppInFlight, ClientRateLimit, MemoryLimit, Overload, RateLimit};
use crate::config::traces::{self, Parent, Sampling, Traces};
use crate::config::{DeploymentMode, Listener, OutlierEjection, Retries};
use proptest::prelude::*;

const NOTHING: [(String, String); 0] = [];

fn good(text: &str) -> Loaded {
    good_in(text, &[])
}

fn good_in(text: &str, environment: &[(&str, &str)]) -> Loaded {
    parse(text, "gateway.toml", owned(environment)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn bad(text: &str) -> ConfigErrors {
    bad_in(text, &[])
}

fn bad_in(text: &str, environment: &[(&str, &str)]) -> ConfigErrors {
    parse(text, "gateway.toml", owned(environment)).expect_err(text)
}

fn owned(environment: &[(&str, &str)]) -> Vec<(String, String)> {
    environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// An `[[app]]` whose lines beyond its name are `rest`, which begins on line 4.
fn app(rest: &str) -> String {
    format!("[[app]]\norganization = \"acme\"\nname = \"hello\"\n{rest}")
}

const APP: &str = "[[app]]\norganization = \"a\"\nname = \"b\"\nendpoints = [\"10.0.0.1:80\"]\n";

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(good("").config, Config::new(Domain::default()));
    assert_eq!(Domain::default().as_str().parse(), Ok(Domain::default()));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one line a setting, twice")]
fn every_setting_reaches_its_field() {
    let text = r#"
        domain = "Example.org"
        workers = 3
        trusted_proxies = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]
        [[listener]]
        address = "127.0.0.1:0"
        [[listener]]
        address = "[::1]:81"
        proxy_protocol = true
        [admin]
        address = "127.0.0.1:1"
        [timeouts]
        handshake = "8s"
        header = "1ms"
        connect = "250ms"
        response = "24h"
        request = "10m"
        idle_body = "1h 30m"
        upgrade_idle = "2h"
        keepalive = "5m"
        upstream_keepalive = "6s"
        ready = "7s"
        drain_delay = "0s"
        drain = "0s"
        [limits]
        connections = 1
        connections_per_client = 2
        handshakes = 9
        header_bytes = "1MiB"
        headers = 2
        request_target_bytes = 65534
        request_body = "10MB"
        response_header_bytes = "1 KiB"
        concurrent_streams = 9
        stream_window = "128KiB"
        connection_window = "2MiB"
        stream_resets = 7
        control_frames = 100
        app_in_flight = 30
        app_concurrency = 3
        endpoint_concurrency = 4
        app_queue = 0
        queue = 5
        upstream_idle = 0
        in_flight = 5000
        memory = "2GiB"
        [outlier_ejection]
        consecutive_failures = 4
        consecutive_5xx = 5
        base_time = "2s"
        max_time = "2s"
        max_percent = 100
        [retries]
        max = 1
        budget_percent = 0
        min_per_second = 9
        [rate_limit]
        requests = 30
        per = "1m"
        burst = 7
        clients = 2048
        [overload]
        target_lag = "25ms"
        [access_log]
        format = "json"
        sample = 0.25
        [tracing]
        endpoint = "https://collector.example:4318/otlp"
        protocol = "http"
        sample = 1
        parent = "all"
        timeout = "250ms"
        queue = 3
    "#;
    let config = good(text).config;
    let seconds = Duration::from_secs;
    let expected = Config {
        domain: "example.org".parse().unwrap(),
        workers: 3,
        trusted_proxies: ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]
            .map(|network| network.parse().unwrap())
            .to_vec(),
        listeners: [("127.0.0.1:0", false), ("[::1]:81", true)]
            .map(|(address, proxy_protocol)| Listener {
                address: address.parse().unwrap(),
                proxy_protocol,
                tls: None,
            })
            .to_vec(),
        admin: Admin { address: "127.0.0.1:1".parse().unwrap(), ..Admin::default() },
        timeouts: Timeouts {
            handshake: seconds(8),
            header: Duration::from_millis(1),
            connect: Duration::from_millis(250),
            response: seconds(24 * 3600),
            request: seconds(600),
            idle_body: seconds(5400),
            upgrade_idle: seconds(7200),
            keepalive: seconds(300),
            upstream_keepalive: seconds(6),
            ready: seconds(7),
            drain_delay: Duration::ZERO,
            drain: Duration::ZERO,
        },
        limits: Limits {
            connections: 1,
            connections_per_client: 2,
            handshakes: 9,
            header_bytes: 1 << 20,
            headers: 2,
            request_target_bytes: 65_534,
            request_body: 10_000_000,
            response_header_bytes: 1 << 10,
            concurrent_streams: 9,
            stream_window: 1 << 17,
            connection_window: 1 << 21,
            stream_resets: 7,
            control_frames: 100,
            app_in_flight: AppInFlight::Requests(30),
            app_concurrency: 3,
            endpoint_concurrency: 4,
            app_queue: 0,
            queue: 5,
            upstream_idle: 0,
            in_flight: 5000,
            memory: MemoryLimit::Bytes(2 << 30),
        },
        outlier_ejection: OutlierEjection {
            consecutive_failures: 4,
            consecutive_5xx: 5,
            base_time: seconds(2),
            max_time: seconds(2),
            max_percent: 100,
        },
        retries: Retries { max: 1, budget_percent: 0, min_per_second: 9 },
        rate_limit: Some(ClientRateLimit {
            rate: RateLimit { requests: 30, per: seconds(60), burst: 7 },
            clients: 2048,
        }),
        overload: Overload { target_lag: Duration::from_millis(25) },
        access_log: AccessLog { format: LogFormat::Json, sample: 0.25 },
        traces: Traces {
            endpoint: Some("https://collector.example:4318/otlp".parse().unwrap()),
            protocol: traces::Protocol::Http,
            sampling: Sampling { share: 1.0, parent: Parent::All },
            timeout: Duration::from_millis(250),
            queue: 3,
        },
        apps: Vec::new(),
    };
    assert_eq!(config, expected);
}

#[test]
fn each_port_of_an_app_has_its_endpoints_and_its_host() {
    let config = good(&app(r#"
        health_path = "/up?full=1"
        invoke_path = "/api"
        health_check = false
        ports = [
            { port = 80, endpoints = ["10.0.0.5:80", "[fd00::1]:80"] },
            { port = 8080, endpoints = ["10.0.0.5:8080"], protocol = "http1" },
        ]"#))
    .config;
    let app = &config.apps[0];
    assert_eq!((app.health_path.as_str(), app.invoke_path.as_str()), ("/up?full=1", "/api"));
    assert!(!app.health_check);
    let hosts: Vec<String> = config
        .hosts()
        .iter()
        .map(|(host, app, port)| format!("{host} {} {} {:?}", app.id, port.port, port.endpoints))
        .collect();
    assert_eq!(
        hosts,
        [
            "hello-acme.ignite.dodil.cloud acme/hello 80 [10.0.0.5:80, [fd00::1]:80]",
            "hello-acme-8080.ignite.dodil.cloud acme/hello 8080 [10.0.0.5:8080]",
        ]
    );
}

#[test]
fn a_compile_app_has_port_80_and_a_warning_for_each_setting_that_it_ignores() {
    let loaded = good(&app(r#"endpoints = ["10.0.0.1:9"]
deployment_mode = "compile"
health_path = "nonsense"
invoke_path = 5
health_check = false
ports = [{ port = 8080 }]
"#));
    let app = &loaded.config.apps[0];
    assert_eq!(app.deployment_mode, DeploymentMode::Compile);
    assert_eq!((app.ports.len(), app.ports[0].port), (1, 80));
    assert_eq!(app.health_path, crate::config::App::HEALTH_PATH);
    assert!(app.health_check);
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    let first = "gateway.toml:6: app.health_path: ignored, because the app's deployment_mode";
    assert!(warnings[0].starts_with(first), "{warnings:?}");
}

#[test]
fn an_admin_listener_that_others_can_reach_is_warned_of() {
    for address in ["0.0.0.0:9090", "[::]:9090", "10.0.0.1:9090"] {
        let loaded = good(&format!("[admin]\naddress = \"{address}\""));
        let [warning] = &loaded.warnings[..] else { panic!("{:?}", loaded.warnings) };
        assert_eq!(warning.place, Place::Line(2));
        assert!(warning.message.starts_with("reachable from other machines"), "{warning}");
    }
    for address in ["127.0.0.1:9090", "127.1.2.3:0", "[::1]:9090", "[::ffff:127.0.0.1]:1"] {
        assert_eq!(good(&format!("[admin]\naddress = \"{address}\"")).warnings, []);
    }
}

#[test]
fn a_rate_has_its_defaults_and_none_is_no_limit() {
    let of_app = |rest| {
        let config = good(&app(&format!("endpoints = [\"127.0.0.1:3000\"]\n{rest}"))).config;
        config.apps[0].rate_limit
    };
    assert_eq!(of_app(""), None);
    let hundred = RateLimit { requests: 100, per: Duration::from_secs(1), burst: 100 };
    assert_eq!(of_app("rate_limit = { requests = 100 }"), Some(hundred));
    let minute = RateLimit { requests: 1, per: Duration::from_secs(60), burst: 9 };
    assert_eq!(of_app("rate_limit = { requests = 1, per = \"1m\", burst = 9 }"), Some(minute));
    // A container that the platform built can be called too often, too.
    let compiled = of_app("deployment_mode = \"compile\"\nrate_limit = { requests = 100 }");
    assert_eq!(compiled, Some(hundred));

    assert_eq!(good("[rate_limit]\nper = \"1m\"").config.rate_limit, None);
    let idle = good("[rate_limit]\nburst = 5");
    assert_eq!(idle.config.rate_limit, None);
    assert!(idle.warnings[0].to_string().contains("rate_limit.burst: without effect"));
    let variables = [
        ("IGNITE_GATEWAY__RATE_LIMIT__REQUESTS", "100"),
        ("IGNITE_GATEWAY__LIMITS__MEMORY", "0"),
        ("IGNITE_GATEWAY__LIMITS__APP_IN_FLIGHT", "7"),
        ("IGNITE_GATEWAY__OVERLOAD__TARGET_LAG", "0s"),
    ];
    let config = good_in("", &variables).config;
    let clients = ClientRateLimit::CLIENTS;
    assert_eq!(config.rate_limit, Some(ClientRateLimit { rate: hundred, clients }));
    assert_eq!(config.limits.memory, MemoryLimit::Bytes(0));
    assert_eq!(config.limits.app_in_flight, AppInFlight::Requests(7));
    assert_eq!(config.overload.target_lag, Duration::ZERO);
}

#[test]
fn the_limits_of_an_app_are_read_whoever_built_it_and_0_is_none() {
    let limits = "concurrency = 7\nendpoint_concurrency = 0\n";
    for mode in ["image", "compile"] {
        let text = format!("endpoints = [\"10.0.0.1:9\"]\ndeployment_mode = \"{mode}\"\n{limits}");
        let loaded = good(&app(&text));
        let app = &loaded.config.apps[0];
        assert_eq!((app.concurrency, app.endpoint_concurrency), (Some(7), Some(0)), "{mode}");
        assert_eq!(loaded.warnings, []);
    }
    let app = &good(&app("endpoints = [\"10.0.0.1:9\"]")).config.apps[0];
    assert_eq!((app.concurrency, app.endpoint_concurrency), (None, None));
}

#[test]
fn an_endpoint_that_is_to_be_taken_down_is_a_table_among_addresses() {
    let given = "[{ address = \"10.0.0.5:80\", draining = true }, \"10.0.0.6:80\", \
                 { address = \"10.0.0.7:80\" }]";
    for text in
        [format!("endpoints = {given}"), format!("ports = [{{ port = 80, endpoints = {given} }}]")]
    {
        let port = &good(&app(&text)).config.apps[0].ports[0];
        let listed = |addresses: &[std::net::SocketAddr]| {
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(listed(&port.endpoints), ["10.0.0.5:80", "10.0.0.6:80", "10.0.0.7:80"]);
        assert_eq!(listed(&port.draining), ["10.0.0.5:80"]);
    }
}

#[test]
fn an_app_may_have_half_of_the_connections_under_way_unless_told_otherwise() {
    let most = |text: &str| good(&format!("[limits]\n{text}")).config.limits.of_an_app();
    assert_eq!(most(""), 32_768);
    assert_eq!(most("connections = 1000"), 500);
    assert_eq!(most("connections = 1\napp_in_flight = \"auto\""), 1);
    assert_eq!(most("connections = 1000\napp_in_flight = 800"), 800);
    assert_eq!(most("app_in_flight = 0"), u64::MAX);
}

#[test]
fn an_empty_list_of_endpoints_is_accepted_with_a_warning() {
    let loaded = good(&app("endpoints = []"));
    assert_eq!(loaded.config.apps[0].ports[0].endpoints, []);
    assert_eq!(loaded.warnings[0].place, Place::Line(4));
}

#[test]
fn a_proxy_protocol_that_nobody_may_speak_is_accepted_with_a_warning() {
    let listener = "[[listener]]\nproxy_protocol = true";
    let loaded = good(listener);
    assert!(loaded.config.listeners[0].proxy_protocol);
    let [warning] = &loaded.warnings[..] else { panic!("{:?}", loaded.warnings) };
    let expected = "gateway.toml:2: listener.proxy_protocol: every connection will be refused";
    assert!(warning.to_string().starts_with(expected), "{warning}");

    assert_eq!(good(&format!("trusted_proxies = [\"::1\"]\n{listener}")).warnings, []);
    assert_eq!(good("[[listener]]\nproxy_protocol = false").warnings, []);
    let trusted = [("IGNITE_GATEWAY__TRUSTED_PROXIES", "10.0.0.0/8")];
    assert_eq!(good_in(listener, &trusted).warnings, []);
    let none = [("IGNITE_GATEWAY__TRUSTED_PROXIES", "")];
    let text = format!("trusted_proxies = [\"::1\"]\n{listener}");
    assert_eq!(good_in(&text, &none).warnings.len(), 1);
}

/// Bad text, the line of its only error, and how that error goes on after the line.
const MISTAKES: &[(&str, usize, &str)] = &[
    // Keys.
    ("[timeouts]\nconect = \"1s\"", 2, "timeouts.conect: unknown key; did you mean `connect`?"),
    ("listeners = []", 1, "listeners: unknown key; did you mean `listener`?"),
    ("[admin]\n\ndomain = \"a\"", 3, "admin.domain: unknown key; `domain` belongs at the top"),
    (
        "colour = 1",
        1,
        "colour: unknown key; known are: domain, workers, trusted_proxies, listener,",
    ),
    ("app_queue = 1", 1, "app_queue: unknown key; `app_queue` belongs to [limits]"),
    ("[[listener]]\nproxy = true", 2, "listener.proxy: unknown key; known are: address, proxy_p"),
    ("proxy_protocol = true", 1, "proxy_protocol: unknown key; `proxy_protocol` belongs to [[lis"),
    (
        "[[listener]]\nproxy_protocol = \"v2\"",
        2,
        "listener.proxy_protocol: expected true or false, found \"v2\"; write it without quotes",
    ),
    ("[[listener]]\n[listener.tlz]", 2, "listener.tlz: unknown key; did you mean `tls`?"),
    ("certificates = []", 1, "certificates: unknown key; `certificates` belongs to [listener.tls]"),
    ("[limits]\n\"a\\u001bb\" = 1", 2, "limits.a\\u{1b}b: unknown key"),
    // Types.
    ("domain = 5", 1, "domain: found the number 5; write a domain name such as"),
    ("domain = \"a_b\"", 1, "domain: `a_b` is not a domain name"),
    (
        "workers = \"4\"",
        1,
        "workers: expected a whole number, found \"4\"; give 0 to 1024, without",
    ),
    ("workers = 1.5", 1, "workers: expected a whole number, found the number 1.5"),
    ("workers = 1025", 1, "workers: the number 1025 is out of range; give 0 to 1024"),
    ("workers = -1", 1, "workers: the number -1 is out of range; give 0 to 1024"),
    ("workers = 0xfff", 1, "workers: the number 0xfff is out of range"),
    (
        "timeouts = 5",
        1,
        "timeouts: expected a table, found the number 5; give a table of: handshake, header,",
    ),
    ("listener = 5", 1, "listener: expected a list, found the number 5; write [[listener]]"),
    ("listener = []", 1, "listener: empty; write at least one [[listener]]"),
    ("listener = [5]", 1, "listener: expected a table, found the number 5"),
    (
        "[listener]\naddress = \"1.2.3.4:5\"",
        1,
        "listener: there may be several; write [[listener]]",
    ),
    ("\n[app]", 2, "app: there may be several; write [[app]]"),
    // Durations.
    ("[timeouts]\nheader = 10", 2, "timeouts.header: the number 10 has no unit; write \"10s\""),
    ("[timeouts]\nheader = \"10\"", 2, "timeouts.header: \"10\" is no duration; write one such as"),
    ("[timeouts]\nheader = \"1d\"", 2, "timeouts.header: \"1d\" is no duration"),
    ("[timeouts]\nheader = true", 2, "timeouts.header: found true; write a duration such as"),
    ("[timeouts]\nheader = \"-1s\"", 2, "timeouts.header: \"-1s\" is negative"),
    ("[timeouts]\nheader = \"0s\"", 2, "timeouts.header: \"0s\" is too short; give 1ms to 24h"),
    ("[timeouts]\ndrain = \"25h\"", 2, "timeouts.drain: \"25h\" is too long; give at most 24h"),
    // Sizes and counts.
    (
        "[limits]\nheader_bytes = \"1KB\"",
        2,
        "limits.header_bytes: \"1KB\" is out of range; give 1KiB",
    ),
    ("[limits]\nheader_bytes = \"2 MiB\"", 2, "limits.header_bytes: \"2 MiB\" is out of range"),
    ("[limits]\nheader_bytes = \"big\"", 2, "limits.header_bytes: \"big\" is no size; write one"),
    ("[limits]\nrequest_body = \"0.1B\"", 2, "limits.request_body: \"0.1B\" is no size"),
    ("[limits]\nrequest_body = -5", 2, "limits.request_body: the number -5 is negative; give 0 to"),
    ("[limits]\nrequest_body = 1.0", 2, "limits.request_body: found the number 1.0; write a size"),
    ("[limits]\nheaders = 0", 2, "limits.headers: the number 0 is out of range; give 1 to 1000"),
    (
        "[limits]\nrequest_target_bytes = 65535",
        2,
        "limits.request_target_bytes: the number 65535 is out of range; give 64B to 65534B",
    ),
    (
        "[limits]\nheader_bytes = \"8KiB\"",
        2,
        "limits.header_bytes: request_target_bytes (16KiB) is more than header_bytes (8KiB)",
    ),
    (
        "[limits]\nrequest_target_bytes = \"8KiB\"\nheader_bytes = \"4KiB\"",
        2,
        "limits.request_target_bytes: request_target_bytes (8KiB) is more than header_bytes (4KiB)",
    ),
    // Rates and load.
    (
        "[limits]\napp_in_flight = 1000000001",
        2,
        "limits.app_in_flight: the number 1000000001 is out of range; give 0 to 1000000000",
    ),
    ("[limits]\nmemory = \"most\"", 2, "limits.memory: \"most\" is no size; write one such as"),
    (
        "[rate_limit]\nrequests = 1000001",
        2,
        "rate_limit.requests: the number 1000001 is out of range; give 0 to 1000000",
    ),
    (
        "[rate_limit]\nrequests = 1\nclients = 1",
        3,
        "rate_limit.clients: the number 1 is out of range; give 1024 to 16777216",
    ),
    (
        "[overload]\ntarget_lag = \"1ms\"",
        2,
        "overload.target_lag: \"1ms\" is out of range; give 5ms to 10s, or 0s",
    ),
    // The access log.
    ("[access_log]\nformat = \"jsn\"", 2, "access_log.format: \"jsn\" is not known; did you mean"),
    (
        "[access_log]\nformat = \"\"",
        2,
        "access_log.format: \"\" is not known; give one of \"auto\"",
    ),
    ("[access_log]\nsample = 1.5", 2, "access_log.sample: expected a share from 0 to 1, found the"),
    ("[access_log]\nsample = nan", 2, "access_log.sample: expected a share"),
    // Addresses.
    ("[admin]\naddress = \"localhost:9090\"", 2, "admin.address: `localhost:9090` is a host name"),
    (
        "[admin]\naddress = \"127.0.0.1\"",
        2,
        "admin.address: `127.0.0.1` has no port; write one, e.g",
    ),
    (
        "[admin]\naddress = \"::1\"",
        2,
        "admin.address: `::1` has no port; write one, e.g. \"[::1]:8080",
    ),
    ("[admin]\naddress = \":80\"", 2, "admin.address: `:80` is no address; write e.g."),
    ("[admin]\naddress = \"0.0.0.0:8080\"", 2, "admin.address: 0.0.0.0:8080 is also a listener's"),
    ("[[listener]]\naddress = \"127.0.0.1:9090\"", 2, "admin.address: 127.0.0.1:9090 is also a"),
    (
        "[[listener]]\naddress = \"[::]:1\"\n[[listener]]\naddress = \"[::]:1\"",
        4,
        "listener.address: [::]:1 is already a listener's address (line 2); remove one",
    ),
    (
        "trusted_proxies = \"10.0.0.0/8\"",
        1,
        "trusted_proxies: expected a list, found \"10.0.0.0/8\"",
    ),
    (
        "trusted_proxies = [\n\"10.0.0.1/8\"]",
        2,
        "trusted_proxies: `10.0.0.1/8` has bits beyond its",
    ),
    ("trusted_proxies = [\"proxy\"]", 1, "trusted_proxies: `proxy` is no network; write e.g."),
    ("trusted_proxies = [\"::1\",\n\"::1\"]", 2, "trusted_proxies: \"::1\" is listed twice"),
    // Syntax.
    ("\n\ndomain = ", 3, "not valid TOML: "),
    ("workers = 1\nworkers = 2", 2, "not valid TOML: duplicate key"),
    ("domain = \"a", 1, "not valid TOML: "),
    // Traces.
    (
        "[tracing]\nendpoint = \"collector:4317\"",
        2,
        "tracing.endpoint: \"collector:4317\" begins with",
    ),
    ("[tracing]\nendpoint = \"127.0.0.1:4317\"", 2, "tracing.endpoint: \"127.0.0.1:4317\" begins"),
    (
        "[tracing]\nendpoint = \"grpc://c:4317\"",
        2,
        "tracing.endpoint: \"grpc://c:4317\" begins with",
    ),
    ("[tracing]\nendpoint = \"http://\"", 2, "tracing.endpoint: \"http://\" is no URL; write e.g."),
    (
        "[tracing]\nendpoint = \"http://a:b@c\"",
        2,
        "tracing.endpoint: \"http://a:b@c\" holds a user",
    ),
    (
        "[tracing]\nendpoint = \"http://c/?k=1\"",
        2,
        "tracing.endpoint: \"http://c/?k=1\" has a query",
    ),
    ("[tracing]\nprotocol = \"otlp\"", 2, "tracing.protocol: \"otlp\" is not known; give one of"),
    ("[tracing]\nsample = 2", 2, "tracing.sample: expected a share from 0 to 1"),
    ("[tracing]\nparent = \"none\"", 2, "tracing.parent: \"none\" is not known"),
    ("[tracing]\ntimeout = \"2m\"", 2, "tracing.timeout: \"2m\" is out of range; give 100ms to 1m"),
    ("[tracing]\nqueue = 0", 2, "tracing.queue: the number 0 is out of range"),
];

#[test]
fn every_mistake_is_named_with_its_line_its_key_and_its_fix() {
    for (text, line, expected) in MISTAKES {
        let errors = bad(text);
        let found = errors.to_string();
        assert_eq!(errors.problems().len(), 1, "{text}\n{found}");
        assert!(found.starts_with(&format!("gateway.toml:{line}: {expected}")), "{text}\n{found}");
    }
}

/// The same for the lines of an app beyond its name; the first is line 4.
const APP_MISTAKES: &[(&str, usize, &str)] = &[
    ("", 1, "app.endpoints: missing; give `endpoints`, e.g. endpoints = [\"127.0.0.1:3000\"], or"),
    (
        "deployment_mode = \"compile\"",
        1,
        "app.endpoints: missing; a compile app listens on port 80",
    ),
    ("endpoints = [\"10.0.0.1:1\"]\nports = [{ port = 1, endpoints = [] }]", 5, "app.ports: given"),
    (
        "endpoints = \"10.0.0.1:1\"",
        4,
        "app.endpoints: expected a list, found \"10.0.0.1:1\"; write [",
    ),
    (
        "endpoints = [\n\"web:3000\"\n]",
        5,
        "app.endpoints: `web:3000` is a host name, and an address",
    ),
    (
        "endpoints = [\"http://10.0.0.1\"]",
        4,
        "app.endpoints: `http://10.0.0.1` is a URL; write the",
    ),
    ("endpoints = [\"10.0.0.1:0\"]", 4, "app.endpoints: `10.0.0.1:0` has port 0; give the port on"),
    ("endpoints = [\"10.0.0.1:99999\"]", 4, "app.endpoints: `10.0.0.1:99999` is no address"),
    ("endpoints = [\"[::1]:1\", \"[0::1]:1\"]", 4, "app.endpoints: \"[0::1]:1\" is listed twice"),
    ("endpoints = [80]", 4, "app.endpoints: found the number 80; write an address such as"),
    (
        "endpoints = [\"10.0.0.1:1\",\n{ address = \"10.0.0.1:1\", draining = true }]",
        5,
        "app.endpoints: 10.0.0.1:1 is listed twice; remove one",
    ),
    (
        "endpoints = [{ draining = true }]",
        4,
        "app.endpoints.address: missing; write address = \"127",
    ),
    (
        "endpoints = [{ address = \"10.0.0.1:1\", drainin = true }]",
        4,
        "app.endpoints.drainin: unknown key; did you mean `draining`?",
    ),
    (
        "endpoints = [{ address = \"10.0.0.1:1\", draining = \"yes\" }]",
        4,
        "app.endpoints.draining: expected true or false, found \"yes\"",
    ),
    ("ports = []", 4, "app.ports: 0 ports are listed; give 1 to 32"),
    ("ports = [80]", 4, "app.ports: expected a table, found the number 80; give a table of: port,"),
    ("ports = [{ port = 80 }]", 4, "app.ports.endpoints: missing; write endpoints = ["),
    ("ports = [{ endpoints = [\"10.0.0.1:1\"] }]", 4, "app.ports.port: missing; write port = 80"),
    (
        "ports = [{ port = 0, endpoints = [\"10.0.0.1:1\"] }]",
        4,
        "app.ports.port: the number 0 is out",
    ),
    (
        "[[app.ports]]\nport = 65536\nendpoints = []",
        5,
        "app.ports.port: the number 65536 is out of",
    ),
    (
        "ports = [\n{ port = 1, endpoints = [] },\n{ port = 1, endpoints = [] }]",
        6,
        "app.ports.port: port 1 is listed twice; remove one",
    ),
    (
        "ports = [{ port = 1, endpoints = [], protocol = \"h3\" }]",
        4,
        "app.ports.protocol: \"h3\" is not known; give one of \"http1\", \"h2c\", \"auto\"",
    ),
    (
        "endpoints = []\nhealth_path = \"up\"",
        5,
        "app.health_path: \"up\" is no path; begin it with",
    ),
    ("endpoints = []\nhealth_path = \"/a b\"", 5, "app.health_path: ' ' cannot stand in a path"),
    ("endpoints = []\nhealth_path = \"/a#b\"", 5, "app.health_path: '#' cannot stand in a path"),
    ("endpoints = []\ninvoke_path = \"/ä\"", 5, "app.invoke_path: 'ä' cannot stand in a path"),
    ("endpoints = []\ninvoke_path = \"/\\n\"", 5, "app.invoke_path: '\\n' cannot stand in a path"),
    (
        "endpoints = []\ninvoke_path = \"/<\"",
        5,
        "app.invoke_path: \"/<\" holds a character that no",
    ),
    (
        "endpoints = []\nhealth_check = \"yes\"",
        5,
        "app.health_check: expected true or false, found",
    ),
    (
        "endpoints = []\nrate_limit = 100",
        5,
        "app.rate_limit: expected a table, found the number 100; give a table of: requests, per,",
    ),
    (
        "endpoints = []\nrate_limit = { per = \"1s\" }",
        5,
        "app.rate_limit.requests: missing; write requests = 100",
    ),
    (
        "endpoints = []\nrate_limit = { requests = 0 }",
        5,
        "app.rate_limit.requests: the number 0 is out of range; give 1 to 1000000",
    ),
    (
        "endpoints = []\ndeployment_mode = \"imge\"",
        5,
        "app.deployment_mode: \"imge\" is not known; did",
    ),
    (
        "endpoints = []\nprotocol = \"http1\"",
        5,
        "app.protocol: unknown key; `protocol` belongs to an",
    ),
    (
        "endpoints = []\n[[app]]\nname = \"x\"\nendpoints = []",
        5,
        "app.organization: missing; write o",
    ),
    (
        "endpoints = []\n[[app]]\nname = \"X\"\norganization = \"o\"\nendpoints = []",
        6,
        "app.name: `X` is not a DNS label",
    ),
];

#[test]
fn every_mistake_in_an_app_is_named_too() {
    for (rest, line, expected) in APP_MISTAKES {
        let errors = bad(&app(rest));
        let found = errors.to_string();
        assert_eq!(errors.problems().len(), 1, "{rest}\n{found}");
        assert!(found.starts_with(&format!("gateway.toml:{line}: {expected}")), "{rest}\n{found}");
    }
}

#[test]
fn an_app_has_at_most_32_ports() {
    let ports = |count: u16| {
        let ports = (1..=count).map(|port| format!("{{ port = {port}, endpoints = [] }}"));
        app(&format!("ports = [{}]", ports.collect::<Vec<_>>().join(", ")))
    };
    assert_eq!(good(&ports(32)).config.apps[0].ports.len(), 32);
    assert!(bad(&ports(33)).to_string().contains("33 ports are listed; give 1 to 32"));
}

#[test]
fn an_app_that_stands_twice_is_refused_with_both_lines() {
    let errors = bad(&format!("{APP}\n{APP}"));
    assert_eq!(
        errors.to_string(),
        "gateway.toml:6: app: a/b is already an app of this file (line 1); remove one, or join \
         their ports"
    );
}

#[test]
fn two_apps_with_one_host_are_refused_and_both_named() {
    let text = r#"
[[app]]
organization = "acme-8080"
name = "hello"
endpoints = ["10.0.0.1:80"]

[[app]]
organization = "acme"
name = "hello"
ports = [
  { port = 80, endpoints = [] },
  { port = 8080, endpoints = [] },
]
"#;
    assert_eq!(
        bad(text).to_string(),
        "gateway.toml:12: app: acme/hello and acme-8080/hello (line 5) have the same host \
         hello-acme-8080.ignite.dodil.cloud; rename one of them"
    );
}

#[test]
fn a_host_label_over_63_characters_is_refused_with_the_label() {
    let text =
        format!("[[app]]\norganization = \"acme\"\nname = \"{}\"\nendpoints = []", "n".repeat(60));
    let found = bad(&text).to_string();
    assert!(found.contains("nnn-acme` has 65 characters, more than the 63"), "{found}");
}

#[test]
fn one_reading_finds_every_mistake_in_order_of_lines() {
    let text = r#"domain = "no domain"
workers = 5000
colour = "blue"
[timeouts]
header = 10
conect = "1s"
[limits]
headers = 0
[access_log]
format = "xml"
[[listener]]
address = "nowhere"
[[app]]
organization = "acme"
endpoints = ["web:80", "10.0.0.1:0"]
[[app]]
organization = "o"
name = "n"
health_path = "x"
"#;
    let variables = [("IGNITE_GATEWAY__TIMEOUTS__DRAIN", "soon"), ("IGNITE_GATEWAY__NOPE", "")];
    let errors = bad_in(text, &variables);
    let places: Vec<&Place> = errors.problems().iter().map(|problem| &problem.place).collect();
    let lines: Vec<usize> = places
        .iter()
        .filter_map(|place| match place {
            Place::Line(line) => Some(*line),
            _ => None,
        })
        .collect();
    assert_eq!(lines, [1, 2, 3, 5, 6, 8, 10, 12, 13, 15, 15, 16, 19], "{errors}");
    assert_eq!(errors.problems().len(), lines.len() + variables.len());
    assert_eq!(errors.to_string().lines().count(), errors.problems().len());
    assert!(matches!(places.last(), Some(Place::Variable(_))));
}

#[test]
fn the_environment_beats_the_file() {
    let text = "domain = \"file.example\"\nworkers = 1\n[timeouts]\nheader = 5\nconnect = \"3s\"\n\
                [[listener]]\naddress = \"1.1.1.1:1\"";
    let config = good_in(
        text,
        &[
            ("IGNITE_GATEWAY__DOMAIN", "env.example"),
            ("IGNITE_GATEWAY__WORKERS", "7"),
            ("IGNITE_GATEWAY__TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
            ("IGNITE_GATEWAY__LISTENERS", "0.0.0.0:8080,[::1]:8081"),
            ("IGNITE_GATEWAY__ADMIN__ADDRESS", "127.0.0.1:2"),
            ("IGNITE_GATEWAY__TIMEOUTS__HEADER", "9s"),
            ("IGNITE_GATEWAY__LIMITS__HEADER_BYTES", "65536"),
            ("IGNITE_GATEWAY__LIMITS__REQUEST_BODY", "1MiB"),
            ("IGNITE_GATEWAY__ACCESS_LOG__FORMAT", "off"),
            ("IGNITE_GATEWAY__ACCESS_LOG__SAMPLE", "0.5"),
            ("IGNITE_GATEWAY_DOMAIN", "not ours"),
            ("PATH", "/bin"),
        ],
    )
    .config;
    assert_eq!((config.domain.as_str(), config.workers), ("env.example", 7));
    assert_eq!(config.trusted_proxies, ["10.0.0.0/8", "::1/128"].map(|n| n.parse().unwrap()));
    let listeners = ["0.0.0.0:8080", "[::1]:8081"];
    assert_eq!(config.listeners, listeners.map(|a| Listener::at(a.parse().unwrap())));
    assert_eq!(config.admin.address.port(), 2);
    assert_eq!(config.timeouts.header, Duration::from_secs(9));
    assert_eq!(config.timeouts.connect, Duration::from_secs(3));
    assert_eq!((config.limits.header_bytes, config.limits.request_body), (65536, 1 << 20));
    assert_eq!(config.access_log, AccessLog { format: LogFormat::Off, sample: 0.5 });
}

#[test]
fn what_listeners_from_the_environment_drop_is_named_in_a_warning() {
    let variable = [("IGNITE_GATEWAY__LISTENERS", "0.0.0.0:8080")];
    let text = "trusted_proxies = [\"::1\"]\n\
                [[listener]]\naddress = \"[::]:80\"\nproxy_protocol = true\n\
                [[listener]]\naddress = \"[::]:443\"\n[listener.tls]\n\
                certificates = [{ certificate = \"a\", key = \"b\" }]\n\
                [[listener]]\naddress = \"[::]:81\"\nproxy_protocol = false\n";
    let loaded = good_in(text, &variable);
    assert_eq!(loaded.config.listeners, [Listener::at("0.0.0.0:8080".parse().unwrap())]);
    let [warning] = &loaded.warnings[..] else { panic!("{:?}", loaded.warnings) };
    assert_eq!(warning.place, Place::Variable("IGNITE_GATEWAY__LISTENERS".to_owned()));
    let expected =
        "with them proxy_protocol of the listener at line 2, tls of the listener at line 5:";
    assert!(warning.message.contains(expected), "{warning}");

    // Where the file asks for nothing beyond addresses, nothing is lost.
    for plain in ["", "[[listener]]\naddress = \"[::]:81\"\nproxy_protocol = false\n"] {
        assert_eq!(good_in(plain, &variable).warnings, []);
    }
}

#[test]
fn a_list_in_the_environment_may_be_a_toml_array_or_empty() {
    let array = [("IGNITE_GATEWAY__TRUSTED_PROXIES", "[\"10.0.0.0/8\", \"::1\"]")];
    assert_eq!(good_in("", &array).config.trusted_proxies.len(), 2);
    let empty = [("IGNITE_GATEWAY__TRUSTED_PROXIES", "")];
    let text = "trusted_proxies = [\"10.0.0.0/8\"]";
    assert_eq!(good_in(text, &empty).config.trusted_proxies, []);
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    for (variable, text, expected) in [
        ("DOMIAN", "x", ": unknown variable; did you mean `IGNITE_GATEWAY__DOMAIN`?"),
        (
            "timeouts__header",
            "1s",
            ": unknown variable; did you mean `IGNITE_GATEWAY__TIMEOUTS__HEADER`?",
        ),
        ("APP__NAME", "x", ": unknown variable; known are: IGNITE_GATEWAY__ACCESS_LOG__FORMAT, "),
        ("", "x", ": unknown variable; known are: "),
        ("WORKERS", "many", ": workers: expected a whole number, found \"many\"; give 0 to 1024"),
        ("WORKERS", "-1", ": workers: \"-1\" is out of range; give 0 to 1024"),
        ("TIMEOUTS__HEADER", "10", ": timeouts.header: \"10\" has no unit; write \"10s\""),
        ("TRUSTED_PROXIES", "::1,x", ": trusted_proxies: `x` is no network"),
        ("TRUSTED_PROXIES", "[\"::1\"", ": trusted_proxies: not a TOML list: "),
        ("LISTENERS", "", ": listener: empty; give at least one address"),
        ("LISTENERS", "web:80", ": listener: `web:80` is a host name, and an address is needed"),
        ("LISTENERS", "1.1.1.1:1,1.1.1.1:1", ": listener: \"1.1.1.1:1\" is listed twice"),
        ("LISTENERS", "127.0.0.1:9090", ": admin.address: 127.0.0.1:9090 is also a listener's"),
    ] {
        let variable = format!("{}{variable}", crate::config::reference::PREFIX);
        let errors = bad_in("", &[(&variable, text)]);
        let found = errors.to_string();
        assert_eq!(errors.problems().len(), 1, "{found}");
        assert!(found.starts_with(&format!("{variable}{expected}")), "{variable}={text}\n{found}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_with_its_cause() {
    let errors = load(Path::new("/nowhere/gateway.toml"), NOTHING).expect_err("no such file");
    assert!(errors.to_string().starts_with("/nowhere/gateway.toml: cannot be read: "), "{errors}");
    assert_eq!(errors.io().map(std::io::Error::kind), Some(std::io::ErrorKind::NotFound));
}

#[test]
fn a_file_is_read_under_its_own_name() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::io::Write::write_all(&mut file, b"\nworkers = -1").expect("written");
    let errors = load(file.path(), NOTHING).expect_err("workers");
    assert!(errors.to_string().starts_with(&format!("{}:2: workers: ", file.path().display())));
}

#[test]
fn what_a_file_says_cannot_move_the_cursor_of_a_terminal() {
    let text = "domain = \"\\u001b[2J\\n\"\n[[app]]\n\
                organization = \"\\r\"\nname = \"\\u0085\"\nendpoints = []";
    let errors = bad(text);
    assert_eq!(errors.problems().len(), 3);
    assert!(
        errors.problems().iter().all(|p| !p.to_string().contains(char::is_control)),
        "{errors}"
    );
}

/// Text that is nearly a configuration, which random characters never are.
fn nearly_toml() -> impl Strategy<Value = String> {
    let key = prop::sample::select(
        crate::config::reference::SETTINGS
            .iter()
            .flat_map(|setting| [setting.key, setting.section])
            .filter(|name| !name.is_empty())
            .collect::<Vec<_>>(),
    );
    let value = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|truth| truth.to_string()),
        "\\PC{0,12}".prop_map(|text| format!("{text:?}")),
        "[-+0-9.:/ a-zA-Z\\[\\]]{0,20}".prop_map(|text| format!("\"{text}\"")),
        "[-+0-9]{1,4}(ns|ms|s|m|h|d|KiB|B|EB)?".prop_map(|text| format!("\"{text}\"")),
        "[0-9]{1,50}",
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("[{ port = 80, endpoints = [\"1.2.3.4:5\"] }, { port = 80 }, 5]".to_owned()),
    ];
    let line = prop_oneof![
        4 => (key.clone(), value).prop_map(|(key, value)| format!("{key} = {value}")),
        1 => key.clone().prop_map(|key| format!("[[{key}]]")),
        1 => key.prop_map(|key| format!("[{key}]")),
        1 => "\\PC{0,20}",
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

fn any_environment() -> impl Strategy<Value = Vec<(String, String)>> {
    let names: Vec<String> = crate::config::reference::SETTINGS
        .iter()
        .filter_map(crate::config::reference::Setting::variable)
        .collect();
    let name = prop_oneof![prop::sample::select(names), "IGNITE_GATEWAY__[A-Z_]{0,80}|\\PC{0,20}"];
    let text = prop_oneof!["\\PC{0,20}", "[-0-9smh.:/,\\[\\]\"]{0,20}"];
    prop::collection::vec((name, text), 0..4)
}

proptest! {
    #[test]
    fn no_text_and_no_environment_makes_the_reader_panic(
        text in prop_oneof![any::<String>(), nearly_toml()],
        environment in any_environment(),
    ) {
        match parse(&text, "gateway.toml", environment) {
            Ok(loaded) => {
                let ports: usize = loaded.config.apps.iter().map(|app| app.ports.len()).sum();
                prop_assert_eq!(loaded.config.hosts().len(), ports);
                prop_assert!(!loaded.config.listeners.is_empty());
            }
            Err(errors) => {
                prop_assert!(!errors.problems().is_empty());
                let lines = text.matches('\n').count() + 1;
                for problem in errors.problems() {
                    prop_assert!(!problem.to_string().contains(char::is_control));
                    if let Place::Line(line) = problem.place {
                        prop_assert!((1..=lines).contains(&line));
                    }
                }
            }
        }
    }
}

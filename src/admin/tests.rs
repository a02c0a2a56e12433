use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::config::Config;
use crate::gateway::routes::{AppSpec, PortSpec};
use crate::worker;

struct Fixture {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    state: Arc<ProcessState>,
}

async fn start() -> Fixture {
    let config = Config::new("x.test".parse().unwrap());
    let shared = Arc::new(Shared::new(&config));
    for id in ["acme/hello", "acme/quiet"] {
        let ports = [80, 8080].map(|port| PortSpec {
            port,
            endpoints: vec!["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()],
        });
        let spec =
            AppSpec { id: id.parse().unwrap(), ports: ports.to_vec(), concurrency: 2, ready: true };
        shared.routes.register(&spec, &config.domain);
    }
    let (crew, _workers, _signals) = worker::crew(vec![Vec::new()], &shared);
    let state = Arc::new(ProcessState::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, Admin::new(shared.clone(), crew, state.clone())));
    Fixture { address, shared, state }
}

impl Fixture {
    /// Status, head and body of a request.
    async fn ask(&self, line: &str, fields: &str) -> (u16, String, String) {
        let mut stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(5), read).await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.ask(&format!("GET {path}"), "Host: localhost\r\n").await;
        (status, body)
    }

    fn count(&self, host: &str) {
        let route = self.shared.routes.routes().into_iter().find(|r| r.host.as_str() == host);
        let metrics = &route.unwrap().shared.metrics;
        metrics.begin();
        metrics.end(&axum::http::Method::GET, Some(200), Duration::from_millis(7), (3, 5));
        metrics.begin();
    }
}

#[tokio::test]
async fn readiness_follows_the_phases_and_a_refused_reload_is_shown() {
    let fixture = start().await;
    assert_eq!(fixture.get("/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(fixture.get("/readyz").await, (503, "starting\n".to_owned()));
    fixture.state.serving();
    assert_eq!(fixture.get("/readyz").await, (200, "ready\n".to_owned()));
    fixture.state.reload_failed("gateway.toml:3: no".to_owned());
    let (status, text) = fixture.get("/readyz?verbose").await;
    assert_eq!(status, 200);
    assert!(text.contains("[-] config") && text.contains("gateway.toml:3: no"), "{text}");
    fixture.state.reloaded();
    assert!(fixture.get("/readyz?verbose").await.1.contains("[+] config"));
    fixture.state.draining();
    assert_eq!(fixture.get("/readyz").await, (503, "draining\n".to_owned()));
}

#[tokio::test]
async fn a_name_in_the_host_field_is_refused() {
    let fixture = start().await;
    for host in ["evil.example", "evil.example:9090", "127.0.0.1.evil.example", "localhost.x", ""] {
        let fields = format!("Host: {host}\r\n");
        assert_eq!(fixture.ask("GET /apps", &fields).await.0, 421, "{host}");
    }
    for host in ["localhost", "localhost:1", "127.0.0.1", "127.0.0.1:9", "[::1]:9", "10.0.0.1"] {
        let fields = format!("Host: {host}\r\n");
        assert_eq!(fixture.ask("GET /apps", &fields).await.0, 200, "{host}");
    }
    assert_eq!(fixture.get("/nothing").await.0, 404);
    assert_eq!(fixture.ask("POST /apps", "Host: localhost\r\nContent-Length: 0\r\n").await.0, 405);
}

#[tokio::test]
async fn apps_are_listed_with_hosts_and_endpoints() {
    let fixture = start().await;
    fixture.count("hello-acme.x.test");
    let (_, text) = fixture.get("/apps").await;
    let apps: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(apps[0]["name"], "hello");
    assert_eq!(apps[1]["name"], "quiet");
    assert_eq!(apps[0]["ports"][0]["host"], "hello-acme.x.test");
    assert_eq!(apps[0]["ports"][0]["in_flight"], 1);
    assert_eq!(apps[0]["ports"][1]["port"], 8080);
    assert_eq!(apps[0]["ports"][0]["endpoints"][1]["address"], "127.0.0.1:2");
    assert_eq!(apps[0]["ports"][0]["endpoints"][1]["ready"], true);
    let (status, text) = fixture.get("/apps/acme/quiet").await;
    assert_eq!(status, 200);
    let app: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(app["name"], "quiet");
    assert_eq!(fixture.get("/apps/acme/none").await.0, 404);
}

/// Every sample of an exposition: name with labels, and value.
fn samples(text: &str) -> HashMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(n, v)| (n, v.parse().unwrap())).collect()
}

#[tokio::test]
async fn metrics_are_well_formed_and_exact() {
    let fixture = start().await;
    fixture.count("hello-acme.x.test");
    fixture.shared.unknown.begin();
    fixture.shared.unknown.end(&axum::http::Method::GET, Some(404), Duration::ZERO, (0, 0));
    let fields = "Host: localhost\r\nAccept: application/openmetrics-text\r\n";
    let (status, head, text) = fixture.ask("GET /metrics", fields).await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/openmetrics-text"), "{head}");
    assert!(text.ends_with("# EOF\n"));
    let samples = samples(&text);
    let app = r#"organization="acme",app="hello",port="80""#;
    let of = |name: &str| samples.get(name).copied().unwrap_or(f64::NAN);
    let close = |name: String, value: f64| {
        assert!((of(&name) - value).abs() < 1e-9, "{name}: {}\n{text}", of(&name));
    };
    let method = r#"http_request_method="GET",http_response_status_class"#;
    close(format!(r#"ignite_gateway_requests_total{{{app},{method}="2xx"}}"#), 1.0);
    let unknown = r#"organization="_unknown",app="_unknown",port="""#;
    close(format!(r#"ignite_gateway_requests_total{{{unknown},{method}="4xx"}}"#), 1.0);
    let duration = "http_server_request_duration_seconds";
    close(format!(r#"{duration}_bucket{{le="0.005",{app}}}"#), 0.0);
    close(format!(r#"{duration}_bucket{{le="0.01",{app}}}"#), 1.0);
    close(format!(r#"{duration}_bucket{{le="+Inf",{app}}}"#), 1.0);
    close(format!("{duration}_count{{{app}}}"), 1.0);
    close(format!("{duration}_sum{{{app}}}"), 0.007);
    close(format!("http_server_active_requests{{{app}}}"), 1.0);
    close(format!("ignite_gateway_request_body_bytes_total{{{app}}}"), 3.0);
    close(format!("ignite_gateway_response_body_bytes_total{{{app}}}"), 5.0);
    close(format!(r#"ignite_gateway_endpoints{{{app},state="ready"}}"#), 2.0);
    assert!(!text.contains("requests_total{organization=\"acme\",app=\"quiet\""), "never called");
}

#[tokio::test]
async fn every_metric_is_in_the_table_and_nothing_else() {
    let fixture = start().await;
    fixture.count("hello-acme.x.test");
    let (_, text) = fixture.get("/metrics").await;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let exported: HashSet<String> = types
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            _ => name.to_owned(),
        })
        .collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let table = std::fs::read_to_string(path).unwrap();
    let documented: HashSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect();
    assert_eq!(documented, exported);
}

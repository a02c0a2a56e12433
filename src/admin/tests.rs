//! The listener asked over raw sockets, beside a gateway whose counts the tests
//! set by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::*;
use crate::config::{Config, Protocol};
use crate::gateway::routes::{AppSpec, PortSpec};
use crate::ids::Domain;
use crate::upstream::app::{InFlight, Route};
use crate::upstream::turns::Concurrency;

mod exposition;
mod metrics;
mod observability;

/// Three apps, two workers that do not run, and the listener.
struct Gateway {
    shared: Arc<Shared>,
    crew: Arc<Crew>,
    state: Arc<State>,
    certificates: Arc<Certificates>,
    address: SocketAddr,
    task: AbortHandle,
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Gateway {
    async fn start() -> Self {
        let shared = Arc::new(Shared::new(&Config::new(Domain::default())));
        let app = |id: &str, ports: &[(u16, &[&str])]| {
            let address = |text: &&str| text.parse().expect("an address");
            let ports = ports.iter().map(|(port, endpoints)| PortSpec {
                port: *port,
                endpoints: endpoints.iter().map(address).collect(),
                draining: Vec::new(),
                protocol: Protocol::Http1,
            });
            let id = id.parse().expect("an id");
            let spec = AppSpec {
                id,
                ports: ports.collect(),
                concurrency: Concurrency::default(),
                rate_limit: None,
                ready: true,
            };
            assert_eq!(shared.routes.register(&spec, &Domain::default()), []);
        };
        app("acme-corp/my-data-processor", &[(8080, &["10.0.0.5:8080"]), (80, &["10.0.0.5:80"])]);
        app("acme/hello", &[(80, &["127.0.0.1:3000", "127.0.0.1:3001"])]);
        app("acme/nowhere", &[(80, &[])]);
        let (crew, _workers, _signals) = crate::worker::crew(vec![vec![], vec![]], &shared);
        let state = Arc::new(State::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let certificates = Arc::new(Certificates::default());
        let config = Config::new(Domain::default());
        let admin = Admin {
            shared: shared.clone(),
            crew: crew.clone(),
            state: state.clone(),
            certificates: certificates.clone(),
            config: Arc::new(arc_swap::ArcSwap::from_pointee(config)),
            log_level: None,
            places: Places::new(),
            events: Events::default(),
        };
        let task = tokio::spawn(serve(listener, admin, Drain::new())).abort_handle();
        let gateway = Self { shared, crew, state, certificates, address, task };
        gateway.route("hello-acme.ignite.dodil.cloud").endpoints[1].set_ready(false);
        gateway
    }

    fn route(&self, host: &str) -> Arc<Route> {
        let routes = self.shared.routes.routes();
        routes.into_iter().find(|route| route.host.as_str() == host).expect("a route")
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "").await
    }

    async fn ask(&self, method: &str, path: &str, fields: &str) -> Reply {
        self.send(&format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", self.address))
            .await
    }

    async fn send(&self, request: &str) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.expect("connect");
        stream.write_all(request.as_bytes()).await.expect("send");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("the gateway closes after its answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        Reply { status, head: head.to_owned(), body: body.to_owned() }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

#[tokio::test]
async fn liveness_does_not_depend_on_the_phase_and_readiness_does() {
    let gateway = Gateway::start().await;
    let both = async || {
        let (live, ready) = (gateway.get("/livez").await, gateway.get("/readyz").await);
        assert_eq!((live.status, &*live.body), (200, "ok"));
        (ready.status, ready.body)
    };
    assert_eq!(both().await, (503, "not ready: starting".to_owned()));
    gateway.state.serving();
    assert_eq!(both().await, (200, "ready".to_owned()));
    gateway.state.draining();
    assert_eq!(both().await, (503, "not ready: draining".to_owned()));
}

#[tokio::test]
async fn a_failed_reload_is_shown_and_leaves_the_gateway_ready() {
    let gateway = Gateway::start().await;
    gateway.state.serving();
    let lines = async || {
        let reply = gateway.get("/readyz?verbose").await;
        assert_eq!(reply.status, 200);
        reply.body.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let start = lines().await;
    assert_eq!((&*start[0], &*start[2], &*start[3]), ("[+]serving ok", "[+]load ok", "ready"));
    assert!(start[1].starts_with("[+]config last reload none; started with it at 20"), "{start:?}");

    gateway.state.reload_failed("line 3: no\nline 4: neither\n".to_owned());
    let failed = lines().await;
    assert_eq!(failed[1..3], ["[-]config: last reload failed: line 3: no", "    line 4: neither"]);
    assert_eq!(gateway.get("/readyz").await.status, 200);

    gateway.state.reloaded();
    let good = lines().await;
    assert!(good[1].starts_with("[+]config last reload 20") && good[1].ends_with('Z'), "{good:?}");

    gateway.state.draining();
    let reply = gateway.get("/readyz?verbose=1").await;
    assert_eq!(reply.status, 503);
    assert!(reply.body.starts_with("[-]serving: draining\n[+]config"), "{}", reply.body);
}

#[tokio::test]
async fn too_much_to_do_is_shown_and_leaves_the_gateway_ready() {
    let gateway = Gateway::start().await;
    gateway.state.serving();
    gateway.shared.memory.measure(2048, 1024);
    for worker in gateway.crew.metrics().skip(1) {
        worker.load.measured(std::time::Duration::from_secs(1), 425);
    }
    let reply = gateway.get("/readyz?verbose").await;
    assert_eq!(reply.status, 200);
    let load = "[-]load: memory 2048 of 1024 bytes: every request is refused\n    \
                worker 1 is late: about 42.5 % are refused\nready\n";
    assert!(reply.body.ends_with(load), "{}", reply.body);
}

#[tokio::test]
async fn apps_are_listed_in_order_with_what_they_are_at() {
    let gateway = Gateway::start().await;
    let route = gateway.route("hello-acme.ignite.dodil.cloud");
    (0..3).for_each(|worker| route.shared.metrics.begin(worker));
    route.shared.waiting.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let _in_flight = InFlight::new(route.endpoints[0].clone());

    let reply = gateway.get("/apps").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let hello = json!({
        "organization": "acme", "name": "hello", "in_flight": 2, "waiting": 1, "demand": 3,
        "oldest_wait_seconds": 0.0, "concurrency": 0, "endpoint_concurrency": 0,
        "queue_limit": 1024, "rate_limit": null,
        "ports": [{
            "port": 80, "host": "hello-acme.ignite.dodil.cloud", "protocol": "http1",
            "in_flight": 2, "waiting": 1, "demand": 3,
            "endpoints": [
                { "address": "127.0.0.1:3000", "ready": true, "in_flight": 1 },
                { "address": "127.0.0.1:3001", "ready": false, "in_flight": 0 },
            ],
        }],
    });
    let apps = reply.json();
    let names = ["hello", "nowhere", "my-data-processor"];
    for (app, name) in apps.as_array().expect("a list").iter().zip(names) {
        assert_eq!(app["name"], name);
    }
    assert_eq!(apps[0], hello);
    assert_eq!(apps[1]["ports"][0]["endpoints"], json!([]));
    let ports = [&apps[2]["ports"][0]["port"], &apps[2]["ports"][1]["port"]];
    assert_eq!(ports, [80, 8080]);
    assert_eq!(gateway.get("/apps/acme/hello").await.json(), hello);
    assert_eq!(gateway.get("/apps/acme-corp/my-data-processor").await.json(), apps[2]);
}

#[tokio::test]
async fn apps_come_in_pages_each_of_which_names_the_next() {
    let gateway = Gateway::start().await;
    let names = |reply: &Reply| {
        let apps = reply.json();
        let name = |app: &Value| app["name"].as_str().expect("a name").to_owned();
        apps.as_array().expect("a list").iter().map(name).collect::<Vec<_>>()
    };
    let first = gateway.get("/apps?limit=2").await;
    assert_eq!(names(&first), ["hello", "nowhere"]);
    assert_eq!(first.header("x-total-count"), Some("3"));
    let next = "/apps?limit=2&after=acme/nowhere";
    assert_eq!(first.header("link"), Some(&*format!("<{next}>; rel=\"next\"")));
    let last = gateway.get(next).await;
    assert_eq!((names(&last), last.header("link")), (vec!["my-data-processor".to_owned()], None));
    assert_eq!(last.header("x-total-count"), Some("3"));

    let found = gateway.get("/apps?search=ACME%2Fh").await;
    assert_eq!(
        (names(&found), found.header("x-total-count")),
        (vec!["hello".to_owned()], Some("1"))
    );
    let by_host = gateway.get("/apps?search=-8080.ignite&limit=1").await;
    assert_eq!((names(&by_host), by_host.header("link")), (vec!["my-data-processor".into()], None));
    assert_eq!(gateway.get("/apps?search=none").await.json(), json!([]));
    assert_eq!(gateway.get("/apps?after=zebra/z").await.json(), json!([]));
    let wrong = gateway.get("/apps?page=2").await;
    assert_eq!((wrong.status, &wrong.json()["status"]), (400, &json!(400)));
}

#[tokio::test]
async fn the_configuration_in_force_is_shown_whole() {
    let gateway = Gateway::start().await;
    let config = gateway.get("/config").await.json();
    assert_eq!(config["timeouts"]["header"], "10s");
    assert_eq!(config["limits"]["queue"], 65_536);
    assert_eq!(config["app"], json!([]));
}

#[tokio::test]
async fn connections_are_counted_by_worker_protocol_and_state() {
    let gateway = Gateway::start().await;
    let worker = gateway.crew.metrics().nth(1).expect("two workers");
    let counts = &worker.load.connections;
    (0..3).for_each(|_| counts.http1.up());
    let (_busy, _upgraded) = (counts.http1_busy.enter(), counts.upgraded.enter());
    counts.http2.up();
    let connections = gateway.get("/connections").await.json();
    assert_eq!((&connections["open"], &connections["limit"]), (&json!(0), &json!(65_536)));
    let workers = connections["workers"].as_array().expect("a list");
    assert_eq!(workers[1]["http1"], json!({ "idle": 2, "active": 1, "upgraded": 1 }));
    assert_eq!(workers[1]["http2"], json!({ "idle": 1, "active": 0 }));
    assert_eq!(workers[0]["http1"], json!({ "idle": 0, "active": 0, "upgraded": 0 }));
}

#[tokio::test]
async fn the_log_level_of_an_embedded_gateway_is_not_its_own() {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.get("/log-level").await.status, 501);
    let other = "Origin: http://evil.example\r\nContent-Length: 0\r\n";
    let refused = gateway.ask("PUT", "/log-level", other).await;
    assert_eq!((refused.status, &refused.json()["status"]), (403, &json!(403)));
}

#[tokio::test]
async fn an_app_that_is_not_there_is_a_problem() {
    let gateway = Gateway::start().await;
    let reply = gateway.get("/apps/acme/missing").await;
    assert_eq!(reply.status, 404);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    let problem = reply.json();
    assert_eq!((&problem["status"], &problem["title"]), (&json!(404), &json!("Not Found")));
    assert_eq!(gateway.get("/apps/acme-corp/hello").await.status, 404);
}

#[tokio::test]
async fn the_index_names_every_path_and_other_paths_and_methods_are_refused() {
    let gateway = Gateway::start().await;
    let index = gateway.get("/").await;
    assert_eq!(index.status, 200);
    for path in ["/livez", "/readyz", "/metrics", "/apps", "/config", "/connections"] {
        assert!(index.body.contains(&format!("\n{path} ")), "{path}");
        assert_eq!(gateway.ask("HEAD", path, "").await.body, "");
        let refused = gateway.ask("POST", path, "Content-Length: 0\r\n").await;
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET,HEAD")), "{path}");
        assert_eq!(refused.json()["status"], 405, "{path}");
    }
    for path in ["/nothing", "/apps/", "/apps/acme", "/livez/", "/apps/a/b/c"] {
        let reply = gateway.get(path).await;
        assert_eq!((reply.status, &reply.json()["title"]), (404, &json!("Not Found")), "{path}");
    }
    assert_eq!(index.header("cache-control"), Some("no-store"));
    assert_eq!(index.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn a_name_as_host_is_refused_on_every_path() {
    let gateway = Gateway::start().await;
    for path in ["/", "/livez", "/metrics", "/apps", "/nothing"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: rebound.example:9090\r\n\r\n");
        let reply = gateway.send(&request).await;
        assert_eq!(reply.status, 421, "{path}");
        assert!(reply.body.contains("DNS rebinding"), "{}", reply.body);
    }
    for request in [
        "GET /livez HTTP/1.0\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: localhost:9090\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    ] {
        assert_eq!(gateway.send(request).await.status, 200, "{request}");
    }
    assert_eq!(gateway.send("GET /livez HTTP/1.1\r\n\r\n").await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn silent_connections_hold_their_places_only_for_a_while() {
    let gateway = Gateway::start().await;
    let start = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS {
        silent.push(TcpStream::connect(gateway.address).await.expect("connect"));
    }
    assert_eq!(gateway.get("/livez").await.status, 200);
    assert!(start.elapsed() >= HEAD_TIME, "it had to wait for a place");
    for mut stream in silent {
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.expect("closed in order");
        assert!(start.elapsed() < 3 * HEAD_TIME);
    }
}

//! A whole gateway in this process, on free ports, that must end clean.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use ignite_gateway::app::{self, Command};
use ignite_gateway::config::load::MemoryLimit;
use ignite_gateway::config::{self, Config, DeploymentMode};
use ignite_gateway::gateway::{Settings, Shared};
use ignite_gateway::upstream::app::Route;

use super::{Caller, LIMIT, eventually};

/// A running gateway; dropping it drains it and asserts that it ended clean.
pub struct Gateway {
    config: Config,
    addresses: Vec<SocketAddr>,
    admin: SocketAddr,
    shared: Arc<Shared>,
    commands: tokio::sync::mpsc::Sender<Command>,
    ended: Mutex<mpsc::Receiver<Result<(), String>>>,
    thread: Option<JoinHandle<()>>,
    draining: AtomicBool,
}

/// Panics on worker threads, which the gateway survives and a test must not miss.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Gateway {
    /// A gateway whose one app, `acme/hello`, runs at `address`.
    pub fn of(address: SocketAddr) -> Self {
        Self::of_with(address, |_| {})
    }

    /// The same with other settings.
    pub fn of_with(address: SocketAddr, change: impl FnOnce(&mut Config)) -> Self {
        Self::with(|config| {
            config.apps.push(app("acme/hello", &[(80, &[address])]));
            change(config);
        })
    }

    /// A gateway without apps but those that `change` adds.
    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = settings();
        change(&mut config);
        Self::start(config)
    }

    fn start(config: Config) -> Self {
        watch_workers();
        let (started, bound) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let ended = Mutex::new(ended);
        let (commands, receiver) = tokio::sync::mpsc::channel(64);
        let thread = std::thread::spawn({
            let config = config.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()
                    .unwrap();
                let result = runtime.block_on(async {
                    let bound = app::bind(config).map_err(|error| error.to_string())?;
                    let addresses = (bound.addresses().to_vec(), bound.admin_address());
                    started.send((addresses, bound.shared().clone())).unwrap();
                    bound.run(receiver).await.map_err(|error| error.to_string())
                });
                let _ = end.send(result);
            }
        });
        let ((addresses, admin), shared) = bound.recv_timeout(LIMIT).expect("the gateway starts");
        let (thread, draining) = (Some(thread), AtomicBool::new(false));
        let gateway = Self { config, addresses, admin, shared, commands, ended, thread, draining };
        gateway.wait_applied();
        gateway
    }

    /// The first listener's address.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Every listener's address.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The admin listener's address.
    #[allow(dead_code, reason = "for suites of the admin listener and of reloads")]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The configuration that it was last given.
    #[allow(dead_code, reason = "for suites of the admin listener and of reloads")]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What its workers share.
    #[allow(dead_code, reason = "for suites of the admin listener and of reloads")]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The route of a host.
    #[track_caller]
    pub fn route(&self, host: &str) -> Arc<Route> {
        let routes = self.shared.routes.routes();
        routes.into_iter().find(|route| route.host.as_str() == host).expect("the host has a route")
    }

    /// A metric's value, summed over the rows that hold `labels`.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &str) -> u64 {
        metric(self.admin, name, labels)
    }

    /// Requests under way, by the routes' and by the endpoints' own counts.
    pub fn in_flight(&self) -> u64 {
        let routes = self.shared.routes.routes();
        let count = |route: &Arc<Route>| {
            let endpoints = route.endpoints.iter().map(|endpoint| u64::from(endpoint.in_flight()));
            route.shared.metrics.in_flight() + endpoints.sum::<u64>()
        };
        routes.iter().map(count).sum()
    }

    /// Waits until no request is under way.
    #[track_caller]
    pub fn wait_idle(&self) {
        eventually("no request is in flight", || self.in_flight() == 0);
    }

    /// Waits until requests are under way, each counted by its route.
    #[track_caller]
    pub fn wait_busy(&self, host: &str, requests: u64) {
        let route = self.route(host);
        eventually("requests are in flight", || route.shared.metrics.in_flight() >= requests);
    }

    /// Puts another configuration in force and waits until it is.
    #[track_caller]
    pub fn reload(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.tell(Command::Reload(Box::new(self.config.clone())));
        self.wait_applied();
    }

    /// Sends a command.
    #[track_caller]
    pub fn tell(&self, command: Command) {
        self.commands.try_send(command).expect("the gateway takes commands");
    }

    /// Begins to drain and returns at once.
    #[track_caller]
    pub fn drain(&self) {
        // A second time would mean: at once.
        if !self.draining.swap(true, Ordering::SeqCst) {
            self.tell(Command::Drain);
        }
    }

    /// Drains and waits for the end.
    #[track_caller]
    pub fn finish(mut self) {
        self.end();
    }

    #[track_caller]
    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if !self.draining.swap(true, Ordering::SeqCst) {
            let _ = self.commands.try_send(Command::Drain);
        }
        let limit = self.config.timeouts.drain / 2;
        let result = self.ended.get_mut().unwrap().recv_timeout(limit);
        if std::thread::panicking() {
            return;
        }
        result.expect("the gateway drains before its limit").expect("the gateway ends clean");
        thread.join().expect("the gateway's thread ends clean");
        let panics = PANICS.lock().unwrap();
        assert!(panics.is_empty(), "a worker panicked: {panics:#?}");
    }

    fn wait_applied(&self) {
        let wanted = Settings::of(&self.config);
        let hosts = self.config.hosts();
        eventually("the configuration is in force", || {
            let routes = self.shared.routes.routes();
            let served = |host: &str, endpoints: &[SocketAddr]| {
                let route = routes.iter().find(|route| route.host.as_str() == host);
                route.is_some_and(|route| {
                    let addresses = route.endpoints.iter().map(|endpoint| endpoint.address());
                    addresses.eq(endpoints.iter().copied())
                })
            };
            **self.shared.settings.load() == wanted
                && routes.len() == hosts.len()
                && hosts.iter().all(|(host, _, port)| served(host.as_str(), &port.endpoints))
        });
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end();
    }
}

/// A metric's value at an admin listener, summed over the rows whose line begins with `name` and
/// holds `labels`.
#[track_caller]
pub fn metric(admin: SocketAddr, name: &str, labels: &str) -> u64 {
    let mut caller = Caller::to(admin);
    caller.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let text = caller.read_response().expect(200).text();
    let rows = text.lines().filter(|line| line.starts_with(name) && line.contains(labels));
    rows.map(|row| row.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

fn watch_workers() {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            if thread.name().is_some_and(|name| name.starts_with("worker-")) {
                PANICS.lock().unwrap().push(panic.to_string());
            }
            usual(panic);
        }));
    });
}

/// The settings that tests begin with.
pub fn settings() -> Config {
    let mut config = Config::new("ignite.test".parse().unwrap());
    config.workers = 1;
    config.listeners = vec![config::Listener::at((Ipv4Addr::LOCALHOST, 0).into())];
    config.admin.address = (Ipv4Addr::LOCALHOST, 0).into();
    config.timeouts.drain_delay = Duration::ZERO;
    // How much this machine has to do beside the tests decides nothing.
    config.overload.target_lag = Duration::ZERO;
    config.limits.memory = MemoryLimit::Bytes(0);
    config
}

/// An app whose endpoints count as ready.
pub fn app(id: &str, ports: &[(u16, &[SocketAddr])]) -> config::App {
    config::App {
        id: id.parse().unwrap(),
        concurrency: None,
        endpoint_concurrency: None,
        deployment_mode: DeploymentMode::Image,
        health_path: config::App::HEALTH_PATH.to_owned(),
        invoke_path: config::App::INVOKE_PATH.to_owned(),
        ports: ports
            .iter()
            .map(|(port, endpoints)| config::AppPort {
                port: *port,
                endpoints: endpoints.to_vec(),
                draining: Vec::new(),
                protocol: config::Protocol::Http1,
            })
            .collect(),
        health_check: false,
        rate_limit: None,
    }
}

//! A gateway whose end is the test's own affair: its drain may be cut short,
//! and its probes have the test's timings.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ignite_gateway::app::{self, Command};
use ignite_gateway::config::Config;
use ignite_gateway::gateway::{Settings, Shared};
use ignite_gateway::upstream::app::Route;
use ignite_gateway::upstream::health::Timings;

use crate::support::gateway::settings;
use crate::support::{LIMIT, eventually};

/// Probes quick enough for a test.
pub const QUICK: Timings = Timings {
    initial_delay: Duration::ZERO,
    period: Duration::from_millis(20),
    timeout: Duration::from_millis(150),
    failures: 3,
    successes: 1,
};

/// A running gateway that is drained only when it is told to.
pub struct Edge {
    config: Config,
    address: SocketAddr,
    shared: Arc<Shared>,
    commands: tokio::sync::mpsc::Sender<Command>,
    ended: mpsc::Receiver<Result<(), String>>,
}

impl Edge {
    /// With the tests' settings, changed, and probes by these timings.
    pub fn with(timings: Timings, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = settings();
        change(&mut config);
        let (started, bound) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let (commands, receiver) = tokio::sync::mpsc::channel(64);
        let given = config.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            let result = runtime.block_on(async {
                let mut bound = app::bind(given).map_err(|error| error.to_string())?;
                bound.set_probe_timings(timings);
                started.send((bound.addresses()[0], bound.shared().clone())).unwrap();
                bound.run(receiver).await.map_err(|error| error.to_string())
            });
            // The runtime waits for the workers' threads: the end is theirs, too.
            drop(runtime);
            let _ = end.send(result);
        });
        let (address, shared) = bound.recv_timeout(LIMIT).expect("the gateway starts");
        let edge = Self { config, address, shared, commands, ended };
        edge.wait_applied();
        edge
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The route of a host.
    #[track_caller]
    pub fn route(&self, host: &str) -> Arc<Route> {
        let routes = self.shared.routes.routes();
        routes.into_iter().find(|route| route.host.as_str() == host).expect("the host has a route")
    }

    /// Sends a command.
    #[track_caller]
    pub fn tell(&self, command: Command) {
        self.commands.try_send(command).expect("the gateway takes commands");
    }

    /// Puts another configuration in force and waits until it is.
    #[track_caller]
    pub fn reload(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.tell(Command::Reload(Box::new(self.config.clone())));
        self.wait_applied();
    }

    /// Waits until the gateway has ended, its workers too; how long that took.
    #[track_caller]
    pub fn wait_end(&self, limit: Duration) -> Duration {
        let start = Instant::now();
        self.ended.recv_timeout(limit).expect("the gateway ends in time").expect("it ends clean");
        start.elapsed()
    }

    #[track_caller]
    fn wait_applied(&self) {
        let wanted = Settings::of(&self.config);
        let hosts = self.config.hosts();
        eventually("the configuration is in force", || {
            let routes = self.shared.routes.routes();
            **self.shared.settings.load() == wanted
                && routes.len() == hosts.len()
                && hosts.iter().all(|(host, _, port)| {
                    routes.iter().find(|route| route.host == *host).is_some_and(|route| {
                        let addresses = route.endpoints.iter().map(|endpoint| endpoint.address());
                        addresses.eq(port.endpoints.iter().copied())
                    })
                })
        });
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // Twice: what a test left hanging is not waited for.
        let _ = self.commands.try_send(Command::Drain);
        let _ = self.commands.try_send(Command::Drain);
        let _ = self.ended.recv_timeout(LIMIT);
    }
}

/// An address at which nothing listens, and nothing will: it is kept bound.
pub struct Refusing(socket2::Socket);

impl Refusing {
    pub fn new() -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }
}

/// An address at which nothing listens but what the test opens, one after the other.
pub struct Reopening(socket2::Socket);

impl Reopening {
    pub fn new() -> Self {
        Self(Self::bound(SocketAddr::from(([127, 0, 0, 1], 0))))
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    /// Connections are accepted as long as the result lives.
    pub fn open(&self) -> TcpListener {
        let socket = Self::bound(self.address());
        socket.listen(1024).unwrap();
        socket.into()
    }

    fn bound(address: SocketAddr) -> socket2::Socket {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        // Two sockets may have one address as long as no more than one of them listens.
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket
    }
}

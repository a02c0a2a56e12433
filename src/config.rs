//! The configuration as it is meant: typed, complete, valid by construction.
//!
//! What a person typed is read by [`mod@file`], which reports every mistake at
//! once; nothing below this module checks a setting again. Defaults stand here
//! and nowhere else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::ids::{AppId, Domain, HostName};

pub mod file;
pub mod load;
pub mod reference;
pub mod reload;
pub mod show;
pub mod tls;
pub mod traces;
mod upstream;

use load::{AppInFlight, ClientRateLimit, MemoryLimit, Overload, RateLimit};
use tls::Tls;
use traces::Traces;
pub use upstream::{OutlierEjection, Retries};

/// Everything that the gateway is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The domain under which every app gets its hosts.
    pub domain: Domain,
    /// Worker threads; 0 means one per core that this process may use.
    pub workers: usize,
    /// Peers whose `X-Forwarded-*` fields and PROXY protocol headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where calls arrive; at least one.
    pub listeners: Vec<Listener>,
    /// The operator's own listener.
    pub admin: Admin,
    /// How long anything may take.
    pub timeouts: Timeouts,
    /// How much anything may use.
    pub limits: Limits,
    /// When endpoints that fail are left alone.
    pub outlier_ejection: OutlierEjection,
    /// When a request is tried again.
    pub retries: Retries,
    /// The rate of each client; `None`: no limit.
    pub rate_limit: Option<ClientRateLimit>,
    /// When the gateway itself has too much to do.
    pub overload: Overload,
    /// The access log.
    pub access_log: AccessLog,
    /// Where spans of requests are sent, and of which.
    pub traces: Traces,
    /// The apps of this file, in its order.
    pub apps: Vec<App>,
}

/// One address at which calls arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The address to bind; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Each connection begins with a PROXY protocol header, which only trusted proxies may send.
    pub proxy_protocol: bool,
    /// TLS; without it callers speak in the clear.
    pub tls: Option<Tls>,
}

impl Listener {
    /// A listener with the defaults of everything but its address.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, proxy_protocol: false, tls: None }
    }

    /// What cannot change while the process runs: the socket, and what a connection begins with.
    pub fn fixed(&self) -> (SocketAddr, bool, bool) {
        (self.address, self.proxy_protocol, self.tls.is_some())
    }
}

/// The operator's listener: probes, metrics, apps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The address to bind. Loopback unless asked otherwise: it shows every app.
    pub address: SocketAddr,
    /// Executions that are kept to be looked up, all workers together; 0: none.
    pub executions: usize,
}

/// How long anything may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From accepting a TLS connection to the end of its handshake.
    pub handshake: Duration,
    /// From the first byte of a request head to its last; from accepting a connection to the end
    /// of its PROXY protocol header.
    pub header: Duration,
    /// To connect to an endpoint, each try.
    pub connect: Duration,
    /// From the whole request sent to the response head received.
    pub response: Duration,
    /// From the request's head to the response's, all waits and tries together; zero: no bound.
    pub request: Duration,
    /// Between two pieces of a body, in either direction.
    pub idle_body: Duration,
    /// Without a byte in either direction of a connection that changed its protocol.
    pub upgrade_idle: Duration,
    /// An idle connection of a caller.
    pub keepalive: Duration,
    /// An idle connection to an endpoint; an app's own `Keep-Alive: timeout` shortens it.
    pub upstream_keepalive: Duration,
    /// A request's wait for a ready endpoint or for its turn at the app.
    pub ready: Duration,
    /// From the first signal to closing the listeners, so that load balancers notice.
    pub drain_delay: Duration,
    /// From closing the listeners to ending what still runs.
    pub drain: Duration,
}

/// How much anything may use. 0 means no limit where a field says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections of callers, all workers together.
    pub connections: usize,
    /// Those of one client, told apart by its address, or by the first 64 bits of one of IPv6;
    /// proxies that speak for many are not counted. 0: no limit.
    pub connections_per_client: usize,
    /// TLS handshakes under way on one worker.
    pub handshakes: usize,
    /// Bytes of a request head.
    pub header_bytes: usize,
    /// Fields of a request head.
    pub headers: usize,
    /// Bytes of a request-target.
    pub request_target_bytes: usize,
    /// Bytes of a request body; 0: no limit.
    pub request_body: u64,
    /// Bytes of a response head.
    pub response_header_bytes: usize,
    /// Streams that a caller may have open on one HTTP/2 connection.
    pub concurrent_streams: u32,
    /// Bytes that a caller may send on one stream before they are read.
    pub stream_window: u32,
    /// Bytes that a caller may send on all streams of a connection before they are read.
    pub connection_window: u32,
    /// Streams that a caller may reset before they are answered, beyond half of all.
    pub stream_resets: u32,
    /// HTTP/2 frames without content that a caller may send beyond those that content earns.
    pub control_frames: u32,
    /// Requests under way of one app, also those that wait.
    pub app_in_flight: AppInFlight,
    /// Requests that an app works on at once; 0: no limit.
    pub app_concurrency: usize,
    /// Requests that an endpoint works on at once; 0: no limit.
    pub endpoint_concurrency: u32,
    /// Requests that wait for one app.
    pub app_queue: usize,
    /// Requests that wait for any app.
    pub queue: usize,
    /// Idle connections that one worker keeps to one endpoint.
    pub upstream_idle: usize,
    /// Requests under way, all workers together; 0: no limit.
    pub in_flight: usize,
    /// Resident memory.
    pub memory: MemoryLimit,
}

/// The access log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AccessLog {
    /// How a line looks.
    pub format: LogFormat,
    /// The share of successful requests that is logged, 0 to 1; errors always are.
    pub sample: f64,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
    /// No access log.
    Off,
}

/// One app and where it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// `organization/name`.
    pub id: AppId,
    /// Requests that it works on at once, where not as [`Limits::app_concurrency`] says.
    pub concurrency: Option<usize>,
    /// The same for each endpoint, where not as [`Limits::endpoint_concurrency`] says.
    pub endpoint_concurrency: Option<u32>,
    /// How the platform builds the app.
    pub deployment_mode: DeploymentMode,
    /// Where the app says that it is ready; begins with `/`.
    pub health_path: String,
    /// The app's main route: documentation, it routes nothing.
    pub invoke_path: String,
    /// 1 to 32 ports, none twice.
    pub ports: Vec<AppPort>,
    /// Active probes; without them every endpoint counts as ready.
    pub health_check: bool,
    /// The rate of all its callers together; `None`: no limit.
    pub rate_limit: Option<RateLimit>,
}

impl App {
    /// The most ports that an app may declare.
    pub const MAX_PORTS: usize = 32;
    /// Where readiness is asked unless the app says otherwise.
    pub const HEALTH_PATH: &str = "/healthz";
    /// The main route unless the app says otherwise.
    pub const INVOKE_PATH: &str = "/";
    /// Endpoints are probed unless the app says otherwise.
    pub const HEALTH_CHECK: bool = true;
}

/// How the platform builds an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeploymentMode {
    /// The app's own container image.
    Image,
    /// A container that the platform compiled: the container's settings are the platform's.
    Compile,
}

/// One port of an app and the addresses that serve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPort {
    /// The container's port: it chooses the host.
    pub port: u16,
    /// Where the app listens; may be empty while nothing runs.
    pub endpoints: Vec<SocketAddr>,
    /// Those of `endpoints` that get nothing new while another is ready: they are to be taken down.
    pub draining: Vec<SocketAddr>,
    /// What the app speaks there.
    pub protocol: Protocol,
}

/// What an app speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
    /// HTTP/2 if each endpoint answers to it when it is first asked, else HTTP/1.1.
    Auto,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            connect: Duration::from_secs(2),
            response: Duration::from_secs(300),
            request: Duration::ZERO,
            idle_body: Duration::from_secs(60),
            upgrade_idle: Duration::from_secs(3600),
            keepalive: Duration::from_secs(75),
            upstream_keepalive: Duration::from_secs(60),
            ready: Duration::from_secs(30),
            drain_delay: Duration::from_secs(5),
            drain: Duration::from_secs(30),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 65_536,
            // What a large company's or a carrier's shared address needs at one time, and a
            // sixteenth of all.
            connections_per_client: 4096,
            handshakes: 1024,
            header_bytes: 32 << 10,
            headers: 100,
            request_target_bytes: 16 << 10,
            request_body: 0,
            response_header_bytes: 64 << 10,
            concurrent_streams: 256,
            stream_window: 256 << 10,
            connection_window: 1 << 20,
            stream_resets: 200,
            control_frames: 1000,
            app_in_flight: AppInFlight::Auto,
            app_concurrency: 0,
            endpoint_concurrency: 0,
            app_queue: 1024,
            queue: 65_536,
            upstream_idle: 1024,
            // What callers can have under way is bounded by their connections already, and memory
            // by its own limit: a number that suits every machine does not exist.
            in_flight: 0,
            memory: MemoryLimit::Auto,
        }
    }
}

impl Limits {
    /// The most requests that one app may have under way.
    pub fn of_an_app(&self) -> u64 {
        match self.app_in_flight {
            AppInFlight::Auto => self.connections.div_ceil(2) as u64,
            AppInFlight::Requests(0) => u64::MAX,
            AppInFlight::Requests(most) => most as u64,
        }
    }
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { format: LogFormat::Auto, sample: 1.0 }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090), executions: 10_000 }
    }
}

impl Config {
    /// The defaults, for the apps of `domain`.
    pub fn new(domain: Domain) -> Self {
        Self {
            domain,
            workers: 0,
            trusted_proxies: Vec::new(),
            listeners: vec![Listener::at((Ipv4Addr::UNSPECIFIED, 8080).into())],
            admin: Admin::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            outlier_ejection: OutlierEjection::default(),
            retries: Retries::default(),
            rate_limit: None,
            overload: Overload::default(),
            access_log: AccessLog::default(),
            traces: Traces::default(),
            apps: Vec::new(),
        }
    }

    /// Every host of the configuration with its app and port, in the file's order.
    ///
    /// A configuration that came through [`mod@file`] computes each of them, and none twice.
    pub fn hosts(&self) -> Vec<(HostName, &App, &AppPort)> {
        let ports = self.apps.iter().flat_map(|app| app.ports.iter().map(move |port| (app, port)));
        ports
            .filter_map(|(app, port)| {
                let host = HostName::of_port(&app.id, port.port, &self.domain).ok()?;
                Some((host, app, port))
            })
            .collect()
    }
}

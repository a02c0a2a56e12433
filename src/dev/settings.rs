//! What `dev` was asked to run, and what that means for the gateway.
//!
//! Wrong combinations are refused here; that an address is taken shows later.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use super::certificate::CertificateError;
use super::process::AppCommand;
use crate::app;
use crate::config::{
    AccessLog, Admin, App, AppPort, Config, DeploymentMode, Listener, LogFormat, Protocol, Timeouts,
};
use crate::ids::{AppId, Domain, HostName, NameError};
use crate::telemetry::access_log::Output;
use crate::upstream::health::Timings;

/// Enough to show that a call may come through any of several threads.
const WORKERS: usize = 2;
/// How long calls in flight may take after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(3);

/// What to run, and where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The app.
    pub app: AppId,
    /// What it runs; `None`: the built-in echo app.
    pub command: Option<AppCommand>,
    /// The container's ports. The first is `$PORT`; the app listens on any other
    /// one at 127.0.0.1 itself.
    pub ports: Vec<u16>,
    /// Where the gateway listens; `None`: 127.0.0.1:8080, 8443 with TLS, or a free port if that
    /// is taken.
    pub listen: Option<SocketAddr>,
    /// Whether it speaks TLS, with a certificate of its own.
    pub tls: bool,
    /// Where the operator's listener is.
    pub admin: SocketAddr,
    /// Where the app says that it is ready.
    pub health_path: String,
    /// When it is asked.
    pub timings: Timings,
    /// From SIGTERM to SIGKILL when it is stopped.
    pub grace: Duration,
    /// Whether lines may be coloured.
    pub colour: bool,
    /// Where the access log is written.
    pub log: Output,
}

/// Why the platform did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The app's name makes no host.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The ports are none that an app can have.
    #[error("an app has 1 to {} ports, and none twice", App::MAX_PORTS)]
    Ports,
    /// The gateway and the app would listen at the same port.
    #[error("the app listens on port {} itself: choose another --listen than {address}", address.port())]
    AppPort {
        /// Where the gateway was to listen.
        address: SocketAddr,
    },
    /// There is no port for the app.
    #[error("the system has no free port for the app")]
    FreePort(#[source] io::Error),
    /// There is no certificate for it.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The gateway cannot start.
    #[error(transparent)]
    Gateway(#[from] app::StartError),
}

impl StartError {
    /// Whether what was asked is wrong, whatever else runs on this machine.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Name(_) | Self::Ports | Self::AppPort { .. } => true,
            Self::FreePort(_) | Self::Certificate(_) | Self::Gateway(_) => false,
        }
    }
}

impl Settings {
    /// The ports at which the app itself listens, beside `$PORT`. The built-in app
    /// answers for all of its ports at one address.
    pub(super) fn own_ports(&self) -> &[u16] {
        match (&self.command, self.ports.as_slice()) {
            (Some(_), [_first, others @ ..]) => others,
            _ => &[],
        }
    }

    /// The app's hosts and their ports, in the order in which they were asked for.
    pub(super) fn hosts(&self) -> Result<Vec<(HostName, u16)>, StartError> {
        let ports = &self.ports;
        let mut different = ports.clone();
        different.sort_unstable();
        different.dedup();
        if different.len() != ports.len() || !(1..=App::MAX_PORTS).contains(&ports.len()) {
            return Err(StartError::Ports);
        }
        let domain = domain()?;
        let host = |port: &u16| Ok((HostName::of_port(&self.app, *port, &domain)?, *port));
        ports.iter().map(host).collect()
    }

    /// What runs, for people.
    pub(super) fn runs(&self, address: SocketAddr) -> String {
        match &self.command {
            None => "is the built-in echo app: it answers with what it receives.".to_owned(),
            Some(command) => format!(
                "runs `{command}` with PORT={}; it is ready when GET {} answers 2xx.",
                address.port(),
                self.health_path
            ),
        }
    }

    /// A gateway in front of the app alone.
    pub(super) fn config(
        &self,
        listen: Listener,
        endpoint: impl Fn(u16) -> SocketAddr,
    ) -> Result<Config, NameError> {
        let ports = self.ports.iter();
        let app = App {
            id: self.app.clone(),
            concurrency: None,
            endpoint_concurrency: None,
            deployment_mode: DeploymentMode::Image,
            health_path: self.health_path.clone(),
            invoke_path: App::INVOKE_PATH.to_owned(),
            ports: ports
                .map(|port| AppPort {
                    port: *port,
                    endpoints: vec![endpoint(*port)],
                    draining: Vec::new(),
                    protocol: Protocol::default(),
                })
                .collect(),
            // Ready only when the keeper says so.
            health_check: true,
            rate_limit: None,
        };
        Ok(Config {
            workers: WORKERS,
            listeners: vec![listen],
            admin: Admin { address: self.admin, ..Admin::default() },
            timeouts: Timeouts { drain_delay: Duration::ZERO, drain: DRAIN, ..Timeouts::default() },
            access_log: AccessLog { format: LogFormat::Text, ..AccessLog::default() },
            apps: vec![app],
            ..Config::new(domain()?)
        })
    }
}

/// Every name under it is this machine: RFC 6761 section 6.3.
fn domain() -> Result<Domain, NameError> {
    "localhost".parse()
}

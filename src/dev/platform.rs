//! The local platform put together: a gateway on the domain `localhost`, an app
//! behind it, and somebody who looks after the app.
//!
//! [`bind`] takes every address before anything runs; [`Platform::run`] lives
//! until it is told to stop. What it starts ends with it: the gateway first, so
//! that the app can still answer what it was asked, then the app.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::banner::Banner;
use super::certificate::{self, CertificateError};
use super::liveness::Keeper;
use super::process::{self, AppCommand, Backoff, Order};
use super::screen::Screen;
use super::settings::{Settings, StartError};
use super::{addresses, echo};
use crate::app::{self, Bound, Command, Surroundings};
use crate::config::tls::Tls;
use crate::config::{Config, Listener};
use crate::discovery;
use crate::ids::HostName;
use crate::telemetry::level::LogLevel;
use crate::upstream::app::Route;

/// Why the platform ended.
#[derive(Debug, Error)]
pub enum RunError {
    /// The command cannot be started.
    #[error(transparent)]
    App(#[from] process::StartError),
    /// The gateway did not start.
    #[error(transparent)]
    Gateway(#[from] app::StartError),
    /// The built-in app failed.
    #[error("the built-in app failed")]
    Echo(#[source] io::Error),
}

/// A local platform whose addresses are taken and that does not run yet.
pub struct Platform {
    bound: Bound,
    runner: Runner,
    keeper: Keeper,
    orders: mpsc::Receiver<Order>,
    grace: Duration,
}

/// What the app is.
enum Runner {
    Echo(TcpListener),
    Process { command: AppCommand, port: u16, sink: process::Sink },
}

/// Takes every address. Needs a tokio runtime.
pub fn bind(settings: Settings) -> Result<Platform, StartError> {
    let own_ports = settings.own_ports();
    let hosts = settings.hosts()?;
    let default = if settings.tls { addresses::DEFAULT_TLS } else { addresses::DEFAULT };
    let (listen, moved) = addresses::listen_at(settings.listen, default, own_ports)?;
    let tls = settings.tls.then(|| tls(&hosts)).transpose()?;
    let certificate = tls.as_ref().and_then(|tls| tls.certificates.first());
    let certificate = certificate.map(|pair| pair.certificate.path.display().to_string());
    let (runner, address) = runner(&settings, own_ports, listen)?;
    let endpoint = |port: u16| {
        if own_ports.contains(&port) { (Ipv4Addr::LOCALHOST, port).into() } else { address }
    };
    let config = settings.config(Listener { tls, ..Listener::at(listen) }, endpoint)?;
    let surroundings = Surroundings { log: settings.log.clone(), ..Surroundings::default() };
    let mut bound = app::bind_among(config.clone(), surroundings)?;
    bound.set_no_probes();

    let screen = Screen::new(settings.app.name.as_str(), settings.colour);
    let listen = bound.addresses().first().copied().unwrap_or(listen);
    let describe = |port| format!("port {port}, at {}", endpoint(port));
    let banner = Banner {
        app: &settings.app,
        runs: settings.runs(address),
        hosts: hosts.into_iter().map(|(host, port)| (host, describe(port))).collect(),
        path: if settings.command.is_some() { "/" } else { "/hello" },
        listen,
        certificate,
        admin: bound.admin_address(),
        notice: moved.map(|reason| format!("{reason}: the gateway listens on {listen}.")),
        screen: &screen,
    };
    let greeting = Some(banner.to_string());
    let (orders, orders_taken) = mpsc::channel(4);
    let keeper = Keeper {
        routes: register(&bound, &config),
        timings: match settings.command {
            Some(_) => settings.timings,
            // It runs in this process and listens already.
            None => settings.timings.without_initial_delay(),
        },
        app: settings.app,
        health_path: settings.health_path,
        address,
        orders,
        screen,
        greeting,
        warned: false,
    };
    Ok(Platform { bound, runner, keeper, orders: orders_taken, grace: settings.grace })
}

/// TLS with the certificate for these hosts that is kept for this user.
fn tls(hosts: &[(HostName, u16)]) -> Result<Tls, CertificateError> {
    let folder = certificate::folder(|name| std::env::var_os(name).map(PathBuf::from));
    let hosts: Vec<_> = hosts.iter().map(|(host, _)| host.clone()).collect();
    certificate::tls(&folder.ok_or(CertificateError::NoFolder)?, &hosts)
}

/// The app before it runs, and where it is to answer.
fn runner(
    settings: &Settings,
    own_ports: &[u16],
    listen: SocketAddr,
) -> Result<(Runner, SocketAddr), StartError> {
    let Some(command) = settings.command.clone() else {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .and_then(TcpListener::from_std)
            .map_err(StartError::FreePort)?;
        let address = listener.local_addr().map_err(StartError::FreePort)?;
        return Ok((Runner::Echo(listener), address));
    };
    let taken = [own_ports, &[listen.port(), settings.admin.port()]].concat();
    let port = addresses::port_besides(&taken)?;
    let name = Screen::padded(settings.app.name.as_str());
    let sink = process::printer(&name, settings.colour);
    Ok((Runner::Process { command, port, sink }, (Ipv4Addr::LOCALHOST, port).into()))
}

/// Puts the app's routes into the table before the gateway runs, so that its
/// endpoints can be held: discovery keeps what it finds there.
fn register(bound: &Bound, config: &Config) -> Vec<Arc<Route>> {
    let routes = &bound.shared().routes;
    for app in &config.apps {
        routes.register(&discovery::file::spec(app, &config.limits), &config.domain);
    }
    routes.routes()
}

impl Platform {
    /// Lets the operator's listener change which log lines are written.
    pub fn set_log_level(&mut self, level: LogLevel) {
        self.bound.set_log_level(level);
    }

    /// Runs until the first command, which stops everything in order. A second
    /// one ends everything at once.
    pub async fn run(self, mut commands: mpsc::Receiver<Command>) -> Result<(), RunError> {
        let Self { bound, runner, keeper, orders, grace } = self;
        let (to_app, screen) = (keeper.orders.clone(), keeper.screen.clone());
        let (to_gateway, from_here) = mpsc::channel(2);
        let mut gateway = pin!(bound.run(from_here));
        let mut app = Box::pin(run_app(runner, keeper, orders));

        // A command that cannot be started fails at the first look: before the gateway runs.
        tokio::select! {
            biased;
            result = &mut app => return result,
            () = std::future::ready(()) => {}
        }
        let mut ended = tokio::select! {
            // Only a gateway that cannot start ends by itself.
            result = &mut gateway => return Ok(result?),
            result = &mut app => Some(result),
            _ = commands.recv() => None,
        };
        if ended.is_none() {
            screen.say("stopping; a second Ctrl-C ends everything at once");
        }
        // The gateway has gone if it takes no more commands.
        let _ = to_gateway.send(Command::Drain).await;
        let at_once = loop {
            tokio::select! {
                result = &mut gateway => { result?; break false }
                () = again(&mut commands) => break true,
                // It still answers what it was asked.
                result = &mut app, if ended.is_none() => ended = Some(result),
            }
        };
        if at_once {
            // Kills the app's group.
            drop(app);
            let _ = to_gateway.send(Command::Drain).await;
            return Ok(gateway.await?);
        }
        if let Some(result) = ended {
            return result;
        }
        let _ = to_app.send(Order::Stop { grace }).await;
        tokio::select! {
            result = app => result,
            () = again(&mut commands) => Ok(()),
        }
    }
}

/// The next command; for ever if nobody can give one.
async fn again(commands: &mut mpsc::Receiver<Command>) {
    if commands.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Runs the app and looks after it until it is stopped. Dropping this ends it at once.
async fn run_app(
    runner: Runner,
    mut keeper: Keeper,
    mut orders: mpsc::Receiver<Order>,
) -> Result<(), RunError> {
    match runner {
        Runner::Echo(listener) => {
            // Nothing in this process can be restarted.
            let stopped = async move { while orders.recv().await == Some(Order::Restart) {} };
            tokio::select! {
                result = echo::serve(listener, stopped) => result.map_err(RunError::Echo),
                never = keeper.watch(None) => match never {},
            }
        }
        Runner::Process { command, port, sink } => {
            let (events, events_taken) = mpsc::unbounded_channel();
            let app = process::supervise(command, port, orders, events, Backoff::default(), sink);
            // The keeper ends with the events, and those with the app.
            let (result, ()) = tokio::join!(app, keeper.attend(events_taken));
            Ok(result?)
        }
    }
}

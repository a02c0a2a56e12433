//! `dev`: the arguments of the local platform.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, value_parser};
use http::uri::PathAndQuery;
use jiff::SignedDuration;
use tokio::sync::mpsc;

use super::{Failure, signals};
use crate::app::Command;
use crate::config::{App, LogFormat};
use crate::dev::platform;
use crate::dev::process::AppCommand;
use crate::dev::settings::{Settings, StartError};
use crate::ids::{AppId, Label};
use crate::telemetry::access_log::Output;
use crate::telemetry::log;
use crate::upstream::health::Timings;

/// Arguments of `dev`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ignite-gateway dev                           a built-in app that answers with what it receives\n  \
    ignite-gateway dev --tls                     the same over HTTPS\n  \
    ignite-gateway dev -- node server.js         your app, listening on $PORT\n  \
    ignite-gateway dev --app acme/api --port 80 --port 9000 -- ./api\n\n\
The app is run as the platform runs it: PORT is set, it is asked at --health-path, gets calls \
when it answers 2xx, and is restarted when it ends or fails three times in a row. Each \
--port gets a host of its own. The first one leads to $PORT; the app must listen on 127.0.0.1:N \
itself for any other one.")]
pub(super) struct Arguments {
    /// The app's name; without it demo/echo, or demo/app with a command
    #[arg(long, value_name = "ORG/NAME")]
    app: Option<AppId>,
    /// A port of the container; may be given several times, and the first is $PORT
    #[arg(long = "port", value_name = "N", default_value = "80", value_parser = value_parser!(u16).range(1..))]
    ports: Vec<u16>,
    /// Where calls arrive; without it 127.0.0.1:8080 (8443 with --tls), or a free port if that
    /// is taken
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Speak TLS, with a self-signed certificate that is kept in the user's cache folder
    #[arg(long)]
    tls: bool,
    /// The operator's listener; port 0 is a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    admin: SocketAddr,
    /// Where the app says that it is ready
    #[arg(long, value_name = "PATH", default_value = App::HEALTH_PATH, value_parser = health_path)]
    health_path: String,
    /// From the start of the app to its first health check
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    initial_delay: Duration,
    /// From one health check to the next
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    period: Duration,
    /// From SIGTERM to SIGKILL when the app is stopped
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    grace: Duration,
    /// The command that is the app, and its arguments; without it a built-in app
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut settings = arguments.settings()?;
    let logging = log::start(LogFormat::Text).map_err(Failure::running)?;
    settings.log = logging.output();
    super::runtime().build().map_err(Failure::running)?.block_on(async {
        let (commands, receiver) = mpsc::channel::<Command>(8);
        // Before the app starts: no signal may leave it behind.
        let interrupts = signals::drain_on_signal(commands.clone()).map_err(Failure::running)?;
        let hangups = signals::drain_on_hangup(commands).map_err(Failure::running)?;
        tokio::spawn(interrupts);
        tokio::spawn(hangups);
        let mut platform = platform::bind(settings).map_err(refused)?;
        platform.set_log_level(logging.level().clone());
        platform.run(receiver).await.map_err(Failure::running)
    })
}

fn refused(error: StartError) -> Failure {
    if error.is_usage() { Failure::usage(error) } else { Failure::running(error) }
}

impl Arguments {
    fn settings(&self) -> Result<Settings, Failure> {
        let (program, arguments) = match self.command.split_first() {
            Some((program, arguments)) => (Some(program), arguments),
            None => (None, Default::default()),
        };
        let name = if program.is_some() { "app" } else { "echo" };
        let app = match &self.app {
            Some(app) => app.clone(),
            None => AppId::new(label("demo")?, label(name)?),
        };
        Ok(Settings {
            app,
            command: program.map(|program| AppCommand::new(program, arguments.iter().cloned())),
            ports: self.ports.clone(),
            listen: self.listen,
            tls: self.tls,
            admin: self.admin,
            health_path: self.health_path.clone(),
            timings: Timings {
                initial_delay: self.initial_delay,
                period: self.period,
                ..Timings::CONTRACT
            },
            grace: self.grace,
            colour: log::colour(),
            log: Output::default(),
        })
    }
}

fn label(text: &str) -> Result<Label, Failure> {
    text.parse().map_err(Failure::usage)
}

fn health_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("a path begins with `/`".to_owned());
    }
    text.parse::<PathAndQuery>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok();
    parsed
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "write a time such as 500ms, 2s or 1m".to_owned())
}

//! What follows from an app's health: when callers are let in, when the app is
//! restarted, and what the person at the terminal is told.
//!
//! Readiness and liveness ask the same path by the same timings, as the platform
//! does. So a slow starter is restarted here too: better on a laptop than there.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::diagnose;
use super::process::{Event, Order};
use super::screen::Screen;
use crate::ids::AppId;
use crate::upstream::app::Route;
use crate::upstream::health::hurry::NoHurry;
use crate::upstream::health::{self, Change, Report, Speech, Tally, Timings};

/// Looks after one app.
pub(super) struct Keeper {
    /// The app.
    pub(super) app: AppId,
    /// Where it is probed: at `$PORT`.
    pub(super) address: SocketAddr,
    /// What it is asked.
    pub(super) health_path: String,
    /// When it is asked.
    pub(super) timings: Timings,
    /// The routes of all its ports: a container is ready as a whole.
    pub(super) routes: Vec<Arc<Route>>,
    /// Where a restart is asked for.
    pub(super) orders: mpsc::Sender<Order>,
    /// Where it is told.
    pub(super) screen: Screen,
    /// Shown when the app has started: not in front of "command not found".
    pub(super) greeting: Option<String>,
    /// It was said that the app can be reached only here.
    pub(super) warned: bool,
}

impl Keeper {
    /// Looks after an app that is started and ends, until nothing more happens to it.
    pub(super) async fn attend(mut self, mut events: mpsc::UnboundedReceiver<Event>) {
        let mut next = events.recv().await;
        while let Some(event) = next {
            next = if let Event::Started { pid } = event {
                // The probes of a life end with it: each one gets the initial delay again.
                tokio::select! {
                    never = self.watch(Some(pid)) => match never {},
                    event = events.recv() => event,
                }
            } else {
                self.tell(&event);
                events.recv().await
            };
        }
    }

    /// Looks after an app that runs from now on; `group` is its process group.
    pub(super) async fn watch(&mut self, group: Option<u32>) -> Infallible {
        if let Some(greeting) = self.greeting.take() {
            Screen::show(&greeting);
        }
        let (address, path, timings) = (self.address, self.health_path.clone(), self.timings);
        let mut life = Life {
            group,
            began: Instant::now(),
            liveness: Tally::new(timings, true),
            said: HashSet::new(),
            was_ready: false,
            doomed: false,
            keeper: self,
        };
        health::watch(
            address,
            &path,
            timings,
            || Speech::Http1,
            &NoHurry,
            |report| {
                life.learn(&report);
            },
        )
        .await
    }

    fn tell(&self, event: &Event) {
        let app = &self.app;
        match event {
            Event::Exited { status, ran_for, next_start_in } => {
                self.set_ready(false);
                let (ran_for, wait) = (seconds(*ran_for), seconds(*next_start_in));
                self.screen.warn(&format!(
                    "{app} ended after {ran_for}: {status}; it starts again in {wait}"
                ));
            }
            Event::FailedToStart { error, next_start_in: Some(wait) } => {
                let wait = seconds(*wait);
                self.screen.warn(&format!("{app}: {error} (tried again in {wait})"));
            }
            Event::Stopped => self.screen.say(&format!("{app} has stopped")),
            // The first failure ends the command with this error; a start is told when ready.
            Event::FailedToStart { next_start_in: None, .. } | Event::Started { .. } => {}
        }
    }

    /// Lets callers in, or makes them wait.
    fn set_ready(&self, ready: bool) {
        for route in &self.routes {
            route.endpoints.iter().for_each(|endpoint| endpoint.set_ready(ready));
            route.turns.serve();
        }
    }
}

/// One life of the app, from its start to its end.
struct Life<'a> {
    keeper: &'a mut Keeper,
    group: Option<u32>,
    began: Instant,
    liveness: Tally,
    /// What was said about failed probes, so that it is said once.
    said: HashSet<String>,
    was_ready: bool,
    /// A restart was asked for: nothing that it does counts any more.
    doomed: bool,
}

impl Life<'_> {
    fn learn(&mut self, report: &Report) {
        if self.doomed {
            return;
        }
        if report.change.is_some() {
            self.keeper.set_ready(report.ready);
        }
        match report.change {
            Some(Change::Ready) => self.ready(),
            Some(Change::Unready) => {
                let app = &self.keeper.app;
                self.keeper.screen.warn(&format!("{app} is not ready any more: callers wait"));
            }
            None => {}
        }
        if let Err(failure) = &report.outcome {
            let (port, path) = (self.keeper.address.port(), &self.keeper.health_path);
            let problem = diagnose::explain(port, &self.listening(), failure, path);
            if self.said.insert(problem.clone()) {
                self.keeper.screen.warn(&format!("{} {problem}", self.keeper.app));
            }
        }
        if self.liveness.record(report.outcome.is_ok()) == Some(Change::Unready) {
            self.restart();
        }
    }

    fn ready(&mut self) {
        let (app, took) = (&self.keeper.app, seconds(self.began.elapsed()));
        let text = match (self.was_ready, self.group) {
            (true, _) => format!("{app} is ready again"),
            (false, Some(_)) => format!("{app} is ready after {took}"),
            // It is in this process: there was nothing to wait for.
            (false, None) => format!("{app} is ready"),
        };
        self.keeper.screen.say(&text);
        self.was_ready = true;
        if self.keeper.warned || self.group.is_none() {
            return;
        }
        let warning = diagnose::warning(self.keeper.address.port(), &self.listening());
        if let Some(warning) = warning {
            self.keeper.warned = true;
            self.keeper.screen.warn(&format!("{app} {warning}", app = self.keeper.app));
        }
    }

    fn restart(&mut self) {
        let Timings { initial_delay, period, failures, .. } = self.keeper.timings;
        let (app, path) = (&self.keeper.app, &self.keeper.health_path);
        let slow = if self.was_ready {
            String::new()
        } else {
            let within = seconds(initial_delay + period * failures.saturating_sub(1));
            format!(
                ". A slow starter has {within} from its start to answer: listen first, then load"
            )
        };
        let text = format!(
            "{app} is restarted, as on the platform: GET {path} failed {failures} times in a row{slow}"
        );
        self.keeper.screen.warn(&text);
        self.doomed = true;
        // Full or closed: the app is being restarted or stopped already.
        let _ = self.keeper.orders.try_send(Order::Restart);
    }

    /// A few milliseconds of reading `/proc`, where no call passes.
    fn listening(&self) -> Vec<SocketAddr> {
        self.group.map(diagnose::listening).unwrap_or_default()
    }
}

/// `0.5 s`.
fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f32())
}

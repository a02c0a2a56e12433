//! A gateway's place between the one before it and the one after: what it takes
//! over and hands on, and what the service manager hears of it.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::{Command, Crew, Surroundings};
use crate::config::Config;
use crate::supervisor::Supervisor;
use crate::takeover::{self, Door, HandedOver, Held, Lost, Predecessor, TakeoverError};

/// How long a new process waits for its apps to say whether they are ready, while the old one serves.
const WARM_UP: Duration = Duration::from_secs(3);
/// A worker that was not seen at work for so long does not work any more; it is every second.
const STUCK: Duration = Duration::from_secs(5);

/// The gateway's place.
pub(super) struct Succession {
    predecessor: Option<Predecessor>,
    door: Option<Door>,
    held: Held,
    successor: Option<mpsc::Receiver<HandedOver>>,
    supervisor: Supervisor,
    watchdog: Option<AbortHandle>,
    handing_over: Option<AbortHandle>,
    /// What this process was told before it could do it.
    early: Option<Command>,
}

impl Succession {
    /// Before it accepts; `held` is what it will hand on.
    pub(super) fn new(surroundings: Surroundings, held: Held) -> Self {
        let Surroundings { inherited: _, predecessor, door, supervisor, log: _ } = surroundings;
        Self {
            predecessor,
            door,
            held,
            successor: None,
            supervisor,
            watchdog: None,
            handing_over: None,
            early: None,
        }
    }

    /// Whether another process still serves.
    pub(super) fn has_predecessor(&self) -> bool {
        self.predecessor.is_some()
    }

    /// Waits until this process may accept; `heard` ends once every app said whether it is ready.
    /// False if this process was told to end before: the one that serves goes on.
    pub(super) async fn prepared(
        &mut self,
        heard: impl Future<Output = ()>,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<bool, TakeoverError> {
        let Some(predecessor) = &mut self.predecessor else { return Ok(true) };
        let mut prepared = pin!(async {
            let _ = tokio::time::timeout(WARM_UP, heard).await;
            predecessor.prepared().await
        });
        let told = loop {
            tokio::select! {
                biased;
                told = &mut prepared => break told?,
                command = commands.recv() => match command {
                    Some(Command::Drain) | None => return Ok(false),
                    // A later configuration stands for the earlier ones.
                    later => self.early = later,
                }
            }
        };
        self.supervisor = std::mem::take(&mut self.supervisor).or(told);
        Ok(true)
    }

    /// Sends the process before this one off and waits for the next one; an error if the former
    /// stays.
    pub(super) async fn accepts(
        &mut self,
        config: &Config,
        crew: &std::sync::Arc<Crew>,
    ) -> Result<(), TakeoverError> {
        let predecessor = self.predecessor.take();
        let before = predecessor.as_ref().map(Predecessor::pid);
        let lost = match predecessor {
            Some(predecessor) => predecessor.ready().await.err(),
            None => None,
        };
        if let Some(Lost::Takeover(error)) = lost {
            return Err(error);
        }
        self.open();
        match (before, lost) {
            (None, _) => {}
            (Some(pid), None) => tracing::info!(pid, "took over from the gateway that ran before"),
            (Some(pid), Some(_)) => {
                tracing::warn!(pid, "the gateway that ran before ended during the take-over");
            }
        }
        let (supervisor, crew) = (self.supervisor.clone(), crew.clone());
        let watchdog =
            tokio::spawn(async move { supervisor.keep_alive(|| crew.works(STUCK)).await });
        self.watchdog = Some(watchdog.abort_handle());
        self.serving(config);
        Ok(())
    }

    /// Lets the next gateway ask for the sockets.
    fn open(&mut self) {
        let Some(mut door) = self.door.take() else { return };
        if let Err(error) = door.open() {
            tracing::error!(error = &error as &dyn std::error::Error, "nobody can take over");
            return;
        }
        let (successors, successor) = mpsc::channel(1);
        self.successor = Some(successor);
        let (held, supervisor) = (self.held.clone(), self.supervisor.clone());
        let handing_over = takeover::hand_over(door, held, supervisor, move |next| {
            let _ = successors.try_send(next);
        });
        self.handing_over = Some(tokio::spawn(handing_over).abort_handle());
    }

    /// What this process is told next, by whoever commands it or by its successor.
    pub(super) async fn next(&mut self, commands: &mut mpsc::Receiver<Command>) -> Option<Command> {
        if self.early.is_some() {
            return self.early.take();
        }
        tokio::select! {
            command = commands.recv() => command,
            Some(next) = received(&mut self.successor) => Some(Command::HandedOver(next)),
        }
    }

    /// Tells the service manager of a reload that begins.
    pub(super) fn reloading(&self) {
        self.supervisor.reloading();
    }

    /// Tells the service manager of a reload that was not done.
    pub(super) fn not_reloaded(&self) {
        self.supervisor.ready("serving; the changed configuration was refused");
    }

    /// Tells the service manager what is served.
    pub(super) fn serving(&self, config: &Config) {
        let (apps, listeners) = (config.apps.len(), config.listeners.len());
        self.supervisor.ready(&format!("serving, apps: {apps}, listeners: {listeners}"));
    }

    /// The end, with nobody after this process: load balancers have to notice, and somebody waits.
    pub(super) fn end(&self, config: &Config) -> Farewell {
        self.supervisor.stopping();
        // Whoever starts meanwhile starts on its own.
        if let Some(handing_over) = &self.handing_over {
            handing_over.abort();
        }
        let (delay, held) = (config.timeouts.drain_delay, self.held.clone());
        Farewell { delay, patience: Duration::ZERO, held }
    }

    /// The end, where another process serves. Nobody has to notice, and nobody waits: a caller's next
    /// request finds its connection, and is told there that it was the last.
    pub(super) fn end_of_predecessor(&self, config: &Config) -> Farewell {
        let (patience, held) = (config.timeouts.drain / 2, self.held.clone());
        Farewell { delay: Duration::ZERO, patience, held }
    }
}

async fn received(successor: &mut Option<mpsc::Receiver<HandedOver>>) -> Option<HandedOver> {
    match successor {
        Some(successor) => successor.recv().await,
        None => None,
    }
}

impl Drop for Succession {
    fn drop(&mut self) {
        if let Some(watchdog) = &self.watchdog {
            watchdog.abort();
        }
    }
}

/// How a gateway stops accepting.
pub(super) struct Farewell {
    /// Before it does.
    pub(super) delay: Duration,
    /// For connections on which nobody asks anything; a step's own time if that is more.
    pub(super) patience: Duration,
    /// To be let go before the sockets close.
    pub(super) held: Held,
}

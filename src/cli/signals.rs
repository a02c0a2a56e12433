//! Signals as commands: SIGTERM and SIGINT drain, a second one ends at once,
//! SIGHUP reloads, or drains where nothing can be reloaded.

use std::future::Future;
use std::io;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::app::Command;
use crate::config::reload;

/// Sends commands for the signals of this process as long as somebody takes them.
pub(super) fn forward(commands: mpsc::Sender<Command>, config: PathBuf) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let draining = drain_on_signal(commands.clone())?;
    tokio::spawn(draining);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let path = config.clone();
            let Ok(command) = tokio::task::spawn_blocking(move || reload::read(&path)).await else {
                continue;
            };
            if commands.send(command.into()).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Drains at SIGTERM and SIGINT.
pub(super) fn drain_on_signal(
    commands: mpsc::Sender<Command>,
) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if commands.send(Command::Drain).await.is_err() {
                return;
            }
        }
    })
}

/// Drains at SIGHUP, for a command that lives in a terminal: the terminal has gone.
pub(super) fn drain_on_hangup(
    commands: mpsc::Sender<Command>,
) -> io::Result<impl Future<Output = ()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangup.recv().await.is_some() && commands.send(Command::Drain).await.is_ok() {}
    })
}

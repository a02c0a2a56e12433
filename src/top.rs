//! `top`: what a running gateway does, live in a terminal.
//!
//! A thread asks the admin listener, this one draws and hears the keys; what is
//! shown is made of two answers, of which the difference is the present.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use thiserror::Error;

pub mod exposition;
mod poll;
pub mod report;
pub mod snapshot;
pub mod state;
mod style;
pub mod view;

use poll::{Poller, Told};
use snapshot::{Snapshot, Unreachable};
use state::{Next, State};
use style::Style;

/// How often the screen is looked at when no key is pressed.
const TICK: Duration = Duration::from_millis(100);

/// What is looked at, and how.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The admin listener.
    pub admin: SocketAddr,
    /// Between two looks.
    pub interval: Duration,
}

/// Why it ended.
#[derive(Debug, Error)]
pub enum TopError {
    /// The first question was not answered.
    #[error("no gateway answers at {0}: is it running, and is this its admin address?")]
    Unreachable(SocketAddr, #[source] Unreachable),
    /// The terminal cannot be drawn on.
    #[error("cannot draw on this terminal; --once needs none")]
    Terminal(#[source] io::Error),
    /// No runtime.
    #[error("cannot start")]
    Start(#[source] io::Error),
}

/// Shows the gateway until somebody has seen enough.
pub fn run(options: Options) -> Result<(), TopError> {
    let (poller, first) = Poller::start(options)?;
    let mut state = State::new(first);
    let style = Style::of_environment();
    let mut terminal = ratatui::try_init().map_err(TopError::Terminal)?;
    // Whatever happens, the terminal is given back as it was; after a panic by ratatui's own hook.
    let watched = watch(&mut terminal, &mut state, &poller, style);
    ratatui::try_restore().map_err(TopError::Terminal)?;
    watched.map_err(TopError::Terminal)
}

fn watch(
    terminal: &mut DefaultTerminal,
    state: &mut State,
    poller: &Poller,
    style: Style,
) -> io::Result<()> {
    loop {
        terminal.draw(|frame| view::draw(frame, state, style))?;
        if event::poll(TICK)?
            && let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
            && state.press(key) == Next::Quit
        {
            return Ok(());
        }
        while let Some(told) = poller.told() {
            match told {
                Told::Seen(snapshot) => state.see(snapshot),
                Told::Lost(reason) => state.lose(reason),
                Told::Asked => return Ok(()),
            }
        }
    }
}

/// Looks twice, an interval apart, and tells what happened in between.
pub fn once(options: Options) -> Result<State, TopError> {
    let runtime = poll::runtime().map_err(TopError::Start)?;
    runtime.block_on(async {
        let look = || async {
            let seen = Snapshot::fetch(options.admin).await;
            seen.map_err(|reason| TopError::Unreachable(options.admin, reason))
        };
        let mut state = State::new(look().await?);
        tokio::time::sleep(options.interval).await;
        state.see(look().await?);
        Ok(state)
    })
}

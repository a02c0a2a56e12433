//! One worker's HTTP/2 connections to endpoints.
//!
//! Requests share a connection, so there is one for each endpoint until it has
//! its fill; then another is added. Requests that arrive while the first is
//! being made wait for it instead of making one each.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use super::app::Endpoint;
use super::{Journey, Rules, connect};
use crate::config::{Limits, Timeouts};
use crate::error::Error;

mod connection;
pub mod exchange;

pub use connection::Connection;

/// Streams on one connection before another is made: more share one connection's windows and
/// losses, and an app often reads each connection with one thread.
const FILL: usize = 100;
/// The most connections of one worker to one endpoint.
const MOST: usize = 64;

/// The connections of one worker.
#[derive(Default)]
pub struct Connections {
    by_endpoint: RefCell<FxHashMap<u64, Entry>>,
}

#[derive(Default)]
struct Entry {
    open: Vec<Rc<Connection>>,
    making: Option<Rc<Making>>,
}

/// A connection that is being made, for those who wait for it.
#[derive(Default)]
struct Making {
    ended: Notify,
    failed: Cell<Option<io::ErrorKind>>,
}

/// Ends the wait for a connection, also when its maker has left.
struct Maker<'a> {
    connections: &'a Connections,
    endpoint: u64,
    making: Rc<Making>,
}

impl Drop for Maker<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.connections.by_endpoint.borrow_mut().get_mut(&self.endpoint) {
            entry.making = None;
        }
        self.making.ended.notify_waiters();
    }
}

impl Connections {
    /// A connection to `endpoint` that takes another stream.
    pub async fn lease(
        &self,
        endpoint: &Arc<Endpoint>,
        rules: &Rules<'_>,
        journey: &mut Journey,
    ) -> Result<Rc<Connection>, Error> {
        let Rules { timeouts, limits, .. } = *rules;
        let mut waited = false;
        loop {
            let look = self.look(endpoint.id(), waited);
            if !matches!(look, Look::Open(_)) {
                journey.connecting();
            }
            let making = match look {
                Look::Open(connection) => return Ok(connection),
                Look::Unsettled(connection) => {
                    waited = !connection.first_frame(timeouts.connect).await;
                    continue;
                }
                Look::Full => return Err(Error::QueueFull),
                Look::Making(making) => making,
                Look::None(making) => {
                    let maker = Maker { connections: self, endpoint: endpoint.id(), making };
                    let made = Box::pin(self.make(endpoint, timeouts, limits)).await;
                    if let Err(error) = &made {
                        maker.making.failed.set(Some(kind(error)));
                    }
                    return made;
                }
            };
            let mut ended = std::pin::pin!(making.ended.notified());
            ended.as_mut().enable();
            ended.await;
            match making.failed.get() {
                Some(io::ErrorKind::TimedOut) => return Err(Error::ConnectTimeout),
                Some(kind) => return Err(Error::ConnectRefused(kind.into())),
                None => {}
            }
        }
    }

    /// Who has `waited` for settings in vain takes a connection without them.
    fn look(&self, endpoint: u64, waited: bool) -> Look {
        let mut by_endpoint = self.by_endpoint.borrow_mut();
        let entry = by_endpoint.entry(endpoint).or_default();
        entry.open.retain(|connection| !connection.is_closed());
        // Before its settings came, nobody knows how many streams an app takes: the first request
        // goes at once, and the others would be refused.
        let is_usable = |one: &&Rc<Connection>| {
            one.takes_streams() && (waited || one.was_settled() || one.active() == 0)
        };
        let least = entry.open.iter().filter(is_usable).min_by_key(|one| one.active());
        let full = entry.open.len() >= MOST;
        match (least, &entry.making) {
            (Some(least), making) if least.active() < FILL || full || making.is_some() => {
                return Look::Open(least.clone());
            }
            (_, Some(making)) => return Look::Making(making.clone()),
            (_, None) => {}
        }
        if let Some(unsettled) =
            entry.open.iter().find(|one| one.takes_streams() && !is_usable(one))
        {
            return Look::Unsettled(unsettled.clone());
        }
        if full {
            return Look::Full;
        }
        let making = Rc::<Making>::default();
        entry.making = Some(making.clone());
        Look::None(making)
    }

    async fn make(
        &self,
        endpoint: &Arc<Endpoint>,
        timeouts: &Timeouts,
        limits: &Limits,
    ) -> Result<Rc<Connection>, Error> {
        let stream = connect::connect(endpoint, timeouts.connect).await?;
        let connection = Connection::start(stream, endpoint, timeouts, limits);
        let mut by_endpoint = self.by_endpoint.borrow_mut();
        by_endpoint.entry(endpoint.id()).or_default().open.push(connection.clone());
        Ok(connection)
    }

    /// Forgets connections that have ended; called now and then by the worker.
    pub fn sweep(&self) {
        self.by_endpoint.borrow_mut().retain(|_, entry| {
            entry.open.retain(|connection| !connection.is_closed());
            !entry.open.is_empty() || entry.making.is_some()
        });
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.by_endpoint.borrow().values().map(|entry| entry.open.len()).sum()
    }

    /// Asks an endpoint by prior knowledge whether it speaks HTTP/2, and keeps the connection if
    /// it does.
    pub async fn probe(
        &self,
        endpoint: &Arc<Endpoint>,
        rules: &Rules<'_>,
        journey: &mut Journey,
    ) -> Result<bool, Error> {
        let connection = self.lease(endpoint, rules, journey).await?;
        Ok(connection.settled(rules.timeouts.connect).await)
    }
}

/// What there is for a request to an endpoint.
enum Look {
    Open(Rc<Connection>),
    /// It has its first request; how many more it takes is still to be heard.
    Unsettled(Rc<Connection>),
    Making(Rc<Making>),
    /// Nothing; this request is to make one.
    None(Rc<Making>),
    /// Every connection has as many streams as the app takes.
    Full,
}

fn kind(error: &Error) -> io::ErrorKind {
    match error {
        Error::ConnectRefused(error) => error.kind(),
        _ => io::ErrorKind::TimedOut,
    }
}

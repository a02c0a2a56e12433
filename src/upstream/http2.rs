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
use crate::clock::Instant;
use crate::config::{Limits, Timeouts};
use crate::error::Error;

mod connection;
pub mod exchange;
mod room;

pub use connection::Connection;
use room::Room;

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
    room: Rc<Room>,
}

/// A connection that is being made, for those who wait for it.
#[derive(Default)]
struct Making {
    ended: Notify,
    failed: Cell<Option<Reason>>,
}

/// Why a connection could not be made, once for each who waited for it.
#[derive(Clone, Copy)]
enum Reason {
    Late,
    System(i32),
    Other(io::ErrorKind),
}

impl Reason {
    fn of(error: &Error) -> Self {
        match error {
            Error::ConnectRefused(error) => {
                error.raw_os_error().map_or(Self::Other(error.kind()), Self::System)
            }
            _ => Self::Late,
        }
    }

    fn error(self) -> Error {
        match self {
            Self::Late => Error::ConnectTimeout,
            Self::System(code) => Error::ConnectRefused(io::Error::from_raw_os_error(code)),
            Self::Other(kind) => Error::ConnectRefused(kind.into()),
        }
    }
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
        let (mut waited, mut in_line) = (false, None);
        loop {
            let look = self.look(endpoint.id(), waited, in_line.is_some());
            if !matches!(look, Look::Open(_)) {
                journey.connecting();
            }
            let making = match look {
                Look::Open(connection) => return Ok(connection),
                Look::Unsettled(connection) => {
                    waited = !connection.first_frame(timeouts.connect).await;
                    continue;
                }
                Look::Full(room) => {
                    let until = *in_line.get_or_insert_with(|| Instant::now() + timeouts.ready);
                    let freed = tokio::time::timeout_at(until, room.wait());
                    freed.await.map_err(|_late| Error::ConcurrencyTimeout)?;
                    continue;
                }
                Look::Making(making) => making,
                Look::None(making) => {
                    let maker = Maker { connections: self, endpoint: endpoint.id(), making };
                    let made = Box::pin(self.make(endpoint, timeouts, limits)).await;
                    if let Err(error) = &made {
                        maker.making.failed.set(Some(Reason::of(error)));
                    }
                    return made;
                }
            };
            let mut ended = std::pin::pin!(making.ended.notified());
            ended.as_mut().enable();
            ended.await;
            if let Some(reason) = making.failed.get() {
                return Err(reason.error());
            }
        }
    }

    /// Who has `waited` for settings in vain takes a connection without them; who is not `in_line`
    /// takes no stream before those who are.
    fn look(&self, endpoint: u64, waited: bool, in_line: bool) -> Look {
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
        if full && !in_line && entry.room.is_awaited() {
            return Look::Full(entry.room.clone());
        }
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
            return Look::Full(entry.room.clone());
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
        let mut by_endpoint = self.by_endpoint.borrow_mut();
        let entry = by_endpoint.entry(endpoint.id()).or_default();
        let room = entry.room.clone();
        let connection = Connection::start(stream, endpoint, room, timeouts, limits);
        entry.open.push(connection.clone());
        Ok(connection)
    }

    /// Forgets connections that have ended; called now and then by the worker.
    pub fn sweep(&self) {
        self.by_endpoint.borrow_mut().retain(|_, entry| {
            entry.open.retain(|connection| !connection.is_closed());
            !entry.open.is_empty() || entry.making.is_some() || entry.room.is_awaited()
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
    Full(Rc<Room>),
}

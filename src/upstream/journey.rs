//! What becomes known of a request on its way to the app and back, for its
//! record: a few stores per request, and no reading of the clock but where it
//! connects or waits anyway.

use std::net::SocketAddr;
use std::time::Duration;

use super::app::Endpoint;
use super::turns::Slot;
use crate::clock::{self, Instant};
use crate::error::Error;
use crate::telemetry::finished::{Attempt, Stage};
use crate::telemetry::trace::{Trace, context};

/// The most earlier tries that are told one by one: at an app that comes and goes there is no end
/// to them.
const TOLD: usize = 16;

/// A request's way.
#[derive(Debug, Default)]
pub struct Journey {
    /// How far it has got.
    pub stage: Stage,
    /// How long it waited for its turn.
    pub queued: Duration,
    /// How many tries there were.
    pub attempts: u32,
    /// Those that failed and were followed by something else.
    pub earlier: Vec<Attempt>,
    /// When the head of the app's response was there.
    pub head: Option<Instant>,
    /// Its part of the app's limit, held to the end of the response.
    pub slot: Option<Slot>,
    /// Its place in its trace, where there are traces.
    pub trace: Option<Trace>,
    current: Option<Try>,
}

/// The try under way.
#[derive(Debug)]
struct Try {
    endpoint: SocketAddr,
    began: Instant,
    connecting: Option<Instant>,
    connect: Option<Duration>,
}

impl Journey {
    /// It is sent to this endpoint.
    pub(super) fn begin(&mut self, endpoint: &Endpoint) {
        self.attempts += 1;
        self.stage = Stage::Connect;
        self.current = Some(Try {
            endpoint: endpoint.address(),
            began: clock::recent(),
            connecting: None,
            connect: None,
        });
    }

    /// The `traceparent` of a try that is not the first, whose own is in the request already.
    pub(super) fn traceparent(&self) -> Option<[u8; context::LENGTH]> {
        let trace = self.trace.as_ref().filter(|_| self.attempts > 1)?;
        Some(trace.attempt(self.attempts - 1).text())
    }

    /// There is no connection for it: one is made, or one that is being made is waited for.
    pub(super) fn connecting(&mut self) {
        if let Some(current) = &mut self.current {
            current.connecting.get_or_insert_with(Instant::now);
        }
    }

    /// It has a connection.
    pub(super) fn connected(&mut self) {
        self.stage = Stage::Response;
        if let Some(current) = &mut self.current {
            current.connect = current.connecting.map(|since| since.elapsed());
        }
    }

    /// The app has begun to answer.
    pub(super) fn answered(&mut self, switched: bool) {
        self.head = Some(clock::recent());
        self.stage = if switched { Stage::Tunnel } else { Stage::Body };
    }

    /// The try failed, and is not the request's end.
    pub(super) fn give_up(&mut self, error: &Error) {
        if let Some(attempt) = self.last(Instant::now(), error.reason())
            && self.earlier.len() < TOLD
        {
            self.earlier.push(attempt);
        }
        self.current = None;
    }

    /// The try under way, if it were over.
    pub fn last(&self, ended: Instant, reason: &'static str) -> Option<Attempt> {
        let Try { endpoint, began, connecting, connect } = self.current.as_ref()?;
        let unconnected = || connecting.map(|since| ended.saturating_duration_since(since));
        let connect = connect.or_else(unconnected);
        Some(Attempt { endpoint: *endpoint, began: *began, ended, connect, reason })
    }
}

//! Those who wait for an app, in order of arrival: a line for each port.
//!
//! Only ports at which somebody waits are here. An app without limits that has
//! just begun does not get all of them at once: its window begins small, widens
//! with each answer, and opens by time where answers take long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::oneshot;

use super::{Seeker, Standing, Ticket, Told, Tried, ruled_out};
use crate::clock::Instant;
use crate::upstream::app::{Endpoint, Route};

/// Requests that an endpoint gets at once of those that waited for it: few enough for the shortest
/// accept queues that servers have, and for a runtime that compiles as it goes.
const FIRST_WINDOW: u32 = 16;

/// How long an app without limits has for answers before more of those who wait go to it.
const PACE: Duration = Duration::from_millis(50);

/// How often those who wait look whether an ejection has ended.
const LOOK: Duration = Duration::from_millis(500);

/// The lines of an app.
#[derive(Debug)]
pub(super) struct Lines {
    ports: BTreeMap<u16, Line>,
    /// The number of the next newcomer. Those of retries are below all of them: they go first.
    next: i64,
    next_retry: i64,
    /// When the windows are to be opened, for lack of answers.
    opens: Option<Instant>,
    /// Somebody has been asked to do it.
    is_paced: bool,
    random: SmallRng,
}

/// Those who wait at one port.
#[derive(Debug)]
struct Line {
    route: Arc<Route>,
    waiters: BTreeMap<i64, Waiter>,
    window: u32,
}

/// Who waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) told: oneshot::Sender<Told>,
    needs_slot: bool,
    standing: Standing,
    tried: Box<[Tried]>,
    since: Instant,
}

impl Waiter {
    pub(super) fn new(seeker: Seeker<'_>, told: oneshot::Sender<Told>) -> Self {
        let Seeker { standing, needs_slot, tried } = seeker;
        let since = match standing {
            Standing::Back(Some(ticket)) => ticket.since,
            Standing::New | Standing::Retry | Standing::Back(None) => Instant::now(),
        };
        Self { told, needs_slot, standing, tried: tried.into(), since }
    }

    /// What proves that it had this place.
    pub(super) fn ticket(&self, number: i64) -> Ticket {
        Ticket { number, since: self.since }
    }
}

/// What the turn of the first in a line is chosen by.
pub(super) struct First<'a> {
    pub(super) route: &'a Arc<Route>,
    pub(super) needs_slot: bool,
    /// Endpoints that it is not to get.
    pub(super) tried: Vec<u64>,
    pub(super) window: u32,
    pub(super) random: &'a mut SmallRng,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            ports: BTreeMap::new(),
            next: 0,
            next_retry: i64::MIN,
            opens: None,
            is_paced: false,
            // Any seed will do: the numbers only spread load.
            random: SmallRng::seed_from_u64(0),
        }
    }
}

impl Lines {
    /// Puts somebody into line, by the route in force; returns the number.
    pub(super) fn enter(&mut self, route: &Arc<Route>, waiter: Waiter) -> i64 {
        let mut take = |retry| {
            let next = if retry { &mut self.next_retry } else { &mut self.next };
            *next += 1;
            *next - 1
        };
        let own = match waiter.standing {
            Standing::New => take(false),
            Standing::Retry | Standing::Back(None) => take(true),
            Standing::Back(Some(ticket)) => ticket.number,
        };
        let line = self.ports.entry(route.port).or_insert_with(|| Line {
            route: route.clone(),
            waiters: BTreeMap::new(),
            window: FIRST_WINDOW,
        });
        line.waiters.insert(own, waiter);
        own
    }

    /// Takes somebody out of line, with the route.
    pub(super) fn remove(&mut self, port: u16, number: i64) -> Option<(Waiter, Arc<Route>)> {
        let line = self.ports.get_mut(&port)?;
        let waiter = line.waiters.remove(&number)?;
        let route = line.route.clone();
        if line.waiters.is_empty() {
            self.ports.remove(&port);
        }
        if self.ports.is_empty() {
            (self.opens, self.is_paced) = (None, false);
        }
        Some((waiter, route))
    }

    /// Who is next, but for these ports.
    pub(super) fn next(&self, but: &[u16]) -> Option<(u16, i64)> {
        let lines = self.ports.iter().filter(|(port, _)| !but.contains(port));
        let firsts = lines.filter_map(|(port, line)| Some((*port, *line.waiters.keys().next()?)));
        firsts.min_by_key(|(_, number)| *number)
    }

    /// The first number in the line of a port.
    pub(super) fn first_of(&self, port: u16) -> Option<i64> {
        self.ports.get(&port)?.waiters.keys().next().copied()
    }

    /// The first in the line of a port.
    pub(super) fn first(&mut self, port: u16) -> Option<First<'_>> {
        let Line { route, waiters, window } = self.ports.get(&port)?;
        let Waiter { tried, needs_slot, .. } = waiters.values().next()?;
        // What failed it once is better than nothing.
        let mut tried = ruled_out(&route.endpoints, tried);
        let is_other = |one: &Arc<Endpoint>| one.is_ready() && !tried.contains(&one.id());
        if !route.endpoints.iter().any(is_other) {
            tried.clear();
        }
        let (needs_slot, window) = (*needs_slot, *window);
        Some(First { route, needs_slot, tried, window, random: &mut self.random })
    }

    /// When the first of all came.
    pub(super) fn oldest(&self) -> Option<Instant> {
        // Retries are first in line, and came last.
        let waiters = self.ports.values().flat_map(|line| {
            let newcomer = line.waiters.range(0..).next();
            newcomer.into_iter().chain(line.waiters.range(..0))
        });
        waiters.map(|(_, waiter)| waiter.since).min()
    }

    /// Those who wait at its port go by this route.
    pub(super) fn reroute(&mut self, route: &Arc<Route>) {
        if let Some(line) = self.ports.get_mut(&route.port) {
            line.route = route.clone();
        }
    }

    /// Whether a line that got nothing is held up by what passes with time, and nobody looks after
    /// it yet: its window, or in a line without one the ejection of an endpoint.
    pub(super) fn asks_for_pace(&mut self, port: u16, has_window: bool) -> bool {
        let Some(line) = self.ports.get_mut(&port) else { return false };
        let endpoints = &line.route.endpoints;
        let pace = if !endpoints.iter().any(|endpoint| endpoint.is_ready()) {
            // What becomes ready next is fresh again.
            line.window = FIRST_WINDOW;
            None
        } else if has_window {
            Some(PACE)
        } else {
            // The next to end; not in one step, because it may end early.
            let ejected = endpoints.iter().filter(|endpoint| endpoint.is_ready_to_stay());
            let left = ejected.filter_map(|endpoint| Some(endpoint.outlier().ejected()?.left));
            left.filter(|left| !left.is_zero()).min().map(|left| left.clamp(PACE, LOOK))
        };
        let Some(pace) = pace else { return false };
        self.opens.get_or_insert_with(|| Instant::now() + pace);
        !std::mem::replace(&mut self.is_paced, true)
    }

    /// When whoever was asked is to open the windows.
    pub(super) fn opens(&self) -> Option<Instant> {
        self.opens
    }

    /// Whoever was asked has done his part, or left: opens the windows if it is time.
    pub(super) fn open_windows(&mut self) {
        self.is_paced = false;
        if self.opens.is_some_and(|opens| opens <= Instant::now()) {
            self.opens = None;
            for line in self.ports.values_mut() {
                line.window = line.window.saturating_mul(2);
            }
        }
    }

    /// An answer came.
    pub(super) fn widen_windows(&mut self) {
        for line in self.ports.values_mut() {
            line.window = line.window.saturating_add(1);
        }
    }
}

//! Turns at an app: how many requests it and each of its endpoints work on at
//! once, and who is next.
//!
//! There is one queue for every reason to wait: no endpoint is ready, the app is
//! at its limit, its endpoints are at theirs. Whoever frees something gives it,
//! endpoint and all, to the next in line, in order of arrival over all workers.
//! A request that need not wait takes no lock: it looks whether somebody waits,
//! and counts only where a limit is set.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::Rng;
use tokio::sync::{Notify, oneshot};

use super::app::{Endpoint, Hosts, InFlight, Route};
use super::balance;
use crate::error::Error;

mod held;
mod lines;

pub use held::{Place, Slot, Ticket, Turn};
use lines::{Lines, Waiter};

/// Turns at an app, common to all its ports and kept over changes of the app.
#[derive(Debug)]
pub struct Turns {
    /// Requests of the app that wait; above 0 a newcomer waits, too.
    pub queued: AtomicUsize,
    /// The app's hosts.
    pub hosts: Hosts,
    concurrency: AtomicUsize,
    endpoint_concurrency: AtomicU32,
    /// Requests that have a slot.
    busy: AtomicUsize,
    /// Requests that wait for any app.
    waiting: Arc<AtomicUsize>,
    /// Rung for one of those who wait: it is to open the windows in time.
    pace: Notify,
    lines: Mutex<Lines>,
}

/// How many requests an app works on at once; 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Concurrency {
    /// All its endpoints together.
    pub app: usize,
    /// Each of them.
    pub endpoint: u32,
}

/// How many requests may wait.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// For this app.
    pub app: usize,
    /// For all apps.
    pub all: usize,
}

/// Who seeks a turn.
#[derive(Debug, Clone, Copy)]
pub struct Seeker<'a> {
    /// What it has behind it.
    pub standing: Standing,
    /// It has no part of the app's limit yet.
    pub needs_slot: bool,
    /// Endpoints that failed it.
    pub tried: &'a [Tried],
}

/// An endpoint that failed a request, which is better served by another.
#[derive(Debug, Clone, Copy)]
pub struct Tried {
    /// The endpoint's id.
    pub id: u64,
    /// It accepted no connection: once it does, it is as good as any.
    pub refused: bool,
}

impl Tried {
    /// Whether it speaks against an endpoint.
    pub fn is_against(&self, endpoint: &Endpoint) -> bool {
        self.id == endpoint.id() && (!self.refused || endpoint.is_refusing())
    }
}

/// What a request has behind it that seeks a turn.
#[derive(Debug, Clone, Copy)]
pub enum Standing {
    /// Nothing: it goes to the end of the line.
    New,
    /// It was sent, and is to be sent again: it goes first, whatever the bounds.
    Retry,
    /// It had a turn and found nobody there: it takes the place that it had. One that had none
    /// came before all who wait.
    Back(Option<Ticket>),
}

/// What a request is told that waits: its turn, and by which route.
type Told = Result<(Turn, Arc<Route>), Error>;

impl Turns {
    /// Turns without a limit; `waiting` counts the requests that wait for any app.
    pub fn new(waiting: Arc<AtomicUsize>) -> Self {
        Self {
            queued: AtomicUsize::new(0),
            hosts: Hosts::default(),
            concurrency: AtomicUsize::new(0),
            endpoint_concurrency: AtomicU32::new(0),
            busy: AtomicUsize::new(0),
            waiting,
            pace: Notify::new(),
            lines: Mutex::default(),
        }
    }

    /// The limits in force.
    pub fn concurrency(&self) -> Concurrency {
        Concurrency {
            app: self.concurrency.load(Ordering::Relaxed),
            endpoint: self.endpoint_concurrency.load(Ordering::Relaxed),
        }
    }

    /// Changes the limits. Who waits profits at once; who has a turn keeps it. Requests that began
    /// while the app had no limit are not counted under its first: each would have had to write to
    /// a number that all workers share, and no other count could be taken over to the unit while
    /// requests begin and end. Too many by one would be a turn that nobody ever gives back.
    pub fn set_concurrency(self: &Arc<Self>, concurrency: Concurrency) {
        if self.concurrency() != concurrency {
            self.concurrency.store(concurrency.app, Ordering::Relaxed);
            self.endpoint_concurrency.store(concurrency.endpoint, Ordering::Relaxed);
            self.serve();
        }
    }

    /// How long the first in line has waited.
    pub fn oldest_wait(&self) -> Option<Duration> {
        // Most apps have nobody who waits: they are asked without the lock.
        if self.queued.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.lock().oldest().map(|since| since.elapsed())
    }

    /// A turn without waiting; none for a newcomer while others wait.
    pub fn at_once(
        self: &Arc<Self>,
        seeker: Seeker<'_>,
        endpoints: &[Arc<Endpoint>],
        random: &mut impl Rng,
    ) -> Option<Turn> {
        if seeker.standing.waits_for_others() && self.queued.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let Concurrency { app, endpoint: limit } = self.concurrency();
        let counted = seeker.needs_slot && app > 0;
        if counted && !self.take_slot(app) {
            return None;
        }
        // Made first: without an endpoint it is dropped, which gives the slot to who waits by now.
        let slot = counted.then(|| Slot::of(self));
        let endpoint = pick(endpoints, &ruled_out(endpoints, seeker.tried), limit, random)?;
        Some(Turn { endpoint, slot, ticket: None })
    }

    /// Joins the queue, which may give a turn at once.
    ///
    /// `find` looks the host up again, under the lock: no change of its route is missed.
    pub fn queue_up(
        self: &Arc<Self>,
        seeker: Seeker<'_>,
        find: &dyn Fn() -> Option<Arc<Route>>,
        bounds: Bounds,
    ) -> Result<Place, Error> {
        let mut lines = self.lock();
        // With other turns it is another app's route, or that of an app that went and came back.
        let route = find().filter(|route| Arc::ptr_eq(&route.turns, self));
        let route = route.ok_or(Error::UnknownHost)?;
        let app = self.queued.fetch_add(1, Ordering::SeqCst);
        let all = self.waiting.fetch_add(1, Ordering::Relaxed);
        route.shared.waiting.fetch_add(1, Ordering::Relaxed);
        // Who frees something after this sees that somebody waits; what was freed before it is
        // seen below.
        fence(Ordering::SeqCst);
        let (told, hears) = oneshot::channel();
        let port = route.port;
        let number = lines.enter(&route, Waiter::new(seeker, told));
        // Probes that were asked for when they were found to refuse may have ended before this
        // request came, because nobody waited.
        route.endpoints.iter().for_each(|endpoint| endpoint.await_connections());
        let unclaimed = self.serve_lines(&mut lines);
        // Asked last: who has a turn by now takes no place.
        let is_over = seeker.standing.is_bounded() && (app >= bounds.app || all >= bounds.all);
        let refused = is_over && self.remove(&mut lines, port, number).is_some();
        drop(lines);
        drop(unclaimed);
        if refused {
            return Err(Error::QueueFull);
        }
        Ok(Place::new(self, (port, number), hears))
    }

    /// Gives turns to those who can go. Called when an endpoint turned ready.
    pub fn serve(self: &Arc<Self>) {
        self.change(|_| ());
    }

    /// A port has another route: who waits there goes by it.
    pub fn rerouted(self: &Arc<Self>, route: &Arc<Route>) {
        self.change(|lines| lines.reroute(route));
    }

    /// A port is no more: nobody needs to wait for it.
    pub fn gone(self: &Arc<Self>, port: u16) {
        self.change(|lines| {
            while let Some((waiter, _)) =
                lines.first_of(port).and_then(|number| self.remove(lines, port, number))
            {
                // Who has left does not hear it.
                let _ = waiter.told.send(Err(Error::UnknownHost));
            }
        });
    }

    /// Waits until this request is asked to open the windows, and does it in time. One that leaves
    /// before, or has its turn, passes the task on.
    pub async fn keep_pace(self: &Arc<Self>) {
        struct Asked<'a>(&'a Arc<Turns>);
        impl Drop for Asked<'_> {
            fn drop(&mut self) {
                self.0.change(Lines::open_windows);
            }
        }
        self.pace.notified().await;
        let _asked = Asked(self);
        let opens = self.lock().opens();
        if let Some(opens) = opens {
            tokio::time::sleep_until(opens).await;
        }
    }

    /// A request left an endpoint, most likely because it was answered: the app keeps up.
    pub fn endpoint_freed(self: &Arc<Self>) {
        self.change(Lines::widen_windows);
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut Lines) -> T) {
        let mut lines = self.lock();
        change(&mut lines);
        let unclaimed = self.serve_lines(&mut lines);
        drop(lines);
        // Turns of requests that left just now: to give one back takes the lock again.
        drop(unclaimed);
    }

    /// Gives turns in order of arrival as long as there are any; a port for which there is none
    /// does not hold up the others. Returns those that nobody took.
    fn serve_lines(self: &Arc<Self>, lines: &mut Lines) -> Vec<Told> {
        let (mut stuck, mut unclaimed) = (Vec::new(), Vec::new());
        while let Some((port, number)) = lines.next(&stuck) {
            let Some(turn) = self.turn_for(lines, port) else {
                stuck.push(port);
                continue;
            };
            let Some((waiter, route)) = self.remove(lines, port, number) else { continue };
            let turn = Turn { ticket: Some(waiter.ticket(number)), ..turn };
            unclaimed.extend(waiter.told.send(Ok((turn, route))).err());
        }
        unclaimed
    }

    /// A turn for the first in the line of a port.
    fn turn_for(self: &Arc<Self>, lines: &mut Lines, port: u16) -> Option<Turn> {
        let Concurrency { app, endpoint } = self.concurrency();
        let first = lines.first(port)?;
        let counted = first.needs_slot && app > 0;
        if counted && !self.take_slot(app) {
            return None;
        }
        let has_no_limit = (app, endpoint) == (0, 0);
        let limit = if has_no_limit { first.window } else { endpoint };
        if let Some(endpoint) = pick(&first.route.endpoints, &first.tried, limit, first.random) {
            let slot = counted.then(|| Slot::of(self));
            return Some(Turn { endpoint, slot, ticket: None });
        }
        if counted {
            // Not as a slot that is dropped, which would look who is next, as goes on here.
            self.busy.fetch_sub(1, Ordering::SeqCst);
        }
        if lines.asks_for_pace(port, has_no_limit) {
            self.pace.notify_one();
        }
        None
    }

    /// Takes a waiter out of its line, if it is still there.
    fn remove(&self, lines: &mut Lines, port: u16, number: i64) -> Option<(Waiter, Arc<Route>)> {
        let (waiter, route) = lines.remove(port, number)?;
        self.queued.fetch_sub(1, Ordering::SeqCst);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        route.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        Some((waiter, route))
    }

    fn take_slot(&self, limit: usize) -> bool {
        let more = |busy| (busy < limit).then_some(busy + 1);
        self.busy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }
}

impl Standing {
    /// Whether it gets no turn while others are in line.
    fn waits_for_others(self) -> bool {
        !matches!(self, Self::Retry)
    }

    /// Whether the line may be too long for it. What was let into it once is not refused.
    fn is_bounded(self) -> bool {
        matches!(self, Self::New | Self::Back(None))
    }
}

/// The ids of the endpoints against which something speaks.
fn ruled_out(endpoints: &[Arc<Endpoint>], tried: &[Tried]) -> Vec<u64> {
    if tried.is_empty() {
        return Vec::new();
    }
    let is_out = |one: &&Arc<Endpoint>| tried.iter().any(|tried| tried.is_against(one));
    endpoints.iter().filter(is_out).map(|one| one.id()).collect()
}

/// An endpoint that works on fewer than `limit` requests, counted there; 0: no limit.
fn pick(
    endpoints: &[Arc<Endpoint>],
    tried: &[u64],
    limit: u32,
    random: &mut impl Rng,
) -> Option<InFlight> {
    if limit == 0 {
        return balance::choose(endpoints, tried, random).map(InFlight::new);
    }
    loop {
        let stays = |one: &Arc<Endpoint>| one.is_ready_to_stay() && !tried.contains(&one.id());
        // One that is only busy is better than one that is about to go.
        let others_stay = endpoints.iter().any(stays);
        let is_full = |one: &Arc<Endpoint>| one.in_flight() >= limit;
        let is_out = |one: &&Arc<Endpoint>| is_full(one) || (others_stay && one.is_draining());
        let out = endpoints.iter().filter(is_out).map(|one| one.id());
        let unusable: Vec<u64> = tried.iter().copied().chain(out).collect();
        // And better than one that fails.
        let is_good = |one: &Arc<Endpoint>| one.is_sound() && !tried.contains(&one.id());
        let is_free = |one: &Arc<Endpoint>| is_good(one) && one.in_flight() < limit;
        if !endpoints.iter().any(is_free) && endpoints.iter().any(is_good) {
            return None;
        }
        let chosen = balance::choose(endpoints, &unusable, random)?;
        // Another worker may have been faster: then there is another choice, or none.
        if let Some(endpoint) = InFlight::within(chosen, limit) {
            return Some(endpoint);
        }
    }
}

#[cfg(test)]
mod tests;

//! Whether an endpoint may be sent requests: facts that change independently,
//! in one word, because every request asks for several of them.
//!
//! Each is set by whoever knows it: readiness by probes, draining and retirement
//! by discovery, refusals by requests.

use std::sync::atomic::{AtomicU8, Ordering};

/// The facts of one endpoint.
#[derive(Debug)]
pub(super) struct State(AtomicU8);

/// It counts as ready by its probes, or because nobody asks it.
const READY: u8 = 1;
/// It finishes what it has, and serves only when no other does.
const DRAINING: u8 = 1 << 1;
/// It has left its app: its address may be another organization's.
const RETIRED: u8 = 1 << 2;
/// It accepted no connection when one was last tried.
const REFUSING: u8 = 1 << 3;
/// It refuses, and so do all others of its port: not ready, whatever its probes said last.
const DOWN: u8 = 1 << 4;
/// Somebody probes it, and says when it is up again.
const PROBED: u8 = 1 << 5;

impl State {
    pub(super) fn new(ready: bool) -> Self {
        Self(AtomicU8::new(if ready { READY } else { 0 }))
    }

    /// Whether requests may be sent at all.
    pub(super) fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed) & (READY | RETIRED | DOWN) == READY
    }

    /// Whether requests may be sent, and nobody is about to take it away.
    pub(super) fn is_ready_to_stay(&self) -> bool {
        self.0.load(Ordering::Relaxed) & (READY | RETIRED | DOWN | DRAINING) == READY
    }

    /// The same, and it has not refused a connection since a probe last spoke for it. Where nobody
    /// probes, only a request can find out that it accepts them again.
    pub(super) fn is_sound(&self) -> bool {
        let state = self.0.load(Ordering::Relaxed);
        state & (READY | RETIRED | DOWN | DRAINING) == READY
            && state & (REFUSING | PROBED) != REFUSING | PROBED
    }

    pub(super) fn is_draining(&self) -> bool {
        self.has(DRAINING)
    }

    pub(super) fn is_retired(&self) -> bool {
        self.has(RETIRED)
    }

    pub(super) fn is_probed(&self) -> bool {
        self.has(PROBED)
    }

    pub(super) fn is_refusing(&self) -> bool {
        self.has(REFUSING)
    }

    /// Says what its probes say; true if it turned ready. What it refused before counts no more.
    pub(super) fn set_ready(&self, ready: bool) -> bool {
        let known = |state| state & !(READY | REFUSING | DOWN) | if ready { READY } else { 0 };
        let before = self.change(known);
        ready && before & (READY | DOWN) != READY
    }

    pub(super) fn set_draining(&self, draining: bool) {
        self.set(DRAINING, draining);
    }

    pub(super) fn set_probed(&self, probed: bool) {
        self.set(PROBED, probed);
    }

    pub(super) fn retire(&self) {
        self.set(RETIRED, true);
    }

    /// It accepted no connection; true if a probe is to look.
    pub(super) fn refused(&self) -> bool {
        self.set(REFUSING, true) & PROBED != 0
    }

    /// Takes it down if it still refuses and a probe will tell when it is up; true if that is new.
    pub(super) fn take_down(&self) -> bool {
        let refuses = |state| state & (REFUSING | PROBED) == REFUSING | PROBED;
        let before = self.change(|state| if refuses(state) { state | DOWN } else { state });
        refuses(before) && before & DOWN == 0
    }

    /// It accepted a connection; true if it did not before: whoever waits may go to it.
    pub(super) fn accepted(&self) -> bool {
        // Only a change is written: the word is read by all workers.
        self.has(REFUSING | DOWN) && self.set(REFUSING | DOWN, false) & (REFUSING | DOWN) != 0
    }

    fn has(&self, facts: u8) -> bool {
        self.0.load(Ordering::Relaxed) & facts != 0
    }

    fn set(&self, facts: u8, so: bool) -> u8 {
        if so {
            self.0.fetch_or(facts, Ordering::Relaxed)
        } else {
            self.0.fetch_and(!facts, Ordering::Relaxed)
        }
    }

    /// Changes several facts in one step; what they were before.
    fn change(&self, change: impl Fn(u8) -> u8) -> u8 {
        let mut state = self.0.load(Ordering::Relaxed);
        loop {
            let (order, next) = (Ordering::Relaxed, change(state));
            match self.0.compare_exchange_weak(state, next, order, order) {
                Ok(before) => return before,
                Err(other) => state = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_drains_is_ready_and_does_not_stay_and_who_retired_is_neither() {
        let state = State::new(true);
        assert!(state.is_ready() && state.is_ready_to_stay());
        state.set_draining(true);
        assert!(state.is_ready() && !state.is_ready_to_stay() && state.is_draining());
        assert!(!state.set_ready(true), "what probes say leaves it draining");
        assert!(state.is_draining());
        state.set_draining(false);
        assert!(state.is_ready_to_stay());
        state.retire();
        assert!(!state.is_ready() && !state.is_ready_to_stay() && state.is_retired());
        state.set_ready(true);
        assert!(!state.is_ready(), "never again");
    }

    #[test]
    fn who_refuses_is_down_only_where_a_probe_will_tell_when_it_is_up() {
        let state = State::new(true);
        state.refused();
        assert!(!state.take_down() && state.is_sound() && state.is_refusing());
        state.set_probed(true);
        assert!(state.is_ready() && !state.is_sound());
        assert!(state.take_down() && !state.is_ready());
        assert!(!state.take_down(), "once");
        assert!(state.set_ready(true) && state.is_sound() && !state.is_refusing());
        assert!(!state.take_down(), "it has not refused since");
    }

    #[test]
    fn a_connection_ends_what_refusals_began() {
        let state = State::new(true);
        state.set_probed(true);
        assert!(!state.accepted());
        state.refused();
        assert!(state.accepted() && !state.is_refusing());
        assert!(!state.accepted(), "that is no news");
        state.refused();
        state.take_down();
        assert!(state.accepted() && state.is_ready());
    }

    #[test]
    fn an_unready_endpoint_that_accepts_is_not_ready_for_that() {
        let state = State::new(false);
        state.set_probed(true);
        state.refused();
        state.take_down();
        state.accepted();
        assert!(!state.is_ready());
    }
}

//! What a peer may ask for that serves no request.
//!
//! Every frame costs the gateway work, also one that carries nothing: empty
//! DATA, PING, SETTINGS, PRIORITY, streams opened only to be reset. Each is
//! cheap; a connection full of them is an attack (CVE-2019-9512 to 9518,
//! CVE-2023-44487). Content earns such frames, time forgives some, and a
//! connection that has spent more is ended.

use std::time::Duration;

use crate::clock::Instant;

use super::super::frame::Code;

/// Frames without content that each request or larger piece of content earns. A caller with
/// small windows sends two updates for each piece.
const EARNED: u32 = 10;
/// Window updates that each piece of content earns that we send, however small: some peers give
/// back each at once, on its stream and on the connection.
const GIVEN_BACK: u32 = 2;
/// Frames without content that each second forgives: keep-alive pings of the eager.
const PER_SECOND: u32 = 10;

/// Content of this size or more is worth its frame.
pub(super) const WORTH: usize = 512;

/// How much is left.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    control: u32,
    updates: u32,
    forgiven: Instant,
    streams: u64,
    resets: u64,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Frames without content beyond those that content earns.
    pub control_frames: u32,
    /// Streams that end by a reset before they were answered, beyond half of all streams.
    pub resets: u32,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            control: limits.control_frames,
            updates: 0,
            forgiven: Instant::now(),
            streams: 0,
            resets: 0,
        }
    }

    /// A frame without content came.
    pub(super) fn control_frame(&mut self) -> Result<(), Code> {
        if self.control == 0 {
            let seconds = self.forgiven.elapsed().as_secs();
            self.forgiven += Duration::from_secs(seconds);
            let forgiven = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(PER_SECOND);
            self.control = forgiven.min(self.limits.control_frames);
        }
        self.control = self.control.checked_sub(1).ok_or(Code::ENHANCE_YOUR_CALM)?;
        Ok(())
    }

    /// A window update came.
    pub(super) fn window_update(&mut self) -> Result<(), Code> {
        match self.updates.checked_sub(1) {
            Some(left) => {
                self.updates = left;
                Ok(())
            }
            None => self.control_frame(),
        }
    }

    /// A piece of content was sent, as large as it was meant to be.
    pub(super) fn piece(&mut self) {
        self.updates = self.updates.saturating_add(GIVEN_BACK);
    }

    /// Content passed, in either direction.
    pub(super) fn content(&mut self) {
        self.control = self.control.saturating_add(EARNED).min(self.limits.control_frames);
    }

    /// A stream began.
    pub(super) fn stream(&mut self) {
        self.streams += 1;
        self.content();
    }

    /// A stream was reset before it was answered, by the peer or because of what it sent.
    pub(super) fn reset(&mut self) -> Result<(), Code> {
        self.resets += 1;
        let many = self.resets > u64::from(self.limits.resets);
        if many && self.resets * 2 > self.streams { Err(Code::ENHANCE_YOUR_CALM) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        Budget::new(Limits { control_frames: 20, resets: 5 })
    }

    #[tokio::test(start_paused = true)]
    async fn frames_without_content_are_earned_by_content_and_by_time() {
        let mut budget = budget();
        for _ in 0..20 {
            budget.control_frame().expect("within the limit");
        }
        assert_eq!(budget.control_frame(), Err(Code::ENHANCE_YOUR_CALM));
        budget.content();
        for _ in 0..EARNED {
            budget.control_frame().expect("earned");
        }
        assert!(budget.control_frame().is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..PER_SECOND {
            budget.control_frame().expect("forgiven");
        }
        assert!(budget.control_frame().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_piece_earns_its_window_updates_and_nothing_else() {
        let mut budget = Budget::new(Limits { control_frames: 0, resets: 0 });
        for _ in 0..1000 {
            budget.piece();
        }
        assert_eq!(budget.control_frame(), Err(Code::ENHANCE_YOUR_CALM));
        for _ in 0..1000 * GIVEN_BACK {
            budget.window_update().expect("earned");
        }
        assert_eq!(budget.window_update(), Err(Code::ENHANCE_YOUR_CALM));
    }

    #[tokio::test]
    async fn resets_are_refused_when_they_are_many_and_most_of_all_streams() {
        let mut budget = budget();
        for _ in 0..5 {
            budget.stream();
            budget.reset().expect("few");
        }
        budget.stream();
        assert_eq!(budget.reset(), Err(Code::ENHANCE_YOUR_CALM));
        for _ in 0..20 {
            budget.stream();
        }
        budget.reset().expect("most streams were not reset");
    }
}

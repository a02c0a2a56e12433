//! What an app has used, for whoever writes its bill.
//!
//! An invocation is a request that got as far as a connection to the app, however
//! it ended from there, unless by a failure of the gateway's own. `docs/metrics.md`
//! tells what that means for every end; the `termination` of an execution says the
//! same of one request.

use std::ops::AddAssign;
use std::time::Duration;

use super::finished::{Finished, Stage, Termination};
use super::metrics::Count;
use crate::error::Side;

/// What was used.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Requests that reached the app.
    pub invocations: u64,
    /// Their time, each rounded up to a millisecond.
    pub milliseconds: u64,
    /// Bytes of their bodies that came from the callers.
    pub bytes_in: u64,
    /// Bytes of the app's own response bodies.
    pub bytes_out: u64,
}

/// The same as one worker counts it.
#[derive(Debug, Default)]
pub struct UsageCounts {
    invocations: Count,
    milliseconds: Count,
    bytes_in: Count,
    bytes_out: Count,
}

impl Usage {
    /// What a request used; `None` if it is no invocation.
    pub fn of(finished: &Finished<'_>) -> Option<Self> {
        let reached = match finished.termination {
            Termination::Complete => true,
            // What the gateway itself failed at is nobody's bill.
            Termination::By(Side::Gateway, _) => false,
            Termination::By(Side::Caller | Side::App, stage) => match stage {
                Stage::Response | Stage::Body | Stage::Tunnel => true,
                Stage::Request | Stage::Queue | Stage::Connect => false,
            },
        };
        reached.then(|| Self {
            invocations: 1,
            milliseconds: milliseconds(finished.took.saturating_sub(finished.queued)),
            bytes_in: finished.bytes_in,
            // Without a response of the app's, what the caller got is the gateway's.
            bytes_out: finished.first_byte.map_or(0, |_| finished.bytes_out),
        })
    }
}

/// Whole milliseconds, rounded up, and at least one.
fn milliseconds(time: Duration) -> u64 {
    let millis = time.as_nanos().div_ceil(1_000_000).max(1);
    u64::try_from(millis).unwrap_or(u64::MAX)
}

impl AddAssign for Usage {
    fn add_assign(&mut self, more: Self) {
        self.invocations += more.invocations;
        self.milliseconds += more.milliseconds;
        self.bytes_in += more.bytes_in;
        self.bytes_out += more.bytes_out;
    }
}

impl UsageCounts {
    /// Counts an invocation.
    pub fn add(&self, more: &Usage) {
        self.invocations.add(more.invocations);
        self.milliseconds.add(more.milliseconds);
        if more.bytes_in > 0 {
            self.bytes_in.add(more.bytes_in);
        }
        if more.bytes_out > 0 {
            self.bytes_out.add(more.bytes_out);
        }
    }

    /// What was counted so far.
    pub fn read(&self) -> Usage {
        Usage {
            invocations: self.invocations.get(),
            milliseconds: self.milliseconds.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::tests::finished;
    use super::*;

    #[test]
    fn time_is_rounded_up_to_a_millisecond_of_each_invocation() {
        for (nanos, millis) in [(0, 1), (1, 1), (1_000_000, 1), (1_000_001, 2), (2_500_000, 3)] {
            assert_eq!(milliseconds(Duration::from_nanos(nanos)), millis, "{nanos}");
        }
    }

    #[test]
    fn a_request_counts_from_the_moment_it_has_a_connection_and_its_wait_never_does() {
        let mut request = finished();
        request.took = Duration::from_millis(70);
        request.queued = Duration::from_millis(50);
        request.first_byte = Some(Duration::from_millis(60));
        (request.bytes_in, request.bytes_out) = (3, 5);
        let whole = Usage { invocations: 1, milliseconds: 20, bytes_in: 3, bytes_out: 5 };
        assert_eq!(Usage::of(&request), Some(whole));

        for (side, stage, counts) in [
            (Side::Caller, Stage::Request, false),
            (Side::Caller, Stage::Queue, false),
            (Side::Gateway, Stage::Queue, false),
            (Side::App, Stage::Connect, false),
            (Side::Caller, Stage::Response, true),
            (Side::App, Stage::Response, true),
            (Side::App, Stage::Body, true),
            (Side::Caller, Stage::Tunnel, true),
            (Side::Gateway, Stage::Response, false),
            (Side::Gateway, Stage::Body, false),
        ] {
            request.termination = Termination::By(side, stage);
            assert_eq!(Usage::of(&request).is_some(), counts, "{side:?} {stage:?}");
        }
    }

    #[test]
    fn what_the_gateway_answers_for_an_app_is_not_the_apps() {
        let mut request = finished();
        request.termination = Termination::By(Side::App, Stage::Response);
        (request.first_byte, request.bytes_out) = (None, 200);
        assert_eq!(Usage::of(&request).map(|usage| usage.bytes_out), Some(0));
    }
}

//! Where a request stands in a trace, and whether that trace is recorded.
//!
//! A trace that begins here has the digits of its execution id for its own id:
//! whoever knows one has the other. Of a version 7 UUID the last 62 bits are
//! random, which is where samplers of other systems look, too.

use std::cell::RefCell;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::headers::forwarded::{self, Peer};
use super::headers::trace;
use super::{Settings, Shared};
use crate::config::traces::{Parent, Sampling};
use crate::ids::ExecutionId;
use crate::message::Request;
use crate::telemetry::trace::context::{Context, SpanId};
use crate::telemetry::trace::{Seen, Trace};

/// One worker's tracer.
#[derive(Debug)]
pub(super) struct Tracer {
    /// Nobody need be kept from guessing the id of a span.
    random: RefCell<SmallRng>,
}

impl Tracer {
    /// A tracer, if there is a collector to send spans to.
    pub(super) fn new(shared: &Shared) -> Option<Self> {
        shared.traces.as_ref()?;
        Some(Self { random: RefCell::new(SmallRng::from_os_rng()) })
    }

    /// The request's place in its trace: behind its caller's span, or at the beginning.
    pub(super) fn begin(
        &self,
        request: &Request,
        peer: &Peer,
        execution_id: &ExecutionId,
        settings: &Settings,
    ) -> Trace {
        let (id, clients) = {
            let mut random = self.random.borrow_mut();
            (SpanId::of(random.random()), random.random::<u64>())
        };
        let parent = trace::parent(&request.fields);
        let sampling = &settings.sampling;
        let believed = parent.filter(|_| sampling.parent == Parent::All || peer.is_trusted());
        let sampled = match believed {
            Some(parent) => parent.is_sampled(),
            None => is_sampled(execution_id, sampling),
        };
        let context = match parent {
            Some(parent) => parent.continued(id, sampled),
            None => Context::begin(execution_id.number(), id, sampled),
        };
        let seen = sampled.then(|| {
            let state = parent.map(|_| trace::state(&request.fields)).unwrap_or_default();
            let agent = request.fields.named(b"user-agent").next().unwrap_or_default();
            Box::new(Seen {
                state,
                user_agent: Seen::text(agent),
                client: forwarded::client(&request.fields, peer, &settings.trusted_proxies),
                scheme: peer.scheme(),
            })
        });
        let parent = parent.map(|parent| parent.span_id);
        Trace { context, parent, seed: clients, seen }
    }
}

/// By the execution id, never by a trace id, which strangers choose: whoever is not believed must
/// not decide by other means.
fn is_sampled(execution_id: &ExecutionId, sampling: &Sampling) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "the last digits, which are random")]
    let random = execution_id.number() as u32;
    sampling.share >= 1.0 || f64::from(random) / f64::from(u32::MAX) < sampling.share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ExecutionIds;

    #[test]
    fn as_many_are_sampled_as_were_asked_for() {
        let mut ids = ExecutionIds::new();
        for (share, range) in [(0.0, 0..=0), (0.25, 2000..=3000), (1.0, 10_000..=10_000)] {
            let sampling = Sampling { share, parent: Parent::Trusted };
            let sampled = (0..10_000).filter(|_| is_sampled(&ids.mint(), &sampling)).count();
            assert!(range.contains(&sampled), "{share}: {sampled}");
        }
    }
}

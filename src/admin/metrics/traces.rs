//! What became of spans; zeros where there are no traces.

use std::sync::Arc;

use super::family;
use super::text::Text;
use crate::telemetry::trace::{Counts, Traces};

pub(super) fn spans(text: &mut Text, traces: Option<&Arc<Traces>>) {
    let none = Counts::default();
    let counts = traces.map_or(&none, |traces| traces.counts());
    text.single(&family::SPANS_EXPORTED, counts.exported());
    let mut samples = text.begin(&family::SPANS_DROPPED);
    for (reason, count) in counts.dropped() {
        samples.add(&[("reason", reason)], count);
    }
}

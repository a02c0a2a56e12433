//! What became of spans; zeros where there are no traces.

use std::fmt;
use std::sync::Arc;

use super::family::{self, Writer};
use crate::telemetry::trace::{Counts, Traces};

pub(super) fn spans(out: &mut Writer<'_>, traces: Option<&Arc<Traces>>) -> fmt::Result {
    let none = Counts::default();
    let counts = traces.map_or(&none, |traces| traces.counts());
    out.single(&family::SPANS_EXPORTED, counts.exported())?;
    let mut samples = out.begin(&family::SPANS_DROPPED)?;
    for (reason, count) in counts.dropped() {
        samples.add(&[("reason", reason)], count)?;
    }
    Ok(())
}

//! The last word on what apps have used: whoever bills by the counters cannot ask
//! a process that has ended, so it tells them in its log.

use crate::gateway::Shared;

/// Writes a line for each app that was ever called.
pub(super) fn tell(shared: &Shared) {
    for (app, used) in shared.routes.usage() {
        tracing::info!(
            organization = app.organization.as_str(),
            app = app.name.as_str(),
            invocations = used.invocations,
            milliseconds = used.milliseconds,
            request_bytes = used.bytes_in,
            response_bytes = used.bytes_out,
            "usage until the end"
        );
    }
}

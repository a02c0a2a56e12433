//! `[tracing]`: where spans go.

use std::time::Duration;

use http::Uri;

use super::problem::Report;
use super::section::{Given, Section};
use super::value::{self, Wrong, found};
use crate::config::traces::{Parent, Protocol, Sampling, Traces};

const EXAMPLE: &str = "write e.g. \"http://127.0.0.1:4317\"";

/// Reads the section.
pub(super) fn read(section: &Section<'_>, report: &mut Report) -> Traces {
    let default = Traces::default();
    let protocols = [("grpc", Protocol::Grpc), ("http", Protocol::Http)];
    let parents = [("trusted", Parent::Trusted), ("all", Parent::All)];
    let protocol = section.read("protocol", report, |given| value::choice(given, &protocols));
    let share = section.read("sample", report, value::share);
    let parent = section.read("parent", report, |given| value::choice(given, &parents));
    let queue = section.read("queue", report, |given| value::count(given, &(1..=1_000_000)));
    Traces {
        endpoint: section.read("endpoint", report, endpoint).flatten(),
        protocol: protocol.unwrap_or(default.protocol),
        sampling: Sampling {
            share: share.unwrap_or(default.sampling.share),
            parent: parent.unwrap_or(default.sampling.parent),
        },
        timeout: section.read("timeout", report, timeout).unwrap_or(default.timeout),
        queue: queue.unwrap_or(default.queue),
    }
}

/// The address of a collector, or none.
fn endpoint(given: &Given<'_>) -> Result<Option<Uri>, Wrong> {
    let text = value::text(given, "an address such as \"http://127.0.0.1:4317\"")?;
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |what: &str| format!("{} {what}; {EXAMPLE}", found(given.value));
    let uri: Uri = text.parse().map_err(|_| wrong("is no URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong("begins with neither http:// nor https://"));
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err(wrong("holds a user name, which is not sent"));
    }
    if uri.query().is_some() {
        return Err(wrong("has a query, which no collector asks for"));
    }
    Ok(Some(uri))
}

fn timeout(given: &Given<'_>) -> Result<Duration, Wrong> {
    const RANGE: std::ops::RangeInclusive<Duration> =
        Duration::from_millis(100)..=Duration::from_secs(60);
    match value::duration(given)? {
        timeout if RANGE.contains(&timeout) => Ok(timeout),
        _ => Err(format!("{} is out of range; give 100ms to 1m", found(given.value))),
    }
}

//! `[rate_limit]`, an app's `rate_limit`, `[overload]`, `limits.app_in_flight` and
//! `limits.memory`: how much is taken of whom.

use std::time::Duration;

use toml::de::DeValue;

use super::problem::Report;
use super::section::{Given, Section};
use super::value::{self, MIB, Wrong, found};
use crate::config::load::{AppInFlight, ClientRateLimit, MemoryLimit, Overload, RateLimit};

const RATE: &str = "100";

/// Reads the rate of each client; `None` without one.
pub(super) fn client_rate_limit(
    section: &Section<'_>,
    report: &mut Report,
) -> Option<ClientRateLimit> {
    let requests = section.read("requests", report, |given| count(given, 0));
    let clients =
        section.read("clients", report, |given| value::count(given, &(1024..=16_777_216)));
    let rate = rate(section, requests.unwrap_or(0), report)?;
    Some(ClientRateLimit { rate, clients: clients.unwrap_or(ClientRateLimit::CLIENTS) })
}

/// Reads the rate of an app; `None` without one.
pub(super) fn app_rate_limit(app: &Section<'_>, report: &mut Report) -> Option<RateLimit> {
    let given = app.given("rate_limit", report)?;
    let section = app.open("app.rate_limit", &given, report)?;
    let requests = section.required("requests", RATE, report, |given| count(given, 1));
    rate(&section, requests.unwrap_or(0), report)
}

/// Reads what both have in common; `None` when no requests are given, which means no limit.
fn rate(section: &Section<'_>, requests: u32, report: &mut Report) -> Option<RateLimit> {
    let per = section.read("per", report, value::duration).unwrap_or(RateLimit::PER);
    let burst = section.read("burst", report, |given| count(given, 0)).unwrap_or(0);
    if requests == 0 {
        if let Some(given) = section.given("burst", report).filter(|_| burst > 0) {
            report.warn(&given, "without effect, because `requests` is 0 or missing");
        }
        return None;
    }
    Some(RateLimit { requests, per, burst: if burst == 0 { requests } else { burst } })
}

fn count(given: &Given<'_>, least: u32) -> Result<u32, Wrong> {
    value::count(given, &(least..=RateLimit::MOST))
}

/// Reads `[overload]`.
pub(super) fn overload(section: &Section<'_>, report: &mut Report) -> Overload {
    let default = Overload::default();
    let target_lag = section.read("target_lag", report, lag).unwrap_or(default.target_lag);
    Overload { target_lag }
}

/// Less than the least cannot be told from the timer's own millisecond and a scheduler's slices.
fn lag(given: &Given<'_>) -> Result<Duration, Wrong> {
    const RANGE: std::ops::RangeInclusive<Duration> =
        Duration::from_millis(5)..=Duration::from_secs(10);
    match value::duration_or_zero(given)? {
        lag if lag.is_zero() || RANGE.contains(&lag) => Ok(lag),
        _ => Err(format!("{} is out of range; give 5ms to 10s, or 0s", found(given.value))),
    }
}

/// Reads `limits.app_in_flight`.
pub(super) fn app_in_flight(limits: &Section<'_>, report: &mut Report) -> Option<AppInFlight> {
    limits.read("app_in_flight", report, |given| match given.value {
        DeValue::String(text) if text.as_ref() == "auto" => Ok(AppInFlight::Auto),
        _ => value::count(given, &(0..=1_000_000_000)).map(AppInFlight::Requests),
    })
}

/// Reads `limits.memory`.
pub(super) fn memory(limits: &Section<'_>, report: &mut Report) -> Option<MemoryLimit> {
    limits.read("memory", report, |given| match given.value {
        DeValue::String(text) if text.as_ref() == "auto" => Ok(MemoryLimit::Auto),
        _ => value::size(given, &(0..=MIB << 30)).map(MemoryLimit::Bytes),
    })
}

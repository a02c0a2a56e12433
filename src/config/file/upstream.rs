//! Ejection and retries.

use super::{Report, Section, value};
use crate::config::{OutlierEjection, Retries};

pub(super) fn outlier_ejection(section: &Section<'_>, report: &mut Report) -> OutlierEjection {
    let default = OutlierEjection::default();
    let mut count = |key, default, range| {
        section.read(key, report, |given| value::count(given, &range)).unwrap_or(default)
    };
    let consecutive_failures =
        count("consecutive_failures", default.consecutive_failures, 0..=1_000_000);
    let consecutive_5xx = count("consecutive_5xx", default.consecutive_5xx, 0..=1_000_000);
    let max_percent = count("max_percent", default.max_percent, 0..=100);
    let mut time = |key, default| section.read(key, report, value::duration).unwrap_or(default);
    let base_time = time("base_time", default.base_time);
    let max_time = time("max_time", default.max_time);
    if max_time < base_time {
        // Whichever was typed; both defaults together are good.
        let given =
            section.given("max_time", report).or_else(|| section.given("base_time", report));
        if let Some(given) = given {
            report.wrong(
                &given,
                "max_time is shorter than base_time; lengthen it, or shorten the other",
            );
        }
    }
    OutlierEjection { consecutive_failures, consecutive_5xx, base_time, max_time, max_percent }
}

pub(super) fn retries(section: &Section<'_>, report: &mut Report) -> Retries {
    let default = Retries::default();
    let mut count = |key, default, range| {
        section.read(key, report, |given| value::count(given, &range)).unwrap_or(default)
    };
    Retries {
        max: count("max", default.max, 0..=10),
        budget_percent: count("budget_percent", default.budget_percent, 0..=100),
        min_per_second: count("min_per_second", default.min_per_second, 0..=1_000_000),
    }
}

//! The time of day in a log line, RFC 3339 in UTC, without asking for it: the
//! clock that requests are timed by is compared with the calendar once a second.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::Instant;

/// How long a comparison is good: a clock that is set is followed soon.
const GOOD: Duration = Duration::from_secs(1);

/// One worker's calendar.
#[derive(Debug)]
pub(super) struct Timestamps {
    compared: Instant,
    /// The time since 1970 then.
    calendar: Duration,
    /// The second of which the text is.
    second: u64,
    /// `2026-11-30T23:04:05`.
    text: String,
}

impl Timestamps {
    pub(super) fn new() -> Self {
        let mut new = Self {
            compared: Instant::now(),
            calendar: Duration::ZERO,
            second: u64::MAX,
            text: String::new(),
        };
        new.compare();
        new
    }

    /// Writes a moment not long ago, to the microsecond.
    pub(super) fn write(&mut self, moment: Instant, out: &mut Vec<u8>) {
        if moment.saturating_duration_since(self.compared) >= GOOD {
            self.compare();
        }
        let since = self.compared.saturating_duration_since(moment);
        let time = if since.is_zero() {
            self.calendar + moment.saturating_duration_since(self.compared)
        } else {
            self.calendar.saturating_sub(since)
        };
        if time.as_secs() != self.second {
            self.second = time.as_secs();
            self.text = text_of(self.second);
        }
        out.extend_from_slice(self.text.as_bytes());
        let micros = time.subsec_micros();
        let digit = |unit| b'0' + u8::try_from(micros / unit % 10).unwrap_or_default();
        let digits = [100_000, 10_000, 1_000, 100, 10, 1].map(digit);
        out.push(b'.');
        out.extend_from_slice(&digits);
        out.push(b'Z');
    }

    fn compare(&mut self) {
        self.compared = Instant::now();
        self.calendar = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    }
}

fn text_of(second: u64) -> String {
    let second = i64::try_from(second).unwrap_or_default();
    let mut text = jiff::Timestamp::from_second(second).unwrap_or_default().to_string();
    text.truncate(text.trim_end_matches('Z').len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_to_the_microsecond_and_seconds_carry() {
        let mut stamps = Timestamps::new();
        stamps.calendar = Duration::new(1_796_083_199, 999_999_000);
        let mut text = |after: Duration| {
            let mut out = Vec::new();
            stamps.write(stamps.compared + after, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(text(Duration::ZERO), "2026-11-30T23:59:59.999999Z");
        assert_eq!(text(Duration::from_micros(1)), "2026-12-01T00:00:00.000000Z");
        assert_eq!(text(Duration::from_micros(12_346)), "2026-12-01T00:00:00.012345Z");
    }

    #[test]
    fn a_moment_before_the_last_comparison_is_told_right() {
        let mut stamps = Timestamps::new();
        stamps.calendar = Duration::from_secs(1_796_083_200);
        let moment = stamps.compared.checked_sub(Duration::from_millis(1));
        let mut out = Vec::new();
        stamps.write(moment.unwrap_or(stamps.compared), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "2026-11-30T23:59:59.999000Z");
    }
}

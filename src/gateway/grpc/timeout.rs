//! `grpc-timeout`: how long a caller waits for the whole of its call.

use std::time::Duration;

use crate::fields::Fields;

/// The most digits of a value.
const DIGITS: usize = 8;
/// What is longer bounds nothing; its end must still fit every clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The caller's timeout.
///
/// What is malformed is left alone, as if it were missing: the protocol asks for no answer to it,
/// the field reaches the app as it came, and libraries differ in what they make of it.
pub(super) fn of(fields: &Fields) -> Option<Duration> {
    let mut values = fields.named(b"grpc-timeout");
    let value = values.next().filter(|_| values.next().is_none())?;
    parsed(value)
}

/// A positive number of at most eight digits, then its unit.
fn parsed(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.len() > DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = str::from_utf8(digits).ok()?.parse().ok().filter(|number| *number > 0)?;
    let timeout = match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    };
    Some(timeout.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Builder;

    #[test]
    fn every_unit_is_understood() {
        for (value, timeout) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("00000004m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("99999999n", Duration::from_nanos(99_999_999)),
            ("99999999H", LONGEST),
        ] {
            assert_eq!(parsed(value.as_bytes()), Some(timeout), "{value}");
        }
    }

    #[test]
    fn what_is_malformed_is_no_timeout() {
        for value in
            ["", "S", "1", "1s", "1 S", "-1S", "+1S", "1.5S", "0S", "123456789S", "1SS", "١S"]
        {
            assert_eq!(parsed(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn two_timeouts_are_none() {
        let mut builder = Builder::new();
        builder.push(b"grpc-timeout", b"1S");
        builder.push(b"grpc-timeout", b"2S");
        assert_eq!(of(&builder.finish().0), None);
    }
}

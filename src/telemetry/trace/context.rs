//! A place in a trace, as W3C Trace Context writes it: strictly read, and always
//! written anew.

use std::fmt;

/// The length of a `traceparent` of version 00.
pub const LENGTH: usize = 55;

/// The trace is recorded.
const SAMPLED: u8 = 1;
/// The trace's id is random where samplers look, W3C Trace Context level 2.
const RANDOM: u8 = 2;

/// The id of a whole trace; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(u128);

/// The id of a span; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId(u64);

/// A span of a trace, for whoever comes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    flags: u8,
}

impl TraceId {
    /// The id as it is sent in OTLP.
    pub fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl SpanId {
    /// An id of random bits.
    pub fn of(random: u64) -> Self {
        // Zero means none.
        Self(random.max(1))
    }

    /// The id as it is sent in OTLP.
    pub fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Context {
    /// The first span of a trace whose id is random in its last 56 bits.
    pub fn begin(trace_id: u128, span_id: SpanId, sampled: bool) -> Self {
        let flags = RANDOM | if sampled { SAMPLED } else { 0 };
        Self { trace_id: TraceId(trace_id.max(1)), span_id, flags }
    }

    /// A span of the same trace.
    #[must_use]
    pub fn continued(self, span_id: SpanId, sampled: bool) -> Self {
        // What other flags may mean one day is not for this span to say.
        let flags = (self.flags & RANDOM) | if sampled { SAMPLED } else { 0 };
        Self { span_id, flags, ..self }
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The flags as they are sent.
    pub fn flags(self) -> u8 {
        self.flags
    }

    /// Reads a `traceparent`; `None` where it is malformed, W3C Trace Context section 3.2.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (known, rest) = text.split_at_checked(LENGTH)?;
        let mut parts = known.split(|byte| *byte == b'-');
        let mut part = |length: usize| parts.next().filter(|part| part.len() == length);
        let version = hex(part(2)?)?;
        let (trace_id, span_id) = (hex(part(32)?)?, hex(part(16)?)?);
        let flags = hex(part(2)?)?;
        // A later version may go on after a dash; 255 is none.
        let whole = match version {
            0 => rest.is_empty(),
            255 => false,
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        if !whole || trace_id == 0 || span_id == 0 {
            return None;
        }
        Some(Self {
            trace_id: TraceId(trace_id),
            span_id: SpanId(u64::try_from(span_id).ok()?),
            flags: u8::try_from(flags).ok()?,
        })
    }

    /// The `traceparent` of what comes after this span, in version 00.
    pub fn text(self) -> [u8; LENGTH] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let mut put = |start: usize, bytes: &[u8]| {
            let places = text.get_mut(start..).unwrap_or_default();
            for (place, byte) in places.chunks_exact_mut(2).zip(bytes) {
                place.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
        };
        put(3, &self.trace_id.bytes());
        put(36, &self.span_id.bytes());
        put(53, &[self.flags]);
        text
    }
}

fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

/// A number in lower-case hexadecimal digits.
fn hex(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0, |number: u128, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written_alike() {
        let context = Context::parse(GOOD.as_bytes()).expect("a context");
        assert_eq!(context.trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id.to_string(), "00f067aa0ba902b7");
        assert!(context.is_sampled());
        assert_eq!(context.text(), GOOD.as_bytes());
        let next = context.continued(SpanId::of(0xab), false);
        assert_eq!(&next.text(), b"00-4bf92f3577b34da6a3ce929d0e0e4736-00000000000000ab-00");
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for text in [
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(Context::parse(text.as_bytes()).is_some_and(Context::is_sampled), "{text}");
        }
    }

    #[test]
    fn whatever_else_is_no_traceparent() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
            "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
        ] {
            assert_eq!(Context::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn flags_that_nobody_defined_are_not_passed_on() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff";
        let context = Context::parse(text.as_bytes()).expect("a context");
        assert_eq!(context.continued(SpanId::of(1), true).flags(), 3);
        assert_eq!(
            Context::begin(7, SpanId::of(0), false).text(),
            *b"00-00000000000000000000000000000007-0000000000000001-02"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_it_takes_it_writes(text in "[0-9a-fA-F-]{0,60}") {
            if let Some(context) = Context::parse(text.as_bytes()) {
                assert_eq!(Context::parse(&context.text()), Some(context));
            }
        }
    }
}

//! The field names that an encoder knows: which index the static table has for
//! them, and whether their values repeat.
//!
//! A value that is another one in each message would only push out of the table
//! what repeats. A secret must not come into it at all: whoever can add fields
//! and see how long a message is could guess it, RFC 7541 section 7.1.

use super::table::STATIC;

/// How a field is written that is not in the static table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Through the dynamic table. `Date` too: on a connection in use many messages have the same.
    Indexed,
    /// As a literal.
    Literal,
    /// As a literal that nobody on the way may index.
    NeverIndexed,
}

/// What is known of a name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// In lower case.
    pub(super) name: &'static [u8],
    /// The first index in the static table, 0 if there is none.
    pub(super) index: usize,
    /// How many entries of the static table have it.
    pub(super) alike: usize,
    /// How its values are written.
    pub(super) form: Form,
}

/// Values that differ from message to message, or at least from resource to resource.
const CHANGING: [&[u8]; 21] = [
    b":path",
    b"age",
    b"content-length",
    b"content-range",
    b"etag",
    b"expires",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"last-modified",
    b"location",
    b"range",
    b"grpc-message",
    b"grpc-timeout",
    b"server-timing",
    b"traceparent",
    b"tracestate",
    // Callers share a connection to their app.
    b"x-forwarded-for",
    b"x-correlation-id",
    b"x-ignite-execution-id",
    b"x-request-id",
];

/// RFC 7541 section 7.1.3, and what is commonly used as a key.
const SECRET: [&[u8]; 7] = [
    b"authorization",
    b"cookie",
    b"proxy-authorization",
    b"set-cookie",
    b"x-api-key",
    b"x-auth-token",
    b"x-csrf-token",
];

/// Finds a name, any case.
pub(super) fn find(name: &[u8]) -> Option<&'static Known> {
    let known = KNOWN.get(usize::from(*SLOTS.get(slot(name)?)?))?;
    // Most names are in lower case, and equality compares whole words.
    (known.name == name || known.name.eq_ignore_ascii_case(name)).then_some(known)
}

/// 52 names of the static table, and those above which it does not have.
const COUNT: usize = 64;

static KNOWN: [Known; COUNT] = known();
/// The place in [`KNOWN`] of the only name that may stand in a slot; 255 for none.
static SLOTS: [u8; 256] = slots();

/// A perfect hash of the known names: no two have one slot, which [`slots`] proves.
const fn slot(name: &[u8]) -> Option<usize> {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return None };
    #[allow(clippy::indexing_slicing, reason = "a third of a length above zero is below it")]
    let third = name[name.len() / 3];
    let [length, ..] = name.len().to_le_bytes();
    let key = u32::from_le_bytes([*first | 0x20, third | 0x20, *last | 0x20, length]);
    Some((key.wrapping_mul(0xcc19_1981) >> 24) as usize)
}

#[allow(clippy::indexing_slicing, reason = "runs when compiled")]
const fn known() -> [Known; COUNT] {
    let mut known = [Known { name: b"", index: 0, alike: 0, form: Form::Indexed }; COUNT];
    let mut count = 0;
    let mut at = 0;
    while at < STATIC.len() + CHANGING.len() + SECRET.len() {
        let name = match at.checked_sub(STATIC.len()) {
            None => STATIC[at].0,
            Some(at) if at < CHANGING.len() => CHANGING[at],
            Some(at) => SECRET[at - CHANGING.len()],
        };
        let is_static = at < STATIC.len();
        if count > 0 && known[count - 1].name.eq_ignore_ascii_case(name) {
            known[count - 1].alike += 1;
        } else if is_static || !contains(&known, name) {
            let (index, alike) = if is_static { (at + 1, 1) } else { (0, 0) };
            known[count] = Known { name, index, alike, form: form(name) };
            count += 1;
        }
        at += 1;
    }
    assert!(count == COUNT);
    known
}

#[allow(clippy::indexing_slicing, reason = "runs when compiled")]
const fn contains(known: &[Known], name: &[u8]) -> bool {
    let mut at = 0;
    while at < known.len() {
        if known[at].name.eq_ignore_ascii_case(name) {
            return true;
        }
        at += 1;
    }
    false
}

const fn form(name: &[u8]) -> Form {
    if lists(&SECRET, name) {
        Form::NeverIndexed
    } else if lists(&CHANGING, name) {
        Form::Literal
    } else {
        Form::Indexed
    }
}

#[allow(clippy::indexing_slicing, reason = "runs when compiled")]
const fn lists(names: &[&[u8]], name: &[u8]) -> bool {
    let mut at = 0;
    while at < names.len() {
        if names[at].eq_ignore_ascii_case(name) {
            return true;
        }
        at += 1;
    }
    false
}

#[allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "runs when compiled")]
const fn slots() -> [u8; 256] {
    let mut slots = [u8::MAX; 256];
    let known = known();
    let mut at = 0;
    while at < COUNT {
        if let Some(slot) = slot(known[at].name) {
            assert!(slots[slot] == u8::MAX, "two names have one slot: choose another factor");
            slots[slot] = at as u8;
        }
        at += 1;
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_with_its_first_index() {
        for known in &KNOWN {
            for name in [known.name.to_vec(), known.name.to_ascii_uppercase()] {
                let found = find(&name).expect("known");
                assert_eq!((found.name, found.index), (known.name, known.index));
            }
        }
        for (at, (name, _)) in STATIC.iter().enumerate() {
            let first = STATIC.iter().position(|(other, _)| other == name);
            assert_eq!(find(name).map(|known| known.index), first.map(|first| first + 1), "{at}");
        }
    }

    #[test]
    fn secrets_and_values_that_change_have_their_form() {
        let form = |name: &[u8]| find(name).map(|known| known.form);
        assert!(SECRET.iter().all(|name| form(name) == Some(Form::NeverIndexed)));
        assert!(CHANGING.iter().all(|name| form(name) == Some(Form::Literal)));
        assert_eq!(form(b"Content-Type"), Some(Form::Indexed));
    }

    #[test]
    fn other_names_are_not_taken_for_known_ones() {
        let mut others: Vec<Vec<u8>> = vec![b"".to_vec(), b"x".to_vec(), vec![b'c'; 300]];
        for known in &KNOWN {
            // The same but for a byte that the hash does not see, or one that it sees in part.
            let mut other = known.name.to_vec();
            other[0] ^= 0x80;
            others.push(other);
            let mut other = known.name.to_vec();
            other[1] = b'~';
            others.push(other);
        }
        assert!(others.iter().all(|name| find(name).is_none()));
    }
}

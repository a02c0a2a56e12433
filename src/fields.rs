//! Header and trailer fields as they came: every line, in order, byte for byte.
//!
//! A map would merge, reorder and lower-case; what the gateway does not change
//! must leave as it came. The lines stay in the buffer that they were read
//! into, a field is four offsets and what is [`Known`] about its name, decided
//! once when it is parsed. What the gateway adds stands in a text beside it, as
//! it will be written.

use std::borrow::Borrow;

use bytes::Bytes;
use http::HeaderValue;

mod build;
mod known;
mod write;

pub use build::Builder;
pub use known::{Known, fold_equals_prefix};

/// The fields of one message section.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    text: Bytes,
    /// Those that came, then those added.
    lines: Vec<Line>,
    /// The added ones' text: `name: value` and a line end each.
    added: Vec<u8>,
}

/// What the gateway adds to a message takes about as much, and as many lines.
const ADDED: usize = 512;
const ADDED_LINES: usize = 10;

/// Offsets into its text; a section is at most 1 MiB, so 32 bits are enough.
#[derive(Debug, Clone, Copy)]
struct Line {
    name: Span,
    value: Span,
    known: Known,
    added: bool,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    length: u32,
}

/// One field line.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// The name as it came, any case.
    pub name: &'a [u8],
    /// The value without the white space around it.
    pub value: &'a [u8],
    /// What the gateway knows of the name.
    pub known: Known,
}

impl Fields {
    /// No fields yet, in lines of `text`.
    pub fn of_text(text: Bytes, lines: usize) -> Self {
        Self { text, lines: Vec::with_capacity(lines + ADDED_LINES), added: Vec::new() }
    }

    /// Adds a line whose name and value are parts of this section's text.
    ///
    /// Parts that lie elsewhere are left out: an offset is never trusted.
    pub fn push_line(&mut self, name: &[u8], value: &[u8]) {
        if let (Some(name_at), Some(value_at)) = (self.span(name), self.span(value)) {
            let known = Known::of(name);
            self.lines.push(Line { name: name_at, value: value_at, known, added: false });
        }
    }

    /// Adds a field of the gateway's own, after all lines that came.
    pub fn add(&mut self, name: &'static str, value: impl Borrow<HeaderValue>) {
        self.begin_adding();
        put(&mut self.lines, &mut self.added, name, value.borrow().as_bytes());
    }

    /// Adds a field of the gateway's own with the value that the first line with a known name has,
    /// if there is one.
    pub fn add_same(&mut self, name: &'static str, known: Known) {
        let Some(line) = self.lines.iter().find(|line| line.known == known) else { return };
        let value = line.value;
        self.begin_adding();
        put(&mut self.lines, &mut self.added, name, slice(&self.text, value));
    }

    /// Changes the value of a field of the gateway's own into another of the same length.
    pub fn change_added(&mut self, name: &str, value: &[u8]) {
        let added = &self.added;
        let named = |line: &&Line| line.added && slice(added, line.name) == name.as_bytes();
        let Some(line) = self.lines.iter().find(named).copied() else { return };
        let start = line.value.start as usize;
        let place = self.added.get_mut(start..start + line.value.length as usize);
        if let Some(place) = place.filter(|place| place.len() == value.len()) {
            place.copy_from_slice(value);
        }
    }

    fn begin_adding(&mut self) {
        if self.added.capacity() == 0 {
            self.added.reserve(ADDED);
            self.lines.reserve(ADDED_LINES);
        }
    }

    /// Every line that came and was kept, then every field added.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.lines.iter().map(|line| {
            let text = if line.added { &self.added[..] } else { &self.text };
            Field {
                name: slice(text, line.name),
                value: slice(text, line.value),
                known: line.known,
            }
        })
    }

    /// The values of the lines that came with a known name, in order.
    pub fn known(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().filter(move |line| line.known == known).map(|line| self.slice(line.value))
    }

    /// The values of the lines that came with a name, given in lower case, in order.
    pub fn named(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        let named =
            move |line: &&Line| !line.added && self.slice(line.name).eq_ignore_ascii_case(name);
        self.lines.iter().filter(named).map(|line| self.slice(line.value))
    }

    /// Whether a line with this known name came.
    pub fn has(&self, known: Known) -> bool {
        self.lines.iter().any(|line| line.known == known)
    }

    /// The only line with this known name; `None` if there is none or more than one.
    pub fn only(&self, known: Known) -> Option<&[u8]> {
        let mut values = self.known(known);
        values.next().filter(|_| values.next().is_none())
    }

    /// The value of the first line with this known name, sharing the section's text.
    pub fn shared(&self, known: Known) -> Option<Bytes> {
        let line = self.lines.iter().find(|line| line.known == known)?;
        let start = line.value.start as usize;
        Some(self.text.slice(start..start + line.value.length as usize))
    }

    /// Keeps the lines for which `keep` says so, in order. Added fields stay.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let text = &self.text;
        self.lines.retain(|line| {
            line.added
                || keep(Field {
                    name: slice(text, line.name),
                    value: slice(text, line.value),
                    known: line.known,
                })
        });
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn span(&self, part: &[u8]) -> Option<Span> {
        let start = part.as_ptr().addr().checked_sub(self.text.as_ptr().addr())?;
        if part.is_empty() {
            return Some(Span { start: 0, length: 0 });
        }
        if start.checked_add(part.len())? > self.text.len() {
            return None;
        }
        Some(Span { start: u32::try_from(start).ok()?, length: u32::try_from(part.len()).ok()? })
    }

    fn slice(&self, span: Span) -> &[u8] {
        slice(&self.text, span)
    }
}

/// Appends a field to the text of the added ones.
fn put(lines: &mut Vec<Line>, text: &mut Vec<u8>, name: &str, value: &[u8]) {
    let mut part = |part: &[u8], end: &[u8]| {
        let start = text.len();
        text.extend_from_slice(part);
        text.extend_from_slice(end);
        Some(Span { start: u32::try_from(start).ok()?, length: u32::try_from(part.len()).ok()? })
    };
    let (name, value) = (part(name.as_bytes(), b": "), part(value, b"\r\n"));
    // What the gateway says of a message never comes near 4 GiB.
    if let (Some(name), Some(value)) = (name, value) {
        lines.push(Line { name, value, known: Known::Other, added: true });
    }
}

fn slice(text: &[u8], span: Span) -> &[u8] {
    let start = span.start as usize;
    text.get(start..start + span.length as usize).unwrap_or_default()
}

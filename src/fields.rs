//! Header and trailer fields as they came: every line, in order, byte for byte.
//!
//! A map would merge, reorder and lower-case; what the gateway does not change
//! must leave as it came. The lines stay in the buffer that they were read
//! into, a field is four offsets and what is [`Known`] about its name, decided
//! once when it is parsed. What the gateway adds stands beside them.

use bytes::Bytes;
use http::HeaderValue;

mod build;
mod known;

pub use build::Builder;
pub use known::{Known, fold_equals_prefix};

/// The fields of one message section.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    text: Bytes,
    lines: Vec<Line>,
    added: Vec<(&'static str, HeaderValue)>,
}

/// Offsets into the text; a section is at most 1 MiB, so 32 bits are enough.
#[derive(Debug, Clone, Copy)]
struct Line {
    name: Span,
    value: Span,
    known: Known,
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
        Self { text, lines: Vec::with_capacity(lines), added: Vec::new() }
    }

    /// Adds a line whose name and value are parts of this section's text.
    ///
    /// Parts that lie elsewhere are left out: an offset is never trusted.
    pub fn push_line(&mut self, name: &[u8], value: &[u8]) {
        if let (Some(name_at), Some(value_at)) = (self.span(name), self.span(value)) {
            self.lines.push(Line { name: name_at, value: value_at, known: Known::of(name) });
        }
    }

    /// Adds a field of the gateway's own, after all lines that came.
    pub fn add(&mut self, name: &'static str, value: HeaderValue) {
        if self.added.capacity() == 0 {
            self.added.reserve(10);
        }
        self.added.push((name, value));
    }

    /// Every line that came and was kept, then every field added.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        let came = self.lines.iter().map(|line| Field {
            name: self.slice(line.name),
            value: self.slice(line.value),
            known: line.known,
        });
        let added = self.added.iter().map(|(name, value)| Field {
            name: name.as_bytes(),
            value: value.as_bytes(),
            known: Known::Other,
        });
        came.chain(added)
    }

    /// The values of the lines that came with a known name, in order.
    pub fn known(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().filter(move |line| line.known == known).map(|line| self.slice(line.value))
    }

    /// The values of the lines that came with a name, given in lower case, in order.
    pub fn named(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        let named = move |line: &&Line| self.slice(line.name).eq_ignore_ascii_case(name);
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
            keep(Field {
                name: slice(text, line.name),
                value: slice(text, line.value),
                known: line.known,
            })
        });
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.lines.len() + self.added.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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

fn slice(text: &[u8], span: Span) -> &[u8] {
    let start = span.start as usize;
    text.get(start..start + span.length as usize).unwrap_or_default()
}

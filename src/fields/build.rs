//! A section made of parts that come one by one, as a compressed one does.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::{Fields, Known, Line, Span};

/// Room for most sections, so that they grow into one allocation.
const TEXT: usize = 768;
const LINES: usize = 16;

/// Fields under construction.
#[derive(Debug)]
pub struct Builder {
    text: BytesMut,
    lines: Vec<Line>,
}

impl Builder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { text: BytesMut::with_capacity(TEXT), lines: Vec::with_capacity(LINES) }
    }

    /// Adds text that belongs to no field; where it lies is told.
    pub fn put(&mut self, part: &[u8]) -> Range<usize> {
        let start = self.text.len();
        self.text.extend_from_slice(part);
        start..self.text.len()
    }

    /// Adds a field.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let known = Known::of(name);
        let (name, value) = (self.put(name), self.put(value));
        // A section is far below 4 GiB: whoever builds one bounds it.
        if let (Some(name), Some(value)) = (span(&name), span(&value)) {
            self.lines.push(Line { name, value, known, added: false });
        }
    }

    /// The value of the first field with this known name.
    pub fn first(&self, known: Known) -> Option<&[u8]> {
        let line = self.lines.iter().find(|line| line.known == known)?;
        Some(super::slice(&self.text, line.value))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Makes one field of several with the name `name`, their values joined by `separator`, in
    /// the place of the first.
    pub fn join(&mut self, name: &[u8], separator: &[u8]) {
        let text = &self.text;
        let is_named = |line: &Line| super::slice(text, line.name) == name;
        if self.lines.iter().filter(|line| is_named(line)).count() < 2 {
            return;
        }
        let values: Vec<&[u8]> = self
            .lines
            .iter()
            .filter(|line| is_named(line))
            .map(|line| super::slice(text, line.value))
            .collect();
        let joined = values.join(separator);
        let first = self.lines.iter().position(is_named);
        let mut index = 0;
        self.lines.retain(|line| {
            let keep = Some(index) == first || super::slice(text, line.name) != name;
            index += 1;
            keep
        });
        let value = span(&self.put(&joined));
        if let (Some(value), Some(line)) =
            (value, first.and_then(|first| self.lines.get_mut(first)))
        {
            line.value = value;
        }
    }

    /// The fields, and the text that all parts lie in.
    pub fn finish(self) -> (Fields, Bytes) {
        let text = self.text.freeze();
        (Fields { text: text.clone(), lines: self.lines, added: Vec::new() }, text)
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

fn span(range: &Range<usize>) -> Option<Span> {
    Some(Span { start: u32::try_from(range.start).ok()?, length: u32::try_from(range.len()).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_of_one_name_become_one_in_the_place_of_the_first() {
        let mut builder = Builder::new();
        for (name, value) in [("a", "1"), ("cookie", "x=1"), ("b", "2"), ("cookie", "y=2")] {
            builder.push(name.as_bytes(), value.as_bytes());
        }
        builder.join(b"cookie", b"; ");
        let (fields, _) = builder.finish();
        let lines: Vec<_> = fields
            .iter()
            .map(|field| (field.name.escape_ascii().to_string(), field.value.to_vec()))
            .collect();
        let wanted = [("a", "1"), ("cookie", "x=1; y=2"), ("b", "2")];
        assert_eq!(lines, wanted.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
    }
}

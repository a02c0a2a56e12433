//! The static table and the dynamic one, RFC 7541 sections 2.3 and 4.
//!
//! The dynamic table keeps its text in one buffer, entry behind entry: a name or
//! a value is one slice, and an entry costs no allocation of its own. What was
//! evicted is overwritten by moving the rest down, once for every half of the
//! buffer, so a byte is moved once on average.

use std::collections::VecDeque;
use std::fmt;

use super::HpackError;

/// What an entry counts beside its name and value, RFC 7541 section 4.1.
pub(super) const OVERHEAD: usize = 32;

/// The fields of a connection, numbered as on the wire.
#[derive(Default)]
pub(super) struct Table {
    text: Vec<u8>,
    /// The newest first.
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
}

struct Entry {
    start: usize,
    name: u32,
    value: u32,
}

impl Table {
    /// An empty table. It holds no memory before its first entry.
    pub(super) fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    /// The name and value with an index.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Result<(&[u8], &[u8]), HpackError> {
        match STATIC.get(index.wrapping_sub(1)) {
            Some((name, value)) => Ok((name, value)),
            None => index.checked_sub(FIRST).and_then(|age| self.entry(age)).ok_or(HpackError),
        }
    }

    /// The entry before which `age` others were inserted.
    #[inline]
    pub(super) fn entry(&self, age: usize) -> Option<(&[u8], &[u8])> {
        let entry = self.entries.get(age)?;
        let (name, rest) = self.text.get(entry.start..)?.split_at_checked(entry.name as usize)?;
        Some((name, rest.get(..entry.value as usize)?))
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What the entries may count.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Changes what the entries may count.
    pub(super) fn resize(&mut self, max: usize) {
        self.max = max;
        self.evict_to(max);
    }

    /// Inserts an entry, RFC 7541 section 4.4.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + OVERHEAD;
        // One that is too large empties the table.
        self.evict_to(self.max.saturating_sub(size));
        let lengths = (u32::try_from(name.len()), u32::try_from(value.len()));
        let (true, (Ok(name_length), Ok(value_length))) = (size <= self.max, lengths) else {
            return;
        };
        self.make_room(name.len() + value.len());
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.entries.push_front(Entry { start, name: name_length, value: value_length });
        self.size += size;
    }

    fn evict_to(&mut self, most: usize) {
        while self.size > most
            && let Some(entry) = self.entries.pop_back()
        {
            self.size -= entry.name as usize + entry.value as usize + OVERHEAD;
        }
        if self.entries.is_empty() {
            self.text.clear();
        }
        if self.max == 0 {
            self.text = Vec::new();
            self.entries = VecDeque::new();
        }
    }

    /// Makes room for more text: moves what is left down if that frees half of the buffer, or else
    /// doubles it. Since entries leave before another one comes, it stays below twice the table.
    fn make_room(&mut self, more: usize) {
        let free = self.text.capacity() - self.text.len();
        if more <= free {
            return;
        }
        let dead = self.entries.back().map_or(0, |oldest| oldest.start);
        if dead + free >= more && dead >= self.text.capacity() / 2 {
            self.text.drain(..dead);
            for entry in &mut self.entries {
                entry.start -= dead;
            }
        } else {
            let needed = (self.text.len() + more).next_power_of_two().max(SMALLEST);
            self.text.reserve_exact(needed - self.text.len());
        }
    }
}

/// What a first entry allocates for the text: the fields of one message.
const SMALLEST: usize = 512;

impl fmt::Debug for Table {
    /// Without the fields: what they say is none of a log's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("entries", &self.entries.len())
            .field("size", &self.size)
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

/// The index of the newest entry.
pub(super) const FIRST: usize = STATIC.len() + 1;

/// RFC 7541 appendix A; the first has the index 1.
pub(super) static STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

#[cfg(test)]
mod tests;

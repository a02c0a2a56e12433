//! An app's output: cut into lines, handed to a sink, shown to a person.
//!
//! An app may print anything. Memory is bounded whatever it prints, and nothing
//! that it prints moves the cursor, sets a title or answers a query in the
//! terminal: only tabs and colours pass.

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A longer line is shown in pieces of this many bytes.
const MAX_LINE: usize = 64 << 10;
const RESET: &str = "\x1b[0m";

/// Where an app printed a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Takes every line, without its end and not yet made harmless. Called on the
/// runtime: it must not block for long.
pub type Sink = Arc<dyn Fn(Stream, &str) + Send + Sync>;

/// The usual sink: each line to the gateway's own output or error output, behind
/// the app's name, in colour when asked.
pub fn printer(name: &str, colour: bool) -> Sink {
    let name = name.to_owned();
    Arc::new(move |stream, line| {
        let line = rendered(&name, stream, line, colour);
        // A reader that has gone is no reason to end the app, so errors are dropped.
        let _ = match stream {
            Stream::Stdout => io::stdout().lock().write_all(line.as_bytes()),
            Stream::Stderr => io::stderr().lock().write_all(line.as_bytes()),
        };
    })
}

fn rendered(name: &str, stream: Stream, line: &str, colour: bool) -> String {
    let line = harmless(line);
    match (colour, stream) {
        (false, _) => format!("{name} | {line}\n"),
        (true, Stream::Stdout) => format!("\x1b[36m{name} |{RESET} {line}\n"),
        (true, Stream::Stderr) => format!("\x1b[33m{name} |{RESET} {line}\n"),
    }
}

/// The line with every control character but tabs and colour sequences replaced
/// by a visible sign, and colours ended at its end.
fn harmless(line: &str) -> Cow<'_, str> {
    if !line.contains(|c: char| c.is_control() && c != '\t') {
        return Cow::Borrowed(line);
    }
    let mut shown = String::with_capacity(line.len() + RESET.len());
    let mut coloured = false;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let length = colour_sequence(rest).unwrap_or(0);
        let (sequence, after) = rest.split_at(if length > 0 { length } else { c.len_utf8() });
        rest = after;
        if length > 0 {
            coloured = true;
            shown.push_str(sequence);
        } else {
            shown.push(visible(c));
        }
    }
    if coloured {
        shown.push_str(RESET);
    }
    Cow::Owned(shown)
}

/// The length of the `ESC [ … m` that the text begins with.
fn colour_sequence(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|c: char| !matches!(c, '0'..='9' | ';' | ':'))?;
    parameters.get(end..)?.starts_with('m').then_some("\x1b[m".len() + end)
}

/// The character, or the picture that Unicode has for it when it is a control character.
fn visible(c: char) -> char {
    match c {
        '\t' => c,
        '\0'..='\x1f' => {
            char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        '\x7f' => '\u{2421}',
        // The C1 range: U+009B begins a sequence as ESC [ does.
        '\u{80}'..='\u{9f}' => char::REPLACEMENT_CHARACTER,
        _ => c,
    }
}

/// Reads to the end and hands over each line.
pub(super) async fn relay(mut source: impl AsyncRead + Unpin, stream: Stream, sink: Sink) {
    let mut lines = Lines::default();
    let mut chunk = vec![0; 8 << 10];
    // An error of a pipe means the same as its end.
    while let Ok(length @ 1..) = source.read(&mut chunk).await {
        lines.push(chunk.get(..length).unwrap_or_default(), |line| sink(stream, line));
    }
    lines.finish(|line| sink(stream, line));
}

/// Bytes in, lines out; holds at most [`MAX_LINE`] bytes.
#[derive(Default)]
struct Lines {
    held: Vec<u8>,
    /// A piece of the current line was handed over already.
    continued: bool,
}

impl Lines {
    fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(&str)) {
        while !bytes.is_empty() {
            let room = MAX_LINE.saturating_sub(self.held.len());
            let (window, _) = bytes.split_at(room.min(bytes.len()));
            let end = memchr::memchr(b'\n', window);
            let (text, after) = bytes.split_at(end.unwrap_or(window.len()));
            self.held.extend_from_slice(text);
            bytes = after;
            if end.is_some() {
                bytes = after.get(1..).unwrap_or_default();
                self.end_line(&mut emit);
            } else if self.held.len() >= MAX_LINE {
                self.cut_line(&mut emit);
            }
        }
    }

    fn finish(mut self, mut emit: impl FnMut(&str)) {
        if !self.held.is_empty() {
            self.end_line(&mut emit);
        }
    }

    fn end_line(&mut self, emit: &mut impl FnMut(&str)) {
        let line = self.held.strip_suffix(b"\r").unwrap_or(&self.held);
        // A line that filled its last piece to the brim is over: no empty piece follows.
        if !(line.is_empty() && self.continued) {
            emit(&String::from_utf8_lossy(line));
        }
        self.held.clear();
        self.continued = false;
    }

    fn cut_line(&mut self, emit: &mut impl FnMut(&str)) {
        let whole = self.held.len().saturating_sub(incomplete_tail(&self.held));
        let tail = self.held.split_off(whole);
        emit(&String::from_utf8_lossy(&self.held));
        self.held = tail;
        self.continued = true;
    }
}

/// How many bytes at the end begin a UTF-8 character without ending it.
fn incomplete_tail(bytes: &[u8]) -> usize {
    for (index, byte) in bytes.iter().rev().take(3).enumerate() {
        let (have, need) = match byte {
            0x80..=0xbf => continue,
            0xc0..=0xdf => (index + 1, 2),
            0xe0..=0xef => (index + 1, 3),
            0xf0..=0xf7 => (index + 1, 4),
            _ => return 0,
        };
        return if have < need { have } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests;

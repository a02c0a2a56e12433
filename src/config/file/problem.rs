//! One mistake in what was typed, and all of them together.
//!
//! A reader never stops at the first mistake: it records it in a [`Report`],
//! takes a default in its place and reads on. Only the end of the reading
//! decides whether there is a configuration.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::Given;

/// Where a mistake stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A line of the file, counted from 1.
    Line(usize),
    /// An environment variable.
    Variable(String),
}

/// One mistake, or one thing to know, in what was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as it is shown.
    pub file: Arc<str>,
    /// Where it stands.
    pub place: Place,
    /// The setting, e.g. `timeouts.connect`; empty when it is no setting's fault.
    pub key: String,
    /// What is wrong with which value; the fix.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File => write!(f, "{}: ", self.file)?,
            Place::Line(line) => write!(f, "{}:{line}: ", self.file)?,
            Place::Variable(name) => write!(f, "{}: ", Visible(name))?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", Visible(&self.key))?;
        }
        write!(f, "{}", Visible(&self.message))
    }
}

/// Text from a file, without the power to move a terminal's cursor.
struct Visible<'a>(&'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if c.is_control() { write!(f, "{}", c.escape_debug()) } else { write!(f, "{c}") }
        })
    }
}

/// Everything that is wrong with a configuration: never empty, in order of lines.
#[derive(Debug)]
pub struct ConfigErrors {
    problems: Vec<Problem>,
    io: Option<io::Error>,
}

impl ConfigErrors {
    /// The file could not be read at all.
    pub(super) fn unreadable(file: &str, io: io::Error) -> Self {
        let problem = Problem {
            file: file.into(),
            place: Place::File,
            key: String::new(),
            message: format!("cannot be read: {io}; give the path of a readable TOML file"),
        };
        Self { problems: vec![problem], io: Some(io) }
    }

    /// What turned out to be wrong with what the configuration names.
    pub fn of(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        Self { problems, io: None }
    }

    /// Each mistake, in order of lines; the environment's come last.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Why the file could not be read, when that is the problem.
    ///
    /// `Display` says it already, so it is no `source` that a report would print again.
    pub fn io(&self) -> Option<&io::Error> {
        self.io.as_ref()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects problems while a text is read, and knows the text's lines.
pub(super) struct Report {
    file: Arc<str>,
    line_starts: Vec<usize>,
    length: usize,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Report {
    pub(super) fn new(file: &str, text: &str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self {
            file: file.into(),
            line_starts: std::iter::once(0).chain(after_breaks.map(|(at, _)| at + 1)).collect(),
            length: text.len(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The file's name as it is shown.
    pub(super) fn file(&self) -> Arc<str> {
        self.file.clone()
    }

    /// The line of a byte of the text.
    pub(super) fn line(&self, at: usize) -> Place {
        Place::Line(self.line_starts.partition_point(|start| *start <= at).max(1))
    }

    /// The text is no TOML.
    pub(super) fn syntax(&mut self, error: &toml::de::Error) {
        let place = self.line(error.span().map_or(self.length, |span| span.start));
        // The parser recovers, and may stumble over the same mistake again: once a line is enough.
        if self.errors.iter().any(|known| known.place == place) {
            return;
        }
        self.error(place, "", format!("not valid TOML: {}; correct this line", error.message()));
    }

    pub(super) fn error(&mut self, place: Place, key: &str, message: impl Into<String>) {
        let problem = self.problem(place, key, message.into());
        self.errors.push(problem);
    }

    /// The given value is wrong.
    pub(super) fn wrong(&mut self, given: &Given<'_>, message: impl Into<String>) {
        self.error(given.place.clone(), &given.path(), message);
    }

    /// The given value is accepted, but its author should know something.
    pub(super) fn warn(&mut self, given: &Given<'_>, message: impl Into<String>) {
        let problem = self.problem(given.place.clone(), &given.path(), message.into());
        self.warnings.push(problem);
    }

    fn problem(&self, place: Place, key: &str, message: String) -> Problem {
        Problem { file: self.file.clone(), place, key: key.to_owned(), message }
    }

    /// The warnings when nothing is wrong, else every error.
    pub(super) fn finish(mut self) -> Result<Vec<Problem>, ConfigErrors> {
        if self.errors.is_empty() {
            self.warnings.sort_by(|a, b| a.place.cmp(&b.place));
            Ok(self.warnings)
        } else {
            self.errors.sort_by(|a, b| a.place.cmp(&b.place));
            Err(ConfigErrors { problems: self.errors, io: None })
        }
    }
}

//! What `dev` itself says to the person at the terminal: short lines behind a
//! prefix, beside the app's output and the access log.
//!
//! Each line is one write, so that lines of different threads never mix.

use std::io::{self, Write as _};

/// Behind which name `dev` speaks.
pub(super) const NAME: &str = "ignite";

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

/// Standard output, in colour or not.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    prefix: String,
    colour: bool,
}

impl Screen {
    /// A screen whose prefix lines up with that of an app of this name.
    pub(super) fn new(app: &str, colour: bool) -> Self {
        Self { prefix: format!("{NAME:width$} |", width = app.len()), colour }
    }

    /// The app's name, padded to line up with the lines of `dev`.
    pub(super) fn padded(app: &str) -> String {
        format!("{app:width$}", width = NAME.len())
    }

    /// Says how things go.
    pub(super) fn say(&self, text: &str) {
        self.line(GREEN, text);
    }

    /// Says what needs a person's attention.
    pub(super) fn warn(&self, text: &str) {
        self.line(RED, text);
    }

    /// Shows a block of text as it is.
    pub(super) fn show(block: &str) {
        // A reader that has gone is no reason to end the app, so errors are dropped.
        let _ = io::stdout().lock().write_all(block.as_bytes());
    }

    /// The text, in bold where that can be seen.
    pub(super) fn bold(&self, text: &str) -> String {
        if self.colour { format!("{BOLD}{text}{RESET}") } else { text.to_owned() }
    }

    fn line(&self, colour: &str, text: &str) {
        let prefix = &self.prefix;
        Self::show(&if self.colour {
            format!("{colour}{prefix}{RESET} {text}\n")
        } else {
            format!("{prefix} {text}\n")
        });
    }
}

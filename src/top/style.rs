//! Colours, for terminals and people that want them.

use ratatui::style::{Color, Modifier, Style as Drawn};

/// How things look.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    colour: bool,
}

#[expect(clippy::unused_self, reason = "all of them are asked for alike")]
impl Style {
    /// In colour, unless `NO_COLOR` says otherwise (no-color.org).
    pub fn of_environment() -> Self {
        Self { colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    /// With or without colours.
    pub fn new(colour: bool) -> Self {
        Self { colour }
    }

    pub(super) fn plain(self) -> Drawn {
        Drawn::new()
    }

    pub(super) fn strong(self) -> Drawn {
        Drawn::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn faint(self) -> Drawn {
        Drawn::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn chosen(self) -> Drawn {
        Drawn::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn good(self) -> Drawn {
        self.coloured(Color::Green)
    }

    pub(super) fn doubtful(self) -> Drawn {
        self.coloured(Color::Yellow)
    }

    pub(super) fn bad(self) -> Drawn {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn coloured(self, colour: Color) -> Drawn {
        if self.colour { Drawn::new().fg(colour) } else { Drawn::new() }
    }
}

//! A message's head as HTTP/1.1 writes it: what the apps echo and the check reads, whichever protocol
//! the message came in.

use std::fmt::{Display, Write as _};

use http::HeaderMap;

use crate::Fallible;

/// A parsed head, its first line left out of the fields.
pub(crate) struct Head {
    pub(crate) text: String,
    fields: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().skip(1).filter_map(|line| line.split_once(':'));
        let fields = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().into()));
        Self { text: text.to_owned(), fields: fields.collect() }
    }

    /// The field's value; an error if it is missing or there is more than one.
    pub(crate) fn the_one(&self, name: &str) -> Fallible<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Ok(value),
            (None, _) => Err(format!("{name} is missing:\n{}", self.text).into()),
            _ => Err(format!("{name} is there more than once:\n{}", self.text).into()),
        }
    }
}

/// A line for each field, with its end.
pub(crate) fn lines<Name: Display, Value: Display>(
    fields: impl IntoIterator<Item = (Name, Value)>,
) -> String {
    fields.into_iter().fold(String::new(), |mut text, (name, value)| {
        let _ = write!(text, "{name}: {value}\r\n");
        text
    })
}

pub(crate) fn of_map(fields: &HeaderMap) -> String {
    lines(fields.iter().map(|(name, value)| (name, String::from_utf8_lossy(value.as_bytes()))))
}

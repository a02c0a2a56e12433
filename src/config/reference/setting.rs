//! One row of the table of settings, and the names that follow from it.

/// What the name of every environment variable of ours begins with.
pub const PREFIX: &str = "IGNITE_GATEWAY__";

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The table that holds it; empty for the file's top.
    pub section: &'static str,
    /// Its key.
    pub key: &'static str,
    /// Its default as TOML; empty when there is none.
    pub default: &'static str,
    /// What it does, with its unit, its range and what 0 means.
    pub doc: &'static str,
}

pub(super) const fn row(
    section: &'static str,
    key: &'static str,
    default: &'static str,
    doc: &'static str,
) -> Setting {
    Setting { section, key, default, doc }
}

impl Setting {
    /// `section.key`.
    pub fn path(&self) -> String {
        match self.section {
            "" => self.key.to_owned(),
            section => format!("{section}.{}", self.key),
        }
    }

    /// The environment variable that sets it; apps, and more of a listener than its address,
    /// stand in the file only.
    pub fn variable(&self) -> Option<String> {
        match (self.section, self.key) {
            ("", key) => Some(format!("{PREFIX}{}", key.to_ascii_uppercase())),
            // One variable for the addresses of all listeners: a variable cannot repeat.
            ("listener", "address") => Some(format!("{PREFIX}LISTENERS")),
            ("listener", _) => None,
            (section, _) if section.starts_with("app") || section.contains('.') => None,
            (section, key) => Some(format!("{PREFIX}{section}__{key}").to_ascii_uppercase()),
        }
    }

    /// The section and key that its variable replaces.
    pub(in crate::config) fn overridden(&self) -> (&'static str, &'static str) {
        match self.section {
            "listener" => ("", "listener"),
            section => (section, self.key),
        }
    }

    /// Whether its variable holds several values.
    pub(in crate::config) fn is_list(&self) -> bool {
        self.section == "listener" || self.default.starts_with('[')
    }
}

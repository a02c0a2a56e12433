//! Settings from the environment: `IGNITE_GATEWAY__SECTION__KEY`.
//!
//! Which variables there are is derived from [`reference::SETTINGS`]; one with
//! our prefix that is not among them is a typing error, and refused like one.

use std::collections::HashMap;

use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::problem::{Place, Report};
use super::section::nearest;
use crate::config::reference::{self, Setting};

/// The values that the environment gives, by section and key.
pub(super) struct Overrides<'a> {
    values: HashMap<(&'static str, &'static str), (&'a str, DeValue<'a>)>,
}

impl<'a> Overrides<'a> {
    pub(super) fn read(environment: &'a [(String, String)], report: &mut Report) -> Self {
        let known: HashMap<String, &Setting> = reference::SETTINGS
            .iter()
            .filter_map(|setting| Some((setting.variable()?, setting)))
            .collect();
        let mut values = HashMap::new();
        for (name, text) in environment {
            if !name.starts_with(reference::PREFIX) {
                continue;
            }
            let place = Place::Variable(name.clone());
            let Some(setting) = known.get(name) else {
                report.error(place, "", unknown(name, &known));
                continue;
            };
            match value(setting, text) {
                Ok(value) => {
                    values.insert(setting.overridden(), (name.as_str(), value));
                }
                Err(error) => {
                    let message = format!(
                        "not a TOML list: {}; write addresses joined by commas",
                        error.message()
                    );
                    report.error(place, &setting.path(), message);
                }
            }
        }
        Self { values }
    }

    /// The variable that sets a key, and its value.
    pub(super) fn value(
        &self,
        section: &'static str,
        key: &'static str,
    ) -> Option<(&str, &DeValue<'a>)> {
        self.values.get(&(section, key)).map(|(name, value)| (*name, value))
    }
}

/// A variable's text; a list is a TOML array or its elements joined by commas.
fn value<'a>(setting: &Setting, text: &'a str) -> Result<DeValue<'a>, toml::de::Error> {
    let text = text.trim();
    if !setting.is_list() {
        return Ok(DeValue::String(text.into()));
    }
    if text.starts_with('[') {
        return DeValue::parse(text).map(Spanned::into_inner);
    }
    let mut list = DeArray::new();
    for element in text.split(',').map(str::trim).filter(|element| !element.is_empty()) {
        list.push(Spanned::new(0..0, DeValue::String(element.into())));
    }
    Ok(DeValue::Array(list))
}

fn unknown(name: &str, known: &HashMap<String, &Setting>) -> String {
    let mut names: Vec<&str> = known.keys().map(String::as_str).collect();
    names.sort_unstable();
    match nearest_setting(name, &names) {
        Some(near) => format!("unknown variable; did you mean `{near}`?"),
        None => format!("unknown variable; known are: {}", names.join(", ")),
    }
}

/// Compares without the prefix: it would make every name near to every other.
fn nearest_setting(name: &str, known: &[&str]) -> Option<String> {
    let bare = |name: &'_ str| name.get(reference::PREFIX.len()..).map(str::to_owned);
    let candidates: Vec<String> = known.iter().filter_map(|name| bare(name)).collect();
    let candidates: Vec<&str> = candidates.iter().map(String::as_str).collect();
    let near = nearest(&bare(name)?, &candidates)?;
    Some(format!("{}{near}", reference::PREFIX))
}

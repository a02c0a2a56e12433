//! A table of the file, read key by key.
//!
//! Opening a section refuses every key that [`reference`] does not list, so a
//! reader asks only for what it knows. A setting's value comes from the
//! environment if it stands there, else from the file.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::Overrides;
use super::problem::{Place, Report};
use super::value::{Wrong, found};
use crate::config::reference;

/// A value and where it was given.
#[derive(Clone)]
pub(super) struct Given<'a> {
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    pub(super) place: Place,
    pub(super) value: &'a DeValue<'a>,
}

impl<'a> Given<'a> {
    /// `section.key`.
    pub(super) fn path(&self) -> String {
        path(self.section, self.key)
    }

    /// Text from the environment stands for a number too: a variable has no types.
    pub(super) fn is_variable(&self) -> bool {
        matches!(self.place, Place::Variable(_))
    }

    /// An element of this value, an array.
    fn element(&self, element: &'a Spanned<DeValue<'a>>, report: &Report) -> Self {
        let place =
            if self.is_variable() { self.place.clone() } else { report.line(element.span().start) };
        Self { place, value: element.get_ref(), ..*self }
    }

    /// The elements of an array; `None`, and an error, when it is none.
    pub(super) fn elements(&self, example: &str, report: &mut Report) -> Option<Vec<Self>> {
        let DeValue::Array(array) = self.value else {
            let message = format!("expected a list, found {}; write {example}", found(self.value));
            report.wrong(self, message);
            return None;
        };
        Some(array.iter().map(|element| self.element(element, report)).collect())
    }

    /// Reads every element, recording each that is wrong and each that repeats another.
    pub(super) fn list<T: PartialEq>(
        &self,
        example: &str,
        report: &mut Report,
        read: impl Fn(&Given<'_>) -> Result<T, Wrong>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for element in self.elements(example, report).unwrap_or_default() {
            match read(&element) {
                Ok(value) if values.contains(&value) => {
                    let message = format!("{} is listed twice; remove one", found(element.value));
                    report.wrong(&element, message);
                }
                Ok(value) => values.push(value),
                Err(message) => report.wrong(&element, message),
            }
        }
        values
    }
}

/// One table, or its absence.
pub(super) struct Section<'a> {
    name: &'static str,
    /// Where its header stands.
    pub(super) place: Place,
    table: Option<&'a DeTable<'a>>,
    overrides: &'a Overrides<'a>,
}

impl<'a> Section<'a> {
    /// The file's top.
    pub(super) fn root(
        table: &'a DeTable<'a>,
        overrides: &'a Overrides<'a>,
        report: &mut Report,
    ) -> Self {
        let root = Self { name: "", place: Place::File, table: Some(table), overrides };
        root.refuse_unknown_keys(report);
        root
    }

    /// The table `[name]`, which may be absent.
    pub(super) fn table(&self, name: &'static str, report: &mut Report) -> Section<'a> {
        let given = self.in_file(name, report);
        let absent = Section { name, place: Place::File, table: None, overrides: self.overrides };
        given.and_then(|given| self.open(name, &given, report)).unwrap_or(absent)
    }

    /// The tables `[[name]]`; `None` when there is no such key.
    pub(super) fn tables(
        &self,
        name: &'static str,
        report: &mut Report,
    ) -> Option<Vec<Section<'a>>> {
        let given = self.in_file(name, report)?;
        if let DeValue::Table(_) = given.value {
            report.wrong(&given, format!("there may be several; write [[{name}]]"));
            return Some(Vec::new());
        }
        let elements = given.elements(&format!("[[{name}]]"), report)?;
        Some(elements.iter().filter_map(|given| self.open(name, given, report)).collect())
    }

    /// Reads a table that stands as a value, refusing what is none and every unknown key in it.
    pub(super) fn open(
        &self,
        name: &'static str,
        given: &Given<'a>,
        report: &mut Report,
    ) -> Option<Section<'a>> {
        let DeValue::Table(table) = given.value else {
            let known = reference::keys(name).join(", ");
            let message =
                format!("expected a table, found {}; give a table of: {known}", found(given.value));
            report.wrong(given, message);
            return None;
        };
        let place = given.place.clone();
        let section = Section { name, place, table: Some(table), overrides: self.overrides };
        section.refuse_unknown_keys(report);
        Some(section)
    }

    /// What was given for a key.
    pub(super) fn given(&self, key: &'static str, report: &Report) -> Option<Given<'a>> {
        self.in_environment(key).or_else(|| self.in_file(key, report))
    }

    /// What the environment gives for a key.
    pub(super) fn in_environment(&self, key: &'static str) -> Option<Given<'a>> {
        let (variable, value) = self.overrides.value(self.name, key)?;
        let place = Place::Variable(variable.to_owned());
        Some(Given { section: self.name, key, place, value })
    }

    /// What the file gives for a key, whether or not the environment does.
    pub(super) fn in_file(&self, key: &'static str, report: &Report) -> Option<Given<'a>> {
        let value = self.table?.get(key)?;
        let place = report.line(value.span().start);
        Some(Given { section: self.name, key, place, value: value.get_ref() })
    }

    /// Reads a key; `None` when it is not given or, with an error recorded, not good.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        report: &mut Report,
        read: impl FnOnce(&Given<'_>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let given = self.given(key, report)?;
        read(&given).map_err(|message| report.wrong(&given, message)).ok()
    }

    /// Reads a key that must be given.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        example: &str,
        report: &mut Report,
        read: impl FnOnce(&Given<'_>) -> Result<T, Wrong>,
    ) -> Option<T> {
        if self.given(key, report).is_none() {
            self.missing(key, &format!("missing; write {key} = {example}"), report);
        }
        self.read(key, report, read)
    }

    /// Records that a key is not there, at the section's header.
    pub(super) fn missing(&self, key: &str, message: &str, report: &mut Report) {
        report.error(self.place.clone(), &path(self.name, key), message);
    }

    fn refuse_unknown_keys(&self, report: &mut Report) {
        let known = reference::keys(self.name);
        for key in self.table.into_iter().flat_map(DeTable::keys) {
            if known.contains(&&**key.get_ref()) {
                continue;
            }
            let message = format!("unknown key; {}", suggestion(self.name, key.get_ref(), &known));
            report.error(report.line(key.span().start), &path(self.name, key.get_ref()), message);
        }
    }
}

/// The nearest known key, else the section that the key belongs to, else all known keys.
fn suggestion(section: &str, key: &str, known: &[&'static str]) -> String {
    if let Some(near) = nearest(key, known) {
        return format!("did you mean `{near}`?");
    }
    let named = || reference::SETTINGS.iter().filter(|setting| setting.key == key);
    // Where several sections have the key, one within this is meant.
    let within = |setting: &&reference::Setting| setting.section.starts_with(section);
    match named().find(|setting| !section.is_empty() && within(setting)).or_else(|| named().next())
    {
        Some(setting) if setting.section.is_empty() => {
            format!("`{key}` belongs at the top of the file, above every [section]")
        }
        Some(setting) => {
            format!("`{key}` belongs to {}", reference::header(setting.section))
        }
        None => format!("known are: {}", known.join(", ")),
    }
}

/// The candidate that was probably meant, if any is near enough.
pub(super) fn nearest<'a>(typed: &str, candidates: &[&'a str]) -> Option<&'a str> {
    // The distance costs the product of both lengths: a text longer than any name is near none.
    if typed.len() > 2 * reference::LONGEST_NAME {
        return None;
    }
    let lower = typed.to_ascii_lowercase();
    let distance =
        |candidate: &str| strsim::damerau_levenshtein(&lower, &candidate.to_ascii_lowercase());
    let (distance, near) = candidates.iter().map(|name| (distance(name), *name)).min()?;
    (distance <= (near.len() / 3).max(1)).then_some(near)
}

fn path(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

//! The exposition text: how a family, its samples and its labels are written in
//! either format.
//!
//! Written here and not by a library: none of those there are writes exemplars
//! for numbers that were not counted by its own types, and with 100,000 apps a
//! scrape is some hundred megabytes of text.

use std::fmt::{Display, Write};
use std::time::Duration;

use super::Format;
use super::family::{Family, Kind};
use crate::telemetry::metrics::{BYTES, DurationsRead, Exemplar, Reading, SECONDS, SizesRead};

/// Keys and values of a sample.
pub(super) type Labels<'a> = [(&'a str, &'a str)];

/// The text so far.
pub(super) struct Text {
    content: String,
    format: Format,
}

/// Writes the samples of one family.
pub(super) struct Samples<'a> {
    content: &'a mut String,
    format: Format,
    family: &'a Family,
}

impl Text {
    pub(super) fn new(format: Format) -> Self {
        Self { content: String::new(), format }
    }

    /// Begins a family: its `HELP` and `TYPE`.
    pub(super) fn begin<'a>(&'a mut self, family: &'a Family) -> Samples<'a> {
        let (name, kind) = match self.format {
            // There the ending is the samples' own.
            Format::OpenMetrics => {
                let name = family.name.strip_suffix(family.kind.suffix());
                (name.unwrap_or(family.name), family.kind.as_str())
            }
            Format::Text if family.kind == Kind::Info => (family.name, Kind::Gauge.as_str()),
            Format::Text => (family.name, family.kind.as_str()),
        };
        let content = &mut self.content;
        push(content, format_args!("# HELP {name} {}\n# TYPE {name} {kind}\n", family.help));
        Samples { content, format: self.format, family }
    }

    /// A family of a single sample without labels.
    pub(super) fn single(&mut self, family: &Family, value: u64) {
        self.begin(family).add(&[], value);
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        self.content.push_str("# EOF\n");
        self.content
    }
}

impl Samples<'_> {
    /// One sample.
    pub(super) fn add(&mut self, labels: &Labels<'_>, value: u64) {
        self.sample("", labels, None, value);
        self.content.push('\n');
    }

    /// One sample of a time.
    pub(super) fn add_seconds(&mut self, labels: &Labels<'_>, time: Duration) {
        self.sample("", labels, None, Seconds(time.as_secs_f64()));
        self.content.push('\n');
    }

    /// A histogram of durations.
    pub(super) fn add_durations(&mut self, labels: &Labels<'_>, durations: &DurationsRead) {
        self.add_durations_with(labels, durations, std::iter::empty());
    }

    /// The same with an exemplar for each bucket that has one, where the format knows them.
    pub(super) fn add_durations_with(
        &mut self,
        labels: &Labels<'_>,
        durations: &DurationsRead,
        exemplars: impl Iterator<Item = Option<Exemplar>>,
    ) {
        #[expect(clippy::cast_precision_loss, reason = "a sum of seconds needs no nanosecond")]
        let sum = Seconds(durations.sum as f64 / 1e9);
        let bounds = SECONDS.map(|bound| Seconds(bound).to_string());
        self.histogram(labels, &bounds, durations, sum, exemplars);
    }

    /// A histogram of sizes.
    pub(super) fn add_sizes(&mut self, labels: &Labels<'_>, sizes: &SizesRead) {
        // A bound is a float in `OpenMetrics`.
        let bounds = BYTES.map(|bound| format!("{bound}.0"));
        self.histogram(labels, &bounds, sizes, sizes.sum, std::iter::empty());
    }

    fn histogram<const BUCKETS: usize>(
        &mut self,
        labels: &Labels<'_>,
        bounds: &[String],
        reading: &Reading<BUCKETS>,
        sum: impl Display,
        exemplars: impl Iterator<Item = Option<Exemplar>>,
    ) {
        let mut exemplars = exemplars.fuse();
        let mut below = 0;
        let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
        for (bound, count) in bounds.zip(reading.buckets) {
            below += count;
            self.sample("_bucket", labels, Some(bound), below);
            let exemplar = exemplars.next().flatten();
            // A reader of Prometheus' own text takes a line with an exemplar for malformed.
            if let Some(exemplar) = exemplar.filter(|_| self.format == Format::OpenMetrics) {
                self.exemplar(&exemplar);
            }
            self.content.push('\n');
        }
        self.sample("_sum", labels, None, sum);
        self.content.push('\n');
        // Counted from the buckets, so that the two always agree.
        self.sample("_count", labels, None, below);
        self.content.push('\n');
    }

    fn sample(
        &mut self,
        suffix: &str,
        labels: &Labels<'_>,
        bound: Option<&str>,
        value: impl Display,
    ) {
        self.content.push_str(self.family.name);
        self.content.push_str(suffix);
        let bound = bound.map(|bound| ("le", bound));
        for (index, (key, value)) in labels.iter().copied().chain(bound).enumerate() {
            self.content.push(if index == 0 { '{' } else { ',' });
            self.content.push_str(key);
            self.content.push_str("=\"");
            escape(self.content, value);
            self.content.push('"');
        }
        if bound.is_some() || !labels.is_empty() {
            self.content.push('}');
        }
        push(self.content, format_args!(" {value}"));
    }

    /// `OpenMetrics` 1.0, section "Exemplars": labels, value, and when it was observed.
    fn exemplar(&mut self, exemplar: &Exemplar) {
        let Exemplar { execution_id, took, began } = exemplar;
        let ended = Duration::from_millis(*began) + *took;
        let (value, second, millis) =
            (Seconds(took.as_secs_f64()), ended.as_secs(), ended.subsec_millis());
        let content = &mut *self.content;
        push(content, format_args!(" # {{execution_id=\"{execution_id}\"}} {value} "));
        push(content, format_args!("{second}.{millis:03}"));
    }
}

/// A number of seconds, always with a point, as `OpenMetrics` writes a float.
struct Seconds(f64);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Into a string nothing can fail.
fn push(content: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = content.write_fmt(text);
}

/// A label's value: backslash, quote and line feed are escaped.
fn escape(content: &mut String, value: &str) {
    if !value.contains(['\\', '"', '\n']) {
        return content.push_str(value);
    }
    for character in value.chars() {
        match character {
            '\\' => content.push_str("\\\\"),
            '"' => content.push_str("\\\""),
            '\n' => content.push_str("\\n"),
            other => content.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_end_its_value_or_its_line() {
        let family = Family { name: "a", kind: Kind::Gauge, help: "A." };
        let mut text = Text::new(Format::OpenMetrics);
        text.begin(&family).add(&[("file", "C:\\tls\n\"x\"")], 1);
        let line = "a{file=\"C:\\\\tls\\n\\\"x\\\"\"} 1";
        assert_eq!(text.finish(), format!("# HELP a A.\n# TYPE a gauge\n{line}\n# EOF\n"));
    }
}

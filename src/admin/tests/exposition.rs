//! A reader of exposition text that panics on whatever is not well-formed, so
//! that a test that gets a value from it has checked the whole text.

use std::collections::{BTreeMap, HashSet};

pub(super) struct Family {
    /// As the `TYPE` line names it.
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) help: String,
    pub(super) samples: Vec<Sample>,
}

pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
    /// Its text, labels and all.
    pub(super) exemplar: Option<String>,
}

pub(super) struct Exposition(pub(super) Vec<Family>);

impl Exposition {
    pub(super) fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("the text ends with EOF");
        let mut families: Vec<Family> = Vec::new();
        let mut names = HashSet::new();
        let mut series = HashSet::new();
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(names.insert(name.to_owned()), "{name} comes twice");
                assert!(is_name(name) && help.ends_with('.'), "{line}");
                assert!(!help.contains(['\\', '"']), "needs escapes: {line}");
                let (name, help, kind) = (name.to_owned(), help.to_owned(), String::new());
                families.push(Family { name, kind, help, samples: Vec::new() });
                continue;
            }
            let family = families.last_mut().expect("HELP comes first");
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert_eq!((name, &*family.kind), (&*family.name, ""), "one TYPE after HELP");
                assert!(["counter", "gauge", "histogram", "info"].contains(&kind), "{line}");
                kind.clone_into(&mut family.kind);
                continue;
            }
            assert!(!line.starts_with('#') && !family.kind.is_empty(), "{line}");
            let sample = Sample::parse(line);
            let series_and_value = line.split(" # ").next().expect(line);
            let (one, _) = series_and_value.rsplit_once(' ').expect(line);
            assert!(series.insert(one), "twice: {line}");
            let suffix = sample.name.strip_prefix(&*family.name);
            let suffix = suffix.unwrap_or_else(|| panic!("{line} is not of {}", family.name));
            let suffixes: &[&str] = match &*family.kind {
                "counter" if family.name.ends_with("_total") => &[""],
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                "info" => &["_info"],
                _ => &[""],
            };
            assert!(suffixes.contains(&suffix), "{line} is no {}", family.kind);
            family.samples.push(sample);
        }
        let exposition = Self(families);
        exposition.check_histograms();
        exposition
    }

    /// The only value of `name` whose labels include `labels`.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.samples(name, labels);
        assert_eq!(found.len(), 1, "{name} {labels:?}");
        found[0].value
    }

    pub(super) fn samples(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let samples = self.0.iter().flat_map(|family| &family.samples);
        samples.filter(|sample| sample.name == name && sample.has(labels)).collect()
    }

    fn check_histograms(&self) {
        for family in self.0.iter().filter(|family| family.kind == "histogram") {
            let mut rows: BTreeMap<_, Vec<&Sample>> = BTreeMap::new();
            for sample in &family.samples {
                let mut labels = sample.labels.clone();
                labels.remove("le");
                rows.entry(labels).or_default().push(sample);
            }
            for (labels, samples) in rows {
                let of = |suffix: &str| {
                    let name = format!("{}{suffix}", family.name);
                    samples.iter().filter(|sample| sample.name == name).collect::<Vec<_>>()
                };
                let (sum, count, buckets) = (of("_sum"), of("_count"), of("_bucket"));
                assert_eq!((sum.len(), count.len()), (1, 1), "{labels:?}");
                let bound = |sample: &Sample| sample.labels["le"].parse::<f64>().expect("a bound");
                for pair in buckets.windows(2) {
                    assert!(bound(pair[0]) < bound(pair[1]), "{labels:?}");
                    assert!(pair[0].value <= pair[1].value, "not cumulative: {labels:?}");
                }
                let last = buckets.last().expect("a bucket");
                assert_eq!(last.labels["le"], "+Inf");
                assert!((last.value - count[0].value).abs() < 0.5, "{labels:?}");
                assert!(sum[0].value >= 0.0);
            }
        }
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (line, exemplar) = match line.split_once(" # ") {
            Some((sample, exemplar)) => (sample, Some(exemplar)),
            None => (line, None),
        };
        if let Some(exemplar) = exemplar {
            check_exemplar(line, exemplar);
        }
        let (series, value) = line.rsplit_once(' ').expect(line);
        let value: f64 = value.parse().expect(line);
        assert!(value.is_finite() && value >= 0.0, "{line}");
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect(line)),
            None => (series, ""),
        };
        assert!(is_name(name), "{line}");
        let mut found = BTreeMap::new();
        // No label value here holds a comma, a quote or a backslash.
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (key, value) = label.split_once('=').expect(line);
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let value = value.expect(line);
            assert!(is_name(key) && !value.contains(['"', '\\']), "{line}");
            assert!(found.insert(key.to_owned(), value.to_owned()).is_none(), "{line}");
        }
        let exemplar = exemplar.map(str::to_owned);
        Self { name: name.to_owned(), labels: found, value, exemplar }
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(key, value)| self.labels.get(*key).is_some_and(|found| found == value))
    }
}

/// `OpenMetrics` 1.0: on buckets, of at most 128 characters, with a value that belongs there.
fn check_exemplar(sample: &str, exemplar: &str) {
    let le = sample.split("le=\"").nth(1).and_then(|rest| rest.split('"').next());
    let bound: f64 = le.expect("an exemplar of a bucket").parse().expect(sample);
    let (labels, numbers) = exemplar.split_once("} ").expect(exemplar);
    let labels = labels.strip_prefix('{').expect(exemplar);
    assert!(labels.replace(['=', '"', ','], "").len() <= 128, "{exemplar}");
    let (key, value) = labels.split_once('=').expect(exemplar);
    assert!(is_name(key) && value.starts_with('"') && value.ends_with('"'), "{exemplar}");
    let (value, time) = numbers.split_once(' ').expect(exemplar);
    assert!(value.parse::<f64>().expect(exemplar) <= bound, "{sample} # {exemplar}");
    assert!(time.parse::<f64>().expect(exemplar) > 1e9, "{exemplar}");
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

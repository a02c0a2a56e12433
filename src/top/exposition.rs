//! Prometheus' text as a gateway writes it, sample by sample. Lines that are
//! none are left out: a later gateway may say more than this one knows.

/// One sample.
#[derive(Debug, PartialEq)]
pub struct Sample<'a> {
    /// The family's name, with the ending of its kind.
    pub name: &'a str,
    labels: Vec<(&'a str, String)>,
    /// The number.
    pub value: f64,
}

impl Sample<'_> {
    /// A label's value.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
    }
}

/// Every sample of a text.
pub fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample)
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at_checked(end)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name, labels, value })
}

/// What stands in braces, and what comes after them.
fn labels(mut rest: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.push((name, value));
        rest = after;
    }
}

/// A value up to its closing quote, without the escapes.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Sample<'_> {
        samples(line).next().expect("a sample")
    }

    #[test]
    fn samples_are_read_with_their_labels() {
        assert_eq!(one("a 1").value.to_bits(), 1f64.to_bits());
        let sample = one("a_bucket{le=\"+Inf\",app=\"x\\\"y\\\\z\\n\",} 2.5e3 17");
        assert_eq!((sample.name, sample.label("app")), ("a_bucket", Some("x\"y\\z\n")));
        assert_eq!((sample.label("le"), sample.label("no")), (Some("+Inf"), None));
        assert_eq!(sample.value.to_bits(), 2500f64.to_bits());
        assert_eq!("+Inf".parse::<f64>(), Ok(f64::INFINITY));
    }

    #[test]
    fn what_is_no_sample_is_left_out() {
        for line in ["", "# HELP a b", "a", "a{", "a{b} 1", "a{b=\"c} 1", "a{b=\"c\\", "a x", "{"] {
            assert_eq!(samples(line).count(), 0, "{line}");
        }
    }
}

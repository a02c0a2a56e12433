//! What was wrong with a run. Lateness on a busy machine is one thing; a wrong answer is another.

/// Such a run is no measurement.
#[derive(Clone)]
pub(crate) struct Failure {
    pub(crate) text: String,
    /// More than lateness.
    pub(crate) wrong: bool,
}

impl Failure {
    pub(super) fn wrong(text: String) -> Self {
        Self { text, wrong: true }
    }

    /// Those kinds of errors of which there were any; `late` is the harmless one.
    pub(super) fn of<const N: usize>(wrong: [(&str, u64); N], late: (&str, u64)) -> Option<Self> {
        let there = wrong.iter().chain([&late]).filter(|(_, count)| *count > 0);
        let words: Vec<String> = there.map(|(kind, count)| format!("{count} {kind}")).collect();
        let wrong = wrong.iter().any(|(_, count)| *count > 0);
        (!words.is_empty()).then(|| Self { text: words.join(", "), wrong })
    }

    /// With what the tool said about it.
    pub(super) fn because(mut self, complaints: &str) -> Self {
        if !complaints.is_empty() {
            self.text = format!("{}, {complaints}", self.text);
        }
        self
    }
}

pub(super) fn too_short(requests: u64, bytes: u64, least: usize) -> Option<Failure> {
    match bytes.checked_div(requests) {
        None => Some(Failure { text: "no request was answered".into(), wrong: false }),
        Some(each) if each < least as u64 => {
            Some(Failure::wrong(format!("answers of {each} bytes instead of {least}")))
        }
        Some(_) => None,
    }
}

//! What an operator may read of a failure beyond its one word: the system's own
//! reason, the rule that was broken, the limit that was passed.

use super::Error;

impl Error {
    /// What else is known of it, if anything.
    pub fn cause(&self) -> Option<String> {
        match self {
            Self::Malformed(rule) | Self::AppMalformed(rule) => Some(rule.to_string()),
            Self::TargetTooLong { .. }
            | Self::HeadTooLarge { .. }
            | Self::BodyTooLarge { .. }
            | Self::AppHeadTooLarge { .. } => Some(self.to_string()),
            other => std::error::Error::source(other).map(ToString::to_string),
        }
    }
}

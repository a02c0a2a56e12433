//! What the caller is told of a failure beside its status: in words, and when to
//! come again.

use http::StatusCode;

use super::Error;

impl Error {
    /// What the caller may read; it never tells an address or a version.
    pub fn detail(&self) -> String {
        match self {
            Self::UnknownHost => {
                "No app answers at this host. Check the name: <app>-<organization>[-<port>].<domain>."
                    .to_owned()
            }
            Self::Internal => "The gateway failed. Quote the execution id.".to_owned(),
            other => {
                let mut text = other.to_string();
                if let Some(first) = text.get_mut(..1) {
                    first.make_ascii_uppercase();
                }
                text.push('.');
                text
            }
        }
    }

    /// Seconds after which a new try makes sense.
    pub fn retry_after(&self) -> Option<u32> {
        match (self, self.status()) {
            (Self::RateLimited(limited), _) => Some(limited.retry_after),
            (_, StatusCode::SERVICE_UNAVAILABLE) => Some(1),
            _ => None,
        }
    }
}

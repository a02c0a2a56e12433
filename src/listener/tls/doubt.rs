//! Certificates that can be used and that callers will not believe, or soon
//! will not: those that expired, expire soon, or are not valid yet.
//!
//! None of these keeps the gateway from starting: one that does not run serves
//! nobody, and the other certificates are good.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::material::Loaded;
use super::pair::Pair;
use crate::config::file::Problem;

/// From when on a certificate's end is announced, unless it is short-lived.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Why callers may not believe a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It is still good, but not for long.
    Soon,
    /// It is no more.
    Expired,
    /// It is not yet.
    NotYet,
}

/// What is doubtful about a pair, and where the configuration names it.
pub(super) fn of(loaded: &Loaded, now: SystemTime) -> Option<(Doubt, Problem)> {
    let Pair { not_before, not_after, .. } = &*loaded.pair;
    let doubt = about(&loaded.pair, now)?;
    let name = loaded.pair.name();
    let message = match doubt {
        Doubt::Soon => format!("{name} expires on {}; renew it", date(*not_after)),
        Doubt::Expired => format!("{name} expired on {}; renew it", date(*not_after)),
        Doubt::NotYet => {
            format!("{name} is not valid before {}; is the clock right?", date(*not_before))
        }
    };
    Some((doubt, loaded.files.certificate.problem(&message)))
}

/// What is doubtful about a pair.
pub(super) fn about(pair: &Pair, now: SystemTime) -> Option<Doubt> {
    let Pair { not_before, not_after, .. } = pair;
    // Who renews a certificate of six days does so after four.
    let lifetime = not_after.duration_since(*not_before).unwrap_or_default();
    let soon = SOON.min(lifetime / 3);
    if now > *not_after {
        Some(Doubt::Expired)
    } else if now < *not_before {
        Some(Doubt::NotYet)
    } else {
        let left = not_after.duration_since(now).unwrap_or_default();
        (left < soon).then_some(Doubt::Soon)
    }
}

fn date(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| "an unknown day".to_owned(), |time| time.to_string())
}

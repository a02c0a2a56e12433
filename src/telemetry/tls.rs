//! How TLS handshakes end, counted by each worker under a fixed list of ends,
//! and which certificates are in force.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The ends of a handshake that have a row of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// It succeeded.
    Done {
        /// TLS 1.3, else 1.2.
        tls13: bool,
        /// From a ticket, without a signature.
        resumed: bool,
    },
    /// It failed.
    Failed(Failure),
}

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It took too long, waiting for its turn included.
    Timeout,
    /// The caller closed or broke the connection.
    Gone,
    /// The caller spoke HTTP in the clear.
    PlainHttp,
    /// The caller spoke something else that is no TLS.
    Malformed,
    /// The caller speaks no version that this listener speaks.
    Version,
    /// The caller shares no cipher suite, group, signature scheme or application protocol.
    NothingInCommon,
    /// The caller did not show the certificate that it has to.
    NoCertificate,
    /// The caller showed a certificate that is not good.
    BadCertificate,
    /// The caller refused: mostly it does not believe the gateway's certificate.
    Alert,
    /// Anything else.
    Other,
}

impl Failure {
    const ALL: [Self; 10] = [
        Self::Timeout,
        Self::Gone,
        Self::PlainHttp,
        Self::Malformed,
        Self::Version,
        Self::NothingInCommon,
        Self::NoCertificate,
        Self::BadCertificate,
        Self::Alert,
        Self::Other,
    ];

    /// One word for logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Gone => "gone",
            Self::PlainHttp => "plain_http",
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::NothingInCommon => "nothing_in_common",
            Self::NoCertificate => "no_certificate",
            Self::BadCertificate => "bad_certificate",
            Self::Alert => "alert",
            Self::Other => "other",
        }
    }
}

/// What is counted of one worker's handshakes.
#[derive(Debug, Default)]
pub struct Handshakes {
    under_way: AtomicU64,
    done: [[AtomicU64; 2]; 2],
    failed: [AtomicU64; Failure::ALL.len()],
}

impl Handshakes {
    /// One began; it ends when the guard is dropped.
    pub fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(&self.under_way)
    }

    /// One ended.
    pub fn count(&self, end: Handshake) {
        let counter = match end {
            Handshake::Done { tls13, resumed } => {
                let [[full12, resumed12], [full13, resumed13]] = &self.done;
                match (tls13, resumed) {
                    (false, false) => full12,
                    (false, true) => resumed12,
                    (true, false) => full13,
                    (true, true) => resumed13,
                }
            }
            Handshake::Failed(failure) => {
                let index = Failure::ALL.iter().position(|known| *known == failure);
                let Some(counter) = index.and_then(|index| self.failed.get(index)) else { return };
                counter
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Handshakes that have begun and not ended.
    pub fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Those that succeeded, by version and kind.
    pub fn done(&self) -> impl Iterator<Item = ((&'static str, &'static str), u64)> {
        let rows = self.done.iter().zip(["1.2", "1.3"]);
        rows.flat_map(|(row, version)| {
            row.iter()
                .zip(["full", "resumed"])
                .map(move |(counter, kind)| ((version, kind), counter.load(Ordering::Relaxed)))
        })
    }

    /// Those that failed, by reason.
    pub fn failed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Failure::ALL
            .iter()
            .zip(&self.failed)
            .map(|(failure, counter)| (failure.reason(), counter.load(Ordering::Relaxed)))
    }
}

/// Counts a handshake as long as it is under way.
pub struct UnderWay<'a>(&'a AtomicU64);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A certificate in force, as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The file, as the configuration names it.
    pub file: String,
    /// Its first name.
    pub name: String,
    /// When it expires, in seconds since 1970.
    pub not_after: u64,
}

/// The certificates of all listeners, and how their reloads went.
#[derive(Debug, Default)]
pub struct Certificates {
    reloads: AtomicU64,
    failures: AtomicU64,
    in_force: Mutex<BTreeMap<String, Certificate>>,
}

impl Certificates {
    /// These are in force now. A file that several listeners name is one.
    pub fn show(&self, certificates: impl Iterator<Item = Certificate>) {
        let by_file = certificates.map(|certificate| (certificate.file.clone(), certificate));
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = by_file.collect();
    }

    /// Those in force.
    pub fn in_force(&self) -> Vec<Certificate> {
        let in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        in_force.values().cloned().collect()
    }

    /// Another content of a listener's files was taken over.
    pub fn succeeded(&self) {
        self.reloads.fetch_add(1, Ordering::Relaxed);
    }

    /// A file was refused.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Reloads that succeeded and that failed.
    pub fn reloads(&self) -> (u64, u64) {
        (self.reloads.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_a_row_of_its_own() {
        let counts = Handshakes::default();
        for failure in Failure::ALL {
            counts.count(Handshake::Failed(failure));
        }
        assert!(counts.failed().all(|(_, count)| count == 1));
        counts.count(Handshake::Done { tls13: true, resumed: false });
        counts.count(Handshake::Done { tls13: false, resumed: true });
        let rows: Vec<_> = counts.done().filter(|(_, count)| *count > 0).collect();
        assert_eq!(rows, [(("1.2", "resumed"), 1), (("1.3", "full"), 1)]);
    }

    #[test]
    fn a_handshake_is_under_way_until_its_guard_goes() {
        let counts = Handshakes::default();
        let guard = counts.begin();
        assert_eq!(counts.under_way(), 1);
        drop(guard);
        assert_eq!(counts.under_way(), 0);
    }
}

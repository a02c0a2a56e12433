//! From the files that a listener names to what rustls needs.
//!
//! A file that was good once and is bad now keeps its last good content: a
//! half-written renewal must not take a listener down, nor the other
//! certificates beside it. A file that never was good is a mistake.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;

use super::pair::{self, Pair, Wrong};
use crate::config::file::Problem;
use crate::config::tls::{KeyPair, NamedFile, Tls};
use crate::telemetry::tls::Certificate;

/// No file of certificates or keys is larger; anything larger was named by mistake.
const LARGEST: u64 = 1 << 20;

/// What the files of one listener hold.
#[derive(Debug, Clone)]
pub(super) struct Material {
    /// In the configuration's order.
    pub(super) pairs: Vec<Loaded>,
    /// The authorities of callers.
    pub(super) authorities: Option<Authorities>,
}

/// A pair and its files.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    pub(super) files: KeyPair,
    pub(super) pair: Arc<Pair>,
}

/// The authorities of a file.
#[derive(Debug, Clone)]
pub(super) struct Authorities {
    file: NamedFile,
    pub(super) certificates: Arc<[CertificateDer<'static>]>,
    pub(super) store: Arc<RootCertStore>,
}

impl Loaded {
    /// What the operator sees of it.
    pub(super) fn facts(&self) -> Certificate {
        let since = self.pair.not_after.duration_since(SystemTime::UNIX_EPOCH);
        Certificate {
            file: self.files.certificate.path.display().to_string(),
            name: self.pair.name().to_owned(),
            not_after: since.map_or(0, |since| since.as_secs()),
        }
    }
}

impl Material {
    /// Reads every file; each that is wrong is recorded, and replaced by what it held in `last`.
    /// `None` when one of them was never good.
    pub(super) fn load(
        tls: &Tls,
        provider: &CryptoProvider,
        last: Option<&Self>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let mut pairs = Some(Vec::new());
        for files in &tls.certificates {
            let last = last.and_then(|last| {
                let loaded = last.pairs.iter().find(|loaded| loaded.files == *files)?;
                Some(loaded.pair.clone())
            });
            let loaded = load_pair(files, provider, last.as_deref(), problems).or(last);
            // Every file is read, also after one that is bad: all mistakes are told at once.
            pairs = pairs.zip(loaded).map(|(mut pairs, pair)| {
                pairs.push(Loaded { files: files.clone(), pair });
                pairs
            });
        }
        let authorities = match &tls.clients {
            None => None,
            Some(clients) => {
                let last = last.and_then(|last| last.authorities.clone());
                let last = last.filter(|last| last.file == clients.ca);
                Some(load_authorities(&clients.ca, problems).or(last)?)
            }
        };
        Some(Self { pairs: pairs?, authorities })
    }

    /// Whether both lead to the same configuration.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let pair = |loaded: &Loaded| loaded.pair.key.cert.clone();
        self.pairs.iter().map(pair).eq(other.pairs.iter().map(pair))
            && self.has_same_authorities(other)
    }

    /// Whether both believe the same callers.
    pub(super) fn has_same_authorities(&self, other: &Self) -> bool {
        let certificates = |material: &Self| {
            material.authorities.as_ref().map(|authorities| authorities.certificates.clone())
        };
        certificates(self) == certificates(other)
    }
}

fn load_pair(
    files: &KeyPair,
    provider: &CryptoProvider,
    last: Option<&Pair>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<Pair>> {
    let mut read = |file: &NamedFile| {
        read(&file.path).map_err(|message| problems.push(file.problem(&message))).ok()
    };
    let (certificate, key) = (read(&files.certificate), read(&files.key));
    match Pair::parse(&certificate?, &key?, provider) {
        Ok(pair) if is_step_back(&pair, last) => {
            let message = "expired, and the one before it has not; give the renewed certificate";
            problems.push(files.certificate.problem(message));
            None
        }
        Ok(pair) => Some(Arc::new(pair)),
        Err(wrong) => {
            problems.push(match wrong {
                Wrong::Certificate(message) => files.certificate.problem(&message),
                Wrong::Key(message) => files.key.problem(&message),
            });
            None
        }
    }
}

fn is_step_back(pair: &Pair, last: Option<&Pair>) -> bool {
    let now = SystemTime::now();
    pair.not_after < now && last.is_some_and(|last| last.not_after >= now)
}

fn load_authorities(file: &NamedFile, problems: &mut Vec<Problem>) -> Option<Authorities> {
    let load = || {
        let certificates = pair::certificates(&read(&file.path)?)?;
        let mut store = RootCertStore::empty();
        for (index, certificate) in certificates.iter().enumerate() {
            store.add(certificate.clone()).map_err(|error| {
                format!("its certificate number {} cannot be an authority: {error}", index + 1)
            })?;
        }
        let (certificates, store) = (certificates.into(), Arc::new(store));
        Ok::<_, String>(Authorities { file: file.clone(), certificates, store })
    };
    load().map_err(|message| problems.push(file.problem(&message))).ok()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error| format!("cannot be read: {error}; give the path of a readable PEM file");
    let size = std::fs::metadata(path).map_err(cannot)?.len();
    if size > LARGEST {
        return Err(format!("is too large for certificates ({size} bytes); is it the right file?"));
    }
    std::fs::read(path).map_err(cannot)
}

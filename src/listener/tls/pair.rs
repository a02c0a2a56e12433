//! A certificate and its key, as two files hold them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// A certificate that can be shown.
pub(super) struct Pair {
    /// The chain and its key.
    pub(super) key: Arc<CertifiedKey>,
    /// DNS names in lower case, at least one; `*.` begins a wildcard.
    pub(super) names: Vec<String>,
    /// When it begins to be valid.
    pub(super) not_before: SystemTime,
    /// When it ends to be valid.
    pub(super) not_after: SystemTime,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Whose file is wrong, and how.
#[derive(Debug)]
pub(super) enum Wrong {
    Certificate(String),
    Key(String),
}

impl Pair {
    /// Reads a pair from the contents of its two files.
    pub(super) fn parse(
        certificate: &[u8],
        key: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Self, Wrong> {
        let chain = certificates(certificate).map_err(Wrong::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| Wrong::Key(no_key(&error)))?;
        let facts = chain.first().ok_or(()).and_then(|first| facts(first).map_err(|_| ()));
        let Ok((names, [not_before, not_after])) = facts else {
            return Err(Wrong::Certificate(
                "the first certificate cannot be understood".to_owned(),
            ));
        };
        if names.is_empty() {
            let message = "the certificate has no DNS name among its subject alternative names, \
                           so no caller could believe it; have it issued for the hosts of the apps";
            return Err(Wrong::Certificate(message.to_owned()));
        }
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Wrong::Key(
                "the key is not that of the certificate; give the two files of one pair".to_owned(),
            ),
            error => Wrong::Key(format!(
                "the key cannot be used: {error}; give RSA, ECDSA or \
                                         Ed25519"
            )),
        })?;
        Ok(Self { key: Arc::new(key), names, not_before, not_after })
    }

    /// What the pair is called where it is counted and logged.
    pub(super) fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

/// Every certificate of a file.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match all {
        Ok(all) if all.is_empty() => {
            Err("holds no certificate; give a PEM file with -----BEGIN CERTIFICATE-----".to_owned())
        }
        Ok(all) => Ok(all),
        Err(error) => Err(format!("is not PEM: {error}; give the file as its issuer wrote it")),
    }
}

fn no_key(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => {
            "holds no private key; give a PEM file with -----BEGIN PRIVATE KEY-----, without a \
             passphrase"
                .to_owned()
        }
        error => format!("is not PEM: {error}; give the file as its issuer wrote it"),
    }
}

/// The DNS names of a certificate, and when it is valid.
fn facts(der: &[u8]) -> Result<(Vec<String>, [SystemTime; 2]), x509_cert::der::Error> {
    let certificate = Certificate::from_der(der)?;
    let certificate = certificate.tbs_certificate();
    let names = certificate.get_extension::<SubjectAltName>()?;
    let names = names.into_iter().flat_map(|(_, names)| names.0);
    let names = names.filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.to_string().to_ascii_lowercase()),
        _ => None,
    });
    let at = |time: Duration| SystemTime::UNIX_EPOCH + time;
    let validity = certificate.validity();
    let times = [validity.not_before, validity.not_after].map(|time| at(time.to_unix_duration()));
    Ok((names.collect(), times))
}

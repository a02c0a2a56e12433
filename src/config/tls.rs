//! TLS of a listener as it is meant: which files, which versions, which callers.
//!
//! Nothing here opens a file. What the files hold is judged where they are
//! used, and told with the place at which the configuration names them.

use std::path::PathBuf;
use std::sync::Arc;

use super::file::{Place, Problem};

/// TLS of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// At least one; the first is shown to callers who ask for a name that none has.
    pub certificates: Vec<KeyPair>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Whether callers show certificates, too.
    pub clients: Option<Clients>,
}

/// The files of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The certificate, then those that lead to its authority.
    pub certificate: NamedFile,
    /// Its private key.
    pub key: NamedFile,
}

/// The callers' certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients {
    /// The authorities that are believed.
    pub ca: NamedFile,
    /// Whether a caller without one is turned away.
    pub auth: ClientAuth,
}

impl Tls {
    /// The oldest version that is spoken unless asked otherwise.
    pub const MIN_VERSION: TlsVersion = TlsVersion::Tls12;

    /// Every file that is named.
    pub fn files(&self) -> impl Iterator<Item = &NamedFile> {
        let pairs = self.certificates.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        pairs.chain(self.clients.as_ref().map(|clients| &clients.ca))
    }
}

impl Clients {
    /// Who names authorities and says no more means that they are needed.
    pub const AUTH: ClientAuth = ClientAuth::Required;
}

/// Whether callers must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Who has none is turned away.
    Required,
    /// Who has none is served; one that is shown must be good.
    Optional,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// A file that the configuration names, and where it does.
#[derive(Debug, Clone)]
pub struct NamedFile {
    /// The file; a relative path begins at the folder of the configuration file.
    pub path: PathBuf,
    /// The configuration's own name.
    pub source: Arc<str>,
    /// Where the file is named.
    pub place: Place,
    /// The setting.
    pub key: &'static str,
}

/// Where a file is named is no part of what is meant.
impl PartialEq for NamedFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for NamedFile {}

impl NamedFile {
    /// What is wrong with the file, and the fix.
    pub fn problem(&self, message: &str) -> Problem {
        Problem {
            file: self.source.clone(),
            place: self.place.clone(),
            key: self.key.to_owned(),
            message: format!("{}: {message}", self.path.display()),
        }
    }
}

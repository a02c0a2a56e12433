//! The certificate of `dev --tls`: self-signed, for this machine's own names.
//!
//! It stays in the user's cache folder and is used again, so that what a
//! browser was told to accept is still the same after a restart. The hosts
//! stand in it one by one beside `*.localhost`: OpenSSL, and so curl, believes
//! no wildcard directly under a top-level name.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use thiserror::Error;

use crate::config::Listener;
use crate::config::file::Place;
use crate::config::tls::{self, NamedFile, Tls};
use crate::ids::HostName;
use crate::listener::tls::Keeper;

/// Browsers refuse what is valid for longer than 398 days.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Clocks differ, also between a virtual machine and its host.
const EARLIER: Duration = Duration::from_secs(24 * 60 * 60);

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// Nothing says where to keep it.
    #[error("there is no folder for the certificate: set HOME or XDG_CACHE_HOME")]
    NoFolder,
    /// It cannot be made.
    #[error("the certificate cannot be made")]
    Make(#[from] rcgen::Error),
    /// It cannot be written.
    #[error("the certificate cannot be written to {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// The folder in which it is kept, by the rules of the XDG base directories.
pub(super) fn folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("ignite-gateway"))
}

/// TLS with a certificate for these hosts: the one that is in `folder` if it is still good, else
/// a new one.
pub(super) fn tls(folder: &Path, hosts: &[HostName]) -> Result<Tls, CertificateError> {
    let names = names(hosts);
    let mut hash = DefaultHasher::new();
    names.hash(&mut hash);
    let name = format!("dev-{:016x}", hash.finish());
    let file = |ending: &str| NamedFile {
        path: folder.join(format!("{name}.{ending}")),
        source: "dev --tls".into(),
        place: Place::File,
        key: "",
    };
    let pair = tls::KeyPair { certificate: file("crt"), key: file("key") };
    let tls =
        Tls { certificates: vec![pair.clone()], min_version: Tls::MIN_VERSION, clients: None };
    if !is_good(&tls) {
        make(&names, &pair)?;
    }
    Ok(tls)
}

fn names(hosts: &[HostName]) -> Vec<String> {
    let own = ["localhost", "*.localhost", "127.0.0.1", "::1"].map(str::to_owned);
    own.into_iter().chain(hosts.iter().map(ToString::to_string)).collect()
}

fn is_good(tls: &Tls) -> bool {
    let address = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let listener = Listener { tls: Some(tls.clone()), ..Listener::at(address) };
    Keeper::load(&[listener]).is_ok_and(|keeper| keeper.doubts().is_empty())
}

fn make(names: &[String], files: &tls::KeyPair) -> Result<(), CertificateError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    let now = SystemTime::now();
    params.not_before = (now - EARLIER).into();
    params.not_after = (now + LIFETIME).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "ignite-gateway dev");
    let certificate = params.self_signed(&key)?;
    write(&files.key.path, &key.serialize_pem())?;
    write(&files.certificate.path, &certificate.pem())
}

/// For its owner alone, and whole or not at all: another `dev` may read it now.
fn write(path: &Path, text: &str) -> Result<(), CertificateError> {
    let fail = |source| CertificateError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fail)?;
    }
    let new = path.with_extension(format!("{}.new", std::process::id()));
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, path)
    };
    write().map_err(fail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn host(id: &str) -> HostName {
        HostName::of_port(&id.parse().unwrap(), 80, &"localhost".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_certificate_is_kept_as_long_as_it_is_good_and_for_these_hosts() {
        let folder = tempfile::tempdir().unwrap();
        let of = |hosts: &[HostName]| {
            let tls = tls(&folder.path().join("deep/er"), hosts).unwrap();
            let path = tls.certificates[0].certificate.path.clone();
            (fs::read_to_string(&path).unwrap(), tls.certificates[0].key.path.clone(), path)
        };
        let (first, key, path) = of(&[host("demo/echo")]);
        assert_eq!(of(&[host("demo/echo")]).0, first);
        assert_ne!(of(&[host("demo/app")]).0, first);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "broken").unwrap();
        let again = of(&[host("demo/echo")]).0;
        assert!(again != first && again != "broken");
    }

    #[test]
    fn the_folder_is_the_users_cache() {
        let of = |cache: &str, home: &str| {
            folder(|name| {
                let value = if name == "HOME" { home } else { cache };
                (!value.is_empty()).then(|| value.into())
            })
        };
        assert_eq!(of("/c", "/h"), Some("/c/ignite-gateway".into()));
        assert_eq!(of("", "/h"), Some("/h/.cache/ignite-gateway".into()));
        assert_eq!(of("relative", "/h"), Some("/h/.cache/ignite-gateway".into()));
        assert_eq!(of("", ""), None);
    }
}

//! Which certificate a caller gets: by the name it asks for, then by what it
//! can check.
//!
//! An exact name wins over a wildcard, which stands for one label: RFC 6125
//! section 6.4.3. Names come from the certificates' alternative names alone;
//! no client has believed a common name for years.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::material::Loaded;

/// The certificates of one listener.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    exact: HashMap<String, Candidates>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Candidates>,
    default: Candidates,
}

/// Certificates for one name, in the order of preference.
type Candidates = Vec<Arc<CertifiedKey>>;

impl Resolver {
    /// Of these pairs, in the configuration's order: the first is the default.
    pub(super) fn new(pairs: &[Loaded]) -> Self {
        let mut resolver = Self::default();
        for Loaded { pair, .. } in pairs {
            for name in &pair.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut resolver.wildcard, parent),
                    None => (&mut resolver.exact, name.as_str()),
                };
                names.entry(name.to_owned()).or_default().push(pair.key.clone());
            }
        }
        resolver.exact.values_mut().chain(resolver.wildcard.values_mut()).for_each(prefer);
        if let Some(Loaded { pair: first, .. }) = pairs.first() {
            // With its twins of other key types, for callers who cannot check the first.
            let twins = first.names.first().and_then(|name| match name.strip_prefix("*.") {
                Some(parent) => resolver.wildcard.get(parent),
                None => resolver.exact.get(name),
            });
            resolver.default = twins.cloned().unwrap_or_else(|| vec![first.key.clone()]);
        }
        resolver
    }

    fn named(&self, name: &str) -> Option<&Candidates> {
        self.exact.get(name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.wildcard.get(parent)
        })
    }
}

/// ECDSA first: it costs this side a tenth of RSA, and a sort that keeps the order otherwise
/// keeps the configuration's.
fn prefer(candidates: &mut Candidates) {
    candidates.sort_by_key(|key| key.key.algorithm() == SignatureAlgorithm::RSA);
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls gives the name in lower case.
        let named = hello.server_name().and_then(|name| self.named(name));
        let candidates = named.unwrap_or(&self.default);
        let schemes = hello.signature_schemes();
        let fitting = candidates.iter().find(|key| key.key.choose_scheme(schemes).is_some());
        // Without one that fits the handshake has to fail, and does with the right alert.
        fitting.or(candidates.first()).cloned()
    }
}

//! Everything that rustls is told, each by name.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{Error, OtherError, ServerConfig, version};

use super::material::Material;
use super::resolver::Resolver;
use crate::config::tls::{ClientAuth, Tls, TlsVersion};

/// The application protocols that are spoken, the preferred one first. A caller who names others
/// only is refused, RFC 7301 section 3.2; one who names none speaks HTTP/1.1.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Tickets after a full TLS 1.3 handshake. Each is used once: two let a browser open two
/// connections at once. More cost every handshake 0.2 KB and a seal each.
const TICKETS: usize = 2;

/// The algorithms: rustls' own choice, all of them AEAD with ephemeral keys, which is what
/// RFC 9113 section 9.2.2 asks of HTTP/2 over TLS 1.2.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// What seals the sessions that callers keep, with keys of its own that change every six hours.
pub(super) fn ticketer() -> Result<Arc<dyn ProducesTickets>, Error> {
    aws_lc_rs::Ticketer::new()
}

/// The configuration of one listener's sessions.
pub(super) fn server(
    tls: &Tls,
    material: &Material,
    provider: &Arc<CryptoProvider>,
    ticketer: Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, Error> {
    let versions: &[_] = match tls.min_version {
        TlsVersion::Tls12 => &[&version::TLS13, &version::TLS12],
        TlsVersion::Tls13 => &[&version::TLS13],
    };
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
    let builder = match (&tls.clients, &material.authorities) {
        (Some(clients), Some(authorities)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(
                authorities.store.clone(),
                provider.clone(),
            );
            let verifier = match clients.auth {
                ClientAuth::Required => verifier,
                ClientAuth::Optional => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|error| OtherError(Arc::new(error)))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Resolver::new(&material.pairs)));
    config.alpn_protocols = PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect();
    // Nothing is kept of a session here: what resumes it is in the caller's ticket, so it resumes
    // whichever worker accepts.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = ticketer;
    config.send_tls13_tickets = TICKETS;
    // Early data can be replayed by whoever saw it: RFC 8446 section 8.
    config.max_early_data_size = 0;
    Ok(config)
}

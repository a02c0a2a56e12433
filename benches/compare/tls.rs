//! The certificate of every contender, made for this run, and the client that holds them to TLS 1.3.
//!
//! Fairness is the client's: it offers one suite and one group only (as do `wrk` and `h2load` here),
//! so that all pay for the same cryptography while their own settings stay as they are by default.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{
    AlertDescription, ClientConfig, Error as TlsError, HandshakeKind, ProtocolVersion,
    RootCertStore, version,
};

use crate::Fallible;
use crate::apps::{CALLED, DOMAIN};

/// The names under which OpenSSL, and so the load tools, know the one suite and the one group.
pub(crate) const SUITE: &str = "TLS_AES_128_GCM_SHA256";
pub(crate) const GROUP: &str = "X25519";

/// Where the certificate lies: ECDSA P-256, signed by itself.
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Both in one file, as `haproxy` wants them.
    pub(crate) both: PathBuf,
}

impl Identity {
    pub(crate) fn make(folder: &Path) -> Fallible<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = CertificateParams::new(vec![format!("*.{DOMAIN}")])?.self_signed(&key)?;
        let identity = Self {
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
            both: folder.join("tls.pem"),
        };
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        fs::write(&identity.certificate, &certificate)?;
        fs::write(&identity.key, &key)?;
        fs::write(&identity.both, certificate + &key)?;
        Ok(identity)
    }
}

/// A client that believes this certificate and no other.
#[derive(Clone)]
pub(crate) struct Client {
    http1: TlsConnector,
    http2: TlsConnector,
}

impl Client {
    pub(crate) fn trusting(certificate: &Path) -> Fallible<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate)?)?;
        let provider = CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // A resumed handshake is cheaper: none of those that are counted may be one.
        config.resumption = Resumption::disabled();
        let speaking = |protocol: &[u8]| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.to_vec()];
            TlsConnector::from(Arc::new(config))
        };
        Ok(Self { http1: speaking(b"http/1.1"), http2: speaking(b"h2") })
    }

    pub(crate) async fn http1(&self, stream: TcpStream) -> Fallible<TlsStream<TcpStream>> {
        let stream = connect(&self.http1, stream).await?;
        match stream.get_ref().1.alpn_protocol() {
            None | Some(b"http/1.1") => Ok(stream),
            Some(other) => Err(format!("ALPN chose {}", other.escape_ascii()).into()),
        }
    }

    pub(crate) async fn http2(&self, stream: TcpStream) -> Fallible<TlsStream<TcpStream>> {
        let stream = connect(&self.http2, stream).await.map_err(|error| {
            let no_http2 = error.downcast_ref::<std::io::Error>().is_some_and(refuses_protocol);
            if no_http2 { "no HTTP/2: ALPN refuses h2".into() } else { error }
        })?;
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Ok(stream),
            None => Err("no HTTP/2: ALPN chooses nothing".into()),
            Some(other) => Err(format!("ALPN chose {}", other.escape_ascii()).into()),
        }
    }
}

async fn connect(with: &TlsConnector, stream: TcpStream) -> Fallible<TlsStream<TcpStream>> {
    let stream = with.connect(ServerName::try_from(CALLED.host())?, stream).await?;
    let session = stream.get_ref().1;
    if session.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Err(format!("speaks {:?}, not TLS 1.3", session.protocol_version()).into());
    }
    // Nor may it be one that had to be asked twice.
    if session.handshake_kind() != Some(HandshakeKind::Full) {
        return Err(format!("the handshake was {:?}", session.handshake_kind()).into());
    }
    Ok(stream)
}

fn refuses_protocol(error: &std::io::Error) -> bool {
    let alert = error.get_ref().and_then(|cause| cause.downcast_ref::<TlsError>());
    alert == Some(&TlsError::AlertReceived(AlertDescription::NoApplicationProtocol))
}

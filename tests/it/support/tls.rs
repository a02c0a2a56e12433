//! Authorities, certificates and callers over TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ignite_gateway::config::file::Place;
use ignite_gateway::config::tls::{ClientAuth, Clients, KeyPair, NamedFile, Tls};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, ProtocolVersion,
    RootCertStore, SignatureScheme, SupportedProtocolVersion, version,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Who issues certificates.
pub struct Authority(CertifiedIssuer<'static, rcgen::KeyPair>);

/// A key's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ecdsa,
    Rsa,
}

/// A certificate and its key.
pub struct Issued {
    pub certificate: String,
    pub key: String,
    pub der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = named("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names, valid for a year.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_as(Kind::Ecdsa, names)
    }

    /// The same with a key of this kind.
    pub fn issue_as(&self, kind: Kind, names: &[&str]) -> Issued {
        self.issue_until(kind, names, SystemTime::now() + 365 * DAY)
    }

    /// The same until a day.
    pub fn issue_until(&self, kind: Kind, names: &[&str], end: SystemTime) -> Issued {
        let algorithm = match kind {
            Kind::Ecdsa => &rcgen::PKCS_ECDSA_P256_SHA256,
            Kind::Rsa => &rcgen::PKCS_RSA_SHA256,
        };
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = named("somebody");
        params.not_before = (SystemTime::now() - 365 * DAY).into();
        params.not_after = end.into();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued {
            certificate: certificate.pem(),
            der: certificate.der().clone(),
            key: key.serialize_pem(),
            key_der: key.serialize_der(),
        }
    }

    /// A caller that believes this authority.
    pub fn client(&self) -> Arc<ClientConfig> {
        Client::new(self).into_config()
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// What a caller over TLS does differently.
pub struct Client<'a> {
    authority: &'a Authority,
    versions: Vec<&'static SupportedProtocolVersion>,
    provider: CryptoProvider,
    protocols: Vec<Vec<u8>>,
    shows: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    anybody: bool,
}

impl<'a> Client<'a> {
    pub fn new(authority: &'a Authority) -> Self {
        Self {
            authority,
            versions: vec![&version::TLS13, &version::TLS12],
            provider: aws_lc_rs::default_provider(),
            protocols: Vec::new(),
            shows: None,
            anybody: false,
        }
    }

    /// It talks to whoever answers.
    pub fn believes_anybody(mut self) -> Self {
        self.anybody = true;
        self
    }

    /// It speaks this version alone.
    pub fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    /// It offers these application protocols.
    pub fn protocols(mut self, protocols: &[&str]) -> Self {
        self.protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// It shows a certificate when it is asked.
    pub fn shows(mut self, issued: &Issued) -> Self {
        let key = PrivatePkcs8KeyDer::from(issued.key_der.clone());
        self.shows = Some((issued.der.clone(), key.into()));
        self
    }

    /// It can check signatures of this kind alone.
    pub fn checks_only(mut self, kind: Kind) -> Self {
        let all = self.provider.signature_verification_algorithms;
        let kept = all.mapping.iter().copied().filter(|(scheme, _)| {
            let name = format!("{scheme:?}");
            name.starts_with(match kind {
                Kind::Ecdsa => "ECDSA",
                Kind::Rsa => "RSA",
            })
        });
        let mapping = Box::leak(kept.collect::<Vec<_>>().into_boxed_slice());
        self.provider.signature_verification_algorithms =
            WebPkiSupportedAlgorithms { all: all.all, mapping };
        self
    }

    pub fn into_config(self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.0.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(self.provider))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.shows {
            Some((certificate, key)) => {
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        if self.anybody {
            let verifier = Anybody(config.crypto_provider().clone());
            config.dangerous().set_certificate_verifier(Arc::new(verifier));
        }
        config.alpn_protocols = self.protocols;
        Arc::new(config)
    }
}

/// Believes every certificate, and checks its signatures.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A caller's session.
#[derive(Clone)]
pub struct Session(Arc<Mutex<rustls::StreamOwned<ClientConnection, Socket>>>);

/// A socket that its caller holds, too.
struct Socket(Arc<TcpStream>);

impl Session {
    pub(super) fn begin(
        socket: Arc<TcpStream>,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = ClientConnection::new(config.clone(), name).unwrap();
        let mut socket = Socket(socket);
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self(Arc::new(Mutex::new(rustls::StreamOwned::new(session, socket)))))
    }

    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = self.0.lock().unwrap();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Says that nothing more comes; the socket stays.
    pub fn close(&self) {
        let mut stream = self.0.lock().unwrap();
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }

    /// The certificate that the gateway showed.
    pub fn certificate(&self) -> CertificateDer<'static> {
        let stream = self.0.lock().unwrap();
        stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }

    pub fn version(&self) -> ProtocolVersion {
        self.0.lock().unwrap().conn.protocol_version().unwrap()
    }

    pub fn is_resumed(&self) -> bool {
        self.0.lock().unwrap().conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub fn protocol(&self) -> Option<String> {
        let stream = self.0.lock().unwrap();
        stream.conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
    }
}

impl Read for Session {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.lock().unwrap().read(buffer)
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A folder with certificates.
pub struct Files(tempfile::TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file in one step: nobody sees a part of it.
    pub fn write(&self, name: &str, text: &str) {
        let new = self.path(&format!("{name}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path(name)).unwrap();
    }

    /// Writes `name.crt` and `name.key`.
    pub fn put(&self, name: &str, issued: &Issued) {
        self.write(&format!("{name}.crt"), &issued.certificate);
        self.write(&format!("{name}.key"), &issued.key);
    }

    /// TLS with these pairs, the first of which is the default.
    pub fn tls(&self, names: &[&str]) -> Tls {
        let pair = |name: &&str| KeyPair {
            certificate: self.named(&format!("{name}.crt")),
            key: self.named(&format!("{name}.key")),
        };
        let certificates = names.iter().map(pair).collect();
        Tls { certificates, min_version: Tls::MIN_VERSION, clients: None }
    }

    /// Callers' certificates are asked for.
    pub fn clients(&self, ca: &str, auth: ClientAuth) -> Clients {
        Clients { ca: self.named(ca), auth }
    }

    fn named(&self, name: &str) -> NamedFile {
        NamedFile {
            path: self.path(name),
            source: "gateway.toml".into(),
            place: Place::Line(1),
            key: "listener.tls",
        }
    }
}

//! Who called, for the app: `X-Forwarded-*`, `Client-Cert` and `Via`.
//!
//! Apps believe these fields, so a stranger's are replaced, also the vendors'
//! twins of them. A trusted peer's are kept, and its address is appended to
//! the chain of addresses.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;
use ipnet::IpNet;

use crate::fields::{Fields, Known};
use crate::message::Version;

/// The gateway's own name in `Via`, RFC 9110 section 7.6.3; a pseudonym, no version.
static VIA_HTTP_11: HeaderValue = HeaderValue::from_static("1.1 ignite-gateway");
/// The same for a request that came in HTTP/1.0: the version is the received one.
static VIA_HTTP_10: HeaderValue = HeaderValue::from_static("1.0 ignite-gateway");
/// The same for HTTP/2.
static VIA_HTTP_2: HeaderValue = HeaderValue::from_static("2.0 ignite-gateway");

/// The peer of a connection, with what is said of it to apps.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    trusted: bool,
    forwarded_for: HeaderValue,
    scheme: HeaderValue,
    certificate: Option<HeaderValue>,
}

impl Peer {
    /// The peer of a plain connection, believed if its address is in `trusted`.
    pub fn new(address: SocketAddr, trusted: &[IpNet]) -> Self {
        // A v4 caller of a v6 socket is a v4 caller.
        let ip = address.ip().to_canonical();
        Self::again(address, trusted.iter().any(|net| net.contains(&ip)))
    }

    /// The peer of a plain connection of which it is known whether it is believed.
    pub fn again(address: SocketAddr, trusted: bool) -> Self {
        let ip = address.ip().to_canonical();
        Self {
            address,
            trusted,
            forwarded_for: address_value(&ip.to_string()),
            scheme: HeaderValue::from_static("http"),
            certificate: None,
        }
    }

    /// The same peer, over TLS, with the certificate that it proved to be its own, in DER.
    #[must_use]
    pub fn over_tls(self, certificate: Option<&[u8]>) -> Self {
        let certificate = certificate.and_then(certificate_value);
        Self { scheme: HeaderValue::from_static("https"), certificate, ..self }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.scheme == "https" { "https" } else { "http" }
    }

    /// Whether it is believed what it says of others.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }
}

/// Who sent a request, as far as that is believed: the peer, or, told by trusted ones, the nearest
/// address of the chain that is not one of `trusted`. What stands before it is that caller's own
/// word, and where the chain cannot be read, its reader is as near as anybody came.
pub fn client(fields: &Fields, peer: &Peer, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.address.ip();
    if !peer.trusted {
        return client;
    }
    let lines: Vec<&[u8]> = fields.known(Known::ForwardedFor).collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    for hop in hops.map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty()) {
        let Some(address) = hop_address(hop) else { break };
        client = address;
        if !trusted.iter().any(|net| net.contains(&address)) {
            break;
        }
    }
    client
}

/// An address of the chain; some proxies add the port.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(hop).ok()?;
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .or_else(|_| text.trim_start_matches('[').trim_end_matches(']').parse());
    address.ok().map(|address| address.to_canonical())
}

fn address_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// RFC 9440 section 2.1: a byte sequence of RFC 8941, which is base64 between colons.
fn certificate_value(der: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(format!(":{}:", BASE64.encode(der))).ok()
}

/// Removes what a stranger says of himself.
pub fn strip(fields: &mut Fields, peer: &Peer) {
    if peer.trusted {
        return;
    }
    fields.retain(|field| {
        !matches!(
            field.known,
            Known::ForwardedFor
                | Known::ForwardedProto
                | Known::ForwardedHost
                | Known::ForwardedOther
                | Known::ClientCert
        )
    });
}

/// The addresses that a trusted peer named, then the peer's own, on one line: many apps
/// read only one. `None` if it named none.
fn chain(fields: &mut Fields, peer: &Peer) -> Option<HeaderValue> {
    if !fields.has(Known::ForwardedFor) {
        return None;
    }
    let mut chain: Vec<&[u8]> = fields.known(Known::ForwardedFor).collect();
    chain.push(peer.forwarded_for.as_bytes());
    let joined = HeaderValue::from_bytes(&chain.join(&b", "[..]));
    fields.retain(|field| field.known != Known::ForwardedFor);
    joined.ok()
}

/// Adds who called, and that it came through here.
pub fn insert(fields: &mut Fields, peer: &Peer, version: Version) {
    match chain(fields, peer) {
        Some(forwarded_for) => fields.add("x-forwarded-for", forwarded_for),
        None => fields.add("x-forwarded-for", &peer.forwarded_for),
    }
    if !fields.has(Known::ForwardedProto) {
        fields.add("x-forwarded-proto", &peer.scheme);
    }
    if !fields.has(Known::ForwardedHost) {
        fields.add_same("x-forwarded-host", Known::Host);
    }
    if let Some(certificate) = &peer.certificate {
        fields.retain(|field| field.known != Known::ClientCert);
        fields.add("client-cert", certificate);
    }
    let via = match version {
        Version::Http10 => &VIA_HTTP_10,
        Version::Http11 => &VIA_HTTP_11,
        Version::Http2 => &VIA_HTTP_2,
    };
    fields.add("via", via);
}

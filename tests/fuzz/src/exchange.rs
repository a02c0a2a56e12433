//! What README promises of a message between the two sides: which fields of it
//! arrive, and what stands beside them. Written without a look at `src/`.

use super::reference::{Field, Request, has_member, members, values};

/// The host of the one app.
pub const HOST: &str = "hello-acme.ignite.test";

/// What becomes of a well-formed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It reaches the app.
    Forwarded,
    /// The gateway answers it, and the connection goes on if the request allows that.
    Answered,
    /// The gateway answers it, and the connection ends.
    Refused,
}

/// Which of the three a request meets.
pub fn fate(request: &Request) -> Fate {
    match &request.method[..] {
        b"TRACE" => return Fate::Answered,
        b"CONNECT" => return Fate::Refused,
        _ => {}
    }
    let mut hosts = values(&request.fields, "host");
    let (Some(field), None) = (hosts.next(), hosts.next()) else { return Fate::Refused };
    let Some(host) = host(field) else { return Fate::Refused };
    if let Some(authority) = &request.authority
        && self::host(authority).as_ref() != Some(&host)
    {
        return Fate::Refused;
    }
    if host != HOST {
        return Fate::Answered;
    }
    let protected = |name: &[u8]| {
        let name = name.to_ascii_lowercase();
        name.starts_with(b":")
            || [&b"host"[..], b"content-length", b"transfer-encoding"].contains(&&name[..])
    };
    if members(&request.fields, "connection").any(protected) {
        return Fate::Refused;
    }
    Fate::Forwarded
}

/// A host in lower case without its port and one trailing dot, if that is what the bytes are.
pub fn host(authority: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(authority).ok()?.to_ascii_lowercase();
    let (name, port) = match text.split_once(':') {
        // An address in brackets has colons of its own, and no app has such a host.
        _ if text.starts_with('[') => (&text[..], ""),
        Some((name, port)) => (name, port),
        None => (&text[..], ""),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._~[]:".contains(c);
    let good = !name.is_empty() && name.len() <= 253 && name.chars().all(is_name);
    let port = port.len() <= 5 && port.chars().all(|c| c.is_ascii_digit());
    (good && port).then(|| name.to_owned())
}

/// The name as backends of the CGI kind read it.
fn folded(name: &[u8]) -> String {
    let fold = |byte: &u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' => *byte as char,
        b'A'..=b'Z' => byte.to_ascii_lowercase() as char,
        _ => '-',
    };
    name.iter().map(fold).collect()
}

/// A name that only the gateway gives a meaning to.
pub fn is_reserved(name: &[u8]) -> bool {
    folded(name).starts_with("x-ignite-")
}

/// A name by which a stranger could tell an app that he is somebody else.
fn is_of_trusted_peers(name: &[u8]) -> bool {
    const NAMES: [&str; 9] = [
        "x-real-ip",
        "x-client-ip",
        "x-original-url",
        "x-original-host",
        "x-rewrite-url",
        "true-client-ip",
        "cf-connecting-ip",
        "client-cert",
        "client-cert-chain",
    ];
    let folded = folded(name);
    folded.starts_with("x-forwarded-")
        || NAMES.contains(&&folded[..])
        || name.eq_ignore_ascii_case(b"forwarded")
}

/// Another spelling of a name that counts, which some backends take for that name; and `Proxy`.
fn is_of_nobody(name: &[u8]) -> bool {
    const NAMES: [&str; 12] = [
        "keep-alive",
        "set-cookie",
        "client-cert",
        "client-cert-chain",
        "content-length",
        "transfer-encoding",
        "http2-settings",
        "true-client-ip",
        "cf-connecting-ip",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
    ];
    let plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    let folded = folded(name);
    let counts = NAMES.contains(&&folded[..]) || is_of_trusted_peers(name);
    (counts && !plain) || folded == "proxy"
}

/// A name that ends at this hop, RFC 9110 section 7.6.1, or frames the message.
fn is_of_this_hop(name: &[u8]) -> bool {
    const NAMES: [&str; 10] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "transfer-encoding",
        "content-length",
        "upgrade",
        "http2-settings",
    ];
    NAMES.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
}

/// Which side a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Caller,
    App,
}

/// The fields that arrive, in their order.
pub fn end_to_end(fields: &[Field], from: From) -> Vec<Field> {
    let dropped = |name: &[u8]| {
        is_of_this_hop(name)
            || is_reserved(name)
            || is_of_nobody(name)
            || (from == From::Caller && is_of_trusted_peers(name))
            || (nominates(fields, name) && !name.eq_ignore_ascii_case(b"host"))
    };
    let announced: Vec<&[u8]> = members(fields, "trailer").collect();
    // A list with a reserved name in it is written anew, behind the others.
    let rewritten =
        announced.iter().any(|name| is_reserved(name)) && !nominates(fields, b"trailer");
    let gone = |name: &[u8]| dropped(name) || (rewritten && name.eq_ignore_ascii_case(b"trailer"));
    let mut arrived: Vec<Field> = fields.iter().filter(|(name, _)| !gone(name)).cloned().collect();
    let names: Vec<&[u8]> = announced.into_iter().filter(|name| !is_reserved(name)).collect();
    if rewritten && !names.is_empty() {
        arrived.push((b"trailer".to_vec(), names.join(&b", "[..])));
    }
    arrived
}

fn nominates(fields: &[Field], name: &[u8]) -> bool {
    let is_option = |name: &[u8]| {
        name.eq_ignore_ascii_case(b"close") || name.eq_ignore_ascii_case(b"keep-alive")
    };
    members(fields, "connection").any(|other| other.eq_ignore_ascii_case(name)) && !is_option(name)
}

/// The trailers that arrive: nothing that frames, routes or authenticates, RFC 9110 section 6.5.1.
pub fn trailers(head: &[Field], trailers: &[Field]) -> Vec<Field> {
    const NEVER: [&str; 6] = ["host", "trailer", "expect", "cookie", "set-cookie", "authorization"];
    let dropped = |name: &[u8]| {
        is_of_this_hop(name)
            || is_reserved(name)
            || is_of_nobody(name)
            || is_of_trusted_peers(name)
            || NEVER.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
            || nominates(head, name)
    };
    trailers.iter().filter(|(name, _)| !dropped(name)).cloned().collect()
}

/// What stands behind a caller's own fields when the app gets them, in this order. A `*` is a
/// value that depends on more than the request.
pub fn added_for_app(request: &Request) -> Vec<(&'static str, String)> {
    let mut added = Vec::new();
    let mut add = |name, value: &str| added.push((name, value.to_owned()));
    if has_member(&request.fields, "te", "trailers") && request.upgrade.is_none() {
        add("te", "trailers");
        add("connection", "te");
    }
    add("x-ignite-execution-id", "*");
    add("x-ignite-function-id", "acme/hello");
    add("x-ignite-organization-id", "acme");
    add("x-forwarded-for", "192.0.2.7");
    add("x-forwarded-proto", "http");
    let host = values(&request.fields, "host").next().unwrap_or_default();
    add("x-forwarded-host", &String::from_utf8_lossy(host));
    add("via", if request.minor == 0 { "1.0 ignite-gateway" } else { "1.1 ignite-gateway" });
    if let Some(protocol) = &request.upgrade {
        add("connection", "Upgrade");
        add("upgrade", &String::from_utf8_lossy(protocol));
    }
    added
}

/// Bytes for a message of a finding.
pub fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

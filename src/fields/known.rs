//! The field names that the gateway acts on, recognised once per line.
//!
//! Names that an app's CGI, WSGI or PHP backend would fold into one of the
//! gateway's own count as that name: there `X_Ignite_Function_Id` and
//! `x-ignite-function-id` are one variable, so both are reserved here.

/// What the gateway knows of a field name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing: the field passes as it came.
    Other,
    /// `Host`, RFC 9110 section 7.2.
    Host,
    /// `Content-Length`, RFC 9110 section 8.6.
    ContentLength,
    /// `Transfer-Encoding`, RFC 9112 section 6.1.
    TransferEncoding,
    /// `Connection`, RFC 9110 section 7.6.1.
    Connection,
    /// `Keep-Alive`, RFC 2068 section 19.7.1.
    KeepAlive,
    /// `Proxy-Connection`, `Proxy-Authenticate`, `Proxy-Authorization`, and `HTTP2-Settings`, which
    /// goes with an upgrade that is not passed on: for this hop only.
    HopByHop,
    /// `TE`, RFC 9110 section 10.1.4.
    Te,
    /// `Upgrade`, RFC 9110 section 7.8.
    Upgrade,
    /// `Trailer`, RFC 9110 section 6.6.2.
    Trailer,
    /// `Expect`, RFC 9110 section 10.1.1.
    Expect,
    /// `Via`, RFC 9110 section 7.6.3.
    Via,
    /// `Date`, RFC 9110 section 6.6.1.
    Date,
    /// `Cookie`, `Authorization`: for the app alone, in a header section alone.
    Credentials,
    /// `X-Forwarded-For`.
    ForwardedFor,
    /// Any other field by which apps learn whom and what a caller asked: believed only from
    /// trusted peers.
    ForwardedOther,
    /// `Client-Cert` and `Client-Cert-Chain`, RFC 9440: believed only from trusted peers.
    ClientCert,
    /// `X-Forwarded-Proto`.
    ForwardedProto,
    /// `X-Forwarded-Host`.
    ForwardedHost,
    /// `traceparent`, W3C Trace Context.
    TraceParent,
    /// `tracestate`, W3C Trace Context.
    TraceState,
    /// Any name that a backend could take for `x-ignite-…`.
    Reserved,
    /// Another spelling of a name above, `Content_Length` or `X_Forwarded_For`, which a backend
    /// that makes variables of names takes for that one; and `Proxy`, of which it makes
    /// `HTTP_PROXY` (CVE-2016-5385). Nobody sends them honestly, and nobody gets them.
    Folded,
}

/// The prefix of the names that only the gateway may set.
const RESERVED: &[u8] = b"x-ignite-";
/// The prefix of the names that only trusted peers may set.
const FORWARDED: &[u8] = b"x-forwarded-";

/// Vendors' names for the same things.
const VENDORS: [&str; 5] =
    ["x-real-ip", "x-client-ip", "x-original-url", "x-original-host", "x-rewrite-url"];

impl Known {
    /// Recognises a field name, any case.
    pub fn of(name: &[u8]) -> Self {
        if matches!(name.first(), Some(b'x' | b'X')) {
            return Self::of_extension(name);
        }
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        // Of the same length as the name.
        let is_one = |of: &[(&str, Self)]| {
            let found = of.iter().find(|(text, _)| fold_equals_prefix(name, text.as_bytes()));
            found.map_or(Self::Other, |(text, known)| if is(text) { *known } else { Self::Folded })
        };
        match name.len() {
            2 if is("te") => Self::Te,
            3 if is("via") => Self::Via,
            4 if is("host") => Self::Host,
            4 if is("date") => Self::Date,
            5 if is("proxy") => Self::Folded,
            6 if is("expect") => Self::Expect,
            6 if is("cookie") => Self::Credentials,
            7 if is("upgrade") => Self::Upgrade,
            7 if is("trailer") => Self::Trailer,
            9 if is("forwarded") => Self::ForwardedOther,
            10 if is("connection") => Self::Connection,
            10 => is_one(&[
                ("keep-alive", Self::KeepAlive),
                ("set-cookie", Self::Credentials),
                ("tracestate", Self::TraceState),
            ]),
            11 => is_one(&[("client-cert", Self::ClientCert), ("traceparent", Self::TraceParent)]),
            13 if is("authorization") => Self::Credentials,
            14 => is_one(&[
                ("content-length", Self::ContentLength),
                ("http2-settings", Self::HopByHop),
                ("true-client-ip", Self::ForwardedOther),
            ]),
            16 => is_one(&[
                ("proxy-connection", Self::HopByHop),
                ("cf-connecting-ip", Self::ForwardedOther),
            ]),
            17 => is_one(&[
                ("transfer-encoding", Self::TransferEncoding),
                ("client-cert-chain", Self::ClientCert),
            ]),
            18 => is_one(&[("proxy-authenticate", Self::HopByHop)]),
            19 => is_one(&[("proxy-authorization", Self::HopByHop)]),
            _ => Self::Other,
        }
    }

    fn of_extension(name: &[u8]) -> Self {
        if fold_equals_prefix(name, RESERVED) {
            return Self::Reserved;
        }
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        let folds_to =
            |text: &str| name.len() == text.len() && fold_equals_prefix(name, text.as_bytes());
        if is("x-forwarded-for") {
            Self::ForwardedFor
        } else if is("x-forwarded-proto") {
            Self::ForwardedProto
        } else if is("x-forwarded-host") {
            Self::ForwardedHost
        } else if fold_equals_prefix(name, FORWARDED)
            || VENDORS.iter().any(|vendor| folds_to(vendor))
        {
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
            if name.iter().all(plain) { Self::ForwardedOther } else { Self::Folded }
        } else {
            Self::Other
        }
    }
}

/// Whether `name` begins with `prefix` once lower-cased and with every byte
/// other than a letter or digit read as `-`.
pub fn fold_equals_prefix(name: &[u8], prefix: &[u8]) -> bool {
    name.len() >= prefix.len() && name.iter().zip(prefix).all(|(byte, want)| fold(*byte) == *want)
}

fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_separator_and_case_of_the_reserved_prefix_is_reserved() {
        for name in [
            "x-ignite-execution-id",
            "X-Ignite-Execution-Id",
            "X_IGNITE_EXECUTION_ID",
            "x.ignite.execution",
            "x-ignite_foo",
            "x!ignite~",
            "x-ignite-",
        ] {
            assert_eq!(Known::of(name.as_bytes()), Known::Reserved, "{name}");
        }
        for name in ["x-ignite", "xignite-foo", "x-ignited-foo", "my-x-ignite-foo", "x"] {
            assert_eq!(Known::of(name.as_bytes()), Known::Other, "{name}");
        }
    }

    #[test]
    fn names_are_known_in_any_case() {
        assert_eq!(Known::of(b"CONTENT-length"), Known::ContentLength);
        assert_eq!(Known::of(b"Transfer-ENCODING"), Known::TransferEncoding);
        assert_eq!(Known::of(b"X-FORWARDED-for"), Known::ForwardedFor);
        assert_eq!(Known::of(b"X-Forwarded-Port"), Known::ForwardedOther);
        assert_eq!(Known::of(b""), Known::Other);
    }

    #[test]
    fn other_spellings_of_names_that_count_are_known_as_that() {
        for name in [
            "Content_Length",
            "transfer_ENCODING",
            "Transfer.Encoding",
            "keep_alive",
            "proxy_authorization",
            "Set_Cookie",
            "HTTP2_Settings",
            "client_cert",
            "Client-Cert_Chain",
            "true_client-ip",
            "cf.connecting.ip",
            "X_Forwarded_For",
            "x-forwarded_for",
            "X-Forwarded-Client_Cert",
            "x_real_ip",
            "Proxy",
        ] {
            assert_eq!(Known::of(name.as_bytes()), Known::Folded, "{name}");
        }
        for name in ["content_type", "x_request_id", "contentlength", "proxys", "proxy_", "x_real"]
        {
            assert_eq!(Known::of(name.as_bytes()), Known::Other, "{name}");
        }
    }
}

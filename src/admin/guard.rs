//! Who may be addressed here, and by whose pages: an IP address or `localhost`,
//! never another name, and never another origin's script.
//!
//! A web page can make its own name resolve to 127.0.0.1 and then read this
//! listener through a browser on the operator's machine (DNS rebinding). The
//! browser still sends the page's name in `Host`, and that is refused. It can
//! also ask this listener by its address, blindly, to change something: then
//! the browser sends `Origin` or `Sec-Fetch-Site`, and that is refused, too.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// RFC 9112 section 3.2: HTTP/1.1 asks for exactly one `Host`.
    NotOneHost,
    /// The host is a name.
    Name,
    /// A page of somebody else asks.
    CrossOrigin,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::NotOneHost => Problem::bad_request("a request needs exactly one Host field"),
            Self::Name => Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "this listener answers only when Host is an IP address or localhost, so that no \
                 web page can reach it by a name of its own (DNS rebinding); ask by address, or \
                 send `Host: localhost`",
            ),
            Self::CrossOrigin => Problem::new(
                StatusCode::FORBIDDEN,
                "a web page of another origin asks; this listener answers only its own",
            ),
        }
        .into_response()
    }
}

/// Passes requests whose every authority is an address or `localhost`, and that no page of another
/// origin makes.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Refusal> {
    let mut fields = request.headers().get_all(header::HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (Some(field), None) => Some(field),
        (None, None) if request.version() <= Version::HTTP_10 => None,
        _ => return Err(Refusal::NotOneHost),
    };
    let field_passes = field.is_none_or(|field| field.to_str().is_ok_and(is_address_or_localhost));
    let target = request.uri().authority();
    let target_passes = target.is_none_or(|target| is_address_or_localhost(target.as_str()));
    if !field_passes || !target_passes {
        return Err(Refusal::Name);
    }
    if is_own(request.method(), request.headers(), field) {
        Ok(())
    } else {
        Err(Refusal::CrossOrigin)
    }
}

/// Whether the request comes from no page, or from one that this listener served.
///
/// `Origin` goes with whatever a page may read, or may change; reading blindly, as an `<img>` does,
/// tells the page nothing. `Sec-Fetch-Site` is there where a browser leaves `Origin` out.
fn is_own(method: &Method, headers: &HeaderMap, host: Option<&HeaderValue>) -> bool {
    let host = host.map(HeaderValue::as_bytes).unwrap_or_default();
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let origin_passes = origins.all(|origin| {
        origin.as_bytes().strip_prefix(b"http://").is_some_and(|own| own.eq_ignore_ascii_case(host))
    });
    let mut sites = headers.get_all("sec-fetch-site").iter();
    let reads = method == Method::GET || method == Method::HEAD;
    origin_passes && (reads || sites.all(|site| site == "same-origin" || site == "none"))
}

/// `authority` is `host[:port]` as RFC 3986 section 3.2 writes it.
fn is_address_or_localhost(authority: &str) -> bool {
    if let Some(bracketed) = authority.strip_prefix('[') {
        return bracketed.split_once(']').is_some_and(|(address, rest)| {
            let port = rest.strip_prefix(':').unwrap_or(rest);
            address.parse::<Ipv6Addr>().is_ok()
                && (rest.is_empty() || rest.starts_with(':'))
                && is_port(port)
        });
    }
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    is_port(port) && (host.eq_ignore_ascii_case("localhost") || host.parse::<Ipv4Addr>().is_ok())
}

fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    fn request(version: Version, target: &str, hosts: &[&str]) -> Request<()> {
        let request = Request::builder().version(version).uri(target);
        let add =
            |request: axum::http::request::Builder, host: &&str| request.header("host", *host);
        hosts.iter().fold(request, add).body(()).expect("a request")
    }

    #[test]
    fn addresses_and_localhost_pass_with_and_without_a_port() {
        for host in [
            "127.0.0.1",
            "10.1.2.3:9090",
            "[::1]",
            "[::1]:9090",
            "localhost",
            "LocalHost:1",
            "1.1.1.1:",
        ] {
            assert_eq!(check(&request(Version::HTTP_11, "/", &[host])), Ok(()), "{host}");
        }
    }

    #[test]
    fn names_and_what_only_looks_like_an_address_are_refused() {
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.1",
            "0x7f.0.0.1",
            "[::1",
            "[::1]evil",
            "[evil]",
            "::1",
            "localhost:80:80",
            "localhost:http",
            "localhost:123456",
            "user@localhost",
        ] {
            let refused = check(&request(Version::HTTP_11, "/", &[host]));
            assert_eq!(refused, Err(Refusal::Name), "{host}");
        }
    }

    #[test]
    fn only_http_1_0_may_leave_the_host_out_and_none_may_repeat_it() {
        assert_eq!(check(&request(Version::HTTP_10, "/", &[])), Ok(()));
        assert_eq!(check(&request(Version::HTTP_11, "/", &[])), Err(Refusal::NotOneHost));
        for version in [Version::HTTP_10, Version::HTTP_11] {
            let refused = check(&request(version, "/", &["localhost", "localhost"]));
            assert_eq!(refused, Err(Refusal::NotOneHost));
        }
    }

    #[test]
    fn the_authority_of_an_absolute_target_is_held_to_the_same_rule() {
        let passed = check(&request(Version::HTTP_11, "http://localhost:1/livez", &["localhost"]));
        assert_eq!(passed, Ok(()));
        let refused = check(&request(Version::HTTP_11, "http://evil.example/", &["localhost"]));
        assert_eq!(refused, Err(Refusal::Name));
    }

    #[test]
    fn a_page_of_another_origin_is_refused_and_the_own_is_not() {
        let from = |method: &Method, name: &'static str, value: &'static str| {
            let request = Request::builder().method(method).header("host", "127.0.0.1:9090");
            check(&request.header(name, value).body(()).expect("a request"))
        };
        for method in [Method::GET, Method::PUT] {
            assert_eq!(from(&method, "origin", "http://127.0.0.1:9090"), Ok(()));
            for origin in [
                "http://127.0.0.1:9091",
                "https://127.0.0.1:9090",
                "http://evil.example",
                "http://127.0.0.1:9090.evil.example",
                "null",
                "",
            ] {
                assert_eq!(from(&method, "origin", origin), Err(Refusal::CrossOrigin), "{origin}");
            }
        }
        for site in ["same-origin", "none"] {
            assert_eq!(from(&Method::PUT, "sec-fetch-site", site), Ok(()), "{site}");
        }
        for site in ["cross-site", "same-site", "new-word"] {
            assert_eq!(from(&Method::PUT, "sec-fetch-site", site), Err(Refusal::CrossOrigin));
            assert_eq!(from(&Method::GET, "sec-fetch-site", site), Ok(()), "a link leads here");
        }
    }
}

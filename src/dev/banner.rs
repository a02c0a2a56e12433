//! The text with which `dev` greets: where the app is, and lines to paste.
//!
//! Every line must work as it stands. curl resolves `*.localhost` itself, and so
//! do browsers; other programs ask the system, which may not know these names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::screen::Screen;
use crate::ids::{AppId, HostName};

/// What there is to greet with.
#[derive(Debug)]
pub(super) struct Banner<'a> {
    /// The app.
    pub(super) app: &'a AppId,
    /// What runs: a command, or the built-in app.
    pub(super) runs: String,
    /// The app's hosts, the first one first, and what each means.
    pub(super) hosts: Vec<(HostName, String)>,
    /// A path that the app is likely to answer.
    pub(super) path: &'static str,
    /// Where the gateway listens.
    pub(super) listen: SocketAddr,
    /// The file of its certificate if it speaks TLS.
    pub(super) certificate: Option<String>,
    /// Where the operator's listener is.
    pub(super) admin: SocketAddr,
    /// What is unusual about all this.
    pub(super) notice: Option<String>,
    /// For bold text.
    pub(super) screen: &'a Screen,
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { app, runs, hosts, path, listen, certificate, admin, notice, screen } = self;
        writeln!(f, "\n{} {runs}", screen.bold(&app.to_string()))?;
        if let Some(notice) = notice {
            writeln!(f, "{notice}")?;
        }
        writeln!(f)?;
        let port = listen.port();
        let scheme = self.scheme();
        let url = |host: &HostName| format!("{scheme}://{host}:{port}/");
        let urls: Vec<_> = hosts.iter().map(|(host, _)| url(host)).collect();
        let width = urls.iter().map(String::len).max().unwrap_or(0);
        for (url, (_, meaning)) in urls.iter().zip(hosts) {
            let gap = width - url.len() + 3;
            writeln!(f, "  {}{:gap$}{meaning}", screen.bold(url), "")?;
        }
        if let Some((host, _)) = hosts.first() {
            self.lines_to_paste(f, host, path)?;
        }
        if let Some(certificate) = certificate {
            writeln!(
                f,
                "\nThe certificate is self-signed and kept: a browser asks once. It is in"
            )?;
            writeln!(f, "\n  {certificate}")?;
        }
        writeln!(f, "\nAdmin: http://{admin}/   Ctrl-C stops.\n")
    }
}

impl Banner<'_> {
    fn scheme(&self) -> &'static str {
        if self.certificate.is_some() { "https" } else { "http" }
    }

    fn lines_to_paste(
        &self,
        f: &mut fmt::Formatter<'_>,
        host: &HostName,
        path: &str,
    ) -> fmt::Result {
        const JSON: &str = r#"-H 'Content-Type: application/json' -d '{"name":"Ada"}'"#;
        let (scheme, port) = (self.scheme(), self.listen.port());
        let believe = self.certificate.as_ref().map(|file| format!("--cacert '{file}' "));
        let believe = believe.unwrap_or_default();
        let named = format!("{believe}{scheme}://{host}:{port}{path}");
        let direct =
            format!("{believe}-H 'Host: {host}' {scheme}://{}{path}", reached_at(self.listen));
        writeln!(f, "\nTry it in another terminal:\n")?;
        if is_localhost(self.listen.ip()) {
            writeln!(f, "  curl {named}\n  curl {JSON} {named}")?;
            writeln!(f, "\nWith a client that cannot resolve *.localhost:\n\n  curl {direct}")
        } else {
            writeln!(f, "  curl {direct}\n  curl {JSON} {direct}")
        }
    }
}

/// Whether `*.localhost` leads to this address.
fn is_localhost(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST
}

/// An address that can be called, also where the listener has all of them.
fn reached_at(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, listen.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, listen.port()).into(),
        _ => listen,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    fn banner(listen: &str) -> String {
        banner_with(listen, None)
    }

    fn banner_with(listen: &str, certificate: Option<&str>) -> String {
        let app: AppId = "demo/app".parse().unwrap();
        let domain = "localhost".parse().unwrap();
        let host = |port| HostName::of_port(&app, port, &domain).unwrap();
        let banner = Banner {
            app: &app,
            runs: "runs `x`".to_owned(),
            hosts: vec![(host(80), "first".to_owned()), (host(9000), "second".to_owned())],
            path: "/",
            listen: listen.parse().unwrap(),
            certificate: certificate.map(str::to_owned),
            admin: "127.0.0.1:9".parse().unwrap(),
            notice: None,
            screen: &Screen::new("app", false),
        };
        banner.to_string()
    }

    #[test]
    fn every_port_has_its_url_and_the_first_has_lines_to_paste() {
        let text = banner("127.0.0.1:8080");
        assert!(text.contains("  http://app-demo.localhost:8080/        first\n"), "{text}");
        assert!(text.contains("  http://app-demo-9000.localhost:8080/   second\n"), "{text}");
        assert!(text.contains("\n  curl http://app-demo.localhost:8080/\n"), "{text}");
        let direct = "\n  curl -H 'Host: app-demo.localhost' http://127.0.0.1:8080/\n";
        assert!(text.contains(direct), "{text}");
    }

    #[test]
    fn with_a_certificate_every_url_is_https_and_curl_believes_it() {
        let text = banner_with("127.0.0.1:8443", Some("/c/dev.crt"));
        assert!(!text.contains("http://app-demo"), "{text}");
        let named = "\n  curl --cacert '/c/dev.crt' https://app-demo.localhost:8443/\n";
        assert!(text.contains(named), "{text}");
        let direct = "--cacert '/c/dev.crt' -H 'Host: app-demo.localhost' https://127.0.0.1:8443/";
        assert!(text.contains(direct), "{text}");
    }

    #[test]
    fn an_address_that_localhost_does_not_lead_to_is_called_directly() {
        let text = banner("192.0.2.1:80");
        assert!(!text.contains("curl http://app-demo"), "{text}");
        assert!(text.contains("curl -H 'Host: app-demo.localhost' http://192.0.2.1:80/\n"));
        assert!(banner("0.0.0.0:80").contains("' http://127.0.0.1:80/\n"));
        assert!(banner("[::]:80").contains("' http://[::1]:80/\n"));
    }
}

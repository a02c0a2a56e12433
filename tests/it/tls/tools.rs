//! Other people's TLS: OpenSSL and curl.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use ignite_gateway::config::tls::TlsVersion;

use super::{gateway, gateway_with, tls};
use crate::support::caller::request;
use crate::support::tls::{Authority, Files};
use crate::support::tools::is_there;
use crate::support::{EchoHeads, HOST};

/// What `openssl s_client` says of one connection, on which it asks for `/`.
fn openssl(address: SocketAddr, files: &Files, arguments: &[&str]) -> Output {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-servername", HOST]);
    command.arg("-CAfile").arg(files.path("ca.crt")).args(["-verify_return_error", "-ign_eof"]);
    command.args(arguments).env("OPENSSL_CONF", "/dev/null");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let asked = request("GET /", "Connection: close\r\n", "");
    // It is gone already where the handshake failed.
    let _ = child.stdin.take().unwrap().write_all(asked.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{err}")
}

#[test]
fn openssl_is_served_in_the_versions_that_are_spoken_and_refused_in_others() {
    if !is_there("openssl") {
        return;
    }
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, files) = gateway(&authority, app.address());
    files.write("ca.crt", &authority.pem());
    for (version, suite) in [("-tls1_2", "ECDHE-ECDSA-"), ("-tls1_3", "TLS_")] {
        let said = text(&openssl(gateway.address(), &files, &[version]));
        assert!(said.contains("HTTP/1.1 200 OK"), "{version}: {said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{version}: {said}");
        assert!(said.contains(&format!("Cipher is {suite}")), "{version}: {said}");
        assert!(!said.contains("Secure Renegotiation IS NOT supported") || version == "-tls1_3");
    }
    // OpenSSL offers the old versions only when it is told to be careless.
    for version in ["-tls1_1", "-tls1"] {
        let careless = ["-cipher", "ALL:@SECLEVEL=0", version];
        let output = openssl(gateway.address(), &files, &careless);
        let said = text(&output);
        let refused = said.contains("alert protocol version") || said.contains("alert handshake");
        assert!(!output.status.success() && refused, "{said}");
    }
}

#[test]
fn openssl_with_tls_1_2_is_refused_where_1_3_is_the_least() {
    if !is_there("openssl") {
        return;
    }
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, files) = gateway_with(&authority, app.address(), |config| {
        tls(config).min_version = TlsVersion::Tls13;
    });
    files.write("ca.crt", &authority.pem());
    let said = text(&openssl(gateway.address(), &files, &["-tls1_2"]));
    assert!(said.contains("protocol version"), "{said}");
    assert!(text(&openssl(gateway.address(), &files, &["-tls1_3"])).contains("HTTP/1.1 200 OK"));
}

#[test]
fn no_cipher_suite_is_weaker_than_http_2_allows() {
    if !is_there("openssl") {
        return;
    }
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, files) = gateway(&authority, app.address());
    files.write("ca.crt", &authority.pem());
    // RFC 9113 appendix A: CBC, RC4, and keys that are not ephemeral.
    for suites in ["ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256:kRSA"] {
        let suites = format!("{suites}:@SECLEVEL=0");
        let said = text(&openssl(gateway.address(), &files, &["-tls1_2", "-cipher", &suites]));
        assert!(said.contains("handshake failure"), "{suites}: {said}");
    }
}

#[test]
fn openssl_resumes_its_sessions_by_ticket() {
    if !is_there("openssl") {
        return;
    }
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, files) = gateway_with(&authority, app.address(), |config| config.workers = 3);
    files.write("ca.crt", &authority.pem());
    for version in ["-tls1_2", "-tls1_3"] {
        let session = files.path("session").display().to_string();
        let first = openssl(gateway.address(), &files, &[version, "-sess_out", &session]);
        assert!(text(&first).contains("New, TLS"), "{version}: {}", text(&first));
        for _ in 0..4 {
            let next = openssl(gateway.address(), &files, &[version, "-sess_in", &session]);
            assert!(text(&next).contains("Reused, TLS"), "{version}: {}", text(&next));
            assert!(text(&next).contains("HTTP/1.1 200 OK"), "{version}: {}", text(&next));
        }
    }
}

#[test]
fn openssl_agrees_on_an_application_protocol() {
    if !is_there("openssl") {
        return;
    }
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, files) = gateway(&authority, app.address());
    files.write("ca.crt", &authority.pem());
    let said = text(&openssl(gateway.address(), &files, &["-alpn", "spdy/3,http/1.1"]));
    assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
    let said = text(&openssl(gateway.address(), &files, &["-alpn", "spdy/3"]));
    assert!(said.contains("no application protocol"), "{said}");
}

#[test]
fn openssl_cannot_renegotiate() {
    if !is_there("openssl") {
        return;
    }
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, files) = gateway(&authority, app.address());
    files.write("ca.crt", &authority.pem());
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &gateway.address().to_string(), "-tls1_2"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A line with this letter alone asks for it.
    let _ = child.stdin.take().unwrap().write_all(b"R\n");
    let said = text(&child.wait_with_output().unwrap());
    assert!(said.contains("RENEGOTIATING"), "{said}");
    assert!(said.contains("no renegotiation"), "{said}");
}

#[test]
fn curl_is_served_over_tls_with_large_bodies_both_ways() {
    if !is_there("curl") {
        return;
    }
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, files) = gateway(&authority, app.address());
    files.write("ca.crt", &authority.pem());
    let body = "0123456789".repeat(300_000);
    std::fs::write(files.path("body"), &body).unwrap();
    let port = gateway.address().port();
    let mut command = Command::new("curl");
    command.args(["-sS", "--fail", "--resolve", &format!("{HOST}:{port}:127.0.0.1")]);
    command.arg("--cacert").arg(files.path("ca.crt"));
    command.arg("--data-binary").arg(format!("@{}", files.path("body").display()));
    let output = command.arg(format!("https://{HOST}:{port}/")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.ends_with(body.as_bytes()));
}

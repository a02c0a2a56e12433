//! curl, whose idea of HTTP is most people's.

use std::process::{Command, Output};

use super::{Certificate, content, echo_or, over_tls};
use crate::support::tools::{is_there, run, succeeded};
use crate::support::{Gateway, HOST, ScriptedApp};

/// One way to speak to the gateway.
struct Way {
    gateway: Gateway,
    certificate: Option<Certificate>,
    arguments: &'static [&'static str],
    /// What curl calls the version that came of it.
    version: &'static str,
}

impl Way {
    /// Runs a test once for each way there is.
    #[track_caller]
    fn each(app: &ScriptedApp, test: impl Fn(&Way)) {
        for (arguments, version) in
            [(&["--http1.1"][..], "1.1"), (&["--http2-prior-knowledge"], "2")]
        {
            let gateway = Gateway::of(app.address());
            test(&Way { gateway, certificate: None, arguments, version });
        }
        if !is_there("openssl") {
            return;
        }
        for (arguments, version) in [(&["--http1.1"][..], "1.1"), (&["--http2"], "2")] {
            let certificate = Certificate::new(HOST);
            let gateway = over_tls(app.address(), &certificate, |_| {});
            test(&Way { gateway, certificate: Some(certificate), arguments, version });
        }
    }

    #[track_caller]
    fn curl(&self, path: &str, arguments: &[&str], input: &[u8]) -> Output {
        let address = self.gateway.address();
        let (scheme, port) = if self.certificate.is_some() { ("https", 443) } else { ("http", 80) };
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"])
            .arg("--connect-to")
            .arg(format!("{HOST}:{port}:{}:{}", address.ip(), address.port()))
            .args(self.arguments)
            .args(arguments)
            .arg(format!("{scheme}://{HOST}{path}"));
        if let Some(certificate) = &self.certificate {
            command.arg("--cacert").arg(certificate.file("certificate.pem"));
        }
        run(&mut command, input)
    }

    fn name(&self) -> String {
        format!("{:?}, TLS: {}", self.arguments, self.certificate.is_some())
    }
}

#[test]
fn curl_gets_in_every_version() {
    if !is_there("curl") {
        return;
    }
    let app = ScriptedApp::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    Way::each(&app, |way| {
        let mut arguments = vec!["-w", " %{http_code} %{http_version} %{num_connects}\n"];
        let scheme = if way.certificate.is_some() { "https" } else { "http" };
        let (again, version) = (format!("{scheme}://{HOST}/again"), way.version);
        let mut wanted = format!("hello 200 {version} 1\n");
        // With prior knowledge curl 7.88 fails by itself when it uses a connection again, whatever
        // server it speaks to.
        if way.arguments != ["--http2-prior-knowledge"] {
            arguments.push(&again);
            wanted += &format!("hello 200 {version} 0\n");
        }
        let text = String::from_utf8(succeeded(way.curl("/", &arguments, b""))).unwrap();
        assert_eq!(text, wanted, "{}", way.name());
    });
}

#[test]
fn curl_gets_back_what_it_posts_in_every_version() {
    if !is_there("curl") {
        return;
    }
    let app = echo_or(|_, _| false);
    let body = content(4 << 20);
    Way::each(&app, |way| {
        // With a length, and without one.
        for arguments in [&["--data-binary", "@-"][..], &["-T", "-"]] {
            let back = succeeded(way.curl("/", arguments, &body));
            assert!(back == body, "{} {arguments:?}: {} bytes", way.name(), back.len());
        }
    });
}

#[test]
fn curl_asks_for_a_head_in_every_version() {
    if !is_there("curl") {
        return;
    }
    let app = ScriptedApp::answering("HTTP/1.1 200 OK\r\nX-Own: 1\r\nContent-Length: 500\r\n\r\n");
    Way::each(&app, |way| {
        let text = String::from_utf8(succeeded(way.curl("/", &["--head"], b""))).unwrap();
        let text = text.to_ascii_lowercase();
        let status = format!("http/{} 200", way.version);
        assert!(text.starts_with(&status), "{}: {text}", way.name());
        assert!(text.contains("\r\ncontent-length: 500\r\n"), "{}: {text}", way.name());
        assert!(text.contains("\r\nx-own: 1\r\n"), "{}: {text}", way.name());
    });
}

#[test]
fn curl_waits_for_100_continue_and_gets_it_at_once_in_every_version() {
    if !is_there("curl") {
        return;
    }
    let app = echo_or(|_, _| false);
    Way::each(&app, |way| {
        // It would go on after 15 s without an answer, and give up soon after.
        let arguments =
            ["-v", "-H", "Expect: 100-continue", "--expect100-timeout", "15", "-d", "body"];
        let output = way.curl("/", &[&arguments[..], &["--max-time", "10"]].concat(), b"");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(succeeded(output), b"body", "{}", way.name());
        let wanted = format!("< HTTP/{} 100", way.version);
        assert!(log.contains(&wanted), "{}: {log}", way.name());
    });
}

#[test]
fn curl_sees_trailers_in_every_version() {
    if !is_there("curl") {
        return;
    }
    let app = ScriptedApp::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         4\r\nfour\r\n0\r\nX-Sum: 17\r\n\r\n",
    );
    Way::each(&app, |way| {
        let arguments = ["-D", "-", "-H", "TE: trailers", "-H", "Connection: TE"];
        // HTTP/2 has no `Connection`.
        let count = if way.version == "2" { 4 } else { 6 };
        let text = String::from_utf8(succeeded(way.curl("/", &arguments[..count], b""))).unwrap();
        let text = text.to_ascii_lowercase();
        assert!(text.contains("four"), "{}: {text}", way.name());
        assert!(text.contains("x-sum: 17"), "{}: {text}", way.name());
    });
}

#[test]
fn curl_runs_many_transfers_on_one_connection() {
    if !is_there("curl") {
        return;
    }
    let app = echo_or(|target, connection| {
        let body = target.repeat(20_000);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        connection.try_send([head.as_bytes(), &body].concat()).is_ok()
    });
    Way::each(&app, |way| {
        let folder = tempfile::tempdir().unwrap();
        let pattern = folder.path().join("#1");
        let arguments = ["--parallel", "--parallel-immediate", "-o", pattern.to_str().unwrap()];
        succeeded(way.curl("/transfer-[0-39]", &arguments, b""));
        for number in 0..40 {
            let got = std::fs::read(folder.path().join(number.to_string())).unwrap();
            let wanted = format!("/transfer-{number}").repeat(20_000);
            assert!(got == wanted.as_bytes(), "{}: {number}: {}", way.name(), got.len());
        }
    });
}

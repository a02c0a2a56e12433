//! The clients that people really use, in front of the gateway, in every
//! version of HTTP that it speaks, in the clear and over TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use ignite_gateway::config::Config;
use ignite_gateway::config::file::Place;
use ignite_gateway::config::tls::{KeyPair, NamedFile, Tls};
use tempfile::TempDir;

use crate::support::app::AppConnection;
use crate::support::tools::{run, succeeded};
use crate::support::{Gateway, ScriptedApp, app};

mod chromium;
mod curl;
mod h2load;
mod h2spec;
mod websocket;

/// An app that gives back the content of each request, unless `other` answers it.
fn echo_or(
    other: impl Fn(&[u8], &mut AppConnection) -> bool + Send + Sync + 'static,
) -> ScriptedApp {
    ScriptedApp::start(move |connection| {
        while let Ok(seen) = connection.try_request() {
            if other(seen.head.target(), connection) {
                continue;
            }
            let length = seen.content.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            let content = if seen.head.word(0) == b"HEAD" { &[] } else { &seen.content[..] };
            if connection.try_send([head.as_bytes(), content].concat()).is_err() {
                return;
            }
        }
    })
}

/// Content that no two pieces of it repeat.
fn content(length: u32) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// A certificate that nobody but the test's own client would believe.
pub struct Certificate(TempDir);

impl Certificate {
    #[track_caller]
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("openssl");
        command
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "2", "-subj", "/CN=test", "-addext"])
            .arg(format!("subjectAltName=DNS:{name}"))
            .args(["-keyout", "key.pem", "-out", "certificate.pem"])
            .current_dir(folder.path());
        succeeded(run(&mut command, b""));
        Self(folder)
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn tls(&self) -> Tls {
        let named = |path: &Path, key| NamedFile {
            path: path.to_owned(),
            source: "test".into(),
            place: Place::File,
            key,
        };
        let certificate = named(&self.file("certificate.pem"), "certificate");
        let key = named(&self.file("key.pem"), "key");
        Tls {
            certificates: vec![KeyPair { certificate, key }],
            min_version: Tls::MIN_VERSION,
            clients: None,
        }
    }
}

/// A gateway for `acme/hello` that speaks TLS.
pub fn over_tls(
    endpoint: SocketAddr,
    certificate: &Certificate,
    change: impl FnOnce(&mut Config),
) -> Gateway {
    Gateway::with(|config| {
        config.apps.push(app("acme/hello", &[(80, &[endpoint])]));
        config.listeners[0].tls = Some(certificate.tls());
        change(config);
    })
}

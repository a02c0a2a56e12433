//! Python's `websockets`, a client and a server, with the gateway in between.

use std::process::{Command, Stdio};

use super::{Certificate, over_tls};
use crate::real_apps::RealApp;
use crate::support::tools::{demanded, is_there, run, succeeded};
use crate::support::{Gateway, HOST};

const APP: &str = include_str!("websocket_app.py");
const CALLER: &str = include_str!("websocket_caller.py");

/// Whether Python has the library, which pip installs.
fn library_is_there() -> bool {
    let import = Command::new("python3").args(["-c", "import websockets"]).output();
    is_there("python3")
        && demanded("Python's websockets", import.is_ok_and(|output| output.status.success()))
}

fn app() -> RealApp {
    let mut command = Command::new("python3");
    command.args(["-c", APP]).stderr(Stdio::null());
    RealApp::start(command)
}

#[track_caller]
fn converse(gateway: &Gateway, scheme: &str) {
    let mut command = Command::new("python3");
    let address = gateway.address();
    command.args(["-c", CALLER, scheme, HOST, &address.port().to_string()]);
    let said = succeeded(run(&mut command, b""));
    assert_eq!(String::from_utf8_lossy(&said).trim(), "all good");
}

#[test]
fn python_talks_with_python_in_the_clear() {
    if library_is_there() {
        let app = app();
        let gateway = Gateway::of(app.address);
        converse(&gateway, "ws");
        gateway.wait_idle();
    }
}

#[test]
fn python_talks_with_python_over_tls() {
    if library_is_there() && is_there("openssl") {
        let app = app();
        let certificate = Certificate::new(HOST);
        let gateway = over_tls(app.address, &certificate, |_| {});
        converse(&gateway, "wss");
        gateway.wait_idle();
    }
}

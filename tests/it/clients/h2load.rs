//! h2load: many requests on many connections, none of which may fail.

use std::process::Command;

use super::{Certificate, echo_or, over_tls};
use crate::support::tools::{is_there, run, succeeded};
use crate::support::{Gateway, HOST, ScriptedApp};

/// All requests of a run must succeed.
#[track_caller]
fn expect_all_succeed(gateway: &Gateway, scheme: &str, requests: usize, arguments: &[&str]) {
    let mut command = Command::new("h2load");
    command
        .args(["-n", &requests.to_string(), "--connect-to", &gateway.address().to_string()])
        .args(["--connection-active-timeout=30"])
        .args(arguments)
        .arg(format!("{scheme}://{HOST}/"));
    let text = String::from_utf8(succeeded(run(&mut command, b""))).unwrap();
    let all = format!(
        "requests: {requests} total, {requests} started, {requests} done, {requests} succeeded, \
         0 failed, 0 errored, 0 timeout"
    );
    assert!(text.contains(&all), "{arguments:?}: {text}");
    assert!(text.contains(&format!("status codes: {requests} 2xx")), "{arguments:?}: {text}");
    gateway.wait_idle();
}

fn small_app() -> ScriptedApp {
    ScriptedApp::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
}

#[test]
fn many_requests_on_many_http_2_connections_all_succeed() {
    if !is_there("h2load") {
        return;
    }
    let app = small_app();
    let gateway = Gateway::of_with(app.address(), |config| config.workers = 2);
    expect_all_succeed(&gateway, "http", 20_000, &["-c", "10", "-m", "20"]);
    // As many at once as one connection takes.
    expect_all_succeed(&gateway, "http", 5000, &["-c", "1", "-m", "256"]);
    expect_all_succeed(&gateway, "http", 2000, &["-c", "200", "-m", "1"]);
}

#[test]
fn many_requests_on_many_http_1_connections_all_succeed() {
    if !is_there("h2load") {
        return;
    }
    let app = small_app();
    let gateway = Gateway::of_with(app.address(), |config| config.workers = 2);
    expect_all_succeed(&gateway, "http", 20_000, &["--h1", "-c", "50"]);
    // Sent without waiting for answers.
    expect_all_succeed(&gateway, "http", 5000, &["--h1", "-c", "10", "-m", "10"]);
}

#[test]
fn many_requests_over_tls_all_succeed() {
    if !is_there("h2load") || !is_there("openssl") {
        return;
    }
    let app = small_app();
    let certificate = Certificate::new(HOST);
    let gateway = over_tls(app.address(), &certificate, |config| config.workers = 2);
    expect_all_succeed(&gateway, "https", 5000, &["-c", "10", "-m", "20"]);
    expect_all_succeed(&gateway, "https", 2000, &["--h1", "-c", "10"]);
}

#[test]
fn many_uploads_through_small_windows_all_succeed() {
    if !is_there("h2load") {
        return;
    }
    let app = echo_or(|_, _| false);
    let gateway = Gateway::of_with(app.address(), |config| {
        config.limits.stream_window = 70_000;
        config.limits.connection_window = 140_000;
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, super::content(300_000)).unwrap();
    let file = file.to_str().unwrap();
    // Windows of 2^16 - 1 bytes on the other side, too.
    let windows = ["-w", "16", "-W", "16"];
    let all = [&["-c", "4", "-m", "8", "-d", file], &windows[..]].concat();
    expect_all_succeed(&gateway, "http", 400, &all);
}

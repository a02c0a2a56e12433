//! h2spec: every rule of RFC 7540 and 7541 that can be seen from outside, and
//! the few that are kept otherwise for a reason.

use std::path::Path;
use std::process::Command;

use super::{Certificate, over_tls};
use crate::support::tools::{go_program, is_there, run};
use crate::support::{Gateway, HOST, ScriptedApp};

/// `3.5/2`. RFC 9113 section 3.4 lets a server leave GOAWAY out after an invalid preface. On a
/// listener without TLS such bytes are an invalid HTTP/1.1 request, and are answered as one.
const PREFACE_IN_THE_CLEAR: &str = "Sends invalid connection preface";

/// h2spec asks for `127.0.0.1`, a host that no app has. What it sends after a request's head may
/// come when 404 is already on its way, and then nobody looks at it any more. So only what fails
/// each time is a failure; with an app such streams are tests of ours (`http2_hostile`).
const RUNS: usize = 4;

/// Asserts that these rules are broken, by their titles, and no others.
#[track_caller]
fn expect_failures(gateway: &Gateway, arguments: &[&str], expected: &[&str]) {
    let Some(program) = go_program("h2spec") else { return };
    let mut always = failures(&program, gateway, arguments);
    for _ in 1..RUNS {
        if always == expected {
            break;
        }
        let again = failures(&program, gateway, arguments);
        always.retain(|title| again.contains(title));
    }
    assert_eq!(always, expected);
}

/// What fails in one run.
#[track_caller]
fn failures(program: &Path, gateway: &Gateway, arguments: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.xml");
    let address = gateway.address();
    let mut command = Command::new(program);
    command
        .args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()])
        .arg("-j")
        .arg(&report)
        .args(arguments);
    let output = run(&mut command, b"");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = std::fs::read_to_string(&report).unwrap_or_else(|_| panic!("no report: {text}"));
    let cases: Vec<&str> = report.split("<testcase ").skip(1).collect();
    assert!(cases.len() > 100, "not the whole suite: {text}");
    let failed = cases.into_iter().filter(|case| {
        case.contains("<failure") || case.contains("<error") || case.contains("<skipped")
    });
    let title = |case: &str| {
        let from =
            case.split_once("package=").and_then(|(_, rest)| rest.split_once("classname=\""));
        from.and_then(|(_, rest)| rest.split_once('"')).map(|(title, _)| title.to_owned())
    };
    failed.map(|case| title(case).unwrap_or_else(|| case.to_owned())).collect()
}

fn app() -> ScriptedApp {
    ScriptedApp::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
}

#[test]
fn h2spec_finds_in_the_clear_what_is_argued_above_and_nothing_else() {
    let app = app();
    let gateway = Gateway::of(app.address());
    expect_failures(&gateway, &["--strict"], &[PREFACE_IN_THE_CLEAR]);
}

#[test]
fn h2spec_finds_nothing_over_tls() {
    if !is_there("openssl") {
        return;
    }
    let app = app();
    let certificate = Certificate::new(HOST);
    let gateway = over_tls(app.address(), &certificate, |_| {});
    expect_failures(&gateway, &["--strict", "--tls", "--insecure"], &[]);
}

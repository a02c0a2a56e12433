//! gRPC's own library on both sides, Python's `grpcio`, with handlers of plain
//! bytes: nothing is generated.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ignite_gateway::config::{Config, Protocol};

use super::gateway;
use crate::real_apps::RealApp;
use crate::support::edge::Refusing;
use crate::support::tls::{Authority, Files};
use crate::support::{Gateway, HOST};

const APP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/grpc/app.py");
const CALLER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/grpc/caller.py");

/// Whether `grpcio` is there. In CI it has to be.
fn is_there() -> bool {
    let import = Command::new("python3").args(["-c", "import grpc"]).stderr(Stdio::null()).status();
    let there = import.is_ok_and(|status| status.success());
    if !there {
        let missing = "python3 with grpcio is missing";
        assert!(std::env::var_os("CI").is_none(), "{missing}, and CI must have it");
        eprintln!("!!! {missing}: NOTHING IS TESTED HERE !!!");
    }
    there
}

fn app() -> RealApp {
    let mut command = Command::new("python3");
    command.arg(APP);
    RealApp::start(command)
}

/// Runs a scenario of the caller, which asserts what it expects.
#[track_caller]
fn call(gateway: &Gateway, scenario: &str) {
    call_with(gateway, scenario, &[]);
}

#[track_caller]
fn call_with(gateway: &Gateway, scenario: &str, arguments: &[&Path]) {
    let port = gateway.address().port().to_string();
    let output = Command::new("python3")
        .args([CALLER, &port, HOST, scenario])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario}: {} {errors}", output.status);
    gateway.wait_idle();
}

#[track_caller]
fn check(scenario: &str, change: impl FnOnce(&mut Config)) {
    if is_there() {
        let app = app();
        call(&gateway(app.address, change), scenario);
    }
}

#[test]
fn all_four_kinds_of_calls_pass() {
    check("kinds", |_| {});
}

#[test]
fn an_app_that_is_asked_what_it_speaks_serves_all_four_kinds() {
    check("kinds", |config| config.apps[0].ports[0].protocol = Protocol::Auto);
}

#[test]
fn calls_pass_over_tls_where_alpn_chooses_http2() {
    if !is_there() {
        return;
    }
    let (app, authority, files) = (app(), Authority::new(), Files::new());
    files.put("tls", &authority.issue(&[HOST]));
    files.write("authority.crt", &authority.pem());
    let gateway = gateway(app.address, |config| {
        config.listeners[0].tls = Some(files.tls(&["tls"]));
    });
    for scenario in ["kinds", "metadata", "status"] {
        call_with(&gateway, scenario, &[&files.path("authority.crt")]);
    }
}

#[test]
fn metadata_passes_both_ways_as_text_and_as_bytes() {
    check("metadata", |_| {});
}

#[test]
fn an_apps_status_reaches_the_caller_with_its_details() {
    check("status", |_| {});
}

#[test]
fn messages_of_many_mebibytes_pass() {
    check("large", |_| {});
}

#[test]
fn many_calls_at_once_pass_on_several_workers() {
    check("concurrent", |config| config.workers = 2);
}

#[test]
fn deadlines_reach_the_app_and_end_its_work() {
    check("deadlines", |_| {});
}

#[test]
fn a_caller_who_cancels_or_leaves_ends_the_apps_work() {
    check("cancellation", |_| {});
}

#[test]
fn an_app_that_restarts_loses_no_call() {
    check("goodbye", |_| {});
}

#[test]
fn the_librarys_own_errors_are_the_gateways() {
    check("gateways_own", |config| {
        config.limits.request_body = 1 << 20;
        config.timeouts.response = Duration::from_millis(300);
    });
}

#[test]
fn an_app_that_is_down_is_unavailable_to_the_library() {
    if is_there() {
        let refusing = Refusing::new();
        call(&gateway(refusing.address(), |_| {}), "unavailable");
    }
}

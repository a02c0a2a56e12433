//! What the gateway cannot do: find a turn or room for a request, or serve it
//! to the end before its own.

use super::{File, Told, ask, assert_all, holding, line_of, millis, request, waiting_at};
use crate::binary::{Serve, access_lines};
use crate::overload;
use crate::support::{Caller, EchoHeads, Signal, eventually};

pub const FULL: &[&str] = &["queue_full", "concurrency_timeout"];
pub const TOO_MANY: &[&str] = &["app_in_flight"];

#[test]
fn who_waits_for_an_app_at_its_limit_is_told() {
    let release = Signal::new();
    let app = holding(&release);
    let serve = File::new("[limits]\napp_queue = 1\n[timeouts]\nready = \"1s\"\n")
        .app("hello", &[app.address()], "concurrency = 1")
        .serve();
    let mut first = Caller::to(serve.address);
    first.send(request("GET /first", "hello", ""));
    eventually("the app is at its limit", || app.received().len() == 1);
    let mut second = Caller::to(serve.address);
    second.send(request("GET /second", "hello", ""));
    eventually("the queue is full", || waiting_at(serve.admin, "hello") == 1);
    let full = ("gateway.queue", "queue_full");
    let full = ask(&serve, request("GET /third", "hello", ""), 503, full, None);
    let response = second.read_response().expect(503);
    let id = response.field("x-ignite-execution-id").unwrap();
    let late = Told::of(id, 503, ("gateway.queue", "concurrency_timeout"), None);
    release.give();
    let _ = first.read_response().expect(200);
    let lines = access_lines(&serve.finish());
    assert_all(&lines, &[&full, &late], FULL);
    assert!(millis(late.assert_in(&lines), "queue_ms") >= 1000.0);
    let first = line_of(&lines, "url.path", "/first");
    assert_eq!(first["termination"], "complete");
    assert!(millis(first, "first_byte_ms") >= 1000.0, "{first:#}");
}

#[test]
fn who_is_one_too_many_for_one_app_is_told() {
    let release = Signal::new();
    let app = holding(&release);
    let serve =
        File::new("[limits]\napp_in_flight = 1\n").app("hello", &[app.address()], "").serve();
    let mut first = Caller::to(serve.address);
    first.send(request("GET /first", "hello", ""));
    eventually("the app has it", || app.received().len() == 1);
    let beyond = ("gateway.request", "app_in_flight");
    let beyond = ask(&serve, request("GET /second", "hello", ""), 503, beyond, None);
    release.give();
    let _ = first.read_response().expect(200);
    assert_all(&access_lines(&serve.finish()), &[&beyond], TOO_MANY);
}

pub const ENDED: &[&str] = &["shutdown"];

#[test]
fn what_the_end_of_the_gateway_cuts_off_is_told() {
    let release = Signal::new();
    let app = holding(&release);
    let file = File::new("[timeouts]\ndrain = \"300ms\"\n").app("hello", &[app.address()], "");
    let serve = file.serve();
    let mut caller = Caller::to(serve.address);
    caller.send(request("GET /cut", "hello", ""));
    eventually("the app works", || app.received().len() == 1);
    let lines = access_lines(&serve.finish());
    let ended = ("gateway.response", "shutdown");
    assert_all(&lines, &[&Told::unanswered("/cut", ended, Some(app.address()))], ENDED);
    release.give();
}

pub const BUSY: &[&str] = &["overloaded_in_flight"];

#[test]
fn what_is_refused_because_too_much_is_under_way_is_told() {
    let release = Signal::new();
    let app = holding(&release);
    let file = File::new("[limits]\nin_flight = 1\n").app("hello", &[app.address()], "");
    let serve = file.serve();
    let mut first = Caller::to(serve.address);
    first.send(request("GET /first", "hello", ""));
    eventually("the app works", || app.received().len() == 1);
    let full = ("gateway.request", "overloaded_in_flight");
    let full = ask(&serve, request("GET /", "hello", ""), 503, full, None);
    release.give();
    let _ = first.read_response().expect(200);
    assert_all(&access_lines(&serve.finish()), &[&full], BUSY);
}

pub const WITHOUT_MEMORY: &[&str] = &["overloaded_memory"];

#[test]
fn what_is_refused_for_want_of_memory_is_told() {
    let app = EchoHeads::start();
    let file = File::new("[limits]\nmemory = \"1KiB\"\n").app("hello", &[app.address()], "");
    let serve = file.serve();
    eventually("memory is short", || serve.status("hello-acme") == 503);
    let ended = ("gateway.request", "overloaded_memory");
    let told = ask(&serve, request("GET /", "hello", ""), 503, ended, None);
    assert_all(&access_lines(&serve.finish()), &[&told], WITHOUT_MEMORY);
}

pub const LATE: &[&str] = &["overloaded_lag"];

#[test]
fn what_a_late_worker_refuses_is_told() {
    let app = EchoHeads::start();
    let settings = "[overload]\ntarget_lag = \"5ms\"\n";
    let serve = File::new(settings).app("hello", &[app.address()], "").serve();
    let id = overload::with_floods(serve.address, || refused_at_last(&serve));
    let told = Told::of(id, 503, ("gateway.request", "overloaded_lag"), None);
    assert_all(&access_lines(&serve.finish()), &[&told], LATE);
}

/// Asks until the gateway refuses; the id of that request.
fn refused_at_last(serve: &Serve) -> String {
    let mut caller = Caller::to(serve.address);
    let mut id = None;
    eventually("a late worker refuses", || {
        caller.send(request("GET /", "hello", ""));
        let response = caller.read_response();
        id = response.field("x-ignite-execution-id");
        response.status == 503
    });
    id.expect("an execution id")
}

//! The access log explains by itself what became of a request: every failure of
//! the documented table is provoked for real and told from its line alone.

use std::net::SocketAddr;

use serde_json::Value;

use crate::binary::{Folder, Serve, access_lines};
use crate::support::{Caller, EchoHeads, ScriptedApp, Signal};

mod apps;
mod callers;
mod gateways;
mod protocols;
mod table;
mod unread;

use table::assert_documented;

/// Nothing is accepted while it drains.
const AT_ONCE: (&str, &str) = ("IGNITE_GATEWAY__TIMEOUTS__DRAIN_DELAY", "0s");

/// A configuration of which a test says the rest.
struct File(String);

impl File {
    fn new(settings: &str) -> Self {
        Self(format!(
            "domain = \"ignite.test\"\nworkers = 1\n{settings}\n[admin]\naddress = \
             \"127.0.0.1:0\"\n[access_log]\nformat = \"json\"\n[[listener]]\naddress = \
             \"127.0.0.1:0\"\n"
        ))
    }

    fn app(mut self, name: &str, endpoints: &[SocketAddr], more: &str) -> Self {
        self.0 += &format!(
            "\n[[app]]\norganization = \"acme\"\nname = \"{name}\"\nhealth_check = false\n\
             endpoints = {:?}\n{more}\n",
            endpoints.iter().map(ToString::to_string).collect::<Vec<_>>()
        );
        self
    }

    fn serve(&self) -> Serve {
        Serve::start_with(&Folder::new().write("gateway.toml", &self.0), &[AT_ONCE])
    }
}

/// What a line must say of a request.
struct Told {
    /// The field and the value by which the line is known.
    known_by: (&'static str, String),
    status: Option<u16>,
    /// Whose doing, at which stage, and why.
    ended: (&'static str, &'static str),
    upstream: Option<SocketAddr>,
    attempts: u64,
}

impl Told {
    /// Of a request that was answered.
    fn of(
        id: String,
        status: u16,
        ended: (&'static str, &'static str),
        upstream: Option<SocketAddr>,
    ) -> Self {
        let known_by = ("ignite.execution_id", id);
        Self {
            known_by,
            status: Some(status),
            ended,
            upstream,
            attempts: upstream.is_some().into(),
        }
    }

    /// Of a request that nobody got an answer to.
    fn unanswered(
        path: &str,
        ended: (&'static str, &'static str),
        upstream: Option<SocketAddr>,
    ) -> Self {
        let known_by = ("url.path", path.to_owned());
        Self { known_by, status: None, ended, upstream, attempts: upstream.is_some().into() }
    }

    /// The line, of which everything is asserted that holds for every failure.
    #[track_caller]
    fn assert_in<'a>(&self, lines: &'a [Value]) -> &'a Value {
        let line = line_of(lines, self.known_by.0, &self.known_by.1);
        assert_eq!(line["http.response.status_code"], Value::from(self.status), "{line:#}");
        let ended = (line["termination"].as_str(), line["error.type"].as_str());
        assert_eq!(ended, (Some(self.ended.0), Some(self.ended.1)), "{line:#}");
        let upstream = self.upstream.map(|address| address.to_string());
        assert_eq!(line["upstream.address"].as_str(), upstream.as_deref(), "{line:#}");
        assert_eq!(line["attempts"], self.attempts, "{line:#}");
        assert!(millis(line, "queue_ms") <= millis(line, "duration_ms"), "{line:#}");
        assert_documented(line);
        line
    }
}

/// Asserts what the log has to say of some requests, and that they met the reasons that a test
/// promises: [`table`] adds those up.
#[track_caller]
fn assert_all(lines: &[Value], all: &[&Told], reasons: &[&str]) {
    for told in all {
        told.assert_in(lines);
    }
    for reason in reasons {
        assert!(all.iter().any(|told| told.ended.1 == *reason), "nothing met {reason}");
    }
}

fn request(line: &str, app: &str, rest: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: {app}-acme.ignite.test\r\n{rest}\r\n")
}

/// Sends a request of which an answer comes; what the log has to say of it.
#[track_caller]
fn ask(
    serve: &Serve,
    request: impl AsRef<[u8]>,
    status: u16,
    ended: (&'static str, &'static str),
    upstream: Option<SocketAddr>,
) -> Told {
    let mut caller = Caller::to(serve.address);
    caller.send(request);
    let response = caller.read_response().expect(status);
    let id = response.field("x-ignite-execution-id").expect("an execution id");
    Told::of(id, status, ended, upstream)
}

#[track_caller]
fn line_of<'a>(lines: &'a [Value], field: &str, value: &str) -> &'a Value {
    let mut found = lines.iter().filter(|line| line[field] == value);
    let line = found.next().unwrap_or_else(|| panic!("no line of {value} in {lines:#?}"));
    assert!(found.next().is_none(), "two lines of {value}");
    line
}

fn millis(line: &Value, name: &str) -> f64 {
    line[name].as_f64().unwrap_or_else(|| panic!("no {name} in {line:#}"))
}

/// An app that answers when it is told to.
fn holding(release: &Signal) -> ScriptedApp {
    let release = release.clone();
    ScriptedApp::start(move |connection| {
        while connection.next_request().is_some() {
            release.wait();
            if connection.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    })
}

/// Requests that wait for an app.
fn waiting_at(admin: SocketAddr, name: &str) -> u64 {
    let mut caller = Caller::to(admin);
    caller.send("GET /apps HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let apps = caller.read_response().expect(200).json();
    let all = apps.as_array().or_else(|| apps["apps"].as_array()).expect("a list of apps");
    let app = all.iter().find(|app| app["name"] == name);
    app.and_then(|app| app["waiting"].as_u64()).unwrap_or_else(|| panic!("no {name} in {apps:#}"))
}

#[test]
fn a_connection_that_served_before_is_told_as_reused() {
    let app = EchoHeads::start();
    let serve = File::new("").app("hello", &[app.address()], "").serve();
    let mut caller = Caller::to(serve.address);
    for path in ["/1", "/2"] {
        caller.send(request(&format!("GET {path}"), "hello", ""));
        let _ = caller.read_response().expect(200);
    }
    drop(caller);
    let lines = access_lines(&serve.finish());
    let connection = |path: &str| {
        let line = line_of(&lines, "url.path", path);
        (line["upstream.connection"].clone(), line["connect_ms"].is_number())
    };
    assert_eq!(connection("/1"), ("new".into(), true));
    assert_eq!(connection("/2"), ("reused".into(), false));
}

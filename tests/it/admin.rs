//! The operator's listener in front of a whole gateway: what it tells is what
//! happens.

use rustix::process::Signal as Kill;
use serde_json::{Value, json};

use crate::binary::{Folder, Serve, config};
use crate::support::frames::{self, Frames};
use crate::support::{Caller, EchoHeads, Gateway, ScriptedApp, Signal, eventually};

/// Asks the operator's listener, which answers one request per connection.
fn ask(gateway: &Gateway, method: &str, path: &str, more: &str) -> crate::support::Response {
    let mut caller = Caller::to(gateway.admin());
    caller.send(format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", gateway.admin()));
    caller.read_response()
}

fn json(gateway: &Gateway, path: &str) -> Value {
    ask(gateway, "GET", path, "").expect(200).json()
}

/// The events of a listener, one after the other.
struct Events(Caller);

impl Events {
    fn listen(gateway: &Gateway) -> Self {
        let mut caller = Caller::to(gateway.admin());
        caller.send(format!("GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.admin()));
        let head = caller.read_head();
        assert_eq!(head.get("content-type").as_deref(), Some("text/event-stream"));
        Self(caller)
    }

    #[track_caller]
    fn next(&mut self) -> (String, Value) {
        let mut text = String::new();
        while !text.ends_with("\n\n") {
            text += &String::from_utf8(self.0.read_chunk().expect("an event")).unwrap();
        }
        let (name, data) = text.trim().split_once("\ndata: ").expect("an event");
        let name = name.strip_prefix("event: ").expect("a name");
        (name.to_owned(), serde_json::from_str(data).unwrap())
    }
}

#[test]
fn connections_are_counted_by_protocol_and_state() {
    let (release, waits) = (Signal::new(), Signal::new());
    let app = ScriptedApp::start({
        let (release, waits) = (release.clone(), waits.clone());
        move |connection| {
            while let Some(seen) = connection.next_request() {
                match seen.head.target() {
                    b"/chat" => {
                        connection.send(
                            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                             Upgrade: websocket\r\n\r\n",
                        );
                        connection.read_to_close();
                        return;
                    }
                    b"/slow" => {
                        waits.give();
                        release.wait();
                    }
                    _ => {}
                }
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        }
    });
    let gateway = Gateway::of(app.address());
    let mut idle = Caller::new(&gateway);
    idle.get("/").expect(200);
    let mut active = Caller::new(&gateway);
    active.send(crate::support::caller::get("/slow"));
    let mut upgraded = Caller::new(&gateway);
    upgraded.send(crate::support::caller::request(
        "GET /chat",
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "",
    ));
    assert_eq!(upgraded.read_head().word(1), b"101");
    let mut http2 = Frames::call(&gateway);
    http2.ask(1, frames::get(1, "/")).expect(200);
    waits.wait();

    let counted = || {
        let all = json(&gateway, "/connections");
        let worker = &all["workers"][0];
        (all["open"].clone(), worker["http1"].clone(), worker["http2"].clone())
    };
    let expected = (
        json!(4),
        json!({ "idle": 1, "active": 2, "upgraded": 1 }),
        json!({ "idle": 1, "active": 0 }),
    );
    eventually("each is counted as what it is", || counted() == expected);

    release.give();
    active.read_response().expect(200);
    drop((idle, active, upgraded, http2));
    let none = (
        json!(0),
        json!({ "idle": 0, "active": 0, "upgraded": 0 }),
        json!({ "idle": 0, "active": 0 }),
    );
    eventually("none is left", || counted() == none);
}

#[test]
fn the_configuration_in_force_follows_reloads_but_not_what_needs_a_restart() {
    let app = EchoHeads::start();
    let mut gateway = Gateway::of(app.address());
    let workers = json(&gateway, "/config")["workers"].clone();
    gateway.reload(|config| {
        config.limits.app_queue = 7;
        config.workers = 3;
    });
    eventually("the new one is shown", || json(&gateway, "/config")["limits"]["app_queue"] == 7);
    let shown = json(&gateway, "/config");
    assert_eq!(shown["workers"], workers);
    assert_eq!(shown["app"][0]["ports"][0]["endpoints"][0]["address"], app.address().to_string());
    assert_eq!(json(&gateway, "/apps/acme/hello")["queue_limit"], 7);
}

#[test]
fn keys_are_shown_by_their_paths_and_never_by_their_content() {
    if !crate::support::tools::is_there("openssl") {
        return;
    }
    let app = EchoHeads::start();
    let certificate = crate::clients::Certificate::new("hello-acme.ignite.test");
    let gateway = crate::clients::over_tls(app.address(), &certificate, |_| {});
    let shown = ask(&gateway, "GET", "/config", "").expect(200);
    let key = &shown.json()["listener"][0]["tls"]["certificates"][0]["key"];
    let key = std::fs::read_to_string(key.as_str().expect("a path")).unwrap();
    let content = key.lines().nth(1).expect("a key");
    assert!(!shown.text().contains(content) && !shown.text().contains("PRIVATE"));
}

#[test]
fn every_second_is_told_with_the_apps_that_changed() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut events = Events::listen(&gateway);
    let (name, hello) = events.next();
    assert_eq!(
        (name.as_str(), &hello["phase"], &hello["apps"]),
        ("hello", &json!("serving"), &json!(1))
    );
    // The first reading finds the app, which is another than none.
    events.next();
    Caller::ask(&gateway, crate::support::caller::get("/")).expect(200);
    let busy = loop {
        let (name, second) = events.next();
        assert_eq!(name, "second");
        if second["rows"][0][2].as_f64().is_some_and(|rate| rate > 0.0) {
            break second;
        }
    };
    assert_eq!((&busy["rows"][0][0], &busy["rows"][0][1]), (&json!("acme"), &json!("hello")));
    assert!(busy["point"][1].as_f64().unwrap() > 0.0, "{busy}");
    let (_, quiet) = events.next();
    assert_eq!(quiet["rows"][0][2], json!(0.0), "that it is over is told, too: {quiet}");
    let (_, still) = events.next();
    assert_eq!(still["rows"], json!([]), "and nothing is told twice");

    let (_, later) = Events::listen(&gateway).next();
    assert!(later["history"].as_array().unwrap().len() >= 3, "who comes later hears of it");
}

#[test]
fn listeners_are_bounded_and_end_with_the_gateway() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut listeners: Vec<_> = (0..16).map(|_| Events::listen(&gateway)).collect();
    ask(&gateway, "GET", "/events", "").expect(503);
    listeners.pop();
    let mut more = None;
    eventually("the place is free again", || {
        let mut caller = Caller::to(gateway.admin());
        caller.send(format!("GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.admin()));
        more = Some(caller.read_head()).filter(|head| head.word(1) == b"200");
        more.is_some()
    });
    gateway.finish();
    for mut listener in listeners {
        listener.0.read_to_close();
    }
}

#[test]
fn a_page_of_another_origin_can_neither_listen_nor_change_anything() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    for (method, path, field) in [
        ("GET", "/events", "Origin: http://evil.example\r\n"),
        ("GET", "/apps", "Origin: null\r\n"),
        ("PUT", "/log-level", "Sec-Fetch-Site: cross-site\r\nContent-Length: 0\r\n"),
    ] {
        let refused = ask(&gateway, method, path, field).expect(403);
        assert_eq!(refused.field("content-type").as_deref(), Some("application/problem+json"));
    }
    let own = format!("Origin: http://{}\r\n", gateway.admin());
    ask(&gateway, "GET", "/apps", &own).expect(200);
}

#[test]
fn the_log_level_changes_while_the_process_runs() {
    let app = EchoHeads::start();
    let folder = Folder::new();
    let path = folder.write("gateway.toml", config("json", &["hello"], app.address()));
    let serve = Serve::start(&path);
    let ask = |method: &str, content: &str| {
        let mut caller = Caller::to(serve.admin);
        caller.send(format!(
            "{method} /log-level HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{content}",
            serve.admin,
            content.len()
        ));
        caller.read_response()
    };
    let info = json!({ "level": "info", "at_start": "info" });
    assert_eq!(ask("GET", "").expect(200).json(), info);
    let off = json!({ "level": "off", "at_start": "info" });
    assert_eq!(ask("PUT", r#"{ "level": "off" }"#).expect(200).json(), off);
    assert_eq!(ask("GET", "").json(), off);
    // Not a line of this one; of the next there is.
    serve.kill(Kill::HUP);
    let reloads = || {
        let metrics = crate::support::Caller::to(serve.admin);
        let mut caller = metrics;
        caller.send(format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", serve.admin));
        caller.read_response().text().contains(r#"reloads_total{result="success"} 1"#)
    };
    eventually("the file was read again", reloads);
    assert_eq!(ask("PUT", r#"{ "level": "info" }"#).expect(200).json(), info);
    for wrong in [r#"{ "level": "loud" }"#, r#"{ "lvel": "info" }"#, "info", ""] {
        let refused = ask("PUT", wrong).expect(400);
        assert!(refused.text().contains("level"), "{}", refused.text());
    }
    serve.kill(Kill::HUP);
    serve.wait_lines("configuration reloaded", 1);
    serve.wait_lines("the log level was changed", 1);
    assert_eq!(serve.status("hello-acme"), 200);
    let lines = serve.finish();
    let reloaded = lines.iter().filter(|line| line.contains("configuration reloaded")).count();
    assert_eq!(reloaded, 1, "{lines:#?}");
}

#[test]
fn an_execution_can_be_looked_up_by_the_id_that_its_caller_got() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| config.workers = 2);
    let answer = Caller::ask(
        &gateway,
        crate::support::caller::request("POST /orders/7?token=secret", "", "hello"),
    );
    let id = answer.field("x-ignite-execution-id").expect("an id");
    let path = format!("/executions/{id}");
    eventually("it has ended", || ask(&gateway, "GET", &path, "").status == 200);
    let found = json(&gateway, &path);
    assert_eq!(found["execution_id"], *id);
    assert_eq!(
        (&found["function_id"], &found["method"], &found["path"], &found["status"]),
        (&json!("acme/hello"), &json!("POST"), &json!("/orders/7"), &json!(200))
    );
    assert_eq!(found["upstream"], app.address().to_string());
    assert_eq!((&found["attempts"], &found["termination"]), (&json!(1), &json!("complete")));
    assert!(found["duration_ms"].as_f64().unwrap() > 0.0, "{found}");
    assert!(!found.to_string().contains("secret"), "{found}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let age = now.as_millis().abs_diff(found["began_ms"].as_u64().unwrap().into());
    assert!(age < 60_000, "{age}");

    let all = json(&gateway, "/apps/acme/hello/executions");
    assert_eq!(all, json!([found]));
    assert_eq!(json(&gateway, "/apps/acme/hello/executions?failed=true"), json!([]));
    assert_eq!(json(&gateway, "/apps/acme/other/executions"), json!([]));
    for (path, status) in [
        ("/executions/0190a5e0-0000-7000-8000-000000000000", 404),
        ("/executions/x", 400),
        ("/apps/acme/hello/executions?limit=0", 400),
        ("/apps/acme/He_llo/executions", 404),
    ] {
        let refused = ask(&gateway, "GET", path, "").expect(status);
        assert_eq!(refused.json()["status"], status, "{path}");
    }
}

#[test]
fn the_last_executions_are_kept_and_the_newest_stands_first() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| config.admin.executions = 3);
    let mut caller = Caller::new(&gateway);
    let ids: Vec<_> = (0..5)
        .map(|_| caller.get("/").expect(200).field("x-ignite-execution-id").unwrap())
        .collect();
    caller.send("GET / HTTP/1.1\r\nHost: nobody.ignite.test\r\n\r\n");
    let unknown = caller.read_response().expect(404).field("x-ignite-execution-id").unwrap();
    let kept = || {
        let all = json(&gateway, "/apps/acme/hello/executions?limit=1000");
        let id = |one: &Value| one["execution_id"].as_str().unwrap().to_owned();
        all.as_array().unwrap().iter().map(id).collect::<Vec<_>>()
    };
    eventually("the last of three is the unknown one's", || kept() == [&*ids[4], &*ids[3]]);
    let found = json(&gateway, &format!("/executions/{unknown}"));
    assert_eq!((&found["function_id"], &found["reason"]), (&json!(""), &json!("unknown_host")));
    let gone = ask(&gateway, "GET", &format!("/executions/{}", ids[0]), "").expect(404);
    assert!(gone.text().contains("admin.executions, 3"), "{}", gone.text());
}

#[test]
fn without_room_no_execution_is_kept() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| config.admin.executions = 0);
    let answer = Caller::ask(&gateway, crate::support::caller::get("/"));
    let id = answer.field("x-ignite-execution-id").unwrap();
    let refused = ask(&gateway, "GET", &format!("/executions/{id}"), "").expect(404);
    assert!(refused.text().contains("admin.executions is 0"), "{}", refused.text());
}

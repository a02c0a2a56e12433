//! Names: which app a request belongs to, and which requests belong to none.

use crate::support::caller::get;
use crate::support::{Caller, EchoHeads, Gateway, HOST, app};

/// Asks with these bytes between the request line and the end of the head.
fn ask(gateway: &Gateway, line: &str, fields: &str) -> crate::support::Response {
    Caller::ask(gateway, format!("{line}\r\n{fields}\r\n"))
}

#[test]
fn each_host_leads_to_its_app_and_port() {
    let hello = EchoHeads::with("X-App: hello\r\n");
    let data = EchoHeads::with("X-App: data\r\n");
    let admin = EchoHeads::with("X-App: admin\r\n");
    let gateway = Gateway::with(|config| {
        config.apps.push(app("acme/hello", &[(80, &[hello.address()])]));
        config.apps.push(app(
            "acme-corp/my-data-processor",
            &[(80, &[data.address()]), (8080, &[admin.address()])],
        ));
    });
    let table = [
        ("hello-acme.ignite.test", "hello", "acme/hello", "acme"),
        (
            "my-data-processor-acme-corp.ignite.test",
            "data",
            "acme-corp/my-data-processor",
            "acme-corp",
        ),
        (
            "my-data-processor-acme-corp-8080.ignite.test",
            "admin",
            "acme-corp/my-data-processor",
            "acme-corp",
        ),
    ];
    for (host, name, function, organization) in table {
        let response = ask(&gateway, "GET / HTTP/1.1", &format!("Host: {host}\r\n")).expect(200);
        assert_eq!(response.field("x-app").as_deref(), Some(name), "{host}");
        let text = response.text();
        assert!(text.contains(&format!("x-ignite-function-id: {function}\r\n")), "{text}");
        assert!(text.contains(&format!("x-ignite-organization-id: {organization}\r\n")), "{text}");
    }
}

#[test]
fn case_port_and_one_trailing_dot_of_a_host_do_not_matter_and_the_app_sees_them() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    for host in [
        "hello-acme.ignite.test",
        "HELLO-acme.Ignite.TEST",
        "hello-acme.ignite.test:80",
        "hello-acme.ignite.test:65535",
        "hello-acme.ignite.test:",
        "hello-acme.ignite.test.",
        "Hello-Acme.ignite.test.:8443",
    ] {
        ask(&gateway, "GET / HTTP/1.1", &format!("Host: {host}\r\n")).expect(200);
        assert_eq!(app.last().field("host").as_deref(), Some(host));
    }
}

#[test]
fn a_host_that_no_app_has_is_not_found_and_the_connection_stays() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    for host in [
        "hello.ignite.test",
        "acme-hello.ignite.test",
        "hello-acme.ignite.tes",
        "hello-acme.ignite.test.evil.test",
        "x.hello-acme.ignite.test",
        "hello-acme-80.ignite.test",
        "hello-acme-8080.ignite.test",
        "hello--acme.ignite.test",
        "ignite.test",
        "hello-acme.ignite.test..",
        ".hello-acme.ignite.test",
        "127.0.0.1",
        "[::1]:80",
        "localhost",
    ] {
        caller.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        caller.read_response().expect_problem(404, "destination_not_found");
    }
    app.expect_untouched();
    caller.get("/").expect(200);
}

#[test]
fn a_missing_doubled_or_malformed_host_is_refused_and_the_connection_ends() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let other = "other-acme.ignite.test";
    let table = [
        String::new(),
        "Host:\r\n".to_owned(),
        "Host: \r\n".to_owned(),
        "Host: .\r\n".to_owned(),
        format!("Host: {HOST}\r\nHost: {HOST}\r\n"),
        format!("Host: {HOST}\r\nHost: {other}\r\n"),
        format!("Host: {HOST}\r\nhOST: {other}\r\n"),
        format!("Host: {HOST}\r\nX-A: 1\r\nHost:\r\n"),
        format!("Host: {HOST}, {other}\r\n"),
        format!("Host: {HOST} {other}\r\n"),
        format!("Host: user@{HOST}\r\n"),
        format!("Host: {HOST}/\r\n"),
        format!("Host: http://{HOST}\r\n"),
        format!("Host: {HOST}:eighty\r\n"),
        format!("Host: {HOST}:80:80\r\n"),
        format!("Host: {HOST}:123456\r\n"),
        format!("Host: {HOST}:-1\r\n"),
        format!("Host: {HOST}%00\r\n"),
        "Host: hell\u{f6}-acme.ignite.test\r\n".to_owned(),
        format!("Host: {}.ignite.test\r\n", "a".repeat(300)),
    ];
    for fields in table {
        let mut caller = Caller::new(&gateway);
        caller.send(format!("GET / HTTP/1.1\r\n{fields}\r\n{}", get("/smuggled")));
        let response = caller.read_response();
        let response = response.expect_problem(400, "http_request_error");
        assert_eq!(response.field("connection").as_deref(), Some("close"), "{fields}");
        caller.expect_closed();
    }
    app.expect_untouched();
}

#[test]
fn an_absolute_target_that_agrees_with_its_host_is_served_by_its_path_alone() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let table = [
        (format!("http://{HOST}/a//b/../c?d=%zz"), "/a//b/../c?d=%zz"),
        (format!("http://{HOST}"), "/"),
        (format!("http://{HOST}?x=1"), "/?x=1"),
        (format!("http://{HOST}/?"), "/?"),
        (format!("HTTP://{}/Up", HOST.to_uppercase()), "/Up"),
        (format!("https://{HOST}:443/tls"), "/tls"),
        (format!("http://{HOST}./dot"), "/dot"),
        (format!("http://{HOST}/http://other.test/"), "/http://other.test/"),
    ];
    for (target, path) in table {
        ask(&gateway, &format!("GET {target} HTTP/1.1"), &format!("Host: {HOST}\r\n")).expect(200);
        let seen = app.last();
        assert_eq!(seen.head.target(), path.as_bytes(), "{target}");
        assert_eq!(seen.field("host").as_deref(), Some(HOST), "{target}");
    }
    ask(&gateway, &format!("OPTIONS http://{HOST} HTTP/1.1"), &format!("Host: {HOST}\r\n"))
        .expect(200);
    assert_eq!(app.last().head.line(), b"OPTIONS * HTTP/1.1");
}

#[test]
fn an_absolute_target_that_disagrees_with_its_host_is_refused() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let table = [
        ("http://other-acme.ignite.test/".to_owned(), format!("Host: {HOST}\r\n")),
        (format!("http://{HOST}/"), "Host: other-acme.ignite.test\r\n".to_owned()),
        (format!("http://{HOST}/"), String::new()),
        (format!("http://{HOST}/"), "Host:\r\n".to_owned()),
        (format!("http://{HOST}/"), format!("Host: {HOST}\r\nHost: {HOST}\r\n")),
        (format!("http://user@{HOST}/"), format!("Host: {HOST}\r\n")),
        (format!("http://user:pass@{HOST}/"), format!("Host: {HOST}\r\n")),
        (format!("http://{HOST}\\@other.test/"), format!("Host: {HOST}\r\n")),
        ("http:///x".to_owned(), format!("Host: {HOST}\r\n")),
        ("http://".to_owned(), format!("Host: {HOST}\r\n")),
        (format!("http:/{HOST}/"), format!("Host: {HOST}\r\n")),
        (format!("ftp://{HOST}/"), format!("Host: {HOST}\r\n")),
        (format!("http://{HOST}/#x"), format!("Host: {HOST}\r\n")),
        (format!("http://{HOST}#x"), format!("Host: {HOST}\r\n")),
    ];
    for (target, fields) in table {
        ask(&gateway, &format!("GET {target} HTTP/1.1"), &fields)
            .expect_problem(400, "http_request_error");
    }
    app.expect_untouched();
}

#[test]
fn http_1_0_is_served_and_the_app_is_spoken_to_in_http_1_1() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(format!("GET /old HTTP/1.0\r\nHost: {HOST}\r\n\r\n"));
    let response = caller.read_response().expect(200);
    assert_eq!(response.field("connection").as_deref(), Some("close"));
    caller.expect_closed();
    assert_eq!(app.last().head.line(), b"GET /old HTTP/1.1");

    let mut caller = Caller::new(&gateway);
    for _ in 0..2 {
        caller.send(format!("GET / HTTP/1.0\r\nHost: {HOST}\r\nConnection: keep-alive\r\n\r\n"));
        let response = caller.read_response().expect(200);
        assert_eq!(response.field("connection").as_deref(), Some("keep-alive"));
    }
    ask(&gateway, "GET / HTTP/1.0", "").expect_problem(400, "http_request_error");
}

#[test]
fn a_request_line_that_is_not_three_words_of_http_1_is_refused() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    for line in [
        "GET /",
        "GET / ",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/2.0",
        "GET / HTTP/1.2",
        "GET / HTTP/1",
        "GET / HTTP/11",
        "GET / http/1.1",
        "GET / HTTPS/1.1",
        "G@T / HTTP/1.1",
        "GET: / HTTP/1.1",
        "/ HTTP/1.1",
    ] {
        ask(&gateway, line, &format!("Host: {HOST}\r\n")).expect_problem(400, "http_request_error");
    }
    app.expect_untouched();
}

#[test]
fn empty_lines_before_a_request_are_passed_over() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(format!("\r\n\r\n{}", get("/a")));
    caller.read_response().expect(200);
    caller.send(format!("\r\n{}", get("/b")));
    caller.read_response().expect(200);
}

#[test]
fn any_method_that_is_a_token_passes() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    for method in
        ["GET", "DELETE", "OPTIONS", "PATCH", "QUERY", "PROPFIND", "get", "M-S!#$%&'*+.^_`|~9"]
    {
        ask(&gateway, &format!("{method} / HTTP/1.1"), &format!("Host: {HOST}\r\n")).expect(200);
        assert_eq!(app.last().head.word(0), method.as_bytes());
    }
}

#[test]
fn the_endpoints_of_two_apps_at_one_address_are_not_one_pool() {
    let app_one = EchoHeads::start();
    let gateway = Gateway::with(|config| {
        config.apps.push(app("one/x", &[(80, &[app_one.address()])]));
        config.apps.push(app("two/x", &[(80, &[app_one.address()])]));
    });
    let mut caller = Caller::new(&gateway);
    for _ in 0..3 {
        for organization in ["one", "two"] {
            caller.send(format!("GET / HTTP/1.1\r\nHost: x-{organization}.ignite.test\r\n\r\n"));
            caller.read_response().expect(200);
        }
    }
    for seen in app_one.seen() {
        let first = app_one.seen().into_iter().find(|other| other.connection == seen.connection);
        let id = |seen: &crate::support::app::Seen| seen.field("x-ignite-organization-id");
        assert_eq!(first.as_ref().and_then(id), id(&seen), "one connection, two apps");
    }
}

#[test]
fn a_reload_changes_where_a_host_leads_and_takes_a_host_away() {
    let (old, new) = (EchoHeads::with("X-App: old\r\n"), EchoHeads::with("X-App: new\r\n"));
    let mut gateway = Gateway::of(old.address());
    let mut caller = Caller::new(&gateway);
    assert_eq!(caller.get("/").field("x-app").as_deref(), Some("old"));
    gateway.reload(|config| config.apps[0].ports[0].endpoints = vec![new.address()]);
    assert_eq!(caller.get("/").field("x-app").as_deref(), Some("new"));
    gateway.reload(|config| config.apps.clear());
    caller.get("/").expect_problem(404, "destination_not_found");
    gateway.reload(|config| config.apps.push(app("acme/hello", &[(80, &[old.address()])])));
    assert_eq!(caller.get("/").field("x-app").as_deref(), Some("old"));
}

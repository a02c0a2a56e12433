//! Fields: what the app sees of a caller's, and the caller of an app's. Nothing
//! that either side sends can remove, double or forge what the gateway says.

use std::collections::HashSet;

use crate::support::app::Seen;
use crate::support::caller::{get, request};
use crate::support::frames::{self, Frames};
use crate::support::{Caller, EchoHeads, Gateway, HOST, ScriptedApp};

/// What the gateway adds to a stranger's request, in its order.
const ADDED: [&str; 7] = [
    "x-ignite-execution-id",
    "x-ignite-function-id",
    "x-ignite-organization-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "via",
];

/// Sends a request with these field lines and returns what the app saw of it.
#[track_caller]
fn seen_with(gateway: &Gateway, app: &EchoHeads, fields: &str) -> Seen {
    Caller::ask(gateway, request("GET /", fields, "")).expect(200);
    app.last()
}

/// The lines that came from the caller.
fn own_lines(seen: &Seen) -> Vec<String> {
    let added = |line: &String| ADDED.iter().any(|name| line.starts_with(&format!("{name}: ")));
    seen.head.field_lines().into_iter().filter(|line| !added(line)).collect()
}

#[track_caller]
fn assert_ids(seen: &Seen) {
    assert_eq!(seen.field("x-ignite-function-id").as_deref(), Some("acme/hello"));
    assert_eq!(seen.field("x-ignite-organization-id").as_deref(), Some("acme"));
    let id = seen.field("x-ignite-execution-id").expect("an execution id");
    assert_is_uuid_v7(&id);
}

#[track_caller]
fn assert_is_uuid_v7(id: &str) {
    let bytes = id.as_bytes();
    assert_eq!(bytes.len(), 36, "{id}");
    for (at, byte) in bytes.iter().enumerate() {
        match at {
            8 | 13 | 18 | 23 => assert_eq!(*byte, b'-', "{id}"),
            14 => assert_eq!(*byte, b'7', "the version of {id}"),
            19 => assert!(b"89ab".contains(byte), "the variant of {id}"),
            _ => assert!(matches!(byte, b'0'..=b'9' | b'a'..=b'f'), "{id}"),
        }
    }
    let millis = u128::from_str_radix(&id.replace('-', "")[..12], 16).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(now.as_millis().abs_diff(millis) < 60_000, "the time of {id}");
}

/// Names that a CGI, WSGI or PHP backend reads as a reserved one.
fn reserved_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "x-ignite-execution-id",
        "x-ignite-function-id",
        "x-ignite-organization-id",
        "x-ignite-foo",
        "x-ignite-",
        "X-Ignite-Organization-Id",
        "X-IGNITE-FUNCTION-ID",
        "x-iGnItE-execution-ID",
        "X_Ignite_Execution_Id",
        "x_ignite-function_id",
        "x-ignite_organization-id",
        "x_ignite_anything",
        "x-ignite-_x",
    ]
    .map(str::to_owned)
    .to_vec();
    for separator in "!#$%&'*+.^_`|~".chars() {
        names.push(format!("X{separator}Ignite{separator}Organization{separator}Id"));
        names.push(format!("x-ignite{separator}function-id"));
        names.push(format!("x{separator}ignite-function-id"));
    }
    names
}

#[test]
fn each_request_gets_its_ids_and_the_caller_can_quote_the_execution_id() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    let mut ids = HashSet::new();
    for number in 0..20 {
        let response = caller.get(&format!("/{number}")).expect(200);
        let seen = app.last();
        assert_ids(&seen);
        let id = seen.field("x-ignite-execution-id").unwrap();
        assert_eq!(response.field("x-ignite-execution-id"), Some(id.clone()));
        assert!(ids.insert(id), "an id twice");
    }
}

#[test]
fn ids_in_pipelined_requests_differ_and_each_response_has_its_own() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut caller = Caller::new(&gateway);
    caller.send([get("/1"), get("/2"), get("/3")].concat());
    let mut ids = HashSet::new();
    for number in 1..=3 {
        let response = caller.read_response().expect(200);
        let id = response.field("x-ignite-execution-id").unwrap();
        assert!(response.text().starts_with(&format!("GET /{number} ")));
        assert!(response.text().contains(&format!("x-ignite-execution-id: {id}\r\n")));
        assert!(ids.insert(id));
    }
}

#[test]
fn a_caller_cannot_set_a_reserved_field_in_any_spelling() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    for name in reserved_names() {
        let fields = format!("X-A: 1\r\n{name}: forged\r\nX-B: 2\r\n{name}: forged again\r\n");
        let seen = seen_with(&gateway, &app, &fields);
        let text = String::from_utf8_lossy(&seen.head.raw).into_owned();
        assert!(!text.contains("forged"), "{name}: {text}");
        assert_eq!(own_lines(&seen), [format!("Host: {HOST}"), "X-A: 1".into(), "X-B: 2".into()]);
        assert_ids(&seen);
    }
}

#[test]
fn names_that_only_resemble_reserved_ones_pass() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    for name in ["x-ignite", "xignite-a", "x-ignited-a", "my-x-ignite-a", "x--ignite-a", "ignite-a"]
    {
        let seen = seen_with(&gateway, &app, &format!("{name}: kept\r\n"));
        assert_eq!(own_lines(&seen)[1], format!("{name}: kept"));
    }
}

#[test]
fn a_caller_cannot_remove_what_the_gateway_adds_through_connection() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut names = reserved_names();
    names.extend(ADDED.map(str::to_owned));
    for name in names {
        for fields in [
            format!("Connection: {name}\r\n"),
            format!("Connection: keep-alive\r\nconnection: close, {name}\r\n"),
            format!("CONNECTION: a,\t{name} ,b\r\n{name}: forged\r\n"),
        ] {
            let seen = seen_with(&gateway, &app, &fields);
            assert_ids(&seen);
            for added in ADDED {
                assert!(seen.head.has(added), "{added} is missing after {fields}");
            }
            assert!(!String::from_utf8_lossy(&seen.head.raw).contains("forged"), "{fields}");
        }
    }
}

#[test]
fn hop_by_hop_fields_of_a_request_do_not_reach_the_app() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let table = [
        "Connection: keep-alive",
        "Connection: close",
        "CONNECTION:",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authenticate: Basic",
        "Proxy-Authorization: Basic eDp5",
        "TE: gzip",
        "te: gzip;q=0.5, deflate",
        "Upgrade: websocket",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA",
    ];
    for fields in table {
        let lines = format!("X-A: 1\r\n{fields}\r\nX-B: 2\r\n");
        let seen = seen_with(&gateway, &app, &lines);
        assert_eq!(own_lines(&seen), [format!("Host: {HOST}"), "X-A: 1".into(), "X-B: 2".into()]);
    }
}

#[test]
fn every_field_that_any_connection_line_nominates_goes() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let fields = "Connection: x-a\r\nX-A: 1\r\nX-Keep: 1\r\nConnection: close\r\nx-A: 2\r\n\
                  Connection: ,, X-B ,x-c,\r\nX-B: 1\r\nX-C: 1\r\nConnection: not-there\r\nX-C: 2\r\n\
                  X-Keep: 2\r\nConnection: cookie\r\nCookie: a=b\r\n";
    let seen = seen_with(&gateway, &app, fields);
    let kept = [format!("Host: {HOST}"), "X-Keep: 1".into(), "X-Keep: 2".into()];
    assert_eq!(own_lines(&seen), kept);
}

#[test]
fn nominating_a_field_that_routes_or_frames_is_refused() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    for name in [
        "host",
        "Host",
        "HOST",
        "content-length",
        "Content-Length",
        "transfer-encoding",
        "TRANSFER-ENCODING",
        ":path",
        ":authority",
        ":method",
    ] {
        for fields in [
            format!("Connection: {name}\r\n"),
            format!("Connection: close, {name}\r\n"),
            format!("Connection: keep-alive\r\nConnection: x-a\r\nConnection:{name}\r\n"),
        ] {
            let mut caller = Caller::new(&gateway);
            caller.send(request("POST /", &format!("{fields}Content-Length: 3\r\n"), "abc"));
            caller.read_response().expect_problem(400, "http_request_error");
            caller.expect_closed();
        }
    }
    app.expect_untouched();
}

#[test]
fn te_trailers_is_said_to_the_app_on_the_gateways_own_behalf() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    for fields in [
        "TE: trailers\r\nConnection: te\r\n",
        "te: trailers\r\n",
        "TE: gzip, trailers;q=1\r\nTE: Trailers\r\n",
        "TE: deflate\r\nTE: trailers\r\nConnection: TE, close\r\n",
    ] {
        let seen = seen_with(&gateway, &app, fields);
        assert_eq!(seen.field("te").as_deref(), Some("trailers"), "{fields}");
        let connection = seen.field("connection").unwrap_or_default();
        assert!(connection.eq_ignore_ascii_case("te"), "{connection}");
    }
}

#[test]
fn other_fields_pass_unchanged_in_order_case_and_number() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let lines = [
        "aCCept: */*",
        "X-Dup: 1",
        "Accept-Encoding: gzip,  br;q=0.5",
        "x-dup: 2",
        "X-DUP: 1",
        "Cookie: a=b; c=\"d e\"",
        "cookie: second=line",
        "Authorization: Bearer abc==",
        "X-Empty:",
        "X-Inner:  two  spaces\tand a tab",
        "X-Obs: \u{e9}\u{20ac}",
        "X-Quote: \"a, b\\\" c\"",
        "Date: Tue, 15 Nov 1994 08:12:31 GMT",
        "If-None-Match: W/\"x\"",
        "Range: bytes=0-5",
        "Expect-CT: max-age=0",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "tracestate: congo=t61rcWkgMzE",
        "X-Request-Id: mine",
        "!#$%&'*+-.^_`|~0aZ: odd name",
        "Sec-WebSocket-Key: x",
        "Content-Type: text/plain; charset=\"utf-8\"",
    ];
    let fields = lines.map(|line| format!("{line}\r\n")).concat();
    let seen = seen_with(&gateway, &app, &fields);
    // White space around a value is no part of it; one space is written before it.
    let value = |line: &&str| {
        let (name, value) = line.split_once(':').unwrap();
        format!("{name}: {}", value.trim_matches([' ', '\t']))
    };
    let mut wanted = vec![format!("Host: {HOST}")];
    wanted.extend(lines.iter().map(value));
    assert_eq!(own_lines(&seen), wanted);
    let added: Vec<_> = seen.head.fields().split_off(wanted.len());
    assert_eq!(added.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ADDED);
}

#[test]
fn bytes_above_ascii_in_a_value_pass_as_they_are() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let value: Vec<u8> = (0x80..=0xff).collect();
    let head = [b"GET / HTTP/1.1\r\nHost: ", HOST.as_bytes(), b"\r\nX-B: ", &value, b"\r\n\r\n"];
    Caller::ask(&gateway, head.concat()).expect(200);
    let raw = app.last().head.raw;
    assert!(raw.windows(value.len()).any(|window| window == value), "{}", raw.escape_ascii());
}

#[test]
fn what_a_stranger_says_of_whom_he_speaks_for_is_replaced() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let claims = "X-Forwarded-For: 1.2.3.4\r\nx-forwarded-for: 5.6.7.8\r\nX-Forwarded-Proto: https\r\n\
                  X-Forwarded-Host: evil.test\r\n";
    for fields in ["", claims] {
        let seen = seen_with(&gateway, &app, fields);
        assert_eq!(seen.field("x-forwarded-for").as_deref(), Some("127.0.0.1"));
        assert_eq!(seen.field("x-forwarded-proto").as_deref(), Some("http"));
        assert_eq!(seen.field("x-forwarded-host").as_deref(), Some(HOST));
    }
}

#[test]
fn what_vendors_call_the_same_is_dropped_when_a_stranger_says_it() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    for name in [
        "Forwarded",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Server",
        "X-Forwarded-Ssl",
        "X-Forwarded-Client-Cert",
        "X_Forwarded_For",
        "X_Forwarded_Proto",
        "X.Forwarded.Host",
        "x-forwarded_for",
        "X-Real-IP",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Original-URL",
        "X-Original-Host",
        "X-Rewrite-URL",
        "Client-Cert",
        "Client_Cert",
        "Client-Cert-Chain",
    ] {
        let seen = seen_with(&gateway, &app, &format!("{name}: 1.2.3.4\r\n"));
        assert_eq!(own_lines(&seen), [format!("Host: {HOST}")], "{name}");
        assert_eq!(seen.field("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    }
}

#[test]
fn vendor_names_are_dropped_with_any_separator_as_backends_fold_them() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    for name in ["X_Real_IP", "x_client_ip", "True_Client_IP", "CF_Connecting_IP", "X_Original_URL"]
    {
        let seen = seen_with(&gateway, &app, &format!("{name}: 1.2.3.4\r\n"));
        assert_eq!(own_lines(&seen), [format!("Host: {HOST}")], "{name}");
    }
}

/// What a backend that folds names takes for a field that frames, routes or authenticates.
const FOLDED: [&str; 18] = [
    "Content_Length",
    "content.length",
    "Transfer_Encoding",
    "TRANSFER_ENCODING",
    "transfer~encoding",
    "Keep_Alive",
    "Proxy_Connection",
    "Proxy_Authorization",
    "HTTP2_Settings",
    "Client_Cert",
    "Client-Cert_Chain",
    "True_Client_IP",
    "X_Forwarded_For",
    "x-forwarded_proto",
    "X-Forwarded-Client_Cert",
    "X_Real_IP",
    "Proxy",
    "proxy",
];

#[test]
fn other_spellings_of_names_that_count_arrive_from_nobody() {
    let app = EchoHeads::start();
    let stranger = Gateway::of(app.address());
    let trusted = Gateway::of_with(app.address(), |config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    for name in FOLDED {
        for gateway in [&stranger, &trusted] {
            let seen = seen_with(gateway, &app, &format!("X-A: 1\r\n{name}: 7\r\nx_b: 2\r\n"));
            let wanted = [format!("Host: {HOST}"), "X-A: 1".to_owned(), "x_b: 2".to_owned()];
            assert_eq!(own_lines(&seen), wanted, "{name}");

            let body = format!("3\r\nabc\r\n0\r\n{name}: 7\r\nx_b: 2\r\n\r\n");
            let chunked = "Transfer-Encoding: chunked\r\n";
            Caller::ask(gateway, request("POST /", chunked, &body)).expect(200);
            assert_eq!(app.last().trailers, ["x_b: 2"], "{name}");

            let mut caller = Frames::call(gateway);
            let name = name.to_lowercase();
            let mut fields = frames::request_fields("GET", "/");
            fields.extend([(&name[..], "7"), ("x_b", "2")]);
            let _ = caller.ask(1, frames::headers(1, frames::END_STREAM, &fields)).expect(200);
            let seen = app.last();
            assert!(!seen.head.has(&name) && seen.head.has("x_b"), "{name}");
        }
    }
}

#[test]
fn other_spellings_of_names_that_count_do_not_come_from_apps() {
    for name in FOLDED {
        let app = ScriptedApp::answering(format!(
            "HTTP/1.1 200 OK\r\n{name}: 7\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nok\r\n0\r\n{name}: 7\r\nx_b: 2\r\n\r\n"
        ));
        let gateway = Gateway::of(app.address());
        let response = Caller::ask(&gateway, request("GET /", "TE: trailers\r\n", "")).expect(200);
        assert!(!response.head.has(&name.to_lowercase()), "{name}");
        assert_eq!(response.trailers, [("x_b".to_owned(), "2".to_owned())], "{name}");
    }
}

#[test]
fn nominating_what_a_trusted_proxy_says_of_its_caller_is_refused() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    for name in ["X-Forwarded-For", "x-forwarded-PROTO", "Forwarded", "X-Real-IP", "Client-Cert"] {
        let fields = format!("Connection: keep-alive, {name}\r\n{name}: 192.0.2.7\r\n");
        let response = Caller::ask(&gateway, request("GET /", &fields, ""));
        response.expect_problem(400, "http_request_error");
    }
    app.expect_untouched();
}

#[test]
fn a_trusted_proxy_is_believed_and_appended_to() {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let seen = seen_with(&gateway, &app, "");
    assert_eq!(seen.field("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(seen.field("x-forwarded-host").as_deref(), Some(HOST));

    let fields = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4\r\n\
                  X-Forwarded-For: 5.6.7.8, 9.9.9.9\r\nX-Forwarded-Host: public.test\r\n\
                  X-Real-IP: 1.2.3.4\r\nX-Forwarded-Port: 443\r\nX-Ignite-Function-Id: forged\r\n";
    let seen = seen_with(&gateway, &app, fields);
    let chain = seen.field("x-forwarded-for").unwrap();
    assert_eq!(chain, "1.2.3.4, 5.6.7.8, 9.9.9.9, 127.0.0.1");
    assert_eq!(seen.field("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(seen.field("x-forwarded-host").as_deref(), Some("public.test"));
    assert_eq!(seen.field("forwarded").as_deref(), Some("for=1.2.3.4"));
    assert_eq!(seen.field("x-real-ip").as_deref(), Some("1.2.3.4"));
    assert_eq!(seen.field("x-forwarded-port").as_deref(), Some("443"));
    assert_ids(&seen);
}

#[test]
fn trust_comes_and_goes_with_a_reload_for_new_connections() {
    let app = EchoHeads::start();
    let mut gateway = Gateway::of(app.address());
    let claim = "X-Forwarded-For: 1.2.3.4\r\n";
    let chain = |seen: Seen| seen.field("x-forwarded-for").unwrap();
    assert_eq!(chain(seen_with(&gateway, &app, claim)), "127.0.0.1");
    gateway.reload(|config| config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()]);
    assert_eq!(chain(seen_with(&gateway, &app, claim)), "1.2.3.4, 127.0.0.1");
    gateway.reload(|config| config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(chain(seen_with(&gateway, &app, claim)), "127.0.0.1");
}

#[test]
fn via_names_the_gateway_after_those_before_it() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let seen = seen_with(&gateway, &app, "");
    assert_eq!(seen.head.all("via"), ["1.1 ignite-gateway"]);
    let seen = seen_with(&gateway, &app, "Via: 1.0 fred, 1.1 p.example.net\r\n");
    let via = seen.head.all("via").join(", ");
    assert_eq!(via, "1.0 fred, 1.1 p.example.net, 1.1 ignite-gateway");
}

#[test]
fn via_tells_the_version_in_which_the_request_came() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    Caller::ask(&gateway, format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n")).expect(200);
    // RFC 9110 section 7.6.3: the protocol by which the message was received.
    assert_eq!(app.last().head.all("via"), ["1.0 ignite-gateway"]);
}

#[test]
fn reserved_and_framing_names_are_taken_out_of_request_trailers() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let mut forbidden = reserved_names();
    forbidden.extend(
        [
            "Host",
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "TE",
            "Trailer",
            "Authorization",
            "Cookie",
            "X-Forwarded-For",
            "Forwarded",
        ]
        .map(str::to_owned),
    );
    for name in forbidden {
        let body = format!("3\r\nabc\r\n0\r\nX-Sum: 1\r\n{name}: 7\r\nx-Last: 2\r\n\r\n");
        let fields = "Trailer: X-Sum, X-Last\r\nTransfer-Encoding: chunked\r\n";
        Caller::ask(&gateway, request("POST /", fields, &body)).expect(200);
        let seen = app.last();
        assert_eq!(seen.content, b"abc");
        assert_eq!(seen.trailers, ["X-Sum: 1", "x-Last: 2"], "{name}");
        assert_ids(&seen);
    }
}

#[test]
fn a_trailer_field_passes_without_its_reserved_names() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let body = "0\r\nX-Sum: 1\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let seen = |trailer: &str| {
        let fields = format!("{trailer}{chunked}");
        Caller::ask(&gateway, request("POST /", &fields, body)).expect(200);
        app.last()
    };
    assert_eq!(seen("Trailer: X-Sum, x-b\r\n").field("trailer").as_deref(), Some("X-Sum, x-b"));
    for name in reserved_names() {
        for trailer in
            [format!("Trailer: {name}\r\n"), format!("Trailer: X-Sum\r\ntrailer: a,{name} ,b\r\n")]
        {
            let seen = seen(&trailer);
            let announced = seen.head.all("trailer").join(",").to_lowercase();
            assert!(!announced.contains("ignite"), "{announced}");
            assert_ids(&seen);
        }
    }
}

#[test]
fn a_trailer_field_keeps_the_names_beside_a_reserved_one() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let fields = "Trailer: X-Sum, X-Ignite-Foo, x-b\r\nTransfer-Encoding: chunked\r\n";
    Caller::ask(&gateway, request("POST /", fields, "0\r\nX-Sum: 1\r\n\r\n")).expect(200);
    let announced = app.last().head.all("trailer").join(",").replace(' ', "");
    assert_eq!(announced, "X-Sum,x-b");
}

#[test]
fn reserved_fields_of_a_response_do_not_reach_the_caller() {
    for name in reserved_names() {
        let fields = format!("X-A: 1\r\n{name}: forged\r\nX-B: 2\r\n");
        let app = EchoHeads::with(&fields);
        let gateway = Gateway::of(app.address());
        let response = Caller::ask(&gateway, get("/")).expect(200);
        assert!(!String::from_utf8_lossy(&response.head.raw).contains("forged"), "{name}");
        assert_eq!(response.field("x-a").as_deref(), Some("1"));
        assert_eq!(response.field("x-b").as_deref(), Some("2"));
        assert_is_uuid_v7(&response.field("x-ignite-execution-id").unwrap());
        assert!(!response.head.has("x-ignite-function-id"));
        assert!(!response.head.has("x-ignite-organization-id"));
    }
}

#[test]
fn hop_by_hop_fields_of_a_response_do_not_reach_the_caller() {
    let app = ScriptedApp::answering(
        "HTTP/1.1 200 OK\r\nX-Keep: 1\r\nConnection: x-hop\r\nConnection: keep-alive, X-Hop2\r\n\
         X-Hop: 1\r\nx-hop2: 2\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
         Proxy-Authenticate: Basic\r\nTE: trailers\r\nUpgrade: h2c\r\nx-kEEP: 2\r\n\
         Content-Length: 2\r\n\r\nok",
    );
    let gateway = Gateway::of(app.address());
    let response = Caller::ask(&gateway, get("/")).expect(200);
    let lines = response.head.field_lines();
    assert_eq!(lines[..2], ["X-Keep: 1", "x-kEEP: 2"]);
    assert!(lines[2].starts_with("x-ignite-execution-id: "));
    // The app sent no date: RFC 9110 section 6.6.1 asks for one.
    assert!(lines[3].starts_with("date: "));
    assert_eq!(lines[4..], ["content-length: 2"]);
}

#[test]
fn an_app_cannot_make_the_gateway_drop_its_own_fields_or_the_framing() {
    let app = ScriptedApp::answering(
        "HTTP/1.1 200 OK\r\nConnection: content-length, x-ignite-execution-id, transfer-encoding\r\n\
         Content-Length: 2\r\n\r\nok",
    );
    let gateway = Gateway::of(app.address());
    let response = Caller::ask(&gateway, get("/")).expect(200);
    assert_eq!(response.field("content-length").as_deref(), Some("2"));
    assert_is_uuid_v7(&response.field("x-ignite-execution-id").unwrap());
    assert_eq!(response.text(), "ok");
}

#[test]
fn other_fields_of_a_response_and_its_reason_pass_unchanged() {
    let lines = [
        "sErver: app/1.0",
        "Set-Cookie: a=1; Path=/",
        "X-Dup: 1",
        "set-cookie: b=2",
        "x-dup: 2",
        "Date: Tue, 15 Nov 1994 08:12:31 GMT",
        "Location: http://other.test/a b",
        "Access-Control-Allow-Origin: *",
        "Alt-Svc: h3=\":443\"",
        "Strict-Transport-Security: max-age=1",
        "X-Empty: ",
        "Via: 1.1 inner",
    ];
    let fields = lines.map(|line| format!("{line}\r\n")).concat();
    let answer = format!("HTTP/1.1 299 Fine  By Me!\r\n{fields}Content-Length: 0\r\n\r\n");
    let app = ScriptedApp::answering(answer);
    let gateway = Gateway::of(app.address());
    let response = Caller::ask(&gateway, get("/")).expect(299);
    assert_eq!(response.head.line(), b"HTTP/1.1 299 Fine  By Me!");
    assert_eq!(response.head.field_lines()[..lines.len()], lines);
}

#[test]
fn reserved_names_are_taken_out_of_response_trailers() {
    let names = reserved_names();
    let trailers = names.join(": forged\r\n") + ": forged\r\n";
    let app = ScriptedApp::answering(format!(
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nok\r\n0\r\nX-Sum: 1\r\n{trailers}Content-Length: 5\r\nSet-Cookie: a=b\r\nx-last: 2\r\n\r\n"
    ));
    let gateway = Gateway::of(app.address());
    let response = Caller::ask(&gateway, request("GET /", "TE: trailers\r\n", "")).expect(200);
    let trailer = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(response.trailers, [trailer("x-sum", "1"), trailer("x-last", "2")]);
    assert_eq!(response.text(), "ok");
}

#[test]
fn a_response_announces_no_reserved_trailers() {
    let app = ScriptedApp::answering(
        "HTTP/1.1 200 OK\r\nTrailer: X-Ignite-Execution-Id\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\nX-Ignite-Execution-Id: forged\r\n\r\n",
    );
    let gateway = Gateway::of(app.address());
    let response = Caller::ask(&gateway, request("GET /", "TE: trailers\r\n", "")).expect(200);
    assert_eq!(response.field("trailer"), None);
    assert!(response.trailers.is_empty());
}

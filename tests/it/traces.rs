//! Spans, as a real receiver of OTLP gets them, and `traceparent` on both sides.

use std::net::SocketAddr;
use std::time::Duration;

use ignite_gateway::config::Config;
use ignite_gateway::config::traces::{Parent, Protocol, Sampling, Traces};
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::binary::{Folder, Serve, access_lines, config};
use crate::support::caller::{get, request};
use crate::support::collector::{Answer, Collector, Speech, attribute, hex, is_server};
use crate::support::edge::Refusing;
use crate::support::tls::Authority;
use crate::support::{Caller, EchoHeads, Gateway, HOST, ScriptedApp, eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
/// `Status.code` of OTLP.
const ERROR: i32 = 2;

fn traced(config: &mut Config, endpoint: &str, share: f64) {
    config.traces = Traces {
        endpoint: Some(endpoint.parse().unwrap()),
        sampling: Sampling { share, parent: Parent::Trusted },
        ..Traces::default()
    };
}

/// A gateway that traces everything that goes to its app.
fn gateway(collector: &Collector, endpoint: SocketAddr) -> Gateway {
    Gateway::of_with(endpoint, |config| traced(config, &collector.endpoint(), 1.0))
}

fn parent(trace: &str, span: &str, flags: &str) -> String {
    format!("traceparent: 00-{trace}-{span}-{flags}\r\n")
}

/// The trace, span and flags of a `traceparent`.
#[track_caller]
fn parts(traceparent: &str) -> [String; 3] {
    let parts: Vec<&str> = traceparent.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { panic!("{traceparent}") };
    assert_eq!((version, trace.len(), span.len(), flags.len()), ("00", 32, 16, 2));
    [trace, span, flags].map(str::to_owned)
}

fn text(span: &Span, key: &str) -> Option<String> {
    attribute(&span.attributes, key)
}

#[track_caller]
fn has(span: &Span, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        assert_eq!(text(span, key).as_deref(), Some(*value), "{key} of {span:#?}");
    }
}

fn metric(gateway: &Gateway, name: &str) -> u64 {
    let mut caller = Caller::to(gateway.admin());
    caller.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let text = caller.read_response().expect(200).text();
    let line = text.lines().find(|line| line.starts_with(name)).expect(name);
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn exported(gateway: &Gateway) -> u64 {
    metric(gateway, "ignite_gateway_trace_spans_exported_total")
}

fn dropped(gateway: &Gateway, reason: &str) -> u64 {
    metric(gateway, &format!("ignite_gateway_trace_spans_dropped_total{{reason=\"{reason}\"}}"))
}

#[test]
fn a_call_is_a_server_span_with_a_client_span_in_it() {
    for (speech, protocol) in [(Speech::Grpc, Protocol::Grpc), (Speech::Http, Protocol::Http)] {
        let (collector, app) = (Collector::start(speech), EchoHeads::start());
        let gateway = Gateway::of_with(app.address(), |config| {
            traced(config, &collector.endpoint(), 1.0);
            config.traces.protocol = protocol;
        });
        let mut caller = Caller::new(&gateway);
        let fields = "User-Agent: test/1\r\nContent-Length: 4\r\n";
        caller.send(request("POST /a/b?c=d&sig=secret", fields, "body"));
        let response = caller.read_response().expect(200);
        let (server, clients) = collector.wait_request(1);
        let client = &clients[0];

        let id = response.field("x-ignite-execution-id").unwrap();
        let [trace, span, flags] = parts(&app.last().field("traceparent").unwrap());
        assert_eq!(trace, id.replace('-', ""), "the execution id is the trace's");
        assert_eq!((hex(&server.trace_id), hex(&client.trace_id)), (trace.clone(), trace));
        assert_eq!((hex(&client.span_id), flags.as_str()), (span, "03"));
        assert_eq!(hex(&client.parent_span_id), hex(&server.span_id));
        assert_eq!(server.parent_span_id, Vec::<u8>::new());

        assert_eq!((server.name.as_str(), client.name.as_str()), ("POST", "POST"));
        let peer = caller.local_address();
        has(
            &server,
            &[
                ("http.request.method", "POST"),
                ("http.response.status_code", "200"),
                ("http.request.body.size", "4"),
                ("http.response.body.size", &response.body.len().to_string()),
                ("url.scheme", "http"),
                ("url.path", "/a/b"),
                ("url.query", "c=d&sig=REDACTED"),
                ("server.address", HOST),
                ("network.protocol.name", "http"),
                ("network.protocol.version", "1.1"),
                ("network.peer.address", "127.0.0.1"),
                ("network.peer.port", &peer.port().to_string()),
                ("client.address", "127.0.0.1"),
                ("user_agent.original", "test/1"),
                ("ignite.execution_id", &id),
                ("ignite.function_id", "acme/hello"),
                ("ignite.organization_id", "acme"),
                ("ignite.attempts", "1"),
                ("ignite.termination", "complete"),
            ],
        );
        let address = app.address();
        has(
            client,
            &[
                ("http.request.method", "POST"),
                ("http.response.status_code", "200"),
                ("url.full", &format!("http://{address}/a/b?c=d&sig=REDACTED")),
                ("server.address", "127.0.0.1"),
                ("server.port", &address.port().to_string()),
                ("network.peer.address", "127.0.0.1"),
                ("network.protocol.version", "1.1"),
                ("ignite.execution_id", &id),
                ("ignite.function_id", "acme/hello"),
            ],
        );
        for span in [&server, client] {
            assert_eq!((&span.status, text(span, "error.type")), (&None, None));
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
        }
        assert_eq!(text(client, "http.request.resend_count"), None);
        assert!(server.start_time_unix_nano <= client.start_time_unix_nano);
        assert!(client.end_time_unix_nano <= server.end_time_unix_nano);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let age = now.saturating_sub(Duration::from_nanos(server.start_time_unix_nano));
        assert!(age < Duration::from_secs(60), "{age:?}");
        let resource = collector.resource();
        assert_eq!(attribute(&resource, "service.name").as_deref(), Some("ignite-gateway"));
        eventually("the spans are counted", || exported(&gateway) == 2);
        let path = match speech {
            Speech::Grpc => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Speech::Http => "/v1/traces",
        };
        assert_eq!(collector.paths(), [path]);
    }
}

#[test]
fn every_try_at_an_endpoint_has_a_span_of_which_the_app_hears() {
    let (collector, refusing, app) =
        (Collector::start(Speech::Grpc), Refusing::new(), EchoHeads::start());
    let endpoints = [refusing.address(), app.address()];
    let gateway = Gateway::with(|config| {
        config.apps.push(crate::support::app("acme/hello", &[(80, &endpoints)]));
        config.outlier_ejection.consecutive_failures = 0;
        traced(config, &collector.endpoint(), 1.0);
    });
    // Which endpoint is chosen first is chance.
    let mut asked = 0;
    let retried = loop {
        asked += 1;
        assert!(asked < 1000, "no request was tried twice");
        let response = Caller::ask(&gateway, get("/")).expect(200);
        let id = response.field("x-ignite-execution-id").unwrap();
        let of_it = || {
            let all = collector.spans().into_iter();
            all.filter(|span| text(span, "ignite.execution_id").as_ref() == Some(&id)).collect()
        };
        let mut spans: Vec<Span> = Vec::new();
        eventually("the request's spans came", || {
            spans = of_it();
            spans.iter().any(is_server)
        });
        if spans.len() == 3 {
            break spans;
        }
    };
    let server = retried.iter().find(|span| is_server(span)).unwrap();
    let mut clients: Vec<_> = retried.iter().filter(|span| !is_server(span)).collect();
    clients.sort_by_key(|span| text(span, "http.request.resend_count"));
    let [first, second] = clients[..] else { panic!("{clients:#?}") };
    has(server, &[("ignite.attempts", "2"), ("http.response.status_code", "200")]);
    assert_eq!(server.status, None);
    let port = |address: SocketAddr| address.port().to_string();
    has(first, &[("server.port", &port(refusing.address())), ("error.type", "connect_refused")]);
    assert_eq!(first.status.as_ref().map(|status| status.code), Some(ERROR));
    assert_eq!(text(first, "http.response.status_code"), None);
    has(second, &[("server.port", &port(app.address())), ("http.request.resend_count", "1")]);
    has(second, &[("http.response.status_code", "200")]);
    assert_eq!(second.status, None);
    assert_ne!(first.span_id, second.span_id);
    for client in [first, second] {
        assert_eq!(client.parent_span_id, server.span_id);
        assert_eq!(client.trace_id, server.trace_id);
    }
    let [trace, span, _] = parts(&app.last().field("traceparent").unwrap());
    assert_eq!((trace, span), (hex(&second.trace_id), hex(&second.span_id)));
}

#[test]
fn a_kept_connection_that_died_gives_two_spans_over_http2_as_well() {
    use crate::support::frames::{END_STREAM, headers};
    let collector = Collector::start(Speech::Grpc);
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let app = ScriptedApp::start({
        let seen = seen.clone();
        move |connection| {
            let number = connection.number;
            let mut app = connection.http2(&[]);
            let mut last = 0;
            while let Some(id) = app.next_stream(last) {
                last = id;
                seen.lock().unwrap().push(number);
                if (number, id) == (0, 3) {
                    return;
                }
                app.send(headers(id, END_STREAM, &[(":status", "200")]));
            }
        }
    });
    let gateway = Gateway::of_with(app.address(), |config| {
        traced(config, &collector.endpoint(), 1.0);
        config.apps[0].ports[0].protocol = ignite_gateway::config::Protocol::H2c;
    });
    let mut caller = Caller::new(&gateway);
    caller.get("/one").expect(200);
    caller.get("/two").expect(200);
    let spans = collector.wait(5);
    let second: Vec<_> = spans
        .iter()
        .filter(|span| !is_server(span) && text(span, "url.full").unwrap().ends_with("/two"))
        .collect();
    assert_eq!(second.len(), 2, "{second:#?}");
    assert_ne!(second[0].span_id, second[1].span_id);
    assert!(
        second.iter().all(|span| text(span, "network.protocol.version").as_deref() == Some("2"))
    );
    assert_eq!(*seen.lock().unwrap(), [0, 0, 1]);
}

#[test]
fn a_callers_trace_goes_on_and_only_trusted_ones_decide_whether_it_is_recorded() {
    let app = EchoHeads::start();
    let stranger = |_: &mut Config| {};
    let trusted = |config: &mut Config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    };
    let everybody = |config: &mut Config| config.traces.sampling.parent = Parent::All;
    type Change = fn(&mut Config);
    let table: [(Change, f64, &str, bool); 8] = [
        (stranger, 0.0, "01", false),
        (stranger, 1.0, "00", true),
        (trusted, 0.0, "01", true),
        (trusted, 1.0, "00", false),
        (everybody, 0.0, "01", true),
        (everybody, 1.0, "00", false),
        (trusted, 0.0, "", false),
        (trusted, 1.0, "", true),
    ];
    for (number, (change, share, flags, sampled)) in table.into_iter().enumerate() {
        let collector = Collector::start(Speech::Grpc);
        let gateway = Gateway::of_with(app.address(), |config| {
            traced(config, &collector.endpoint(), share);
            change(config);
        });
        let fields = if flags.is_empty() { String::new() } else { parent(TRACE, SPAN, flags) };
        let fields = format!("{fields}tracestate: a=1,b=2\r\nTraceState: c=3\r\n");
        Caller::ask(&gateway, request("GET /", &fields, "")).expect(200);
        let seen = app.last();
        let [trace, span, told] = parts(&seen.field("traceparent").unwrap());
        let case = format!("row {number}");
        assert_eq!(u8::from_str_radix(&told, 16).unwrap() & 1 == 1, sampled, "{case}");
        assert_eq!(trace == TRACE, !flags.is_empty(), "{case}");
        assert_ne!(span, SPAN, "{case}");
        let state: Vec<String> = seen.head.all("tracestate");
        // Without a parent there is nothing that a state could be of.
        let wanted: &[&str] = if flags.is_empty() { &[] } else { &["a=1,b=2", "c=3"] };
        assert_eq!(state, wanted, "{case}");
        if sampled {
            let (server, _) = collector.wait_request(1);
            assert_eq!(hex(&server.trace_id), trace, "{case}");
            if !flags.is_empty() {
                assert_eq!(hex(&server.parent_span_id), SPAN, "{case}");
                assert_eq!(server.trace_state, "a=1,b=2,c=3", "{case}");
            }
        }
        gateway.finish();
        assert_eq!(collector.spans().len(), if sampled { 2 } else { 0 }, "{case}");
    }
}

#[test]
fn a_traceparent_that_is_none_begins_a_new_trace() {
    let (collector, app) = (Collector::start(Speech::Grpc), EchoHeads::start());
    let gateway = gateway(&collector, app.address());
    let good = parent(TRACE, SPAN, "01");
    for fields in [
        parent(TRACE, &SPAN.to_uppercase(), "01"),
        parent(TRACE, "0000000000000000", "01"),
        parent(TRACE, SPAN, "1"),
        format!("traceparent: ff-{TRACE}-{SPAN}-01\r\n"),
        format!("traceparent: 00-{TRACE}-{SPAN}-01-more\r\n"),
        "traceparent: \r\n".to_owned(),
        format!("{good}TraceParent: 00-{TRACE}-{SPAN}-01\r\n"),
    ] {
        let fields = format!("{fields}tracestate: a=1\r\n");
        let response = Caller::ask(&gateway, request("GET /", &fields, "")).expect(200);
        let seen = app.last();
        let [trace, ..] = parts(&seen.field("traceparent").unwrap());
        let id = response.field("x-ignite-execution-id").unwrap().replace('-', "");
        assert_eq!((trace, seen.field("tracestate")), (id, None), "{fields}");
    }
    // A state that is none goes alone.
    let fields = format!("{good}tracestate: A=1\r\n");
    Caller::ask(&gateway, request("GET /", &fields, "")).expect(200);
    let [trace, ..] = parts(&app.last().field("traceparent").unwrap());
    assert_eq!((trace.as_str(), app.last().field("tracestate")), (TRACE, None));
    // Naming it a matter of this hop does not keep the gateway's own away.
    let fields = format!("{good}Connection: traceparent\r\n");
    Caller::ask(&gateway, request("GET /", &fields, "")).expect(200);
    let [trace, ..] = parts(&app.last().field("traceparent").unwrap());
    assert_eq!(trace, TRACE);
}

#[test]
fn without_a_collector_the_fields_pass_as_they_came() {
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let fields = "TraceParent: whatever\r\nTRACESTATE: it = is\r\ntraceparent: twice\r\n";
    Caller::ask(&gateway, request("GET /", fields, "")).expect(200);
    let raw = String::from_utf8_lossy(&app.last().head.raw).into_owned();
    assert!(raw.contains(fields), "{raw}");
    Caller::ask(&gateway, get("/")).expect(200);
    assert!(!app.last().head.has("traceparent"));
    assert_eq!((exported(&gateway), dropped(&gateway, "queue_full")), (0, 0));
}

#[test]
fn what_failed_is_an_error_of_whoever_failed() {
    let collector = Collector::start(Speech::Grpc);
    let app = ScriptedApp::start(|connection| {
        while let Some(seen) = connection.next_request() {
            let target = String::from_utf8_lossy(seen.head.word(1)).into_owned();
            match target.as_str() {
                "/404" => connection.send("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
                "/503" => connection.send("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
                "/broken" => {
                    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nha");
                    return;
                }
                _ => return connection.send("HTTP/1.1 nonsense\r\n\r\n"),
            }
        }
    });
    let gateway = gateway(&collector, app.address());
    // Status of the caller, error of the server span, of the client span, status at the app.
    type Row<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Option<&'a str>);
    let table: [(&str, Row<'_>); 4] = [
        ("/404", ("404", None, Some("404"), Some("404"))),
        ("/503", ("503", Some("503"), Some("503"), Some("503"))),
        ("/broken", ("200", Some("app_malformed"), Some("app_malformed"), Some("200"))),
        ("/nonsense", ("502", Some("app_malformed"), Some("app_malformed"), None)),
    ];
    for (target, (status, of_server, of_client, at_app)) in table {
        let mut caller = Caller::new(&gateway);
        caller.send(get(target));
        let _ = caller.try_read_response(false);
        let mut found = Vec::new();
        eventually("the request's spans came", || {
            let all = collector.spans().into_iter();
            found = all
                .filter(|span| {
                    let path = text(span, "url.path").or(text(span, "url.full"));
                    path.is_some_and(|path| path.ends_with(target))
                })
                .collect::<Vec<_>>();
            found.len() == 2
        });
        let server = found.iter().find(|span| is_server(span)).unwrap();
        let client = found.iter().find(|span| !is_server(span)).unwrap();
        let code = |span: &Span| text(span, "http.response.status_code");
        assert_eq!(code(server).as_deref(), Some(status), "{target}");
        assert_eq!(code(client).as_deref(), at_app, "{target}");
        for (span, error) in [(server, of_server), (client, of_client)] {
            let failed = span.status.as_ref().map(|status| status.code) == Some(ERROR);
            assert_eq!(failed, error.is_some(), "{target} {span:#?}");
            assert_eq!(text(span, "error.type").as_deref(), error, "{target}");
        }
    }
    // A host that nobody has gets a span of its call, and none of a try.
    Caller::ask(&gateway, "GET / HTTP/1.1\r\nHost: nobody.ignite.test\r\n\r\n").expect(404);
    eventually("its span came", || {
        let of_it =
            |span: &Span| text(span, "server.address").as_deref() == Some("nobody.ignite.test");
        collector.spans().iter().any(of_it)
    });
}

#[test]
fn a_caller_who_leaves_is_no_error() {
    let collector = Collector::start(Speech::Grpc);
    let app = ScriptedApp::start(|connection| {
        connection.head();
        connection.read_to_close();
    });
    let gateway = gateway(&collector, app.address());
    let mut caller = Caller::new(&gateway);
    caller.send(get("/slow"));
    gateway.wait_busy(HOST, 1);
    eventually("the app has it", || app.received().iter().any(|bytes| !bytes.is_empty()));
    caller.reset();
    let (server, clients) = collector.wait_request(1);
    assert_eq!((&server.status, &clients[0].status), (&None, &None));
    has(&server, &[("error.type", "caller_gone"), ("ignite.termination", "caller.response")]);
}

#[test]
fn a_collector_that_does_not_work_is_nobodys_trouble() {
    let (dead, app) = (Refusing::new(), EchoHeads::start());
    let silent = Collector::answering(Speech::Grpc, &[Answer::Never; 100]);
    for endpoint in [format!("http://{}", dead.address()), silent.endpoint()] {
        let gateway = Gateway::of_with(app.address(), |config| {
            traced(config, &endpoint, 1.0);
            config.traces.queue = 3;
            config.traces.timeout = Duration::from_millis(200);
            config.timeouts.drain = Duration::from_secs(4);
        });
        let mut caller = Caller::new(&gateway);
        eventually("the queue is full", || {
            caller.get("/").expect(200);
            dropped(&gateway, "queue_full") > 0
        });
        for _ in 0..100 {
            caller.get("/").expect(200);
        }
        assert_eq!(exported(&gateway), 0);
        // Nor does it keep the gateway from its end: see `finish`.
        gateway.finish();
    }
}

#[test]
fn what_waits_is_sent_before_the_gateway_ends() {
    let (collector, app) = (Collector::start(Speech::Grpc), EchoHeads::start());
    let gateway = gateway(&collector, app.address());
    let mut caller = Caller::new(&gateway);
    for _ in 0..700 {
        caller.get("/").expect(200);
    }
    gateway.finish();
    assert_eq!(collector.spans().len(), 1400);
}

#[test]
fn a_busy_collector_is_asked_again_and_one_that_refuses_is_not() {
    for speech in [Speech::Grpc, Speech::Http] {
        let app = EchoHeads::start();
        let answers = [Answer::Busy, Answer::TakeWithout(1), Answer::Refuse, Answer::Take];
        let collector = Collector::answering(speech, &answers);
        let gateway = Gateway::of_with(app.address(), |config| {
            traced(config, &collector.endpoint(), 1.0);
            if speech == Speech::Http {
                config.traces.protocol = Protocol::Http;
            }
        });
        Caller::ask(&gateway, get("/")).expect(200);
        eventually("it took one of two spans, the second time", || exported(&gateway) == 1);
        assert_eq!((dropped(&gateway, "rejected"), collector.asked()), (1, 2));
        Caller::ask(&gateway, get("/")).expect(200);
        eventually("it refused the next two", || dropped(&gateway, "export_failed") == 2);
        assert_eq!(collector.asked(), 3);
        Caller::ask(&gateway, get("/")).expect(200);
        eventually("it took the last two", || exported(&gateway) == 3);
    }
}

#[test]
fn a_reload_changes_which_requests_are_traced() {
    let (collector, app) = (Collector::start(Speech::Grpc), EchoHeads::start());
    let mut gateway = gateway(&collector, app.address());
    gateway.reload(|config| config.traces.sampling.share = 0.0);
    Caller::ask(&gateway, get("/")).expect(200);
    let [_, _, flags] = parts(&app.last().field("traceparent").unwrap());
    assert_eq!(flags, "02");
    gateway.reload(|config| config.traces.sampling.share = 1.0);
    Caller::ask(&gateway, get("/")).expect(200);
    collector.wait(2);
}

#[test]
fn the_access_log_names_the_trace_and_a_collector_is_called_over_tls() {
    for (speech, protocol) in [(Speech::Grpc, "grpc"), (Speech::Http, "http")] {
        let authority = Authority::new();
        let collector = Collector::over_tls(speech, &authority.issue(&["localhost"]));
        let (app, folder) = (EchoHeads::start(), Folder::new());
        let roots = folder.write("roots.pem", authority.pem());
        let endpoint = format!("https://localhost:{}", collector.port());
        let text = config("json", &["hello"], app.address());
        let traces = format!(
            "\n[tracing]\nendpoint = \"{endpoint}\"\nprotocol = \"{protocol}\"\nsample = 1\n"
        );
        let path = folder.write("gateway.toml", text + &traces);
        let serve = Serve::start_with(&path, &[("SSL_CERT_FILE", roots.to_str().unwrap())]);
        assert_eq!(serve.status("hello-acme"), 200);
        let (server, _) = collector.wait_request(1);
        let lines = access_lines(&serve.finish());
        let line = lines.iter().find(|line| line["attempts"] == 1).expect("a line");
        assert_eq!(line["trace_id"], hex(&server.trace_id));
        assert_eq!(line["span_id"], hex(&server.span_id));
    }
}

//! The gateway's own answers to calls.

use std::time::Duration;

use h2::Reason;
use http::Response;

use super::{METHOD, app, begin, call, connect, counted, expect_status, field, gateway, message};
use super::{run, silent_app, soon};
use crate::binary::{Folder, Serve, access_lines, config};
use crate::support::caller::request;
use crate::support::edge::Refusing;
use crate::support::{Caller, Gateway, HOST, ScriptedApp, app as app_config};

#[test]
fn an_unknown_app_is_unimplemented() {
    let gateway = Gateway::with(|_| {});
    run(async {
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc; x=y"] {
            let mut requests = connect(gateway.address()).await;
            let kind = [("content-type", kind)];
            let (response, _outgoing) = begin(&mut requests, "nobody.ignite.test", &kind);
            let response = soon(response).await.unwrap();
            expect_status(&response, "12", "destination_not_found");
            let message = field(response.headers(), "grpc-message").unwrap();
            assert!(message.contains("<app>-<organization>[-<port>].<domain>"), "{message}");
        }
    });
    let unknown: Vec<_> = gateway.shared().unknown.requests().collect();
    assert_eq!(unknown, [("POST", "4xx", 3)], "counted as any other request would be");
}

#[test]
fn requests_of_another_kind_get_what_they_always_got() {
    let gateway = Gateway::with(|_| {});
    run(async {
        for kind in ["application/grpc-web", "application/json", "application/grpcx"] {
            let mut requests = connect(gateway.address()).await;
            let kind = [("content-type", kind)];
            let (response, _outgoing) = begin(&mut requests, "nobody.ignite.test", &kind);
            let response = soon(response).await.unwrap();
            assert_eq!(response.status(), 404);
            assert_eq!(field(response.headers(), "grpc-status"), None);
        }
    });
}

#[test]
fn an_app_that_is_down_is_unavailable() {
    let refusing = Refusing::new();
    let gateway = gateway(refusing.address(), |_| {});
    run(async {
        expect_status(&call(&gateway, &[]).await, "14", "connection_refused");
    });
    assert_eq!(counted(&gateway), [("POST", "5xx", 1)]);
}

#[test]
fn no_ready_endpoint_and_a_full_queue_are_unavailable_and_say_when_to_retry() {
    let gateway = Gateway::with(|config| {
        config.apps.push(app_config("acme/hello", &[(80, &[])]));
        config.timeouts.ready = Duration::from_millis(20);
    });
    run(async {
        let response = call(&gateway, &[]).await;
        expect_status(&response, "14", "destination_unavailable");
        assert_eq!(field(response.headers(), "retry-after"), Some("1"));
    });
    let full = Gateway::with(|config| {
        config.apps.push(app_config("acme/hello", &[(80, &[])]));
        config.limits.app_queue = 0;
    });
    run(async {
        expect_status(&call(&full, &[]).await, "14", "connection_limit_reached");
    });
}

#[test]
fn a_call_over_the_size_limit_is_resource_exhausted_declared_or_not() {
    run(async {
        let address = silent_app().await;
        let gateway = gateway(address, |config| config.limits.request_body = 100);
        let declared = [("content-length", "1000")];
        let mut requests = connect(gateway.address()).await;
        let (response, _outgoing) = begin(&mut requests, HOST, &declared);
        expect_status(&soon(response).await.unwrap(), "8", "http_request_denied");
        let (response, mut outgoing) = begin(&mut requests, HOST, &[]);
        outgoing.send_data(message(&[0; 1000]), false).unwrap();
        expect_status(&soon(response).await.unwrap(), "8", "http_request_denied");
    });
}

#[test]
fn an_app_that_resets_is_unavailable_one_that_stalls_has_exceeded_its_time() {
    run(async {
        let address = app(|request, mut respond| async move {
            if request.headers().contains_key("stall") {
                std::future::pending::<()>().await;
            }
            respond.send_reset(Reason::INTERNAL_ERROR);
        })
        .await;
        let gateway = gateway(address, |config| {
            config.timeouts.response = Duration::from_millis(50);
        });
        expect_status(&call(&gateway, &[]).await, "14", "connection_terminated");
        let response = call(&gateway, &[("stall", "1")]).await;
        expect_status(&response, "4", "http_response_timeout");
        assert_eq!(counted(&gateway), [("POST", "5xx", 2)]);
    });
}

#[test]
fn an_answer_that_is_not_http_is_internal_over_http_1_too() {
    let app = ScriptedApp::answering_once("this is no HTTP\r\n\r\n");
    let gateway = Gateway::of(app.address());
    run(async {
        expect_status(&call(&gateway, &[]).await, "13", "http_protocol_error");
    });
    let fields = "Content-Type: application/grpc\r\nContent-Length: 0\r\n";
    let mut caller = Caller::new(&gateway);
    for _ in 0..2 {
        caller.send(request(&format!("POST {METHOD}"), fields, ""));
        let response = caller.read_response().expect(200);
        assert_eq!(response.field("content-type").as_deref(), Some("application/grpc"));
        assert_eq!(response.field("grpc-status").as_deref(), Some("13"));
        assert_eq!(response.field("content-length").as_deref(), Some("0"));
        assert!(response.field("x-ignite-execution-id").is_some());
        assert!(response.field("date").is_some());
    }
}

#[test]
fn the_access_log_tells_both_statuses() {
    run(async {
        let address = app(|_, mut respond| async move {
            let mut outgoing = respond.send_response(Response::new(()), false).unwrap();
            outgoing.send_data(message(b"a"), false).unwrap();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", "5".parse().unwrap());
            outgoing.send_trailers(trailers).unwrap();
        })
        .await;
        let folder = Folder::new();
        let text = config("json", &["hello"], address).replace(
            &format!("endpoints = [\"{address}\"]"),
            &format!("ports = [{{ port = 80, protocol = \"h2c\", endpoints = [\"{address}\"] }}]"),
        );
        let path = folder.write("gateway.toml", text);
        let serve = tokio::task::spawn_blocking(move || Serve::start(&path)).await.unwrap();
        for (host, kind) in [
            (HOST, "application/grpc"),
            ("nobody.ignite.test", "application/grpc"),
            (HOST, "text/plain"),
        ] {
            let mut requests = connect(serve.address).await;
            let (response, mut outgoing) = begin(&mut requests, host, &[("content-type", kind)]);
            let _ = outgoing.send_data(message(b"hello"), true);
            let mut body = soon(response).await.unwrap().into_body();
            while let Some(data) = soon(body.data()).await {
                data.unwrap();
            }
            let _ = soon(body.trailers()).await.unwrap();
        }
        let lines = tokio::task::spawn_blocking(move || serve.finish()).await.unwrap();
        let told: Vec<_> = access_lines(&lines)
            .iter()
            .filter(|line| line["http.request.method"] == "POST")
            .map(|line| {
                let status = line["http.response.status_code"].as_u64().unwrap();
                (status, line["rpc.grpc.status_code"].as_u64(), line["error.type"].clone())
            })
            .collect();
        let none = serde_json::Value::Null;
        let unknown = "unknown_host".into();
        assert_eq!(
            told,
            [(200, Some(5), none.clone()), (404, Some(12), unknown), (200, None, none)]
        );
    });
}

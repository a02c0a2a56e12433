//! Calls that come too often, or when the gateway has too much to do.

use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::Response;
use ignite_gateway::config::load::{MemoryLimit, RateLimit};

use super::{app, begin, connect, counted, expect_status, field, gateway, message, run};
use super::{silent_app, soon};
use crate::support::{HOST, eventually};

/// A call with one message, which a refusal may overtake.
async fn ask(requests: &mut SendRequest<Bytes>) -> Response<RecvStream> {
    let (response, mut outgoing) = begin(requests, HOST, &[]);
    let _ = outgoing.send_data(message(b"hello"), true);
    soon(response).await.unwrap()
}

#[test]
fn a_call_beyond_the_rate_is_resource_exhausted_and_says_when_to_come_again() {
    run(async {
        let address = app(|_, mut respond| async move {
            let response = http::Response::builder().header("grpc-status", "0").body(()).unwrap();
            respond.send_response(response, true).unwrap();
        })
        .await;
        let rate = RateLimit { requests: 1, per: Duration::from_secs(3600), burst: 2 };
        let gateway = gateway(address, |config| config.apps[0].rate_limit = Some(rate));
        // All on one connection: each stream counts.
        let mut requests = connect(gateway.address()).await;
        let mut statuses = Vec::new();
        for _ in 0..5 {
            let response = ask(&mut requests).await;
            let status = field(response.headers(), "grpc-status").unwrap().to_owned();
            if status == "8" {
                expect_status(&response, "8", "http_request_denied");
                assert_eq!(field(response.headers(), "retry-after"), Some("3600"));
                let policy = field(response.headers(), "ratelimit-policy");
                assert_eq!(policy, Some("\"app\";q=1;w=3600"));
            }
            statuses.push(status);
        }
        assert_eq!(statuses, ["0", "0", "8", "8", "8"]);
        assert_eq!(counted(&gateway), [("POST", "2xx", 2), ("POST", "4xx", 3)]);
    });
}

#[test]
fn a_gateway_with_too_much_to_do_is_unavailable() {
    run(async {
        let address = silent_app().await;
        let gateway = gateway(address, |config| config.limits.in_flight = 1);
        let mut requests = connect(gateway.address()).await;
        let held = begin(&mut requests, HOST, &[]);
        eventually("the call is under way", || gateway.route(HOST).shared.metrics.in_flight() == 1);
        let response = ask(&mut requests).await;
        expect_status(&response, "14", "http_request_denied");
        assert_eq!(field(response.headers(), "retry-after"), Some("1"));
        drop(held);
    });
    run(async {
        let address = silent_app().await;
        let gateway = gateway(address, |config| config.limits.memory = MemoryLimit::Bytes(1));
        eventually("memory is short", || gateway.shared().memory.is_short());
        let mut requests = connect(gateway.address()).await;
        expect_status(&ask(&mut requests).await, "14", "http_request_denied");
    });
}

//! `grpc-timeout`: the caller's own bound on the whole of its call.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Response};
use tokio::sync::mpsc;

use super::{
    app, begin, call, connect, counted, expect_status, gateway, message, run, silent_app, soon,
};
use crate::support::{Gateway, HOST, app as app_config};

const SHORT: (&str, &str) = ("grpc-timeout", "150m");
const EVER: (&str, &str) = ("grpc-timeout", "99999999H");

#[test]
fn a_call_that_is_not_answered_ends_at_its_deadline_on_both_sides() {
    run(async {
        let (tell, mut told) = mpsc::unbounded_channel();
        let address = app(move |request, mut respond| {
            let tell = tell.clone();
            async move {
                let timeout = request.headers()["grpc-timeout"].clone();
                let reason = poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
                tell.send((timeout, reason)).unwrap();
            }
        })
        .await;
        let gateway = gateway(address, |_| {});
        let start = Instant::now();
        let response = call(&gateway, &[SHORT]).await;
        assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
        expect_status(&response, "4", "http_response_timeout");
        let (timeout, reason) = soon(told.recv()).await.unwrap();
        assert_eq!((timeout.as_bytes(), reason), (&b"150m"[..], Reason::CANCEL), "as it came");
        assert_eq!(counted(&gateway), [("POST", "5xx", 1)]);
    });
}

#[test]
fn the_deadline_bounds_the_upload_and_the_wait_for_an_endpoint() {
    let gateway = Gateway::with(|config| {
        config.apps.push(app_config("acme/hello", &[(80, &[])]));
    });
    run(async {
        expect_status(&call(&gateway, &[SHORT]).await, "4", "http_response_timeout");
    });
    gateway.wait_idle();
    run(async {
        // A request that never ends never starts the configured timeout.
        let address = silent_app().await;
        let gateway = super::gateway(address, |_| {});
        let mut requests = connect(gateway.address()).await;
        let (response, mut outgoing) = begin(&mut requests, HOST, &[SHORT]);
        outgoing.send_data(message(b"one of many"), false).unwrap();
        expect_status(&soon(response).await.unwrap(), "4", "http_response_timeout");
    });
}

#[test]
fn the_configured_timeout_holds_where_it_is_shorter() {
    run(async {
        let address = silent_app().await;
        let gateway = gateway(address, |config| {
            config.timeouts.response = Duration::from_millis(50);
        });
        expect_status(&call(&gateway, &[EVER]).await, "4", "http_response_timeout");
    });
}

#[test]
fn a_stream_ends_at_its_deadline_by_a_cancel_to_both_sides() {
    run(async {
        let (tell, mut told) = mpsc::unbounded_channel();
        let address = app(move |_, mut respond| {
            let tell = tell.clone();
            async move {
                let mut outgoing = respond.send_response(Response::new(()), false).unwrap();
                outgoing.send_data(message(b"first"), false).unwrap();
                tell.send(poll_fn(|cx| outgoing.poll_reset(cx)).await.unwrap()).unwrap();
            }
        })
        .await;
        let gateway = gateway(address, |_| {});
        let mut requests = connect(gateway.address()).await;
        let (response, _outgoing) = begin(&mut requests, HOST, &[SHORT]);
        let response = soon(response).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        assert_eq!(soon(body.data()).await.unwrap().unwrap(), message(b"first"));
        let error = soon(body.data()).await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::CANCEL));
        assert_eq!(soon(told.recv()).await, Some(Reason::CANCEL));
        // The connection goes on.
        let (response, _outgoing) = begin(&mut requests, "nobody.ignite.test", &[]);
        expect_status(&soon(response).await.unwrap(), "12", "destination_not_found");
    });
}

#[test]
fn a_caller_who_reads_nothing_does_not_keep_the_app_beyond_the_deadline() {
    run(async {
        let (tell, mut told) = mpsc::unbounded_channel();
        let address = app(move |_, mut respond| {
            let tell = tell.clone();
            async move {
                let mut outgoing = respond.send_response(Response::new(()), false).unwrap();
                outgoing.send_data(Bytes::from(vec![0; 8 << 20]), false).unwrap();
                tell.send(poll_fn(|cx| outgoing.poll_reset(cx)).await.unwrap()).unwrap();
            }
        })
        .await;
        let gateway = gateway(address, |_| {});
        let mut requests = connect(gateway.address()).await;
        let (response, _outgoing) = begin(&mut requests, HOST, &[SHORT]);
        let unread = soon(response).await.unwrap();
        assert_eq!(soon(told.recv()).await, Some(Reason::CANCEL));
        drop(unread);
    });
}

#[test]
fn what_is_no_timeout_of_a_call_bounds_nothing() {
    run(async {
        let address = app(|request, mut respond| async move {
            // Longer than any of them would be.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut response = Response::new(());
            *response.headers_mut() = HeaderMap::from_iter([(
                http::HeaderName::from_static("seen"),
                request.headers()["grpc-timeout"].clone(),
            )]);
            respond.send_response(response, true).unwrap();
        })
        .await;
        let gateway = gateway(address, |_| {});
        for (kind, timeout) in [
            ("application/grpc", "1"),
            ("application/grpc", "1x"),
            ("application/grpc", "-1m"),
            ("application/grpc", "000000001m"),
            ("application/grpc", "99999999H"),
            ("application/json", "1m"),
        ] {
            let response =
                call(&gateway, &[("content-type", kind), ("grpc-timeout", timeout)]).await;
            assert_eq!(response.headers()["seen"], timeout, "{kind}");
        }
    });
}

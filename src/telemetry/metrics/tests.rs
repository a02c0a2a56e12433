//! A request is counted once under everything that it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::super::finished::{Attempt, Stage, Termination};
use super::*;
use crate::clock::Instant;
use crate::error::Side;

/// A GET that was answered with 200 at once.
pub(crate) fn finished() -> Finished<'static> {
    Finished {
        execution_id: "01938f3a-7c55-7a3e-9b1f-000000000001",
        function_id: "acme/hello",
        organization_id: "acme",
        method: &Method::GET,
        host: b"hello-acme.ignite.test",
        target: b"/",
        version: "1.1",
        client: ([127, 0, 0, 1], 1).into(),
        status: Some(200),
        grpc_status: None,
        began: Instant::now(),
        took: Duration::ZERO,
        queued: Duration::ZERO,
        first_byte: Some(Duration::ZERO),
        attempts: 1,
        earlier: &[],
        last: None,
        bytes_in: 0,
        bytes_out: 0,
        termination: Termination::Complete,
        reason: "",
        detail: "",
        counted: false,
        shed: false,
        trace: None,
    }
}

fn attempt(began: Instant, connect: Option<Duration>) -> Attempt {
    Attempt { endpoint: ([127, 0, 0, 1], 2).into(), began, ended: began, connect, reason: "" }
}

#[test]
fn a_request_is_counted_once_by_method_class_and_duration() {
    let metrics = RouteMetrics::default();
    metrics.begin(0);
    metrics.begin(1);
    assert_eq!((metrics.begun(), metrics.in_flight()), (2, 2));
    let request = Finished {
        method: &Method::POST,
        status: Some(201),
        took: Duration::from_millis(7),
        bytes_in: 3,
        bytes_out: 5,
        ..finished()
    };
    metrics.end(0, &request);
    metrics.end(1, &request);
    assert_eq!(metrics.in_flight(), 0);
    assert_eq!(metrics.requests().collect::<Vec<_>>(), [("POST", "2xx", 2)]);
    assert_eq!(metrics.durations().buckets[1], 2);
    assert_eq!(metrics.bytes(), (6, 10));
    let usage = Usage { invocations: 2, milliseconds: 14, bytes_in: 6, bytes_out: 10 };
    assert_eq!(metrics.usage(), usage);
    let exemplar = metrics.exemplars().nth(1).flatten().expect("one of the second bucket");
    assert_eq!(exemplar.execution_id, request.execution_id);
    assert_eq!(metrics.exemplars().flatten().count(), 1);
}

#[test]
fn odd_methods_and_statuses_share_rows() {
    let metrics = RouteMetrics::default();
    let odd = Method::from_bytes(b"g^t").expect("a token");
    let took = Duration::from_secs(60);
    metrics.end(0, &Finished { method: &odd, status: Some(599), took, ..finished() });
    metrics.end(0, &Finished { status: None, ..finished() });
    let rows: Vec<_> = metrics.requests().collect();
    assert_eq!(rows, [("GET", "none", 1), ("_OTHER", "5xx", 1)]);
    assert_eq!(metrics.durations().buckets[SECONDS.len()], 1);
}

#[test]
fn waits_and_failures_are_counted_where_there_are_some() {
    let metrics = RouteMetrics::default();
    metrics.end(0, &finished());
    assert_eq!((metrics.waits().count(), metrics.failures().count()), (0, 0));
    let waited = Finished { queued: Duration::from_millis(30), ..finished() };
    metrics.end(0, &waited);
    let refused = Finished {
        reason: "queue_full",
        termination: Termination::By(Side::Gateway, Stage::Queue),
        ..finished()
    };
    metrics.end(1, &refused);
    metrics.limited(1, Limit::App);
    assert_eq!((metrics.waits().count(), metrics.waits().buckets[3]), (1, 1));
    let failures: Vec<_> = metrics.failures().map(|(at, count)| (REASONS[at], count)).collect();
    assert_eq!(failures, [((Side::Gateway, "queue_full"), 1)]);
    assert_eq!(metrics.rate_limited().collect::<Vec<_>>(), [("app", 1)]);
}

#[test]
fn the_first_byte_is_waited_for_from_the_choice_of_the_endpoint_that_answered() {
    let metrics = RouteMetrics::default();
    let request = finished();
    let last = attempt(request.began + Duration::from_millis(300), None);
    let first_byte = Some(Duration::from_millis(340));
    metrics.end(0, &Finished { first_byte, last: Some(last), ..request });
    metrics.end(0, &Finished { first_byte: None, ..request });
    assert_eq!((metrics.first_bytes().count(), metrics.first_bytes().buckets[3]), (1, 1));
}

#[test]
fn traffic_counts_every_body_and_every_connect() {
    let traffic = Traffic::default();
    let now = Instant::now();
    let earlier = [attempt(now, Some(Duration::from_millis(3))), attempt(now, None)];
    let last = Some(attempt(now, Some(Duration::from_secs(20))));
    traffic.end(&Finished { bytes_in: 300, earlier: &earlier, last, ..finished() });
    assert_eq!(traffic.connects.read().count(), 2);
    assert_eq!(Sizes::all([&traffic.request_sizes]).buckets[1], 1);
    assert_eq!(Sizes::all([&traffic.response_sizes]).buckets[0], 1);
}

#[test]
fn idle_hosts_and_cells_are_as_small_as_the_documentation_says() {
    assert!(size_of::<RouteMetrics>() <= 32);
    let row = size_of::<[Count; CLASSES.len()]>();
    assert!(size_of::<RouteCell>() + row <= 640, "{}", size_of::<RouteCell>() + row);
    assert!(size_of::<Exemplars>() <= 512, "{}", size_of::<Exemplars>());
}

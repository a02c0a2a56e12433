//! Connections are spread evenly, however the kernel hashes them.

use crate::support::caller::get;
use crate::support::{Caller, EchoHeads, Gateway, app, eventually};

const WORKERS: usize = 4;
const CONNECTIONS: usize = 40;

/// How many connections each worker has, as `/metrics` tells.
fn loads(gateway: &Gateway) -> Vec<usize> {
    let mut admin = Caller::to(gateway.admin());
    admin.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let text = admin.read_response().expect(200).text();
    let name = "ignite_gateway_downstream_connections{";
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect()
}

#[test]
fn connections_are_handed_to_less_loaded_workers() {
    let echo = EchoHeads::start();
    let gateway = Gateway::with(|config| {
        config.workers = WORKERS;
        config.apps.push(app("acme/hello", &[(80, &[echo.address()])]));
    });
    let callers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut caller = Caller::new(&gateway);
            caller.send(get("/"));
            let _ = caller.read_response().expect(200);
            caller
        })
        .collect();
    // Workers publish their counts once a second.
    let mut last = Vec::new();
    eventually("every connection is counted", || {
        last = loads(&gateway);
        last.iter().sum::<usize>() == CONNECTIONS
    });
    assert_eq!(last.len(), WORKERS);
    let even = CONNECTIONS / WORKERS;
    assert!(last.iter().all(|load| load.abs_diff(even) <= 3), "{last:?}");
    drop(callers);
}

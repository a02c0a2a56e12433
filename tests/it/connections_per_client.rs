//! No client may take all connections: a client is an address, or the announced
//! one behind a load balancer, and proxies that speak for many are none.

use std::net::{IpAddr, SocketAddr};

use ignite_gateway::config::Config;

use crate::support::caller::get;
use crate::support::tls::{Authority, Files};
use crate::support::{Caller, EchoHeads, Gateway, eventually};

/// One of this machine's own addresses.
fn own(last: u8) -> IpAddr {
    [127, 0, 0, last].into()
}

fn gateway(limit: usize, change: impl FnOnce(&mut Config)) -> (EchoHeads, Gateway) {
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| {
        config.limits.connections_per_client = limit;
        change(config);
    });
    (app, gateway)
}

/// Connects from one of this machine's addresses, and is served.
#[track_caller]
fn served(gateway: &Gateway, last: u8) -> Caller {
    let mut caller = Caller::from(own(last), gateway.address());
    let _ = caller.get("/").expect(200);
    caller
}

/// Connects, says this, and is served.
#[track_caller]
fn served_after(gateway: &Gateway, header: &str) -> Caller {
    let mut caller = Caller::new(gateway);
    caller.send(format!("{header}{}", get("/")));
    let _ = caller.read_response().expect(200);
    caller
}

/// Connects and is turned away.
#[track_caller]
fn turned_away(gateway: &Gateway, last: u8) {
    Caller::from(own(last), gateway.address()).expect_closed();
}

#[track_caller]
fn turned_away_after(gateway: &Gateway, header: &str) {
    let mut caller = Caller::new(gateway);
    // It may be closed before all of it is sent.
    let _ = caller.try_send(header);
    caller.expect_closed();
}

fn counted(gateway: &Gateway, reason: &str) -> u64 {
    let name = "ignite_gateway_downstream_connections_refused_total";
    gateway.metric(name, &format!("reason=\"{reason}\""))
}

#[test]
fn a_client_has_as_many_connections_as_its_limit_and_the_others_are_served() {
    let (_app, gateway) = gateway(2, |_| {});
    let mut first = served(&gateway, 2);
    let _second = served(&gateway, 2);
    turned_away(&gateway, 2);
    turned_away(&gateway, 2);
    let _other = served(&gateway, 3);
    let _ = first.get("/again").expect(200);
    assert_eq!((counted(&gateway, "client"), counted(&gateway, "total")), (2, 0));
}

#[test]
fn a_connection_that_ends_leaves_its_place_to_the_next() {
    let (_app, gateway) = gateway(1, |_| {});
    let mut kept = served(&gateway, 2);
    for _ in 0..3 {
        turned_away(&gateway, 2);
        kept.leave();
        let mut next = None;
        eventually("the place is free", || {
            let mut caller = Caller::from(own(2), gateway.address());
            let served =
                caller.try_send(get("/")).is_ok() && caller.try_read_response(false).is_ok();
            next = served.then_some(caller);
            served
        });
        kept = next.unwrap();
    }
}

#[test]
fn a_connection_that_is_silent_keeps_its_place() {
    let (_app, gateway) = gateway(2, |_| {});
    let mut kept = [served(&gateway, 2), served(&gateway, 2)];
    eventually("both are idle", || {
        gateway.metric("ignite_gateway_downstream_idle_connections{", "") == 2
    });
    turned_away(&gateway, 2);
    for caller in &mut kept {
        let _ = caller.get("/again").expect(200);
    }
    turned_away(&gateway, 2);
    assert_eq!(counted(&gateway, "client"), 2);
}

#[test]
fn the_connections_of_a_client_count_on_whichever_worker_they_are() {
    let (_app, gateway) = gateway(9, |config| config.workers = 4);
    let mut kept: Vec<_> = (0..9).map(|_| served(&gateway, 2)).collect();
    turned_away(&gateway, 2);
    let _other = served(&gateway, 3);
    for caller in &mut kept {
        let _ = caller.get("/again").expect(200);
    }
    assert_eq!(counted(&gateway, "client"), 1);
}

#[test]
fn a_trusted_proxy_speaks_for_many_and_is_not_limited() {
    let (_app, gateway) = gateway(1, |config| {
        config.trusted_proxies = vec!["127.0.0.2/32".parse().unwrap()];
    });
    let _proxy: Vec<_> = (0..5).map(|_| served(&gateway, 2)).collect();
    let _stranger = served(&gateway, 3);
    turned_away(&gateway, 3);
}

#[test]
fn zero_is_no_limit_and_a_reload_changes_it_for_newcomers() {
    let (_app, mut gateway) = gateway(0, |_| {});
    let kept: Vec<_> = (0..5).map(|_| served(&gateway, 2)).collect();
    gateway.reload(|config| config.limits.connections_per_client = 1);
    // What came before was not counted, and nobody loses a connection by it.
    let _first = served(&gateway, 2);
    turned_away(&gateway, 2);
    for mut caller in kept {
        let _ = caller.get("/again").expect(200);
    }
    gateway.reload(|config| config.limits.connections_per_client = 0);
    let _second = served(&gateway, 2);
}

/// A gateway behind a load balancer at 127.0.0.1 that announces its callers.
fn announced(limit: usize) -> (EchoHeads, Gateway) {
    gateway(limit, |config| {
        config.listeners[0].proxy_protocol = true;
        config.trusted_proxies =
            ["127.0.0.1/32", "198.51.100.0/24"].map(|network| network.parse().unwrap()).to_vec();
    })
}

#[test]
fn behind_a_load_balancer_it_is_the_announced_caller_who_is_limited() {
    let (_app, gateway) = announced(1);
    let _first = served_after(&gateway, "PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n");
    turned_away_after(&gateway, "PROXY TCP4 192.0.2.7 10.0.0.1 5001 443\r\n");
    turned_away_after(&gateway, "PROXY TCP6 ::ffff:192.0.2.7 ::1 5001 443\r\n");
    let _other = served_after(&gateway, "PROXY TCP4 192.0.2.8 10.0.0.1 5000 443\r\n");
    assert_eq!(counted(&gateway, "client"), 2);
}

#[test]
fn the_addresses_of_one_ipv6_64_are_one_client() {
    let (_app, gateway) = announced(1);
    let _first = served_after(&gateway, "PROXY TCP6 2001:db8::1 2001:db8:f::1 5000 443\r\n");
    turned_away_after(&gateway, "PROXY TCP6 2001:db8::2 2001:db8:f::1 5000 443\r\n");
    turned_away_after(&gateway, "PROXY TCP6 2001:db8::ffff:0:0:1 2001:db8:f::1 5000 443\r\n");
    let _other = served_after(&gateway, "PROXY TCP6 2001:db8:0:1::1 2001:db8:f::1 5000 443\r\n");
}

#[test]
fn who_is_announced_without_an_address_or_is_a_trusted_proxy_is_not_limited() {
    let (_app, gateway) = announced(1);
    let trusted = "PROXY TCP4 198.51.100.9 10.0.0.1 5000 443\r\n";
    let kept: Vec<_> = ["PROXY UNKNOWN\r\n", trusted]
        .iter()
        .flat_map(|header| (0..3).map(|_| served_after(&gateway, header)).collect::<Vec<_>>())
        .collect();
    assert_eq!((kept.len(), counted(&gateway, "client")), (6, 0));
}

#[test]
fn over_tls_a_client_is_turned_away_before_its_handshake() {
    let (files, authority) = (Files::new(), Authority::new());
    files.put("tls", &authority.issue(&["*.ignite.test"]));
    let (_app, gateway) = gateway(1, |config| config.listeners[0].tls = Some(files.tls(&["tls"])));
    let mut first = Caller::over_tls(gateway.address(), &authority.client(), crate::support::HOST);
    let _ = first.get("/").expect(200);
    let address: SocketAddr = gateway.address();
    let refused = Caller::try_over_tls(address, &authority.client(), crate::support::HOST);
    assert!(refused.is_err());
    let _ = first.get("/again").expect(200);
    let begun = gateway.metric("ignite_gateway_tls_handshakes_total", "");
    let failed = gateway.metric("ignite_gateway_tls_handshake_failures_total", "");
    assert_eq!((begun, failed, counted(&gateway, "client")), (1, 0, 1));
}

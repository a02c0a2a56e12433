//! Callers who take what they can before they are callers.

use std::time::{Duration, Instant};

use ignite_gateway::config::tls::ClientAuth;

use super::{expect_failures, failures, gateway, gateway_with, metric};
use crate::support::caller::get;
use crate::support::tls::Authority;
use crate::support::{Caller, EchoHeads, HOST, LIMIT, Signal, eventually};

const UNDER_WAY: &str = "ignite_gateway_tls_handshakes_under_way";

#[test]
fn a_handshake_that_is_not_finished_in_time_is_ended() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, _files) = gateway_with(&authority, app.address(), |config| {
        config.timeouts.handshake = Duration::from_millis(200);
    });
    // Who says nothing, who begins a record, and who sends byte after byte of one.
    let mut silent = Caller::new(&gateway);
    let mut begun = Caller::new(&gateway);
    begun.send([22, 3, 1, 2, 0, 1]);
    let mut slow = Caller::new(&gateway);
    let start = Instant::now();
    slow.send([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);
    while slow.try_send([0]).is_ok() && start.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(start.elapsed() < LIMIT / 2, "{:?}", start.elapsed());
    silent.expect_closed();
    begun.expect_closed();
    expect_failures(&gateway, "timeout", 3);
    assert_eq!(metric(&gateway, UNDER_WAY, ""), 0);
}

#[test]
fn what_is_no_tls_is_closed_at_once_and_counted() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, _files) = gateway(&authority, app.address());
    let start = Instant::now();
    let garbage: [&[u8]; 5] = [
        &[0; 100],
        &[0xff; 1000],
        b"\x16\x03\x01\xff\xff\x01",
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
    ];
    for bytes in garbage {
        let mut caller = Caller::new(&gateway);
        caller.send(bytes);
        let _ = caller.read_to_close();
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    expect_failures(&gateway, "malformed", garbage.len() as u64);
    Caller::new(&gateway).leave();
    eventually("who left is counted", || failures(&gateway, "gone") == 1);
    let _ = Caller::over_tls(gateway.address(), &authority.client(), HOST).get("/").expect(200);
}

#[test]
fn silent_callers_take_no_place_from_those_who_speak() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, _files) = gateway_with(&authority, app.address(), |config| {
        config.limits.handshakes = 1;
    });
    let _silent: Vec<_> = (0..50).map(|_| Caller::new(&gateway)).collect();
    eventually("they are there", || metric(&gateway, UNDER_WAY, "") == 50);
    let _ = Caller::over_tls(gateway.address(), &authority.client(), HOST).get("/").expect(200);
}

#[test]
fn more_handshakes_than_the_limit_wait_for_their_turn() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (mut gateway, _files) = gateway_with(&authority, app.address(), |config| {
        config.limits.handshakes = 2;
    });
    let begin = |gateway| {
        let mut caller = Caller::new(gateway);
        caller.send([22, 3, 1, 2, 0, 1]);
        caller
    };
    let (first, _second) = (begin(&gateway), begin(&gateway));
    eventually("both are under way", || metric(&gateway, UNDER_WAY, "") == 2);
    let (address, client, served) = (gateway.address(), authority.client(), Signal::new());
    let third = std::thread::spawn({
        let served = served.clone();
        move || {
            let mut caller = Caller::over_tls(address, &client, HOST);
            let _ = caller.get("/").expect(200);
            served.give();
        }
    });
    eventually("it waits", || metric(&gateway, UNDER_WAY, "") == 3);
    std::thread::sleep(crate::support::QUIET);
    assert!(!served.is_given(), "over the limit");
    first.leave();
    third.join().unwrap();
    // A larger limit holds at once.
    let _third = begin(&gateway);
    gateway.reload(|config| config.limits.handshakes = 10);
    let client = authority.client();
    let _ = Caller::over_tls(gateway.address(), &client, HOST).get("/").expect(200);
}

#[test]
fn a_flood_of_handshakes_leaves_others_their_turns() {
    // One worker, and a hundred callers whose hellos come at once: each costs it a signature, and
    // a connection that is there waits for a few of them at most, not for all.
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, _files) = gateway(&authority, app.address());
    let client = authority.client();
    let mut caller = Caller::over_tls(gateway.address(), &client, HOST);
    let _ = caller.get("/").expect(200);
    let address = gateway.address();
    let stop = Signal::new();
    let flood: Vec<_> = (0..4)
        .map(|_| {
            let (client, stop) = (client.clone(), stop.clone());
            std::thread::spawn(move || {
                while !stop.is_given() {
                    let _ = Caller::try_over_tls(address, &client, HOST);
                }
            })
        })
        .collect();
    for _ in 0..50 {
        let _ = caller.get("/").expect(200);
    }
    stop.give();
    flood.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_drain_ends_handshakes_soon_and_lets_requests_finish() {
    let authority = Authority::new();
    let release = Signal::new();
    let app = crate::support::ScriptedApp::start({
        let release = release.clone();
        move |connection| {
            connection.head();
            release.wait();
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let (gateway, _files) = gateway(&authority, app.address());
    let mut caller = Caller::over_tls(gateway.address(), &authority.client(), HOST);
    caller.send(get("/"));
    gateway.wait_busy(HOST, 1);
    let mut silent = Caller::new(&gateway);
    let mut begun = Caller::new(&gateway);
    begun.send([22, 3, 1, 2, 0, 1]);
    eventually("they are there", || metric(&gateway, UNDER_WAY, "") == 2);
    let start = Instant::now();
    gateway.drain();
    silent.expect_closed();
    begun.expect_closed();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    release.give();
    let response = caller.read_response().expect(200);
    assert_eq!(response.field("connection").as_deref(), Some("close"));
    caller.expect_closed();
    gateway.finish();
}

#[test]
fn a_message_that_grows_without_end_is_refused() {
    // A certificate of the caller's, in handshake messages of 64 KiB and more.
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, _files) = gateway_with(&authority, app.address(), |config| {
        config.limits.handshakes = 4;
    });
    let _ = ClientAuth::Optional;
    let mut caller = Caller::new(&gateway);
    // A ClientHello that says it has 16 MB.
    let mut sent = 0;
    let mut first = true;
    let start = Instant::now();
    loop {
        let mut record = vec![22, 3, 1, 0x40, 0];
        if first {
            record.extend([1, 0xff, 0xff, 0xff]);
            first = false;
        }
        record.resize(5 + 0x4000, 0);
        if caller.try_send(&record).is_err() || sent > 4_000_000 {
            break;
        }
        sent += record.len();
        assert!(start.elapsed() < LIMIT);
    }
    assert!(sent <= 4_000_000, "{sent} bytes were taken");
    eventually("it is counted", || failures(&gateway, "malformed") == 1);
}

//! What an app's faults must leave to its neighbours, and to itself once it is
//! well again.

use std::net::TcpListener;

use super::problem;
use crate::support::edge::Refusing;
use crate::support::fault::Fault;
use crate::support::load::{Asker, Ledger, Outcome};
use crate::support::{Caller, EchoHeads, Gateway, HOST, app};

#[test]
fn an_app_that_is_down_uses_up_no_retries_of_others() {
    let down = [Refusing::new(), Refusing::new()].map(|one| (one.address(), one));
    let echo = EchoHeads::start();
    let others = 24;
    let gateway = Gateway::with(|config| {
        config.apps.push(app("acme/hello", &[(80, &[down[0].0, down[1].0])]));
        for other in 0..others {
            let endpoints = [down[0].0, echo.address()];
            config.apps.push(app(&format!("other/app-{other}"), &[(80, &endpoints)]));
        }
    });
    let mut caller = Caller::new(&gateway);
    for other in 0..others {
        // Each of these is tried at both endpoints, as long as there are retries left.
        for _ in 0..60 {
            let _ = caller.get("/").expect(502);
        }
        // One of two is tried at the wrong endpoint first.
        caller.send(format!("GET / HTTP/1.1\r\nHost: app-{other}-other.ignite.test\r\n\r\n"));
        let _ = caller.read_response().expect(200);
    }
}

#[test]
fn an_app_that_comes_back_at_its_address_is_served_at_once() {
    let ledger = Ledger::default();
    // Not where the ports of connections come from: nobody takes it while it is free.
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut app = Some(Fault::NONE.on(listener, HOST, &ledger.sightings));
    let gateway = Gateway::of(address);
    let mut askers = [Asker::http1(gateway.address()), Asker::http2(gateway.address())];
    let mut refused = Vec::new();
    for round in 0..6 {
        let up = round % 2 == 0;
        if up {
            app.get_or_insert_with(|| {
                let listener = TcpListener::bind(address).expect("the address is free");
                Fault::NONE.on(listener, HOST, &ledger.sightings)
            });
        } else {
            app = None;
        }
        for asker in &mut askers {
            // A GET first: it finds out which kept connections were closed.
            let asks = [ledger.open(HOST, false)];
            ledger.close(&asks, asker.ask_all(&asks));
            let more = [ledger.open(HOST, true), ledger.open(HOST, false)];
            ledger.close(&more, asker.ask_all(&more));
            if !up {
                refused.extend(asks.into_iter().chain(more).map(|ask| ask.id));
            }
        }
    }
    ledger.balance(|ask| {
        let is_refused = refused.contains(&ask.id);
        let refusal = (problem(502, "connection_refused"), 0..=0);
        vec![if is_refused { refusal } else { (Outcome::Own, 1..=1) }]
    });
}

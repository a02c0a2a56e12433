//! Every fault of an app against every kind of caller and method, beside apps
//! that work: each request comes to an end that its fault explains, each app
//! sees its own requests alone, and nobody else feels anything.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ignite_gateway::config::Protocol;

use crate::support::edge::Refusing;
use crate::support::fault::Fault;
use crate::support::load::{Allowed, Ask, Asker, Ledger, Outcome};
use crate::support::{Gateway, ScriptedApp, app, fault_http2};

mod http1;
mod http2;
mod neighbours;

/// How long the gateway waits for anything in these tests.
const PATIENCE: Duration = Duration::from_millis(800);

/// What may become of a request; the first must happen.
type Ends = Vec<(Outcome, RangeInclusive<usize>)>;

/// A fault and what it explains.
struct Row {
    name: &'static str,
    kind: Kind,
    get: Ends,
    post: Ends,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Nothing listens.
    Refuses,
    Http1(Fault),
    Http2(fault_http2::Fault),
}

impl Row {
    /// A fault that explains the same for both methods.
    fn new(name: &'static str, kind: Kind, ends: Ends) -> Self {
        Self { name, kind, get: ends.clone(), post: ends }
    }
}

fn problem(status: u16, error: &str) -> Outcome {
    Outcome::Problem(status, error.to_owned())
}

/// The app ended the connection before an answer.
fn terminated() -> Outcome {
    problem(502, "connection_terminated")
}

/// An app that serves a request and ends the connection behind it, without a word that it will.
///
/// The next request may be on its way by then. Nobody can know whether the app read it, so a GET is
/// sent again and a POST is not: RFC 9110 section 9.2.2, RFC 9113 section 8.7.
fn served_and_left(name: &'static str, kind: Kind) -> Row {
    let own = || (Outcome::Own, 1..=1);
    Row { name, kind, get: vec![own()], post: vec![own(), (terminated(), 0..=0)] }
}

/// What the app said is no HTTP.
fn malformed() -> Outcome {
    problem(502, "http_protocol_error")
}

/// The app did not answer in time.
fn late() -> Outcome {
    problem(504, "http_response_timeout")
}

/// What is behind one host of a test.
struct Host {
    name: String,
    behind: Behind,
    protocol: Protocol,
}

enum Behind {
    Nothing(Refusing),
    App(ScriptedApp),
}

impl Host {
    fn start(app: &str, kind: Kind, ledger: &Ledger) -> Self {
        let (name, sightings) = (format!("{app}-faults.ignite.test"), &ledger.sightings);
        let behind = match kind {
            Kind::Refuses => Behind::Nothing(Refusing::new()),
            Kind::Http1(fault) => Behind::App(fault.start(&name, sightings)),
            Kind::Http2(fault) => Behind::App(fault.start(&name, sightings)),
        };
        let http2 = matches!(kind, Kind::Http2(_));
        Self { name, behind, protocol: if http2 { Protocol::H2c } else { Protocol::Http1 } }
    }

    fn address(&self) -> SocketAddr {
        match &self.behind {
            Behind::Nothing(refusing) => refusing.address(),
            Behind::App(app) => app.address(),
        }
    }
}

fn gateway_of(hosts: &[&Host]) -> Gateway {
    Gateway::with(|config| {
        config.timeouts.response = PATIENCE;
        config.timeouts.idle_body = PATIENCE;
        config.timeouts.connect = PATIENCE;
        for host in hosts {
            let name = host.name.split_once("-faults.").unwrap().0;
            let mut app = app(&format!("faults/{name}"), &[(80, &[host.address()])]);
            app.ports[0].protocol = host.protocol;
            config.apps.push(app);
        }
    })
}

/// Asks a host that fails again and again, and hosts that work beside it, over HTTP/2 at once.
fn ask(mut asker: Asker, bad: &str, good: &[Host; 2], rounds: usize, ledger: &Ledger) {
    for _ in 0..rounds {
        for post in [false, false, true, true] {
            let asks: [Ask; 4] = [
                ledger.open(&good[0].name, !post),
                ledger.open(bad, post),
                ledger.open(&good[1].name, post),
                ledger.open(&good[0].name, post),
            ];
            let outcomes = asker.ask_all(&asks);
            ledger.close(&asks, outcomes);
        }
    }
}

/// Asks every row of the table by callers of both kinds.
fn judge(rows: &[Row]) {
    judge_in(3, rows);
}

/// The same so many times over.
fn judge_in(rounds: usize, rows: &[Row]) {
    let ledger = Ledger::default();
    let good = [
        Host::start("good-1", Kind::Http1(Fault::NONE), &ledger),
        Host::start("good-2", Kind::Http2(fault_http2::Fault::NONE), &ledger),
    ];
    let cases: Vec<(&Row, bool, Host)> = rows
        .iter()
        .flat_map(|row| [false, true].map(|http2| (row, http2)))
        .map(|(row, http2)| {
            let name = format!("{}-{}", row.name, if http2 { "h2" } else { "h1" });
            (row, http2, Host::start(&name, row.kind, &ledger))
        })
        .collect();
    let hosts: Vec<&Host> = good.iter().chain(cases.iter().map(|(_, _, host)| host)).collect();
    let gateway = gateway_of(&hosts);
    std::thread::scope(|scope| {
        for (_, http2, host) in &cases {
            let (good, ledger, address) = (&good, &ledger, gateway.address());
            scope.spawn(move || {
                let asker = if *http2 { Asker::http2(address) } else { Asker::http1(address) };
                ask(asker, &host.name, good, rounds, ledger);
            });
        }
    });
    gateway.wait_idle();
    gateway.finish();

    let ends_of = |ask: &Ask| -> Allowed {
        let case = cases.iter().find(|(_, _, host)| host.name == ask.host);
        let ends = case.map(|(row, _, _)| if ask.post { &row.post } else { &row.get });
        ends.map_or_else(|| vec![(Outcome::Own, 1..=1)], Clone::clone)
    };
    ledger.balance(ends_of);
    for (_, _, host) in &cases {
        for post in [false, true] {
            let mine = |ask: &Ask| ask.host == host.name && ask.post == post;
            let met = ledger.rows().into_iter().any(|row| {
                let (outcome, seen) = &ends_of(&row.ask)[0];
                mine(&row.ask)
                    && row.outcome.as_ref() == Some(outcome)
                    && seen.contains(&ledger.sightings.count(row.ask.id))
            });
            assert!(met, "no {} met the fault of {}", if post { "POST" } else { "GET" }, host.name);
        }
    }
}

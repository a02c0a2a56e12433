//! The gateway itself is replaced again and again under load: no connection is
//! refused or reset, no request fails, and no POST is done twice.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::load::{Asker, ID, Ledger, Outcome, Sightings, answer, question};
use crate::support::{HOST, ScriptedApp, eventually};
use crate::takeover::{Place, text};

const CALLERS: usize = 32;
/// Between two take-overs, so that each finds connections of every age.
const REQUESTS_BETWEEN: u64 = 400;

/// An app that checks what it is asked, and takes down each sighting.
fn app(sightings: &Sightings) -> ScriptedApp {
    let sightings = sightings.clone();
    ScriptedApp::start(move |connection| {
        while let Some(seen) = connection.next_request() {
            let Some(id) = seen.field(ID).and_then(|id| id.parse().ok()) else {
                connection.send("HTTP/1.1 204 No Content\r\n\r\n");
                continue;
            };
            sightings.add(HOST, id);
            let is_own = seen.content.is_empty() || seen.content == question(HOST, id);
            let (status, answer) = if is_own { (200, answer(HOST, id)) } else { (500, Vec::new()) };
            let length = answer.len();
            let head =
                format!("HTTP/1.1 {status} x\r\n{ID}: {id}\r\nContent-Length: {length}\r\n\r\n");
            connection.send([head.as_bytes(), &answer].concat());
        }
    })
}

/// Asks until told to stop, GET and POST in turn; every fourth caller connects for each request.
fn call(
    address: SocketAddr,
    number: usize,
    ledger: &Ledger,
    pause: Option<Duration>,
    done: &AtomicBool,
) {
    let mut asker = Asker::http1(address);
    let mut due = Instant::now();
    let mut post = number.is_multiple_of(2);
    while !done.load(Ordering::SeqCst) {
        if number.is_multiple_of(4) {
            asker = Asker::http1(address);
        }
        post = !post;
        let asks = [ledger.open(HOST, post)];
        let outcomes = asker.ask_all(&asks);
        ledger.close(&asks, outcomes);
        if let Some(pause) = pause {
            due += pause;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}

/// Replaces the process until `lasting` is over, and at least three times.
fn replace(pause: Option<Duration>, lasting: Duration) {
    let ledger = Ledger::default();
    let app = app(&ledger.sightings);
    let place = Place::with(app.address(), 2);
    let mut running = place.start();
    let address = running.address;
    let (done, start) = (AtomicBool::new(false), Instant::now());
    let mut replaced = 0;
    std::thread::scope(|scope| {
        for number in 0..CALLERS {
            let (ledger, done) = (&ledger, &done);
            scope.spawn(move || call(address, number, ledger, pause, done));
        }
        // A take-over that fails must not leave the callers at it.
        let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while replaced < 3 || start.elapsed() < lasting {
                let asked = ledger.asked();
                eventually("requests", || ledger.asked() >= asked + REQUESTS_BETWEEN);
                place.folder.write("gateway.toml", text(app.address(), 1 + replaced % 3));
                let next = place.take_over();
                std::mem::replace(&mut running, next).wait_end();
                replaced += 1;
            }
        }));
        done.store(true, Ordering::SeqCst);
        taken.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    eprintln!("{} requests in {:?}, {replaced} take-overs", ledger.asked(), start.elapsed());
    ledger.balance(|_| vec![(Outcome::Own, 1..=1)]);
    running.finish();
}

#[test]
fn no_request_fails_and_no_post_is_done_twice_while_the_gateway_is_replaced() {
    replace(None, Duration::ZERO);
}

#[test]
#[ignore = "a minute: 2,000 requests a second, best in a release build"]
fn no_request_fails_in_a_minute_of_take_overs_at_two_thousand_requests_a_second() {
    replace(Some(Duration::from_secs(CALLERS as u64) / 2000), Duration::from_secs(60));
}

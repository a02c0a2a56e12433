//! The pictures in the README, taken off a gateway with traffic.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::{Browser, ROWS, has_browser};
use crate::support::{Caller, Gateway, ScriptedApp, app};

/// Apps, how often each is called in a second, and how long it takes to answer.
const APPS: [(&str, u32, u64); 14] = [
    ("acme/checkout", 60, 3),
    ("acme/search", 85, 1),
    ("acme/inbox", 24, 9),
    ("acme/webhooks", 12, 2),
    ("globex/thumbnails", 40, 14),
    ("globex/my-data-processor", 9, 35),
    ("globex/nightly-report", 0, 0),
    ("hooli/feed", 50, 2),
    ("hooli/translate", 18, 22),
    ("initech/pdf-export", 10, 30),
    ("initech/auth", 33, 1),
    ("initech/billing", 6, 4),
    ("stark/geo", 28, 1),
    ("stark/reports", 0, 0),
];

#[test]
#[ignore = "takes six minutes; run it to renew docs/images: \
            cargo test --test it pictures -- --ignored"]
fn the_pictures_of_the_readme() {
    if !has_browser() {
        return;
    }
    let apps: Vec<_> = APPS.iter().map(|(_, _, takes)| answering(*takes)).collect();
    let gateway = Gateway::with(|config| {
        config.workers = 2;
        for ((id, ..), running) in APPS.iter().zip(&apps) {
            let gone = (*id == "globex/nightly-report").then(nowhere);
            let endpoints: Vec<_> = running.iter().map(ScriptedApp::address).chain(gone).collect();
            config.apps.push(app(id, &[(80, &endpoints)]));
        }
    });
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (number, (id, rate, _)) in (0..).zip(&APPS).filter(|(_, (_, rate, _))| *rate > 0) {
            let (gateway, over) = (&gateway, &over);
            scope.spawn(move || call(gateway, id, *rate, number, over));
        }
        let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| take(&gateway)));
        over.store(true, Ordering::Relaxed);
        taken.unwrap();
    });
}

fn take(gateway: &Gateway) {
    let mut browser = Browser::start();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/images");
    std::fs::create_dir_all(folder).unwrap();
    browser.tell(&json!({ "size": [1280, 920] }));
    browser.open(gateway, "");
    browser.until(&format!("{ROWS} === {}", APPS.len()));
    let seconds = std::env::var("SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(310);
    std::thread::sleep(Duration::from_secs(seconds));
    for (dark, theme) in [(false, "light"), (true, "dark")] {
        browser.tell(&json!({ "dark": dark }));
        browser.eval("location.hash = '#/'; new Promise((done) => setTimeout(done, 2500))");
        browser.tell(&json!({ "screenshot": format!("{folder}/dashboard-{theme}.png") }));
        browser.eval(
            "location.hash = '#/apps/initech/pdf-export'; \
             new Promise((done) => setTimeout(done, 30000))",
        );
        browser.tell(&json!({ "screenshot": format!("{folder}/dashboard-app-{theme}.png") }));
    }
    browser.expect_no_errors();
}

/// Two endpoints of an app that takes some milliseconds, more or less; now and then one fails.
fn answering(takes: u64) -> Vec<ScriptedApp> {
    let script = move |connection: &mut crate::support::app::AppConnection| {
        let mut count = 0_u64;
        while let Ok(seen) = connection.try_request() {
            count += 1;
            std::thread::sleep(Duration::from_micros(takes * (600 + count * 7919 % 800)));
            let fails = seen.head.target().starts_with(b"/export") && count % 23 == 7;
            let status = if fails { "500 Internal Server Error" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
            if connection.try_send(answer).is_err() {
                return;
            }
        }
    };
    (0..2).map(|_| ScriptedApp::start(script)).collect()
}

/// An address at which nobody listens.
fn nowhere() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Calls an app so often, a little more and less as time goes by.
fn call(gateway: &Gateway, id: &str, rate: u32, number: u32, over: &AtomicBool) {
    let (organization, name) = id.split_once('/').unwrap();
    let mut caller = Caller::new(gateway);
    let began = std::time::Instant::now();
    let paths: &[&str] = match name {
        "pdf-export" => &["/export/18232.pdf", "/export/18233.pdf?token=x", "/templates"],
        _ => &["/", "/orders/18232", "/items?page=2"],
    };
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        let path = paths[count % paths.len()];
        caller.send(format!(
            "GET {path} HTTP/1.1\r\nHost: {name}-{organization}.ignite.test\r\n\r\n"
        ));
        caller.read_response();
        count += 1;
        let wave = (began.elapsed().as_secs_f64() / 37.0 + f64::from(number)).sin();
        let pause = 1.0 / (f64::from(rate) * (1.0 + 0.35 * wave));
        std::thread::sleep(Duration::from_secs_f64(pause));
    }
}

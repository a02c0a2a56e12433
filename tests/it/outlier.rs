//! Endpoints that fail requests: they are left alone for a while, tried again,
//! and never all at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ignite_gateway::config::Config;

use crate::support::caller::{get, request};
use crate::support::edge::Refusing;
use crate::support::{Caller, EchoHeads, Gateway, HOST, ScriptedApp, app, eventually};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
const ERROR: &str = "HTTP/1.1 503 Nope\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const GARBAGE: &str = "SSH-2.0-OpenSSH_9.2\r\n\r\n";

/// An app that answers badly until it is healed.
struct Moody {
    app: ScriptedApp,
    asked: Arc<AtomicUsize>,
    healed: Arc<AtomicBool>,
}

impl Moody {
    /// `bad` is its answer; with nothing of it the connection is closed.
    fn start(bad: &'static str) -> Self {
        let (asked, healed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let app = ScriptedApp::start({
            let (asked, healed) = (asked.clone(), healed.clone());
            move |connection| {
                if connection.next_request().is_some() {
                    asked.fetch_add(1, Ordering::SeqCst);
                    let good = healed.load(Ordering::SeqCst);
                    let _ = connection.try_send(if good { OK } else { bad });
                }
            }
        });
        Self { app, asked, healed }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn heal(&self) {
        self.healed.store(true, Ordering::SeqCst);
    }
}

fn gateway(apps: &[&Moody], good: &[&EchoHeads], change: impl FnOnce(&mut Config)) -> Gateway {
    let bad = apps.iter().map(|moody| moody.app.address());
    let addresses: Vec<_> = bad.chain(good.iter().map(|app| app.address())).collect();
    Gateway::with(|config| {
        config.apps.push(app("acme/hello", &[(80, &addresses)]));
        config.outlier_ejection.base_time = Duration::from_millis(400);
        change(config);
    })
}

/// The statuses of as many calls, each on a connection of its own.
fn statuses(gateway: &Gateway, calls: usize) -> Vec<u16> {
    (0..calls)
        .map(|_| {
            let mut caller = Caller::new(gateway);
            caller.send(get("/"));
            caller.read_response().status
        })
        .collect()
}

fn failed(statuses: &[u16]) -> usize {
    statuses.iter().filter(|status| **status >= 500).count()
}

fn ejected(gateway: &Gateway) -> usize {
    let route = gateway.route(HOST);
    route.endpoints.iter().filter(|endpoint| endpoint.outlier().ejected().is_some()).count()
}

fn ejections(gateway: &Gateway) -> u64 {
    gateway.route(HOST).shared.ejections.counts().map(|(_, count)| count).sum()
}

#[test]
fn an_endpoint_that_fails_requests_is_left_alone_until_it_answers() {
    for bad in ["", GARBAGE] {
        let (moody, good) = (Moody::start(bad), EchoHeads::start());
        let gateway = gateway(&[&moody], &[&good], |_| {});
        let start = Instant::now();
        let mut all = Vec::new();
        while ejected(&gateway) == 0 {
            all.extend(statuses(&gateway, 1));
        }
        all.extend(statuses(&gateway, 30));
        // Three failures eject it: no other call sees one, as long as it is ejected.
        if start.elapsed() < Duration::from_millis(300) {
            assert_eq!((failed(&all), moody.asked()), (3, 3), "{bad:?}");
        }
        moody.heal();
        eventually("it is tried again", || {
            statuses(&gateway, 1);
            moody.asked() > 3 && ejected(&gateway) == 0
        });
        let before = moody.asked();
        assert_eq!(failed(&statuses(&gateway, 30)), 0);
        assert!(moody.asked() > before + 5, "it has its share again");
        assert!(ejections(&gateway) >= 1);
    }
}

#[test]
fn answers_of_5xx_eject_only_where_they_are_said_to() {
    for threshold in [0, 2] {
        let (moody, good) = (Moody::start(ERROR), EchoHeads::start());
        let gateway = gateway(&[&moody], &[&good], |config| {
            config.outlier_ejection.consecutive_5xx = threshold;
            config.outlier_ejection.base_time = Duration::from_secs(60);
            config.outlier_ejection.max_time = Duration::from_secs(60);
        });
        let seen = failed(&statuses(&gateway, 60));
        assert_eq!(seen, moody.asked());
        if threshold == 0 {
            assert!(seen > 10, "{seen}");
            assert_eq!(ejections(&gateway), 0);
        } else {
            assert_eq!((seen, ejections(&gateway)), (2, 1));
        }
    }
}

#[test]
fn no_more_than_the_share_of_an_apps_endpoints_is_ejected() {
    let bad: Vec<_> = (0..4).map(|_| Moody::start("")).collect();
    for (count, wanted) in [(1, 0), (2, 1), (3, 1), (4, 2)] {
        let bad: Vec<_> = bad.iter().take(count).collect();
        let gateway = gateway(&bad, &[], |config| {
            config.outlier_ejection.base_time = Duration::from_secs(60);
            config.outlier_ejection.max_time = Duration::from_secs(60);
        });
        assert_eq!(failed(&statuses(&gateway, 40)), 40);
        assert_eq!(ejected(&gateway), wanted, "of {count}");
    }
}

#[test]
fn an_ejected_endpoint_serves_when_it_is_the_only_one_left() {
    let (moody, other) = (Moody::start(""), Moody::start(""));
    let gateway = gateway(&[&moody, &other], &[], |config| {
        config.outlier_ejection.base_time = Duration::from_secs(60);
        config.outlier_ejection.max_time = Duration::from_secs(60);
    });
    while ejected(&gateway) == 0 {
        statuses(&gateway, 1);
    }
    let route = gateway.route(HOST);
    for endpoint in route.endpoints.iter().filter(|one| one.outlier().ejected().is_none()) {
        endpoint.set_ready(false);
    }
    moody.heal();
    other.heal();
    assert_eq!(statuses(&gateway, 10), [200; 10]);
    assert_eq!(ejected(&gateway), 0, "its answer ended it");
}

#[test]
fn the_operator_sees_who_is_ejected_and_why() {
    let (moody, good) = (Moody::start(""), EchoHeads::start());
    let gateway = gateway(&[&moody], &[&good], |config| {
        config.outlier_ejection.base_time = Duration::from_secs(60);
        config.outlier_ejection.max_time = Duration::from_secs(60);
    });
    while ejected(&gateway) == 0 {
        statuses(&gateway, 1);
    }
    let ask = |path: &str| {
        let mut caller = Caller::to(gateway.admin());
        caller.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        caller.read_response().expect(200).text()
    };
    let apps: serde_json::Value = serde_json::from_str(&ask("/apps")).unwrap();
    let endpoints = apps[0]["ports"][0]["endpoints"].as_array().unwrap().clone();
    assert_eq!(endpoints[0]["ejected"]["reason"], "reset");
    assert!(endpoints[0]["ejected"]["seconds_left"].as_f64().unwrap() > 40.0);
    assert!(endpoints[1].get("ejected").is_none());
    let metrics = ask("/metrics");
    let labels = "organization=\"acme\",app=\"hello\",port=\"80\"";
    for line in [
        format!("ignite_gateway_endpoints{{{labels},state=\"ejected\"}} 1"),
        format!("ignite_gateway_endpoints{{{labels},state=\"ready\"}} 1"),
        format!("ignite_gateway_endpoint_ejections_total{{{labels},reason=\"reset\"}} 1"),
    ] {
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[test]
fn retries_can_be_limited_and_turned_off() {
    for (max, percent, floor, retried) in [(2, 20, 3, true), (0, 20, 3, false), (2, 0, 0, false)] {
        let (refusing, good) = (Refusing::new(), EchoHeads::start());
        let gateway = Gateway::with(|config| {
            let addresses = [refusing.address(), good.address()];
            config.apps.push(app("acme/hello", &[(80, &addresses)]));
            config.outlier_ejection.consecutive_failures = 0;
            config.retries.max = max;
            config.retries.budget_percent = percent;
            config.retries.min_per_second = floor;
        });
        let fails = failed(&statuses(&gateway, 30));
        assert_eq!(good.seen().len() + fails, 30);
        assert_eq!(fails == 0, retried, "max {max}, {percent} %, {floor} a second: {fails} failed");
    }
}

#[test]
fn a_request_may_take_no_longer_than_it_is_allowed_to_in_all() {
    let silent = ScriptedApp::start(|connection| {
        let _ = connection.next_request();
        let _ = connection.read_to_close();
    });
    let gateway = Gateway::of_with(silent.address(), |config| {
        config.timeouts.request = Duration::from_millis(150);
    });
    let start = Instant::now();
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", "Content-Length: 2\r\n", "hi"));
    let _ = caller.read_response().expect(504);
    assert!(start.elapsed() >= Duration::from_millis(150));
    gateway.route(HOST).endpoints[0].set_ready(false);
    caller = Caller::new(&gateway);
    caller.send(get("/"));
    let _ = caller.read_response().expect(504);
}

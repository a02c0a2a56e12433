//! How often an app or a client may call: exact counts, whoever carries them,
//! and what a caller is told who has to wait.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use ignite_gateway::config::Config;
use ignite_gateway::config::load::{ClientRateLimit, RateLimit};

use crate::support::caller::{Response, get, request};
use crate::support::{Caller, EchoHeads, Gateway, HOST, app, eventually};

/// Nothing comes in while a test runs.
const HOUR: Duration = Duration::from_secs(3600);

fn burst(burst: u32) -> RateLimit {
    RateLimit { requests: 1, per: HOUR, burst }
}

fn each_client(config: &mut Config, rate: RateLimit) {
    config.rate_limit = Some(ClientRateLimit { rate, clients: 1024 });
}

/// An app that may be called this often.
fn limited(rate: RateLimit, change: impl FnOnce(&mut Config)) -> (EchoHeads, Gateway) {
    let echo = EchoHeads::start();
    let gateway = Gateway::of_with(echo.address(), |config| {
        config.apps[0].rate_limit = Some(rate);
        change(config);
    });
    (echo, gateway)
}

/// How many of these requests, one after the other on one connection, the app got.
fn served(caller: &mut Caller, requests: usize, fields: &str) -> usize {
    let served = |_: &usize| {
        caller.send(request("GET /", fields, ""));
        let response = caller.read_response();
        assert!(matches!(response.status, 200 | 429), "{response:?}");
        response.status == 200
    };
    (0..requests).filter(served).count()
}

/// A number of `/metrics`, all rows with this text added up.
pub fn metric(gateway: &Gateway, name: &str, labels: &str) -> u64 {
    let mut admin = Caller::to(gateway.admin());
    admin.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let text = admin.read_response().expect(200).text();
    let rows = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    let rows = rows.filter(|line| line.contains(labels));
    rows.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

fn rate_limited(gateway: &Gateway, limit: &str) -> u64 {
    let labels = format!("limit=\"{limit}\"");
    metric(gateway, "ignite_gateway_rate_limited_requests_total", &labels)
}

#[track_caller]
fn expect_limited(response: Response) -> Response {
    let response = response.expect_problem(429, "http_request_denied");
    assert_eq!(response.json()["execution_id"], response.field("x-ignite-execution-id").unwrap());
    assert_eq!(response.field("connection"), None, "the connection may go on");
    response
}

#[test]
fn an_app_gets_its_burst_and_not_one_request_more() {
    let (echo, gateway) = limited(burst(5), |_| {});
    let mut caller = Caller::new(&gateway);
    assert_eq!(served(&mut caller, 12, ""), 5);
    assert_eq!(echo.seen().len(), 5);
    let response = expect_limited(caller.get("/"));
    assert_eq!(response.field("retry-after").as_deref(), Some("3600"));
    assert_eq!(response.field("ratelimit-policy").as_deref(), Some("\"app\";q=1;w=3600"));
    assert_eq!(response.field("ratelimit").as_deref(), Some("\"app\";r=0;t=3600"));
    assert_eq!(rate_limited(&gateway, "app"), 8);
    assert_eq!(rate_limited(&gateway, "client"), 0);
    gateway.wait_idle();
    let counted: Vec<_> = gateway.route(HOST).shared.metrics.requests().collect();
    assert_eq!(counted, [("GET", "2xx", 5), ("GET", "4xx", 8)]);
}

#[test]
fn a_limit_is_the_processs_whichever_worker_a_caller_meets() {
    let (echo, gateway) = limited(burst(40), |config| {
        config.workers = 4;
        each_client(config, burst(1000));
    });
    let address = gateway.address();
    let callers: Vec<_> = (0..16)
        .map(|_| std::thread::spawn(move || served(&mut Caller::to(address), 20, "")))
        .collect();
    let total: usize = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
    assert_eq!((total, echo.seen().len()), (40, 40));
    // Of as many as came, the client's own bucket has been asked each time.
    assert_eq!(rate_limited(&gateway, "app"), 280);
}

#[test]
fn all_ports_of_an_app_share_its_rate_and_another_app_has_its_own() {
    let echo = EchoHeads::start();
    let gateway = Gateway::with(|config| {
        let address = &[echo.address()][..];
        let mut hello = app("acme/hello", &[(80, address), (81, address)]);
        hello.rate_limit = Some(burst(3));
        config.apps = vec![hello, app("acme/free", &[(80, address)])];
    });
    let mut caller = Caller::new(&gateway);
    let mut ask = |host: &str| {
        caller.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        caller.read_response().status
    };
    assert_eq!(ask("hello-acme.ignite.test"), 200);
    assert_eq!(ask("hello-acme-81.ignite.test"), 200);
    assert_eq!(ask("hello-acme.ignite.test"), 200);
    assert_eq!(ask("hello-acme-81.ignite.test"), 429);
    assert_eq!(ask("hello-acme.ignite.test"), 429);
    assert_eq!(ask("free-acme.ignite.test"), 200);
}

#[test]
fn who_comes_again_when_told_to_is_served() {
    let rate = RateLimit { requests: 1, per: Duration::from_secs(1), burst: 1 };
    let (_echo, gateway) = limited(rate, |_| {});
    let mut caller = Caller::new(&gateway);
    caller.get("/").expect(200);
    let start = Instant::now();
    let response = expect_limited(caller.get("/"));
    let seconds: u64 = response.field("retry-after").unwrap().parse().unwrap();
    assert_eq!(seconds, 1);
    std::thread::sleep((start + Duration::from_secs(seconds)).duration_since(Instant::now()));
    caller.get("/").expect(200);
}

#[test]
fn a_reload_leaves_what_was_used_of_a_limit_that_stays() {
    let (_echo, mut gateway) = limited(burst(3), |config| each_client(config, burst(5)));
    let mut caller = Caller::new(&gateway);
    assert_eq!(served(&mut caller, 3, ""), 3);
    gateway.reload(|config| {
        config.limits.headers = 77;
        config.limits.app_concurrency = 9;
        let hello = config.apps[0].ports[0].endpoints[0];
        config.apps.push(app("acme/other", &[(80, &[hello])]));
    });
    assert_eq!(served(&mut caller, 1, ""), 0, "the app's");
    gateway.reload(|config| config.apps[0].rate_limit = None);
    eventually("the app has no limit", || gateway.route(HOST).rate.is_none());
    assert_eq!(served(&mut caller, 3, ""), 1, "the client's, with what the app refused");
    gateway.reload(|config| each_client(config, burst(2)));
    assert_eq!(served(&mut caller, 3, ""), 2, "a new limit begins anew");
    gateway.reload(|config| config.rate_limit = None);
    assert_eq!(served(&mut caller, 9, ""), 9);
}

#[test]
fn a_client_has_one_bucket_at_all_apps_and_for_hosts_that_nobody_has() {
    let echo = EchoHeads::start();
    let gateway = Gateway::of_with(echo.address(), |config| {
        each_client(config, burst(3));
        config.apps.push(app("acme/other", &[(80, &[echo.address()])]));
    });
    let mut caller = Caller::new(&gateway);
    let mut ask = |host: &str| {
        caller.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        caller.read_response()
    };
    assert_eq!(ask("hello-acme.ignite.test").status, 200);
    assert_eq!(ask("other-acme.ignite.test").status, 200);
    assert_eq!(ask("nobody.ignite.test").status, 404);
    let response = expect_limited(ask("nobody.ignite.test"));
    assert_eq!(response.field("ratelimit-policy").as_deref(), Some("\"client\";q=1;w=3600"));
    expect_limited(ask("hello-acme.ignite.test"));
    let unknown = "organization=\"_unknown\"";
    assert_eq!(metric(&gateway, "ignite_gateway_rate_limited_requests_total", unknown), 1);
    assert_eq!(rate_limited(&gateway, "client"), 2);
    // Another address of this machine is another client.
    let other = IpAddr::from([127, 0, 0, 2]);
    assert_eq!(served(&mut Caller::from(other, gateway.address()), 5, ""), 3);
}

#[test]
fn an_announced_caller_is_the_client() {
    let echo = EchoHeads::start();
    let gateway = Gateway::of_with(echo.address(), |config| {
        config.listeners[0].proxy_protocol = true;
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        each_client(config, burst(2));
    });
    for (source, expected) in [
        ("192.0.2.7", 2),
        ("192.0.2.7", 0),
        ("192.0.2.8", 2),
        ("2001:db8::1", 2),
        ("2001:db8::ffff:0:0:1", 0),
        ("2001:db8:0:1::1", 2),
    ] {
        let mut caller = Caller::new(&gateway);
        let (family, target) =
            if source.contains(':') { ("TCP6", "::1") } else { ("TCP4", "10.0.0.1") };
        caller.send(format!("PROXY {family} {source} {target} 56324 443\r\n"));
        // What it says of others is a stranger's word.
        let forged = "X-Forwarded-For: 203.0.113.1\r\n";
        assert_eq!(served(&mut caller, 4, forged), expected, "{source}");
    }
}

#[test]
fn x_forwarded_for_names_the_client_only_where_a_trusted_proxy_says_it() {
    let echo = EchoHeads::start();
    let gateway = |trusted: &[&str]| {
        Gateway::of_with(echo.address(), |config| {
            config.trusted_proxies = trusted.iter().map(|net| net.parse().unwrap()).collect();
            each_client(config, burst(2));
        })
    };
    let strangers = gateway(&[]);
    let mut caller = Caller::new(&strangers);
    let total: usize = (0..9)
        .map(|number| served(&mut caller, 1, &format!("X-Forwarded-For: 192.0.2.{number}\r\n")))
        .sum();
    assert_eq!(total, 2, "nobody makes himself another");

    let behind = gateway(&["127.0.0.0/8", "10.0.0.0/8"]);
    let mut caller = Caller::new(&behind);
    for (chain, expected) in [
        ("192.0.2.1", 2),
        ("192.0.2.1", 0),
        ("192.0.2.2", 2),
        // The proxy's own neighbours are passed over, and a forged start is not looked at.
        ("192.0.2.2, 10.0.0.1", 0),
        ("203.0.113.1, 192.0.2.2, 10.0.0.1", 0),
        ("2001:db8::1", 2),
        ("2001:db8::2", 0),
        ("2001:db8:0:1::2", 2),
    ] {
        let fields = format!("X-Forwarded-For: {chain}\r\n");
        assert_eq!(served(&mut caller, 3, &fields), expected, "{chain}");
    }
}

#[test]
fn an_ipv6_caller_is_its_64_bits() {
    let echo = EchoHeads::start();
    let loopback = (Ipv6Addr::LOCALHOST, 0);
    if std::net::TcpListener::bind(loopback).is_err() {
        eprintln!("SKIPPED: this machine has no IPv6");
        return;
    }
    let gateway = Gateway::of_with(echo.address(), |config| {
        config.listeners = vec![
            ignite_gateway::config::Listener::at(loopback.into()),
            ignite_gateway::config::Listener::at(([127, 0, 0, 1], 0).into()),
        ];
        each_client(config, burst(2));
    });
    let [v6, v4] = gateway.addresses() else { panic!("two listeners") };
    assert_eq!(served(&mut Caller::to(*v6), 4, ""), 2);
    assert_eq!(served(&mut Caller::to(*v4), 4, ""), 2, "another client");
}

#[test]
fn a_refused_upload_ends_its_connection_only_if_it_was_under_way() {
    let (echo, gateway) = limited(burst(1), |_| {});
    let mut caller = Caller::new(&gateway);
    caller.get("/").expect(200);
    caller.send(request("POST /", "Content-Length: 4\r\n", "body"));
    expect_limited(caller.read_response());
    caller.send(request("POST /", "Content-Length: 1000000\r\n", "body"));
    let response = caller.read_response().expect_problem(429, "http_request_denied");
    assert_eq!(response.field("connection").as_deref(), Some("close"));
    assert_eq!(echo.seen().len(), 1);
}

#[test]
fn answers_to_head_and_to_requests_within_the_limit_carry_what_they_should() {
    let (_echo, gateway) = limited(burst(1), |_| {});
    let mut caller = Caller::new(&gateway);
    let served = caller.get("/").expect(200);
    assert_eq!(served.field("ratelimit"), None, "what others use of an app is not told");
    caller.send(request("HEAD /", "", ""));
    let response = caller.read_response_to_head().expect(429);
    assert_eq!(response.field("retry-after").as_deref(), Some("3600"));
    expect_limited(caller.get("/"));
}

#[test]
fn a_full_pipeline_is_counted_one_by_one() {
    let (echo, gateway) = limited(burst(4), |_| {});
    let mut caller = Caller::new(&gateway);
    caller.send(get("/").repeat(10));
    let statuses: Vec<u16> = (0..10).map(|_| caller.read_response().status).collect();
    assert_eq!(statuses, [&[200; 4][..], &[429; 6]].concat());
    eventually("the app saw them", || echo.seen().len() == 4);
}

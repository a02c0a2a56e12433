//! Connections on which nobody speaks: they cost a socket and little else, and are as good as any
//! other when somebody does.

use std::time::{Duration, Instant};

use ignite_gateway::config::load::MemoryLimit;

use crate::support::caller::get;
use crate::support::{Caller, EchoHeads, Gateway, LIMIT, eventually};

/// How many connections wait as bare sockets.
fn idle(gateway: &Gateway) -> usize {
    let mut admin = Caller::to(gateway.admin());
    admin.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let text = admin.read_response().expect(200).text();
    let name = "ignite_gateway_downstream_idle_connections{";
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap()).sum()
}

fn callers(gateway: &Gateway, count: usize) -> Vec<Caller> {
    let caller = || {
        let mut caller = Caller::new(gateway);
        let _ = caller.get("/").expect(200);
        caller
    };
    let callers = (0..count).map(|_| caller()).collect();
    eventually("all are idle", || idle(gateway) == count);
    callers
}

#[test]
fn an_idle_connection_serves_again_and_again() {
    let echo = EchoHeads::start();
    let gateway = Gateway::of(echo.address());
    let mut callers = callers(&gateway, 50);
    for round in 0..2 {
        for caller in &mut callers {
            let path = format!("/{round}");
            let heads = caller.get(&path).expect(200).text();
            assert!(heads.starts_with(&format!("GET {path} HTTP/1.1")), "{heads}");
        }
        eventually("all are idle again", || idle(&gateway) == 50);
    }
    // In pieces, and two at once.
    let caller = &mut callers[0];
    let request = get("/pieces");
    let (first, second) = request.split_at(5);
    caller.send(first);
    eventually("it is idle no more", || idle(&gateway) == 49);
    caller.send(format!("{second}{}", get("/behind")));
    assert!(caller.read_response().expect(200).text().starts_with("GET /pieces "));
    assert!(caller.read_response().expect(200).text().starts_with("GET /behind "));
}

#[test]
fn the_app_sees_the_same_caller_before_and_after() {
    let echo = EchoHeads::start();
    let gateway = Gateway::of_with(echo.address(), |config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let mut caller = callers(&gateway, 1).remove(0);
    let fields = "X-Forwarded-For: 203.0.113.7\r\n";
    caller.send(crate::support::caller::request("GET /", fields, ""));
    let heads = caller.read_response().expect(200).text().to_lowercase();
    assert!(heads.contains("x-forwarded-for: 203.0.113.7, 127.0.0.1"), "{heads}");
}

#[test]
fn whoever_leaves_while_idle_is_forgotten() {
    let echo = EchoHeads::start();
    let gateway = Gateway::of(echo.address());
    let mut callers = callers(&gateway, 20);
    callers.drain(..10).for_each(Caller::reset);
    callers.drain(..5).for_each(Caller::leave);
    eventually("five are left", || idle(&gateway) == 5);
    for caller in &mut callers {
        let _ = caller.get("/").expect(200);
    }
}

#[test]
fn an_idle_connection_is_closed_after_keepalive() {
    let echo = EchoHeads::start();
    let gateway = Gateway::of_with(echo.address(), |config| {
        config.timeouts.keepalive = Duration::from_secs(3);
    });
    let mut caller = Caller::new(&gateway);
    let start = Instant::now();
    let _ = caller.get("/").expect(200);
    caller.expect_closed();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(2900) && took < LIMIT, "{took:?}");
}

#[test]
fn a_drain_closes_idle_connections() {
    let echo = EchoHeads::start();
    let gateway = Gateway::of(echo.address());
    let mut callers = callers(&gateway, 20);
    gateway.drain();
    callers.iter_mut().for_each(Caller::expect_closed);
    gateway.finish();
}

#[test]
fn idle_connections_are_closed_where_memory_is_short() {
    let echo = EchoHeads::start();
    let mut gateway = Gateway::of(echo.address());
    let mut callers = callers(&gateway, 20);
    gateway.reload(|config| config.limits.memory = MemoryLimit::Bytes(1));
    callers.iter_mut().for_each(Caller::expect_closed);
}

#[cfg(target_os = "linux")]
#[cfg_attr(debug_assertions, ignore = "tasks without optimisation are several times as large")]
#[test]
fn a_thousand_idle_connections_cost_less_than_two_megabytes() {
    use crate::binary::{Folder, Serve, config};

    const COUNT: usize = 1000;
    let echo = EchoHeads::start();
    let folder = Folder::new();
    let path = folder.write("gateway.toml", config("off", &["hello"], echo.address()));
    let serve = Serve::start(&path);
    let call = || {
        let mut caller = Caller::to(serve.address);
        let _ = caller.get("/").expect(200);
        caller
    };
    // What the first callers make grow stays.
    let first: Vec<_> = (0..200).map(|_| call()).collect();
    let before = resident(serve.pid());
    let callers: Vec<_> = (0..COUNT).map(|_| call()).collect();
    let mut after = 0;
    eventually("they cost little", || {
        after = resident(serve.pid()).saturating_sub(before);
        after <= COUNT * 2048
    });
    drop((first, callers));
}

#[cfg(target_os = "linux")]
fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

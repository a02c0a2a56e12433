//! How many requests an app and each of its endpoints work on at once: never
//! more than their limits, all of them when there is work, over all workers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ignite_gateway::config::Config;

use crate::support::caller::get;
use crate::support::{
    Caller, Crowd, Frames, Gateway, HOST, LIMIT, ScriptedApp, Signal, app, eventually, frames,
};

/// A gateway on four workers in front of these endpoints of one app.
fn gateway(crowds: &[Crowd], change: impl FnOnce(&mut Config)) -> Gateway {
    Gateway::with(|config| {
        config.workers = 4;
        config.timeouts.ready = LIMIT;
        let addresses: Vec<_> = crowds.iter().map(Crowd::address).collect();
        config.apps.push(app("acme/hello", &[(80, &addresses)]));
        change(config);
    })
}

#[track_caller]
fn wait_queued(gateway: &Gateway, count: usize) {
    let turns = gateway.route(HOST).turns.clone();
    eventually("callers wait", || turns.queued.load(Ordering::SeqCst) == count);
}

/// Callers that have asked and not yet been answered.
fn asking(gateway: &Gateway, count: usize) -> Vec<Caller> {
    let ask = |number| {
        let mut caller = Caller::new(gateway);
        caller.send(get(&format!("/{number}")));
        caller
    };
    (0..count).map(ask).collect()
}

#[track_caller]
fn expect_all(callers: Vec<Caller>) {
    for mut caller in callers {
        let _ = caller.read_response().expect(200);
    }
}

#[test]
fn endpoints_are_never_above_their_limit_and_always_at_it_while_callers_wait() {
    let crowds = [Crowd::holding(), Crowd::holding(), Crowd::holding()];
    let gateway = gateway(&crowds, |config| config.apps[0].endpoint_concurrency = Some(4));
    let callers = asking(&gateway, 60);
    for round in 0..48 {
        crowds.iter().for_each(|crowd| crowd.wait_holding(4));
        wait_queued(&gateway, 48 - round);
        crowds[round % 3].answer(1);
    }
    crowds.iter().for_each(Crowd::answer_all);
    expect_all(callers);
    assert!(crowds.iter().all(|crowd| crowd.peak() == 4));
    assert_eq!(crowds.iter().map(|crowd| crowd.came().len()).sum::<usize>(), 60);
}

#[test]
fn many_busy_callers_pass_no_limit_and_none_is_left_waiting() {
    let crowds: Arc<Vec<_>> = Arc::new((0..3).map(|_| Crowd::open()).collect());
    let gateway = Arc::new(gateway(&crowds, |config| {
        config.apps[0].concurrency = Some(5);
        config.apps[0].endpoint_concurrency = Some(2);
    }));
    let over_http1 = |_| {
        let gateway = gateway.clone();
        std::thread::spawn(move || {
            let mut caller = Caller::new(&gateway);
            (0..100).for_each(|number| {
                let _ = caller.get(&format!("/{number}")).expect(200);
            });
        })
    };
    let over_http2 = |_| {
        let gateway = gateway.clone();
        std::thread::spawn(move || {
            let mut caller = Frames::call(&gateway);
            for round in 0..20_u32 {
                let streams = (0..10).map(|number| 20 * round + 2 * number + 1);
                for stream in streams.clone() {
                    caller.send(frames::get(stream, "/"));
                }
                for stream in streams {
                    let _ = caller.answer(stream).expect(200);
                }
            }
        })
    };
    let threads: Vec<_> = (0..12).map(over_http1).chain((0..4).map(over_http2)).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(crowds.iter().map(|crowd| crowd.came().len()).sum::<usize>(), 12 * 100 + 4 * 200);
    let peaks: Vec<_> = crowds.iter().map(Crowd::peak).collect();
    assert!(peaks.iter().all(|peak| *peak <= 2), "{peaks:?}");
    gateway.wait_idle();
    wait_queued(&gateway, 0);
}

#[test]
fn an_app_has_its_own_limit_where_it_says_so_and_else_the_common_one() {
    let crowds: Vec<_> = (0..3).map(|_| Crowd::holding()).collect();
    let gateway = Gateway::with(|config| {
        config.timeouts.ready = LIMIT;
        config.limits.app_concurrency = 2;
        config.limits.endpoint_concurrency = 3;
        for (name, crowd) in ["acme/hello", "acme/own", "acme/free"].into_iter().zip(&crowds) {
            config.apps.push(app(name, &[(80, &[crowd.address()])]));
        }
        (config.apps[1].concurrency, config.apps[1].endpoint_concurrency) = (Some(0), None);
        (config.apps[2].concurrency, config.apps[2].endpoint_concurrency) = (Some(0), Some(0));
    });
    let mut callers = Vec::new();
    for host in ["hello", "own", "free"] {
        for _ in 0..5 {
            let mut caller = Caller::new(&gateway);
            caller.send(format!("GET / HTTP/1.1\r\nHost: {host}-acme.ignite.test\r\n\r\n"));
            callers.push(caller);
        }
    }
    for (crowd, limit) in crowds.iter().zip([2, 3, 5]) {
        crowd.wait_holding(limit);
    }
    crowds.iter().for_each(Crowd::answer_all);
    expect_all(callers);
    assert_eq!(crowds.iter().map(Crowd::peak).collect::<Vec<_>>(), [2, 3, 5]);
}

#[test]
fn a_slot_is_held_to_the_end_of_the_response_whoever_asks() {
    let (go_on, came) = (Signal::new(), Arc::new(std::sync::Mutex::new(BTreeSet::new())));
    let app_of = ScriptedApp::start({
        let (go_on, came) = (go_on.clone(), came.clone());
        move |connection| {
            while let Some(seen) = connection.next_request() {
                let target = String::from_utf8_lossy(seen.head.target()).into_owned();
                came.lock().unwrap().insert(target.clone());
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
                if target == "/long" {
                    go_on.wait();
                }
                connection.send("lf");
            }
        }
    });
    for limit in ["app", "endpoint"] {
        let gateway = Gateway::of_with(app_of.address(), |config| {
            if limit == "app" {
                config.limits.app_concurrency = 1;
            } else {
                config.limits.endpoint_concurrency = 1;
            }
        });
        let mut long = Caller::new(&gateway);
        long.send(get("/long"));
        assert_eq!(long.read_head().word(1), b"200");
        let mut streams = Frames::call(&gateway);
        streams.send(frames::get(1, &format!("/{limit}-1")));
        wait_queued(&gateway, 1);
        let mut other = Caller::new(&gateway);
        other.send(get(&format!("/{limit}-2")));
        wait_queued(&gateway, 2);
        assert_eq!(long.read_exactly(2), b"ha");
        assert!(
            !came.lock().unwrap().iter().any(|target| target.starts_with(&format!("/{limit}")))
        );
        if limit == "app" {
            // Who leaves in the middle of an answer gives it back as well.
            long.leave();
        } else {
            go_on.give();
            assert_eq!(long.read_exactly(2), b"lf");
        }
        let _ = streams.answer(1).expect(200);
        let _ = other.read_response().expect(200);
        if limit == "app" {
            gateway.wait_idle();
        }
    }
}

#[test]
fn limits_that_a_reload_changes_are_in_force_at_once_and_lose_nobody() {
    let crowds = [Crowd::holding()];
    let mut gateway = gateway(&crowds, |config| config.limits.app_concurrency = 2);
    let crowd = &crowds[0];
    let callers = asking(&gateway, 20);
    crowd.wait_holding(2);
    wait_queued(&gateway, 18);
    gateway.reload(|config| config.limits.app_concurrency = 6);
    crowd.wait_holding(6);
    wait_queued(&gateway, 14);
    // Fewer: those that run do so to their end, and nobody takes their places.
    gateway.reload(|config| config.apps[0].concurrency = Some(3));
    let turns = gateway.route(HOST).turns.clone();
    eventually("the limit is in force", || turns.concurrency().app == 3);
    crowd.answer(3);
    crowd.wait_holding(3);
    wait_queued(&gateway, 14);
    crowd.answer(1);
    wait_queued(&gateway, 13);
    crowd.wait_holding(3);
    // By endpoint instead, then not at all.
    gateway.reload(|config| {
        (config.apps[0].concurrency, config.apps[0].endpoint_concurrency) = (Some(0), Some(5));
    });
    crowd.wait_holding(5);
    wait_queued(&gateway, 11);
    gateway.reload(|config| config.apps[0].endpoint_concurrency = None);
    crowd.wait_holding(16);
    wait_queued(&gateway, 0);
    crowd.answer_all();
    expect_all(callers);
    assert_eq!((crowd.came().len(), crowd.peak()), (20, 16));
}

#[test]
fn a_full_queue_refuses_over_http2_as_over_http1_and_the_connection_goes_on() {
    let crowds = [Crowd::holding()];
    let gateway = gateway(&crowds, |config| {
        config.limits.endpoint_concurrency = 1;
        config.limits.app_queue = 1;
    });
    let mut caller = Frames::call(&gateway);
    caller.send(frames::get(1, "/1"));
    crowds[0].wait_holding(1);
    caller.send(frames::get(3, "/3"));
    wait_queued(&gateway, 1);
    let refused = caller.ask(5, frames::get(5, "/5"));
    let _ = refused.expect_problem(503, "connection_limit_reached");
    assert_eq!(refused.field("retry-after"), Some("1"));
    let refused = Caller::ask(&gateway, get("/"));
    let _ = refused.expect_problem(503, "connection_limit_reached");
    crowds[0].answer_all();
    for stream in [1, 3] {
        let _ = caller.answer(stream).expect(200);
    }
    assert_eq!(crowds[0].came(), ["/1", "/3"]);
}

// --- what an autoscaler sees --------------------------------------------------------------

const GUIDE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/autoscaling.md"));

/// The values of a key in the guide's manifests.
fn written(key: &str) -> Vec<String> {
    let values = GUIDE.lines().filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "));
    values.map(|value| value.trim_matches(['"', '\'']).to_owned()).collect()
}

#[test]
fn an_autoscaler_reads_how_much_an_app_has_to_do_as_the_guide_says() {
    let crowds = [Crowd::holding()];
    let gateway = gateway(&crowds, |config| config.limits.app_concurrency = 2);
    let admin = |path: &str| {
        let mut caller = Caller::to(gateway.admin());
        caller.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.admin()));
        caller.read_response().expect(200)
    };
    let [url] = &written("url")[..] else { panic!("one url") };
    let path = url.split_once(":9090").expect("the admin listener's port").1;
    let [location] = &written("valueLocation")[..] else { panic!("one location") };
    assert_eq!(admin(path).json()[location], 0, "an idle app can go to zero");

    let callers = asking(&gateway, 5);
    crowds[0].wait_holding(2);
    wait_queued(&gateway, 3);
    let answer = admin(path).json();
    assert_eq!(answer[location], 5);
    assert_eq!((&answer["in_flight"], &answer["waiting"]), (&2.into(), &3.into()));
    assert!(answer["oldest_wait_seconds"].as_f64().expect("a number") > 0.0);

    let metrics = admin("/metrics").text();
    let [query] = &written("query")[..] else { panic!("one query") };
    let mut sum = 0;
    for (at, name) in query.match_indices("ignite_gateway_") {
        let rest = &query[at..];
        let name = rest.split('{').next().unwrap_or(name);
        let labels = rest[name.len()..].split_once('}').expect("labels").0;
        let row = format!("{name}{labels}}} ").replace(", ", ",");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&row)).expect(&row);
        sum += value.parse::<u32>().expect("a number");
    }
    assert_eq!(sum, 5, "{query}");
    crowds[0].answer_all();
    expect_all(callers);
    gateway.wait_idle();
    assert_eq!(admin(path).json()[location], 0);
}

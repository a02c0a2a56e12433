//! What is sent a second time, how often, and what never is. Apps count what
//! they see.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ignite_gateway::config::{Config, Protocol};

use crate::binary::{Folder, Serve, access_lines, config};
use crate::support::app::{AppConnection, Seen};
use crate::support::caller::{get, request};
use crate::support::edge::Refusing;
use crate::support::frames::{END_STREAM, Frames, REFUSED_STREAM, goaway, headers, reset};
use crate::support::{Caller, EchoHeads, Gateway, ScriptedApp, Signal, app};

mod unwritten;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SHORT: Duration = Duration::from_millis(200);

type All<T> = Arc<Mutex<Vec<T>>>;

fn gateway(apps: &[SocketAddr], change: impl FnOnce(&mut Config)) -> Gateway {
    Gateway::with(|config| {
        config.apps.push(app("acme/hello", &[(80, apps)]));
        change(config);
    })
}

fn post(target: &str, body: &str) -> String {
    request(&format!("POST {target}"), &format!("Content-Length: {}\r\n", body.len()), body)
}

/// An app that keeps each connection for one answer and does `end` to the next request.
fn ends_kept(
    seen: &All<Seen>,
    end: impl Fn(&mut AppConnection) + Send + Sync + 'static,
) -> ScriptedApp {
    let seen = seen.clone();
    ScriptedApp::start(move |connection| {
        seen.lock().unwrap().extend(connection.next_request());
        connection.send(OK);
        if let Some(second) = connection.next_request() {
            seen.lock().unwrap().push(second);
            end(connection);
        }
    })
}

fn close(_: &mut AppConnection) {}

fn reset_it(connection: &mut AppConnection) {
    connection.reset();
}

fn reset_after_a_byte(connection: &mut AppConnection) {
    connection.send("H");
    connection.reset();
}

fn close_within_the_head(connection: &mut AppConnection) {
    connection.send("HTTP/1.1 200 OK\r\nContent-Le");
}

fn close_after_an_interim_response(connection: &mut AppConnection) {
    connection.send("HTTP/1.1 103 Early Hints\r\n\r\n");
}

fn error(connection: &mut AppConnection) {
    connection.send("HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
}

// --- what may be sent again ---------------------------------------------------------------

#[test]
fn a_post_that_reached_an_app_is_never_sent_again() {
    let ends: [fn(&mut AppConnection); 6] = [
        close,
        reset_it,
        reset_after_a_byte,
        close_within_the_head,
        close_after_an_interim_response,
        error,
    ];
    for end in ends {
        let (one, two) = (All::default(), All::default());
        let apps = [ends_kept(&one, end), ends_kept(&two, end)];
        let gateway = gateway(&[apps[0].address(), apps[1].address()], |_| {});
        let mut caller = Caller::new(&gateway);
        for number in 0..20 {
            caller.send(post(&format!("/{number}"), "a body"));
            assert!([200, 502, 503].contains(&caller.read_response().status));
        }
        drop(caller);
        let seen: Vec<_> = [one, two].iter().flat_map(|all| all.lock().unwrap().clone()).collect();
        let targets: HashSet<_> = seen.iter().map(|seen| seen.head.target().to_vec()).collect();
        assert_eq!((seen.len(), targets.len()), (20, 20), "each came once");
    }
}

#[test]
fn a_get_is_sent_again_only_if_no_byte_of_an_answer_came() {
    let ends: [(fn(&mut AppConnection), bool); 5] = [
        (close, true),
        (reset_it, true),
        (close_within_the_head, false),
        (close_after_an_interim_response, false),
        (error, false),
    ];
    for (end, again) in ends {
        let seen = All::default();
        let app = ends_kept(&seen, end);
        let gateway = gateway(&[app.address()], |_| {});
        let mut caller = Caller::new(&gateway);
        let _ = caller.get("/1").expect(200);
        let status = caller.get("/2").status;
        assert_eq!(status == 200, again, "{status}");
        assert_eq!(seen.lock().unwrap().len(), if again { 3 } else { 2 });
    }
}

#[test]
fn a_get_on_a_new_connection_that_dies_is_not_sent_again() {
    let app = ScriptedApp::start(|connection| {
        connection.next_request();
    });
    let gateway = gateway(&[app.address()], |_| {});
    let mut caller = Caller::new(&gateway);
    let _ = caller.get("/").expect_problem(502, "connection_terminated");
    assert_eq!(app.connections(), 1);
}

#[test]
fn a_body_that_left_in_part_is_not_sent_again() {
    let seen = Arc::new(AtomicUsize::new(0));
    let app = ScriptedApp::start({
        let seen = seen.clone();
        move |connection| {
            connection.next_request();
            connection.send(OK);
            if connection.next_head().is_some() {
                seen.fetch_add(1, Ordering::SeqCst);
                let _ = connection.body(3);
            }
        }
    });
    let gateway = gateway(&[app.address()], |_| {});
    let mut caller = Caller::new(&gateway);
    let _ = caller.get("/").expect(200);
    // Idempotent, but its first bytes are gone.
    caller.send(request("PUT /", "Content-Length: 6\r\n", "abc"));
    let _ = caller.read_response().expect_problem(502, "connection_terminated");
    assert_eq!((seen.load(Ordering::SeqCst), app.connections()), (1, 1));
}

#[test]
fn all_tries_of_a_request_have_one_execution_id_and_no_count() {
    let seen = All::default();
    let app = ends_kept(&seen, close);
    let gateway = gateway(&[app.address()], |_| {});
    let mut caller = Caller::new(&gateway);
    let _ = caller.get("/1").expect(200);
    caller.send(request("GET /2", "X-Ignite-Attempt: 7\r\n", ""));
    let response = caller.read_response().expect(200);
    let id = response.field("x-ignite-execution-id");
    assert!(id.is_some());
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    for tried in &seen[1..] {
        assert_eq!(tried.field("x-ignite-execution-id"), id);
        assert!(!tried.head.has("x-ignite-attempt"));
    }
    assert_ne!(seen[0].field("x-ignite-execution-id"), id);
}

#[test]
fn the_access_log_counts_the_tries() {
    let (refusing, serving) = (Refusing::new(), EchoHeads::start());
    let (first, second) = (refusing.address(), serving.address());
    let text = config("json", &["hello"], first);
    let text = text.replace(&format!("[\"{first}\"]"), &format!("[\"{first}\", \"{second}\"]"));
    let serve = Serve::start(&Folder::new().write("gateway.toml", text));
    let mut caller = Caller::to(serve.address);
    for _ in 0..40 {
        let _ = caller.get("/").expect(200);
    }
    drop(caller);
    let lines = serve.finish();
    let ejected = lines.iter().filter(|line| line.contains("endpoint is ejected"));
    assert_eq!(ejected.count(), 1, "said once");
    let lines = access_lines(&lines);
    let twice: Vec<_> = lines.iter().filter(|line| line["attempts"] == 2).collect();
    // As many as it takes to eject the endpoint, and perhaps a trial.
    assert!((3..=5).contains(&twice.len()), "{lines:#?}");
    assert!(twice.iter().all(|line| line["upstream.address"] == second.to_string()));
    assert_eq!(lines.iter().filter(|line| line["attempts"] == 1).count(), 40 - twice.len());
}

// --- HTTP/2 -------------------------------------------------------------------------------

/// An app of HTTP/2 that does `answer` to each stream, and counts them.
fn streams(
    count: &Arc<AtomicUsize>,
    answer: impl Fn(&mut Frames, u32) -> bool + Send + Sync + 'static,
) -> ScriptedApp {
    let count = count.clone();
    ScriptedApp::start(move |connection| {
        let mut app = connection.http2(&[]);
        let mut last = 0;
        while let Some(id) = app.next_stream(last) {
            last = id;
            count.fetch_add(1, Ordering::SeqCst);
            if !answer(&mut app, id) {
                return;
            }
        }
    })
}

fn refuse(app: &mut Frames, id: u32) -> bool {
    app.try_send(reset(id, REFUSED_STREAM)).is_ok()
}

fn h2c(config: &mut Config) {
    config.apps[0].ports[0].protocol = Protocol::H2c;
}

#[test]
fn a_post_on_a_stream_that_dies_is_not_sent_again_whatever_ends_it() {
    const INTERNAL_ERROR: u32 = 2;
    let ends: [fn(&mut Frames, u32) -> bool; 3] = [
        |_, _| false,
        |app, id| app.try_send(reset(id, INTERNAL_ERROR)).is_ok(),
        // The stream is one of those that the app says it has begun with.
        |app, id| {
            app.send(goaway(id, 0));
            false
        },
    ];
    for end in ends {
        for kept in [false, true] {
            let count = Arc::new(AtomicUsize::new(0));
            let app = streams(&count, move |app, id| {
                if kept && id == 1 {
                    app.send(headers(id, END_STREAM, &[(":status", "200")]));
                    return true;
                }
                end(app, id)
            });
            let gateway = gateway(&[app.address()], h2c);
            let mut caller = Caller::new(&gateway);
            if kept {
                let _ = caller.get("/").expect(200);
            }
            caller.send(post("/", ""));
            let _ = caller.read_response().expect_problem(502, "connection_terminated");
            assert_eq!(count.load(Ordering::SeqCst), 1 + usize::from(kept));
        }
    }
}

#[test]
fn a_get_on_a_stream_is_sent_again_only_if_nothing_of_an_answer_came() {
    let ends: [(fn(&mut Frames, u32) -> bool, bool); 4] = [
        (|_, _| false, true),
        (
            |app, id| {
                app.send(headers(id, 0, &[(":status", "103")]));
                false
            },
            false,
        ),
        (
            |app, id| {
                app.send(headers(id, 0, &[(":status", "103")]));
                refuse(app, id)
            },
            false,
        ),
        (refuse, true),
    ];
    for (end, again) in ends {
        // Each does it once, to the second request of its first connection.
        let (ended, count) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let apps = [(); 2].map(|()| {
            let ended = ended.clone();
            streams(&count, move |app, id| {
                if id > 1 && ended.fetch_add(1, Ordering::SeqCst) == 0 {
                    return end(app, id);
                }
                app.send(headers(id, END_STREAM, &[(":status", "200")]));
                true
            })
        });
        let gateway = gateway(&[apps[0].address(), apps[1].address()], h2c);
        let mut caller = Caller::new(&gateway);
        let mut requests = 0;
        let mut failed = 0;
        while ended.load(Ordering::SeqCst) == 0 {
            requests += 1;
            failed += usize::from(caller.get("/").status != 200);
        }
        assert_eq!(failed, usize::from(!again));
        assert_eq!(count.load(Ordering::SeqCst), requests + usize::from(again));
    }
}

// --- how often ----------------------------------------------------------------------------

/// Four apps that refuse every stream: each try is safe to repeat, and none succeeds.
fn refusing_apps(count: &Arc<AtomicUsize>) -> (Vec<ScriptedApp>, Vec<SocketAddr>) {
    let apps: Vec<_> = (0..4).map(|_| streams(count, refuse)).collect();
    let addresses = apps.iter().map(ScriptedApp::address).collect();
    (apps, addresses)
}

#[test]
fn a_request_is_tried_again_as_often_as_configured() {
    for max in [0, 1, 2, 3] {
        let count = Arc::new(AtomicUsize::new(0));
        let (_apps, addresses) = refusing_apps(&count);
        let gateway = gateway(&addresses, |config| {
            h2c(config);
            config.retries.max = max;
        });
        let mut caller = Caller::new(&gateway);
        for _ in 0..5 {
            let _ = caller.get("/").expect_problem(502, "connection_terminated");
        }
        assert_eq!(count.load(Ordering::SeqCst), 5 * (1 + max as usize), "max = {max}");
    }
}

#[test]
fn without_retries_a_kept_connection_that_died_costs_its_request() {
    let seen = All::default();
    let app = ends_kept(&seen, close);
    let gateway = gateway(&[app.address()], |config| config.retries.max = 0);
    let mut caller = Caller::new(&gateway);
    let _ = caller.get("/1").expect(200);
    let _ = caller.get("/2").expect_problem(502, "connection_terminated");
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[test]
fn the_budget_bounds_what_failures_add_to_the_load() {
    const REQUESTS: usize = 200;
    for (percent, per_second) in [(0, 0), (0, 1), (20, 0)] {
        let count = Arc::new(AtomicUsize::new(0));
        let (_apps, addresses) = refusing_apps(&count);
        let gateway = gateway(&addresses, |config| {
            h2c(config);
            config.retries.budget_percent = percent;
            config.retries.min_per_second = per_second;
        });
        let start = Instant::now();
        let mut caller = Caller::new(&gateway);
        for _ in 0..REQUESTS {
            let _ = caller.get("/").expect_problem(502, "connection_terminated");
        }
        let retries = count.load(Ordering::SeqCst) - REQUESTS;
        let seconds = 11 + usize::try_from(start.elapsed().as_secs()).unwrap();
        let share = REQUESTS * percent as usize / 100;
        let most = share + seconds * per_second as usize;
        assert!(retries <= most, "{retries} of {most} at {percent}%");
        assert!(retries >= share * 9 / 10 + 9 * per_second as usize, "{retries} at {percent}%");
    }
}

#[test]
fn the_failures_of_one_app_use_up_no_other_apps_budget() {
    let count = Arc::new(AtomicUsize::new(0));
    let (_apps, addresses) = refusing_apps(&count);
    let (refusing, serving) = (Refusing::new(), EchoHeads::start());
    let gateway = gateway(&addresses, |config| {
        h2c(config);
        let other = [refusing.address(), serving.address()];
        config.apps.push(app("globex/other", &[(80, &other)]));
    });
    let mut caller = Caller::new(&gateway);
    for _ in 0..200 {
        let _ = caller.get("/").expect_problem(502, "connection_terminated");
    }
    for _ in 0..30 {
        caller.send("GET / HTTP/1.1\r\nHost: other-globex.ignite.test\r\n\r\n");
        let _ = caller.read_response().expect(200);
    }
}

// --- how long -----------------------------------------------------------------------------

/// An address that answers no SYN, as long as it is held.
struct Unreachable {
    address: SocketAddr,
    _sockets: Vec<socket2::Socket>,
}

impl Unreachable {
    fn new() -> Self {
        let socket =
            || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let listener = socket();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        // A listener whose queue is full answers no further SYN.
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut sockets = vec![listener];
        sockets.extend((0..4).map(|_| {
            let filler = socket();
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&address);
            filler
        }));
        Self { address: address.as_socket().unwrap(), _sockets: sockets }
    }
}

#[test]
fn each_try_has_its_own_time_to_connect() {
    let silent = [Unreachable::new(), Unreachable::new(), Unreachable::new(), Unreachable::new()];
    let addresses = silent.each_ref().map(|silent| silent.address);
    let gateway = gateway(&addresses, |config| config.timeouts.connect = SHORT);
    let start = Instant::now();
    let _ = Caller::ask(&gateway, get("/")).expect_problem(504, "connection_timeout");
    let took = start.elapsed();
    assert!(took >= 3 * SHORT, "three tries: {took:?}");
}

#[test]
fn the_time_of_a_request_bounds_all_its_tries_and_waits() {
    let silent = [Unreachable::new(), Unreachable::new()];
    let addresses = silent.each_ref().map(|silent| silent.address);
    let bounded = gateway(&addresses, |config| config.timeouts.request = SHORT);
    let _ = Caller::ask(&bounded, get("/")).expect_problem(504, "http_response_timeout");

    let deaf = ScriptedApp::start(|connection| {
        connection.next_request();
        connection.expect_closed();
    });
    let bounded = gateway(&[deaf.address()], |config| config.timeouts.request = SHORT);
    let start = Instant::now();
    let mut caller = Caller::new(&bounded);
    let _ = caller.get("/").expect_problem(504, "http_response_timeout");
    assert!(start.elapsed() >= SHORT);
    deaf.wait_finished(1);
    bounded.route(crate::support::HOST).endpoints[0].set_ready(false);
    let _ = caller.get("/").expect_problem(504, "http_response_timeout");
}

#[test]
fn the_time_of_a_request_ends_with_the_head_of_its_response() {
    let release = Signal::new();
    let app = ScriptedApp::start({
        let release = release.clone();
        move |connection| {
            connection.next_request();
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
            release.wait();
            connection.send("cd");
        }
    });
    let gateway = gateway(&[app.address()], |config| config.timeouts.request = SHORT);
    let mut caller = Caller::new(&gateway);
    caller.send(get("/"));
    let head = caller.read_head();
    assert_eq!(head.content_length(), Some(4));
    // The time that passes is what is tested.
    std::thread::sleep(2 * SHORT);
    release.give();
    assert_eq!(caller.read_exactly(4), b"abcd");
}

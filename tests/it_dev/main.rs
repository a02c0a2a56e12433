//! `ignite-gateway dev` from outside: the real binary, real apps, its printed lines.
//!
//! The apps are shell and Python. Without a Python interpreter the tests that need
//! one say so and, in CI, fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(missing_docs, clippy::print_stderr, unreachable_pub)]

mod session;

use std::net::TcpListener;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use session::{Session, call, dies, is_alive};

/// Serves the statuses of its arguments in a row to the health path, then the last
/// one for ever; anything else gets 200 and the path, `/slow` after a while.
const APP: &str = r"
import os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
statuses = [int(status) for status in sys.argv[2:]]
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        status = 200
        if self.path == '/healthz':
            status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        if self.path == '/slow':
            print('slow begins', flush=True)
            time.sleep(0.5)
        body = (self.path + ' ' + self.headers.get('x-ignite-function-id', 'direct')).encode()
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *ignored):
        pass
port = int(sys.argv[1] if sys.argv[1] != 'PORT' else os.environ['PORT'])
server = ThreadingHTTPServer(('0.0.0.0', port), Handler)
print('up', server.server_address[1], flush=True)
server.serve_forever()
";

/// Times that an interpreter on a busy machine keeps: it must listen before the
/// third question, or it is restarted.
const PATIENT: [&str; 4] = ["--initial-delay", "2s", "--period", "1s"];

fn python_is_missing() -> bool {
    let mut python = Command::new("python3");
    let found = python.arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let missing = !found.is_ok_and(|status| status.success());
    if missing {
        eprintln!("NOT TESTED: there is no python3 on this machine");
        assert!(std::env::var_os("CI").is_none(), "CI must have python3");
    }
    missing
}

#[test]
fn the_echo_app_answers_with_the_headers_that_the_gateway_adds() {
    let mut session = Session::start(&[]);
    let (host, port) = session.url();
    assert_eq!(host, "echo-demo.localhost");
    session.line(&format!("  curl http://{host}:{port}/hello"));
    session.line(&format!("  curl -H 'Host: {host}' http://127.0.0.1:{port}/hello"));
    session.line("Admin: http://127.0.0.1:");
    let answer = call(port, &host, "POST", "/hello?x=1", "hi");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for part in [
        r#""x-ignite-function-id": "demo/echo""#,
        r#""x-ignite-organization-id": "demo""#,
        r#""path": "/hello?x=1""#,
        r#""body": "hi""#,
    ] {
        assert!(answer.contains(part), "{part}\n{answer}");
    }
    assert!(!answer.contains("forged"), "{answer}");
    session.line("is ready");
    let end = session.stop(Signal::INT);
    assert!(end.lines.iter().all(|line| !line.contains('\x1b')), "no colours in a pipe");
    assert_eq!(end.errors, "");
}

/// Runs a line of the banner as a person would.
fn paste(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn the_lines_to_paste_work_over_tls_and_the_certificate_is_kept() {
    let curl = Command::new("curl").arg("-V").stdout(Stdio::null()).status();
    if !curl.is_ok_and(|status| status.success()) {
        eprintln!("NOT TESTED: there is no curl on this machine");
        assert!(std::env::var_os("CI").is_none(), "CI must have curl");
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let mut certificates = Vec::new();
    for _ in 0..2 {
        let mut session = Session::start_tls(cache.path());
        session.line("  https://echo-demo.localhost:");
        for ending in [":", "-d '", "https://127.0.0.1:"] {
            let line = session.line("  curl ");
            assert!(line.contains(ending), "{line}");
            let answer = paste(&format!("{} -sS", line.trim()));
            assert!(answer.contains(r#""x-forwarded-proto": "https""#), "{answer}");
        }
        let file = session.line(&cache.path().display().to_string());
        certificates.push(std::fs::read_to_string(file.trim()).unwrap());
        session.stop(Signal::INT);
    }
    assert_eq!(certificates[0], certificates[1]);
}

#[test]
fn every_port_of_the_echo_app_has_a_host() {
    let mut session = Session::start(&["--app", "acme/web-api", "--port", "80", "--port", "9000"]);
    for expected in ["web-api-acme.localhost", "web-api-acme-9000.localhost"] {
        let (host, port) = session.url();
        assert_eq!(host, expected);
        let answer = call(port, &host, "GET", "/", "");
        assert!(answer.contains(r#""x-ignite-function-id": "acme/web-api""#), "{answer}");
    }
    session.stop(Signal::TERM);
}

#[test]
fn calls_wait_until_a_command_is_ready() {
    if python_is_missing() {
        return;
    }
    let app = ["--", "python3", "-c", APP, "PORT", "503", "200"];
    let mut session = Session::start(&[&PATIENT[..], &app].concat());
    let (host, port) = session.url();
    // Sent before the app listens, answered once it is healthy.
    let answer = call(port, &host, "GET", "/a%2Fb/..?q", "");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("/a%2Fb/..?q demo/app"), "{answer}");
    session.line("demo/app is ready after ");
    let end = session.stop(Signal::INT);
    assert!(
        end.lines.iter().any(|line| line == "ignite | demo/app has stopped"),
        "{:?}",
        end.lines
    );
}

#[test]
fn a_call_in_flight_is_answered_after_the_first_signal() {
    if python_is_missing() {
        return;
    }
    let app = ["--", "python3", "-c", APP, "PORT", "200"];
    let mut session = Session::start(&[&PATIENT[..], &app].concat());
    let (host, port) = session.url();
    let caller = std::thread::spawn(move || call(port, &host, "GET", "/slow", ""));
    session.line("| slow begins");
    session.stop(Signal::INT);
    let answer = caller.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("/slow demo/app"), "{answer}");
}

#[test]
fn a_further_port_leads_to_the_same_port_of_this_machine() {
    if python_is_missing() {
        return;
    }
    let further = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = further.local_addr().unwrap().port().to_string();
    let arguments = ["--port", "80", "--port", &number, "--", "python3", "-c", APP, "PORT", "200"];
    let mut session = Session::start(&arguments);
    session.url();
    let (host, port) = session.url();
    assert_eq!(host, format!("app-demo-{number}.localhost"));
    let answering = std::thread::spawn(move || {
        use std::io::{BufRead as _, BufReader, Write as _};
        let (mut stream, _) = further.accept().unwrap();
        let mut first = String::new();
        BufReader::new(&stream).read_line(&mut first).unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        first
    });
    let answer = call(port, &host, "GET", "/far", "");
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    assert_eq!(answering.join().unwrap().trim(), "GET /far HTTP/1.1");
    session.stop(Signal::INT);
}

#[test]
fn an_app_that_ends_is_started_again() {
    let mut session = Session::start(&["--", "sh", "-c", "echo hello from $$; exit 3"]);
    let first = session.number("| hello from");
    let ended = session.line("demo/app ended");
    assert!(ended.contains("exit status 3; it starts again in 0.5 s"), "{ended}");
    assert_ne!(session.number("| hello from"), first);
    session.stop(Signal::INT);
}

#[test]
fn an_app_on_the_wrong_port_is_told_so_and_restarted() {
    if python_is_missing() {
        return;
    }
    let app = ["--", "python3", "-c", APP, "0", "200"];
    let mut session = Session::start(&[&PATIENT[..], &app].concat());
    let port = session.number("| up ");
    session.line(&format!("demo/app listens on {port}, not on $PORT="));
    session.line("demo/app is restarted, as on the platform: GET /healthz failed 3 times in a row. A slow starter has 4.0 s");
    session.line("demo/app ended after");
    assert_ne!(session.number("| up "), port);
    let end = session.stop(Signal::INT);
    let told = end.lines.iter().filter(|line| line.contains(&format!("listens on {port},")));
    assert_eq!(told.count(), 1, "said once a life: {:?}", end.lines);
}

#[test]
fn an_app_whose_health_fails_is_restarted() {
    if python_is_missing() {
        return;
    }
    let healthy_then_not = ["200", "200", "500"];
    let app = ["--", "python3", "-c", APP, "PORT"];
    let mut session = Session::start(&[&PATIENT[..], &app, &healthy_then_not].concat());
    session.line("demo/app is ready after ");
    session.line("demo/app GET /healthz answered 500: ");
    session.line("demo/app is not ready any more: callers wait");
    let told = session.line("demo/app is restarted");
    assert!(told.ends_with("GET /healthz failed 3 times in a row"), "{told}");
    session.line("demo/app is ready after ");
    session.stop(Signal::INT);
}

#[test]
fn an_app_that_ignores_sigterm_is_killed_after_the_grace() {
    let script = "trap '' TERM; echo pid $$; while :; do sleep 1000; done";
    let long = ["--initial-delay", "1h", "--grace", "300ms", "--", "sh", "-c", script];
    let mut session = Session::start(&long);
    let pid = session.number("| pid ");
    session.stop(Signal::INT);
    dies(pid);
}

#[test]
fn a_second_signal_ends_everything_at_once() {
    // A shell that waits in the foreground would not hear of a signal that its child lost as it began.
    let script = "trap 'echo deaf' TERM; echo pid $$; while :; do sleep 1000 & wait $!; done";
    let long = ["--initial-delay", "1h", "--grace", "1h", "--", "sh", "-c", script];
    let mut session = Session::start(&long);
    let pid = session.number("| pid ");
    session.signal(Signal::TERM);
    session.line("| deaf");
    assert!(is_alive(pid));
    session.stop(Signal::TERM);
    dies(pid);
}

#[test]
fn what_the_app_started_is_gone_after_the_stop() {
    let script = "(trap '' TERM; exec sleep 1000) & echo grandchild $!; wait";
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut session = Session::start(&["--initial-delay", "1h", "--", "sh", "-c", script]);
        let grandchild = session.number("| grandchild");
        assert!(is_alive(grandchild));
        session.stop(signal);
        dies(grandchild);
    }
}

#[test]
fn a_command_that_is_not_there_ends_it_with_a_plain_message() {
    let end = Session::start(&["--", "no-such-command-of-ours"]).end();
    assert_eq!(end.status.code(), Some(1));
    assert_eq!(
        end.errors,
        "ignite-gateway: the command `no-such-command-of-ours` was not found: is it installed, and in PATH?\n"
    );
    assert!(end.lines.is_empty(), "no greeting: {:?}", end.lines);
}

#[test]
fn wrong_usage_is_refused_with_exit_code_2() {
    let long = format!("{}/{}", "o".repeat(40), "n".repeat(40));
    let cases: [(&[&str], &str); 6] = [
        (&["--app", "no-slash"], "is not an app"),
        (&["--app", &long], "the host label"),
        (&["--port", "80", "--port", "80"], "none twice"),
        (&["--port", "0"], "--port"),
        (&["--health-path", "healthz"], "begins with `/`"),
        (&["--period", "5"], "500ms, 2s or 1m"),
    ];
    for (arguments, expected) in cases {
        let end = Session::start(arguments).end();
        assert_eq!(end.status.code(), Some(2), "{arguments:?}: {}", end.errors);
        assert!(end.errors.contains(expected), "{arguments:?}: {}", end.errors);
    }
}

#[test]
fn a_taken_default_port_is_replaced_and_a_taken_chosen_one_is_not() {
    // Fails when somebody else has the port: it is taken then as well.
    let _mine = TcpListener::bind("127.0.0.1:8080");
    let mut session = Session::start_exactly(&[]);
    session.line("Port 8080 is taken: the gateway listens on 127.0.0.1:");
    let (host, port) = session.url();
    assert_ne!(port, 8080);
    assert!(call(port, &host, "GET", "/", "").starts_with("HTTP/1.1 200 "));

    // The running gateway shares its port with nobody, not even with its like.
    let end = Session::start_exactly(&["--listen", &format!("127.0.0.1:{port}")]).end();
    assert_eq!(end.status.code(), Some(1));
    assert!(end.errors.contains("is another process using it?"), "{}", end.errors);
    session.stop(Signal::INT);
}

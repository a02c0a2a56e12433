//! The real binary: arguments, exit codes, signals, files that change, logs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal as Kill, kill_process};
use serde_json::Value;

use crate::support::{Caller, EchoHeads, LIMIT, ScriptedApp, Signal, eventually};

pub const BINARY: &str = env!("CARGO_BIN_EXE_ignite-gateway");
const SOON: Duration = Duration::from_secs(3);

/// The binary with nothing of this process's environment.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command to its end, which must come in time.
#[track_caller]
fn run(arguments: &[&str]) -> Output {
    finish(command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

#[track_caller]
pub fn finish(mut child: Child) -> Output {
    wait(&mut child, LIMIT);
    child.wait_with_output().unwrap()
}

#[track_caller]
fn wait(child: &mut Child, limit: Duration) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the process did not end within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running `serve`.
pub struct Serve {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
    pub address: SocketAddr,
    pub admin: SocketAddr,
}

impl Serve {
    #[track_caller]
    pub fn start(config: &Path) -> Self {
        Self::start_with(config, &[])
    }

    #[track_caller]
    pub fn start_with(config: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = command(&["serve", "--config", config.to_str().unwrap()]);
        command.envs(environment.iter().copied());
        Self::launch(command)
    }

    /// Starts a command that is `serve`, and waits until it does.
    #[track_caller]
    pub fn launch(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let out = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn({
            let lines = lines.clone();
            move || {
                for line in out.split(b'\n').map_while(Result::ok) {
                    lines.lock().unwrap().push(String::from_utf8(line).expect("a line is UTF-8"));
                }
            }
        });
        let any = "127.0.0.1:0".parse().unwrap();
        let mut serve = Self { child, lines, reader: Some(reader), address: any, admin: any };
        serve.address = serve.listening("listening");
        serve.admin = serve.listening("admin listening");
        serve.wait_runs();
        serve
    }

    /// Waits until it does what comes after the announcements: a worker answers, were it only
    /// by closing a connection on which nothing was asked.
    #[track_caller]
    fn wait_runs(&self) {
        let mut caller = Caller::to(self.address);
        caller.finish_sending();
        caller.expect_closed();
    }

    #[track_caller]
    fn listening(&mut self, what: &str) -> SocketAddr {
        let mut found = None;
        eventually(what, || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended: {status}");
            }
            found = self.lines().iter().find_map(|line| address_in(line, what));
            found.is_some()
        });
        found.unwrap()
    }

    /// Every listener's address, in the order of the configuration.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.lines().iter().filter_map(|line| address_in(line, "listening")).collect()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for a line that contains `text`; `count` of them.
    #[track_caller]
    pub fn wait_lines(&self, text: &str, count: usize) {
        let found = || self.lines().iter().filter(|line| line.contains(text)).count();
        let start = Instant::now();
        while found() < count {
            assert!(start.elapsed() < LIMIT, "no {text:?} ({count}) in {:#?}", self.lines());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn kill(&self, signal: Kill) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub fn status(&self, host: &str) -> u16 {
        let mut caller = Caller::to(self.address);
        caller.send(format!("GET / HTTP/1.1\r\nHost: {host}.ignite.test\r\n\r\n"));
        caller.read_response().status
    }

    #[track_caller]
    fn wait_status(&self, host: &str, status: u16) {
        let start = Instant::now();
        while self.status(host) != status {
            assert!(start.elapsed() < LIMIT, "never {status} at {host}: {:#?}", self.lines());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it by SIGTERM; its lines.
    #[track_caller]
    pub fn finish(self) -> Vec<String> {
        self.kill(Kill::TERM);
        self.wait_end()
    }

    /// Waits until it has ended by itself, clean; its lines.
    #[track_caller]
    pub fn wait_end(mut self) -> Vec<String> {
        let status = wait(&mut self.child, LIMIT);
        assert_eq!(status.code(), Some(0), "{:#?}", self.lines());
        self.reader.take().unwrap().join().unwrap();
        self.lines()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address of a line that announces one, as text or as JSON.
fn address_in(line: &str, what: &str) -> Option<SocketAddr> {
    if let Ok(value) = serde_json::from_str::<Value>(line) {
        let is_it = value["message"] == what;
        return value["address"].as_str().filter(|_| is_it)?.parse().ok();
    }
    let (before, address) = line.split_once(" address=")?;
    before.ends_with(&format!(": {what}")).then(|| address.trim().parse().ok())?
}

/// A folder with a configuration.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<str>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text.as_ref()).unwrap();
        path
    }
}

/// A configuration with these apps of `acme`, all at one address.
pub fn config(format: &str, apps: &[&str], endpoint: SocketAddr) -> String {
    let mut text = format!(
        "domain = \"ignite.test\"\nworkers = 1\n\n[[listener]]\naddress = \"127.0.0.1:0\"\n\n\
         [admin]\naddress = \"127.0.0.1:0\"\n\n[timeouts]\ndrain_delay = \"0s\"\n\n\
         [access_log]\nformat = \"{format}\"\n"
    );
    for name in apps {
        text += &format!(
            "\n[[app]]\norganization = \"acme\"\nname = \"{name}\"\nhealth_check = false\n\
             endpoints = [\"{endpoint}\"]\n"
        );
    }
    text
}

const BAD: &str = "domain = \"ignite.test\"\nworkerz = 3\n\n[timeouts]\nconnect = \"soon\"\n\n\
                   [[app]]\norganization = \"Acme\"\nname = \"hello\"\nendpoints = [\"nowhere\"]\n";

// --- check and other commands -------------------------------------------------------------

#[test]
fn check_prints_the_host_table() {
    let folder = Folder::new();
    let text = "domain = \"ignite.test\"\n[[app]]\norganization = \"acme\"\nname = \"hello\"\n\
                endpoints = [\"127.0.0.1:3000\"]\n[[app]]\norganization = \"acme-corp\"\n\
                name = \"data\"\nports = [{ port = 80, endpoints = [\"10.0.0.1:80\", \
                \"10.0.0.2:80\"] }, { port = 8080, endpoints = [] }]\n";
    let path = folder.write("gateway.toml", text);
    let output = run(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let table = stdout(&output);
    let (warnings, table): (Vec<_>, Vec<_>) =
        table.lines().partition(|line| line.starts_with("warning: "));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("gateway.toml:9: app.ports.endpoints"), "{warnings:?}");
    let rows: Vec<Vec<_>> = table.iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows,
        [
            vec!["HOST", "APP", "PORT", "ENDPOINTS"],
            vec!["hello-acme.ignite.test", "acme/hello", "80", "127.0.0.1:3000"],
            vec![
                "data-acme-corp.ignite.test",
                "acme-corp/data",
                "80",
                "10.0.0.1:80,",
                "10.0.0.2:80"
            ],
            vec!["data-acme-corp-8080.ignite.test", "acme-corp/data", "8080"],
        ]
    );

    let output = run(&["check", "--output", "json", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["warnings"].as_array().unwrap().len(), 1);
    assert_eq!(json["hosts"].as_array().unwrap().len(), 3);
    assert_eq!(
        json["hosts"][1],
        serde_json::json!({
            "host": "data-acme-corp.ignite.test", "app": "acme-corp/data", "port": 80,
            "endpoints": ["10.0.0.1:80", "10.0.0.2:80"],
        })
    );
}

#[test]
fn check_tells_every_mistake_with_its_line_and_nothing_on_standard_output() {
    let folder = Folder::new();
    let path = folder.write("gateway.toml", BAD);
    let path = path.to_str().unwrap();
    for arguments in [
        &["check", "--config", path][..],
        &["check", "--output", "json", "--config", path],
        &["serve", "--config", path],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        let errors = stderr(&output);
        for (line, word) in [(2, "workers"), (5, "timeouts.connect"), (8, "Acme"), (10, "nowhere")]
        {
            let found = errors.lines().find(|text| text.contains(&format!("gateway.toml:{line}:")));
            assert!(found.is_some_and(|text| text.contains(word)), "line {line} in {errors}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_exit_code_2_and_named() {
    for name in ["check", "serve"] {
        let output = run(&[name, "--config", "/nonexistent/gateway.toml"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("/nonexistent/gateway.toml"), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn two_apps_with_one_host_are_refused_and_both_are_named() {
    let folder = Folder::new();
    let text = "[[app]]\norganization = \"c\"\nname = \"a-b\"\nendpoints = []\n\n\
                [[app]]\norganization = \"b-c\"\nname = \"a\"\nendpoints = []\n";
    let path = folder.write("gateway.toml", text);
    let output = run(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let errors = stderr(&output);
    for word in ["c/a-b", "b-c/a", "a-b-c.ignite.dodil.cloud"] {
        assert!(errors.contains(word), "{word} in {errors}");
    }
}

#[test]
fn serve_on_a_bad_file_listens_on_nothing() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = Folder::new();
    let text = format!("nonsense = 1\n[[listener]]\naddress = \"{free}\"\n");
    let path = folder.write("gateway.toml", text);
    let mut child = command(&["serve", "--config", path.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut accepted = false;
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() && start.elapsed() < LIMIT {
        accepted |= TcpStream::connect(free).is_ok();
    }
    let output = finish(child);
    assert_eq!(output.status.code(), Some(2));
    assert!(!accepted);
}

#[test]
fn the_annotated_configuration_passes_check() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/gateway.toml");
    let output = run(&["check", "--config", path]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("hello-acme.ignite.dodil.cloud"));
}

#[test]
fn help_and_version_and_wrong_usage() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    for word in ["serve", "check", "dev", "health", "IGNITE_GATEWAY__", "Exit codes"] {
        assert!(stdout(&output).contains(word), "{word} in {}", stdout(&output));
    }
    let output = run(&["--version"]);
    assert_eq!(stdout(&output), concat!("ignite-gateway ", env!("CARGO_PKG_VERSION"), "\n"));
    for arguments in [&[][..], &["serve"], &["fly"], &["check", "--config"], &["serve", "--fast"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert!(!stderr(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn health_fails_against_a_closed_port() {
    let refusing = crate::support::edge::Refusing::new();
    let output = run(&["health", "--admin", &refusing.address().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("refused"), "{}", stderr(&output));
}

#[test]
fn health_asks_what_it_is_told_to_and_believes_only_success() {
    for (status, code) in [("200 OK", 0), ("503 Service Unavailable", 1), ("302 Found", 1)] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let admin = ScriptedApp::start(move |connection| {
            let seen = connection.head();
            assert_eq!(seen.target(), b"/livez");
            connection.send(&answer);
        });
        let address = admin.address().to_string();
        let output = run(&["health", "--admin", &address, "--path", "/livez"]);
        assert_eq!(output.status.code(), Some(code), "{status}: {}", stderr(&output));
    }
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = run(&["health", "--admin", &silent.local_addr().unwrap().to_string()]);
    assert_eq!(output.status.code(), Some(1), "a gateway that hangs is not healthy");
}

// --- serve --------------------------------------------------------------------------------

#[test]
fn serve_serves_and_ends_by_a_signal_with_exit_code_0() {
    let app = EchoHeads::start();
    let folder = Folder::new();
    for (format, signal) in [("text", Kill::TERM), ("json", Kill::INT), ("off", Kill::TERM)] {
        let path = folder.write("gateway.toml", config(format, &["hello"], app.address()));
        let mut serve = Serve::start(&path);
        assert_ne!(serve.address, serve.admin);
        assert_eq!(serve.status("hello-acme"), 200, "{format}");
        assert_eq!(serve.status("unknown"), 404, "{format}");
        serve.kill(signal);
        assert_eq!(wait(&mut serve.child, SOON).code(), Some(0), "{format}");
        serve.reader.take().unwrap().join().unwrap();
        let lines = serve.lines();
        assert!(lines.iter().any(|line| line.contains("drained")), "{lines:#?}");
        let access = lines.iter().filter(|line| line.contains("acme/hello")).count();
        assert_eq!(access, usize::from(format != "off"), "{format}: {lines:#?}");
        if format == "text" {
            let line = lines.iter().find(|line| line.contains("acme/hello")).unwrap();
            assert!(line.contains(" GET / 200 "), "{line}");
            assert!(!lines.concat().contains('\u{1b}'), "no colours into a pipe");
        }
    }
}

#[test]
fn a_request_in_flight_outlives_the_signal_and_a_second_signal_ends_it() {
    for twice in [false, true] {
        let (came, release) = (Signal::new(), Signal::new());
        let app = ScriptedApp::start({
            let (came, release) = (came.clone(), release.clone());
            move |connection| {
                connection.head();
                came.give();
                release.wait();
                let _ = connection.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        });
        let folder = Folder::new();
        let path = folder.write("gateway.toml", config("text", &["hello"], app.address()));
        let mut serve = Serve::start(&path);
        let mut caller = Caller::to(serve.address);
        caller.send("GET / HTTP/1.1\r\nHost: hello-acme.ignite.test\r\n\r\n");
        came.wait();
        serve.kill(Kill::TERM);
        eventually("it refuses", || TcpStream::connect(serve.address).is_err());
        if twice {
            serve.kill(Kill::TERM);
            wait(&mut serve.child, SOON);
            caller.expect_closed();
            release.give();
        } else {
            release.give();
            let response = caller.read_response().expect(200);
            assert_eq!(response.field("connection").as_deref(), Some("close"));
            drop(caller);
            assert_eq!(wait(&mut serve.child, SOON).code(), Some(0));
        }
    }
}

#[test]
fn a_taken_port_is_exit_code_1_with_the_address_and_a_hint() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = Folder::new();
    let usual = config("text", &[], address);
    for (what, text) in [
        ("listener", usual.replacen("127.0.0.1:0", &address.to_string(), 1)),
        (
            "admin",
            usual.replace(
                "[admin]\naddress = \"127.0.0.1:0\"",
                &format!("[admin]\naddress = \"{address}\""),
            ),
        ),
    ] {
        let path = folder.write("gateway.toml", text);
        let output = run(&["serve", "--config", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{what}");
        let errors = stderr(&output);
        assert!(errors.contains(&address.to_string()) && errors.contains(what), "{errors}");
        assert!(errors.contains("in use"), "{errors}");
    }
}

#[test]
fn a_second_gateway_with_the_same_configuration_is_refused() {
    let app = EchoHeads::start();
    let folder = Folder::new();
    let text = config("text", &["hello"], app.address());
    let path = folder.write("gateway.toml", &text);
    let serve = Serve::start(&path);
    let same = text.replacen("127.0.0.1:0", &serve.address.to_string(), 1).replacen(
        "127.0.0.1:0",
        &serve.admin.to_string(),
        1,
    );
    let path = folder.write("other.toml", same);
    let output = run(&["serve", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    for _ in 0..20 {
        assert_eq!(serve.status("hello-acme"), 200);
    }
    serve.finish();
}

#[test]
fn the_environment_beats_the_file() {
    let app = EchoHeads::start();
    let folder = Folder::new();
    let path = folder.write("gateway.toml", config("text", &["hello"], app.address()));
    let environment = [
        ("IGNITE_GATEWAY__DOMAIN", "example.org"),
        ("IGNITE_GATEWAY__LIMITS__REQUEST_BODY", "3"),
        ("IGNITE_GATEWAY__ACCESS_LOG__FORMAT", "json"),
    ];
    let serve = Serve::start_with(&path, &environment);
    assert_eq!(serve.status("hello-acme"), 404);
    let mut caller = Caller::to(serve.address);
    caller.send("GET / HTTP/1.1\r\nHost: hello-acme.example.org\r\n\r\n");
    let _ = caller.read_response().expect(200);
    caller.send("POST / HTTP/1.1\r\nHost: hello-acme.example.org\r\nContent-Length: 4\r\n\r\nbody");
    let _ = caller.read_response().expect(413);
    drop(caller);
    let lines = serve.finish();
    for line in lines {
        let _: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    }

    let output = command(&["check", "--config", path.to_str().unwrap()])
        .env("IGNITE_GATEWAY__TIMEOUTS__CONNECT", "never")
        .env("IGNITE_GATEWAY__NO_SUCH", "1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    for name in ["IGNITE_GATEWAY__TIMEOUTS__CONNECT", "IGNITE_GATEWAY__NO_SUCH"] {
        assert!(stderr(&output).contains(name), "{}", stderr(&output));
    }
}

// --- reload -------------------------------------------------------------------------------

#[test]
fn sighup_reads_the_file_again_and_keeps_what_is_in_flight() {
    let app = EchoHeads::start();
    let folder = Folder::new();
    let path = folder.write("gateway.toml", config("text", &["hello"], app.address()));
    let serve = Serve::start(&path);
    let mut caller = Caller::to(serve.address);
    caller.send("GET / HTTP/1.1\r\nHost: hello-acme.ignite.test\r\n\r\n");
    let _ = caller.read_response().expect(200);
    serve.kill(Kill::HUP);
    serve.wait_lines("configuration reloaded", 1);
    serve.kill(Kill::HUP);
    serve.wait_lines("configuration reloaded", 2);
    caller.send("GET / HTTP/1.1\r\nHost: hello-acme.ignite.test\r\n\r\n");
    let _ = caller.read_response().expect(200);
    drop(caller);
    serve.finish();
}

#[test]
fn a_file_that_changes_in_place_is_read_again_by_itself() {
    let app = EchoHeads::start();
    let folder = Folder::new();
    let path = folder.write("gateway.toml", config("text", &["one"], app.address()));
    let serve = Serve::start(&path);
    assert_eq!((serve.status("one-acme"), serve.status("two-acme")), (200, 404));
    folder.write("gateway.toml", config("text", &["one", "two"], app.address()));
    serve.wait_status("two-acme", 200);
    folder.write("gateway.toml", config("text", &["two"], app.address()));
    serve.wait_status("one-acme", 404);
    assert_eq!(serve.status("two-acme"), 200);
    serve.finish();
}

#[test]
fn a_file_that_is_replaced_by_rename_is_read_again_each_time() {
    let app = EchoHeads::start();
    let folder = Folder::new();
    let path = folder.write("gateway.toml", config("text", &["start"], app.address()));
    let serve = Serve::start(&path);
    for name in ["one", "two", "three"] {
        let new = folder.write(".new", config("text", &[name], app.address()));
        fs::rename(new, &path).unwrap();
        serve.wait_status(&format!("{name}-acme"), 200);
    }
    assert_eq!(serve.status("start-acme"), 404);
    // A file that goes and comes back.
    fs::remove_file(&path).unwrap();
    serve.wait_lines("cannot be read", 1);
    assert_eq!(serve.status("three-acme"), 200, "the running one stays");
    folder.write("gateway.toml", config("text", &["back"], app.address()));
    serve.wait_status("back-acme", 200);
    serve.finish();
}

#[test]
fn a_swap_of_symbolic_links_as_kubernetes_does_it_is_seen() {
    let app = EchoHeads::start();
    let folder = Folder::new();
    let put = |version: &str, name: &str| {
        let data = folder.path(&format!("..{version}"));
        fs::create_dir(&data).unwrap();
        fs::write(data.join("gateway.toml"), config("text", &[name], app.address())).unwrap();
        symlink(format!("..{version}"), folder.path("..data_tmp")).unwrap();
        fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
    };
    put("2026_01", "one");
    symlink("..data/gateway.toml", folder.path("gateway.toml")).unwrap();
    let serve = Serve::start(&folder.path("gateway.toml"));
    assert_eq!(serve.status("one-acme"), 200);
    put("2026_02", "two");
    fs::remove_dir_all(folder.path("..2026_01")).unwrap();
    serve.wait_status("two-acme", 200);
    put("2026_03", "three");
    serve.wait_status("three-acme", 200);
    assert_eq!(serve.status("one-acme"), 404);
    serve.finish();
}

#[test]
fn a_file_named_without_a_folder_is_watched_too() {
    let app = EchoHeads::start();
    let folder = Folder::new();
    folder.write("gateway.toml", config("text", &["one"], app.address()));
    // A symbolic link to a file elsewhere, changed where it is, is left to SIGHUP.
    let mut serving = command(&["serve", "--config", "gateway.toml"]);
    let mut child = serving
        .current_dir(folder.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let out = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn({
        let lines = lines.clone();
        move || {
            for line in out.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        }
    });
    let any = "127.0.0.1:0".parse().unwrap();
    let mut serve = Serve { child, lines, reader: Some(reader), address: any, admin: any };
    serve.address = serve.listening("listening");
    serve.wait_runs();
    serve.wait_status("one-acme", 200);
    folder.write("gateway.toml", config("text", &["two"], app.address()));
    serve.wait_status("two-acme", 200);
    serve.finish();
}

#[test]
fn a_change_while_the_gateway_starts_is_not_missed() {
    let app = EchoHeads::start();
    for round in 0..20 {
        let folder = Folder::new();
        let path = folder.write("gateway.toml", config("text", &["one"], app.address()));
        let mut child = command(&["serve", "--config", path.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        // It has read the file, or it would not know where to listen.
        let mut first = std::io::BufRead::lines(&mut out).map_while(Result::ok);
        let address = first.find_map(|line| address_in(&line, "listening")).expect("it listens");
        let new = folder.write(".new", config("text", &["two"], app.address()));
        fs::rename(new, &path).unwrap();
        let drained = std::thread::spawn(move || out.lines().map_while(Result::ok).count());
        let start = Instant::now();
        let mut status = 0;
        while status != 200 && start.elapsed() < SOON {
            let mut caller = Caller::to(address);
            caller.send("GET / HTTP/1.1\r\nHost: two-acme.ignite.test\r\n\r\n");
            status = caller.read_response().status;
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let _ = child.wait();
        drained.join().unwrap();
        assert_eq!(status, 200, "start {round}: the new file was never read");
    }
}

#[test]
fn a_bad_change_keeps_the_old_configuration_and_the_log_says_why() {
    let app = EchoHeads::start();
    let folder = Folder::new();
    let path = folder.write("gateway.toml", config("text", &["hello"], app.address()));
    let serve = Serve::start(&path);
    folder.write("gateway.toml", BAD);
    serve.wait_lines("the configuration was not reloaded; the running one stays", 1);
    serve.wait_lines("gateway.toml:10:", 1);
    let log = serve.lines().join("\n");
    for line in [2, 5, 8, 10] {
        assert!(log.contains(&format!("gateway.toml:{line}:")), "line {line} in {log}");
    }
    assert_eq!(serve.status("hello-acme"), 200);
    // By signal as well, and mended again.
    serve.kill(Kill::HUP);
    serve.wait_lines("the configuration was not reloaded", 2);
    assert_eq!(serve.status("hello-acme"), 200);
    folder.write("gateway.toml", config("text", &["mended"], app.address()));
    serve.wait_status("mended-acme", 200);
    serve.finish();
}

#[test]
fn what_needs_a_restart_is_said_in_the_log() {
    let app = EchoHeads::start();
    let folder = Folder::new();
    let text = config("text", &["hello"], app.address());
    let path = folder.write("gateway.toml", &text);
    let serve = Serve::start(&path);
    folder.write("gateway.toml", text.replace("workers = 1", "workers = 2"));
    serve.wait_lines("needs a restart", 1);
    serve.wait_lines("configuration reloaded", 1);
    assert_eq!(serve.status("hello-acme"), 200);
    serve.finish();
}

// --- the access log -----------------------------------------------------------------------

pub fn access_lines(lines: &[String]) -> Vec<Value> {
    let parse = |line: &String| -> Value {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
    };
    lines.iter().map(parse).filter(|line| line["target"] == "access").collect()
}

#[test]
fn an_access_log_line_has_every_documented_field() {
    let app = EchoHeads::start();
    let folder = Folder::new();
    let path = folder.write("gateway.toml", config("json", &["hello"], app.address()));
    let serve = Serve::start(&path);
    let mut caller = Caller::to(serve.address);
    caller.send(
        "POST /a/b?c=d HTTP/1.1\r\nHost: hello-acme.ignite.test\r\nContent-Length: 4\r\n\r\nbody",
    );
    let response = caller.read_response().expect(200);
    let from = caller.local_address();
    drop(caller);
    assert_eq!(serve.status("nobody"), 404);
    let access = access_lines(&serve.finish());
    assert_eq!(access.len(), 2, "{access:#?}");
    let line = &access[0];
    let id = response.field("x-ignite-execution-id").unwrap();
    assert_eq!(line["ignite.execution_id"], id);
    assert_eq!(line["ignite.function_id"], "acme/hello");
    assert_eq!(line["ignite.organization_id"], "acme");
    assert_eq!(line["http.request.method"], "POST");
    assert_eq!(line["server.address"], "hello-acme.ignite.test");
    assert_eq!(line["url.path"], "/a/b");
    assert_eq!(line["url.query"], "c=d");
    assert_eq!(line["network.protocol.version"], "1.1");
    assert_eq!(line["http.response.status_code"], 200);
    assert_eq!(line["client.address"], from.ip().to_string());
    assert_eq!(line["client.port"], from.port());
    assert_eq!(line["upstream.address"], app.address().to_string());
    assert_eq!(line["attempts"], 1);
    assert!(line["duration_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(line["upstream.connection"], "new");
    let part = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name} in {line}"));
    assert!(part("connect_ms") <= part("first_byte_ms"));
    assert!(part("first_byte_ms") <= part("duration_ms"));
    assert_eq!(line["queue_ms"], 0);
    assert_eq!(line["http.request.body.size"], 4);
    assert_eq!(line["http.response.body.size"], response.body.len());
    assert_eq!(line["termination"], "complete");
    assert_eq!(line["error.type"], Value::Null);
    assert!(line["timestamp"].is_string() && line["level"] == "INFO");

    let line = &access[1];
    assert_eq!(line["ignite.function_id"], "");
    assert_eq!(line["http.response.status_code"], 404);
    assert_eq!(line["error.type"], "unknown_host");
    assert_eq!(line["termination"], "caller.request");
    assert_eq!(line["upstream.address"], Value::Null);
    assert_eq!(line["attempts"], 0);
}

/// Heads with bytes that would like to be a log line of their own.
const FORGERIES: &[&[u8]] = &[
    b"GET /\"}\",\"status\":200,\"x\":\" HTTP/1.1\r\nHost: nobody.ignite.test\r\n\r\n",
    b"GET /a\\n{\\\"forged\\\":1} HTTP/1.1\r\nHost: nobody.ignite.test\r\n\r\n",
    b"GET /\xc2\x85\xe2\x80\xa8forged HTTP/1.1\r\nHost: nobody.ignite.test\r\n\r\n",
    b"GET /\xff\xfe\x80forged HTTP/1.1\r\nHost: nobody.ignite.test\r\n\r\n",
    b"GET /\x1b[2Jforged HTTP/1.1\r\nHost: nobody.ignite.test\r\n\r\n",
    b"GET /\rforged HTTP/1.1\r\nHost: nobody.ignite.test\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\"b.ignite.test\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \x1b[31mforged\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xc2\x9b31mforged\xe2\x80\xa8\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\tforged\r\n\r\n",
    b"G\"ET / HTTP/1.1\r\nHost: nobody.ignite.test\r\n\r\n",
    b"FORGED / HTTP/1.1\r\nHost: nobody.ignite.test\r\n\r\n",
    b"GET http://evil\"host/x HTTP/1.1\r\nHost: nobody.ignite.test\r\n\r\n",
];

#[test]
fn no_request_can_forge_or_split_a_line_of_the_access_log() {
    let app = EchoHeads::start();
    let folder = Folder::new();
    let mut raw = Vec::new();
    for format in ["json", "text"] {
        let path = folder.write("gateway.toml", config(format, &["hello"], app.address()));
        let serve = Serve::start(&path);
        for head in FORGERIES {
            let mut caller = Caller::to(serve.address);
            caller.send(head);
            assert!((400..502).contains(&caller.read_response().status));
        }
        let lines = serve.finish();
        if format == "json" {
            let access = access_lines(&lines);
            assert_eq!(access.len(), FORGERIES.len(), "{lines:#?}");
            for line in access {
                assert!(line["http.response.status_code"].as_u64() >= Some(400), "{line}");
                assert!(line.get("forged").is_none() && line.get("status").is_none(), "{line}");
            }
        }
        for line in &lines {
            let odd = line.chars().find(|c| {
                c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}' | '\u{200b}')
            });
            let starts_well = line.starts_with('{') || line.starts_with("20");
            if odd.is_some() || !starts_well {
                raw.push(format!("{format}: {odd:?} in {line}"));
            }
        }
    }
    assert!(raw.is_empty(), "lines of their own, or control characters: {raw:#?}");
}

#[test]
fn a_sample_of_nothing_still_logs_errors() {
    let app = EchoHeads::start();
    let refusing = crate::support::edge::Refusing::new();
    let folder = Folder::new();
    let text = config("json", &["hello"], app.address())
        .replace("format = \"json\"", "format = \"json\"\nsample = 0.0");
    let dead = format!(
        "\n[[app]]\norganization = \"acme\"\nname = \"dead\"\nhealth_check = false\n\
         endpoints = [\"{}\"]\n",
        refusing.address()
    );
    let path = folder.write("gateway.toml", text + &dead);
    let serve = Serve::start(&path);
    for _ in 0..10 {
        assert_eq!(serve.status("hello-acme"), 200);
    }
    assert_eq!(serve.status("dead-acme"), 502);
    let access = access_lines(&serve.finish());
    assert_eq!(access.len(), 1, "{access:#?}");
    assert_eq!(access[0]["error.type"], "connect_refused");
    assert_eq!(access[0]["ignite.function_id"], "acme/dead");
}

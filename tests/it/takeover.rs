//! A restart without losing a call: a new process takes over from the running
//! one, or gets its sockets from a service manager.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ignite_gateway::http2::frame::PREFACE;
use rustix::process::Signal as Kill;

use crate::binary::{BINARY, Folder, Serve, command, config, finish, stderr};
use crate::support::frames::{self, Frames, settings};
use crate::support::tls::{Authority, Files};
use crate::support::{Caller, EchoHeads, HOST, LIMIT, ScriptedApp, Signal, eventually};

/// A folder with a configuration and the place of a take-over socket.
pub struct Place {
    pub folder: Folder,
    config: PathBuf,
    socket: PathBuf,
}

impl Place {
    fn new(app: SocketAddr) -> Self {
        Self::with(app, 1)
    }

    pub fn with(app: SocketAddr, workers: usize) -> Self {
        let folder = Folder::new();
        let config = folder.write("gateway.toml", text(app, workers));
        let socket = folder.path("takeover.sock");
        Self { folder, config, socket }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&["serve", "--config", self.config.to_str().unwrap()]);
        command.args(["--takeover-socket", self.socket.to_str().unwrap()]);
        command.args(arguments);
        command
    }

    #[track_caller]
    pub fn start(&self) -> Serve {
        let serve = Serve::launch(self.command(&[]));
        eventually("the take-over socket is there", || self.socket.exists());
        serve
    }

    #[track_caller]
    pub fn take_over(&self) -> Serve {
        let serve = Serve::launch(self.command(&["--takeover"]));
        serve.wait_lines("took over from the gateway that ran before", 1);
        serve
    }

    /// Runs it to its end, which is to come by itself.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }
}

pub fn text(app: SocketAddr, workers: usize) -> String {
    config("text", &["hello"], app)
        .replace("workers = 1", &format!("workers = {workers}"))
        .replace("drain_delay = \"0s\"", "drain_delay = \"0s\"\ndrain = \"8s\"")
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
}

// --- load ---------------------------------------------------------------------------------

/// Callers that go on until they are stopped; each request's outcome is written down.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    lost: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr, kept: usize, new: usize) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            answered: Arc::default(),
            lost: Arc::default(),
            threads: Vec::new(),
        };
        for number in 0..kept {
            // Some without a pause, some with idle moments.
            let pause = Duration::from_millis([0, 1, 7, 40][number % 4]);
            load.caller(move |connection| request(address, connection, pause));
        }
        for _ in 0..new {
            load.caller(move |connection| {
                *connection = None;
                request(address, connection, Duration::ZERO)
            });
        }
        load
    }

    fn caller(
        &mut self,
        ask: impl Fn(&mut Option<TcpStream>) -> Result<(), String> + Send + 'static,
    ) {
        let (stop, answered, lost) = (self.stop.clone(), self.answered.clone(), self.lost.clone());
        self.threads.push(std::thread::spawn(move || {
            let mut connection = None;
            while !stop.load(Ordering::SeqCst) {
                match ask(&mut connection) {
                    Ok(()) => drop(answered.fetch_add(1, Ordering::SeqCst)),
                    Err(error) => {
                        connection = None;
                        lost.lock().unwrap().push(error);
                    }
                }
            }
        }));
    }

    /// Waits for so many answers more.
    #[track_caller]
    fn wait(&self, count: usize) {
        let before = self.answered.load(Ordering::SeqCst);
        eventually("calls are answered", || self.answered.load(Ordering::SeqCst) >= before + count);
    }

    /// Every request was answered; how many.
    #[track_caller]
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        let (lost, answered) = (self.lost.lock().unwrap(), self.answered.load(Ordering::SeqCst));
        assert!(lost.is_empty(), "{} lost, {answered} answered: {:#?}", lost.len(), lost.first());
        answered
    }
}

/// One request, on the connection that is there or a new one, and all of its answer.
fn request(
    address: SocketAddr,
    connection: &mut Option<TcpStream>,
    pause: Duration,
) -> Result<(), String> {
    let reused = connection.is_some();
    let failed = |what: &str, error: std::io::Error| {
        format!("{what}: {error} ({:?}, reused: {reused})", error.kind())
    };
    let stream = if let Some(stream) = connection {
        stream
    } else {
        let stream = TcpStream::connect(address).map_err(|error| failed("connect", error))?;
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        connection.insert(stream)
    };
    stream.write_all(get("/").as_bytes()).map_err(|error| failed("write", error))?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    let (head, length) = loop {
        match stream.read(&mut piece).map_err(|error| failed("read", error))? {
            0 => return Err(failed("no answer", ErrorKind::UnexpectedEof.into())),
            count => answer.extend_from_slice(&piece[..count]),
        }
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let head = text[..end].to_owned();
        let length = head.split("content-length: ").nth(1).expect("it has a length");
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        if answer.len() >= end + 4 + length {
            break (head, end + 4 + length);
        }
    };
    if !head.starts_with("http/1.1 200 ") || answer.len() != length {
        return Err(format!("another answer: {head}"));
    }
    if head.contains("\r\nconnection: close") {
        *connection = None;
    } else {
        std::thread::sleep(pause);
    }
    Ok(())
}

/// Whether the operator's listener says that the gateway is ready.
fn admin_ready(admin: SocketAddr) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("admin: {error}");
    let mut stream = TcpStream::connect(admin).map_err(fail)?;
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").map_err(fail)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(fail)?;
    answer.starts_with("HTTP/1.1 200 ").then_some(()).ok_or(format!("admin says {answer}"))
}

// --- take-over ----------------------------------------------------------------------------

#[test]
fn taking_over_twice_under_load_loses_no_call_whatever_the_number_of_workers() {
    let app = EchoHeads::start();
    for workers in [[1, 1, 1], [2, 4, 1], [3, 1, 2]] {
        let place = Place::with(app.address(), workers[0]);
        let first = place.start();
        let (address, admin) = (first.address, first.admin);
        let mut load = Load::start(address, 12, 6);
        load.caller(move |_| admin_ready(admin));
        load.wait(300);
        let mut running = first;
        for workers in &workers[1..] {
            place.folder.write("gateway.toml", text(app.address(), *workers));
            let next = place.take_over();
            assert_eq!((next.address, next.admin), (address, admin));
            let log = running.wait_end();
            assert!(log.iter().any(|line| line.contains(" drained")), "{log:#?}");
            load.wait(300);
            running = next;
        }
        let answered = load.stop();
        assert!(answered >= 900, "{answered}");
        running.finish();
        assert!(!place.socket.exists(), "the last one takes its socket along");
    }
}

#[test]
fn a_request_in_flight_is_finished_by_the_process_that_has_it() {
    let release = Signal::new();
    let hung = Arc::new(AtomicBool::new(false));
    let app = ScriptedApp::start({
        let (release, hung) = (release.clone(), hung.clone());
        move |connection| {
            connection.head();
            if !hung.swap(true, Ordering::SeqCst) {
                release.wait();
            }
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let place = Place::new(app.address());
    let old = place.start();
    let mut caller = Caller::to(old.address);
    caller.send(get("/"));
    eventually("it is at the app", || hung.load(Ordering::SeqCst));
    let new = place.take_over();
    Caller::to(new.address).get("/").expect(200);
    caller.expect_silence();
    release.give();
    let response = caller.read_response().expect(200);
    assert_eq!(response.field("connection").as_deref(), Some("close"));
    caller.expect_closed();
    old.wait_end();
    new.finish();
}

#[test]
fn an_http2_caller_is_sent_away_after_its_last_answer() {
    let app = EchoHeads::start();
    let place = Place::new(app.address());
    let old = place.start();
    let mut caller = Frames::new(Arc::new(TcpStream::connect(old.address).unwrap()));
    caller.send([PREFACE, &settings(&[])].concat());
    caller.ask(1, frames::get(1, "/")).expect(200);
    // It does not answer the farewell's PING, so there is a moment for what crosses it.
    caller.answers = false;
    let new = place.take_over();
    caller.ask(3, frames::get(3, "/")).expect(200);
    caller.read_to_close();
    assert_eq!(caller.goaway, Some((3, frames::NO_ERROR)));
    old.wait_end();
    new.finish();
}

#[test]
fn tls_listeners_are_handed_over_with_what_is_under_way() {
    let app = EchoHeads::start();
    let (authority, files) = (Authority::new(), Files::new());
    files.put("tls", &authority.issue(&[HOST]));
    let place = Place::new(app.address());
    let (certificate, key) = (files.path("tls.crt"), files.path("tls.key"));
    let tls = format!(
        "address = \"127.0.0.1:0\"\n[listener.tls]\ncertificates = [{{ certificate = {certificate:?}, \
         key = {key:?} }}]\n"
    );
    let text = text(app.address(), 1).replacen("address = \"127.0.0.1:0\"\n", &tls, 1);
    place.folder.write("gateway.toml", text);
    let old = place.start();
    let mut caller = Caller::over_tls(old.address, &authority.client(), HOST);
    caller.get("/").expect(200);
    let new = place.take_over();
    old.wait_lines("draining", 1);
    let response = caller.get("/").expect(200);
    assert_eq!(response.field("connection").as_deref(), Some("close"));
    drop(caller);
    old.wait_end();
    Caller::over_tls(new.address, &authority.client(), HOST).get("/").expect(200);
    new.finish();
}

#[test]
fn connections_that_the_old_process_accepted_get_one_more_answer() {
    let app = EchoHeads::start();
    let place = Place::new(app.address());
    let old = place.start();
    let (mut idle, mut silent) = (Caller::to(old.address), Caller::to(old.address));
    idle.get("/").expect(200);
    let mut pipelining = Caller::to(old.address);
    pipelining.get("/").expect(200);
    let new = place.take_over();
    old.wait_lines("draining", 1);
    // Far longer than a drain after SIGTERM leaves them.
    std::thread::sleep(Duration::from_millis(600));
    for caller in [&mut idle, &mut silent] {
        let response = caller.get("/").expect(200);
        assert_eq!(response.field("connection").as_deref(), Some("close"));
        caller.expect_closed();
    }
    pipelining.send(get("/one") + &get("/two"));
    let first = pipelining.read_response().expect(200);
    assert_eq!(first.field("connection"), None, "the next one is there already");
    let last = pipelining.read_response().expect(200);
    assert_eq!(last.field("connection").as_deref(), Some("close"));
    pipelining.expect_closed();
    old.wait_end();
    new.finish();
}

#[test]
fn an_idle_connection_of_the_old_process_ends_in_order_at_half_its_time() {
    let app = EchoHeads::start();
    let place = Place::new(app.address());
    let old = place.start();
    let mut idle = Caller::to(old.address);
    idle.get("/").expect(200);
    let start = Instant::now();
    let new = place.take_over();
    assert_eq!(idle.read_to_close(), (Vec::new(), crate::support::Ended::Eof));
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(7), "{took:?}");
    drop(idle);
    old.wait_end();
    new.finish();
}

#[test]
fn a_new_process_with_a_broken_configuration_leaves_the_old_one_serving() {
    let app = EchoHeads::start();
    let place = Place::new(app.address());
    let old = place.start();
    let load = Load::start(old.address, 2, 2);
    load.wait(20);
    // A mistake in the file is found before anybody is asked; the old process refuses it, too.
    place.folder.write("gateway.toml", "workerz = 3\n");
    let output = place.run(&["--takeover"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    // An address that is taken is found with the sockets in hand, and after more of them were made
    // for more workers.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!("\n[[listener]]\naddress = \"{}\"\n", taken.local_addr().unwrap());
    place.folder.write("gateway.toml", text(app.address(), 4) + &more);
    for round in 1..=5 {
        let output = place.run(&["--takeover"]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains("is another process using it"), "{}", stderr(&output));
        old.wait_lines("the take-over failed; this process goes on serving", round);
    }
    load.wait(100);
    load.stop();
    // And a good one takes over still.
    place.folder.write("gateway.toml", text(app.address(), 2));
    let new = place.take_over();
    old.wait_end();
    assert_eq!(new.status("hello-acme"), 200);
    new.finish();
}

#[test]
fn a_new_process_that_dies_before_it_serves_takes_no_connection_along() {
    let app = EchoHeads::start();
    let place = Place::new(app.address());
    let old = place.start();
    let load = Load::start(old.address, 2, 4);
    load.wait(20);
    // It waits for the answer of this app, which never comes; more workers, so more sockets.
    let mute = listening();
    let endpoint = format!(
        "\n[[app]]\norganization = \"acme\"\nname = \"mute\"\nendpoints = [\"{}\"]\n",
        mute.local_addr().unwrap()
    );
    place.folder.write("gateway.toml", text(app.address(), 4) + &endpoint);
    let new = Serve::launch(place.command(&["--takeover"]));
    // Soon: after three seconds it would serve without that app's answer.
    load.wait(30);
    assert!(!new.lines().iter().any(|line| line.contains("took over")), "it waits");
    drop(new);
    old.wait_lines("the take-over failed; this process goes on serving", 1);
    // Another one thinks better of it, and leaves the field to the one that serves.
    let new = Serve::launch(place.command(&["--takeover"]));
    new.finish();
    old.wait_lines("the take-over failed; this process goes on serving", 2);
    load.wait(100);
    load.stop();
    old.finish();
}

#[test]
fn who_asks_for_the_sockets_and_then_leaves_or_talks_nonsense_changes_nothing() {
    let app = EchoHeads::start();
    let place = Place::new(app.address());
    let old = place.start();
    for (count, words) in ["{\"hello\":{\"version\":1}}\n", "{\"hello\":{\"version\":9}}\n", "?\n"]
        .into_iter()
        .enumerate()
    {
        let mut stream = UnixStream::connect(&place.socket).unwrap();
        stream.write_all(words.as_bytes()).unwrap();
        let mut answer = [0; 256];
        let length = stream.read(&mut answer).unwrap_or(0);
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        let expected = ["{\"sockets\":", "{\"refused\":", ""][count];
        assert!(answer.starts_with(expected), "{answer}");
        drop(stream);
        assert_eq!(old.status("hello-acme"), 200);
    }
    let new = place.take_over();
    old.wait_end();
    new.finish();
}

#[test]
fn without_a_running_gateway_a_take_over_is_an_ordinary_start() {
    let app = EchoHeads::start();
    let place = Place::new(app.address());
    for _ in 0..2 {
        let serve = Serve::launch(place.command(&["--takeover"]));
        serve.wait_lines("no gateway runs there to take over from", 1);
        assert_eq!(serve.status("hello-acme"), 200);
        // Killed: its socket stays behind, and is in nobody's way.
        eventually("its socket is there", || place.socket.exists());
        serve.kill(Kill::KILL);
        drop(serve);
        assert!(place.socket.exists());
    }
    let serve = place.start();
    assert_eq!(serve.status("hello-acme"), 200);
    serve.finish();
    assert!(!place.socket.exists());
}

#[test]
fn the_take_over_socket_is_its_users_own_and_replaces_nothing_else() {
    let app = EchoHeads::start();
    let place = Place::new(app.address());
    fs::write(&place.socket, "precious").unwrap();
    for arguments in [&[][..], &["--takeover"]] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains("takeover.sock"), "{}", stderr(&output));
        assert_eq!(fs::read_to_string(&place.socket).unwrap(), "precious");
    }
    fs::remove_file(&place.socket).unwrap();
    let serve = place.start();
    let there = fs::metadata(&place.socket).unwrap();
    assert!(there.file_type().is_socket());
    assert_eq!(there.mode() & 0o777, 0o600);
    // A second gateway on other addresses that was not told to take over.
    let output = place.run(&[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("--takeover"), "{}", stderr(&output));
    assert_eq!(serve.status("hello-acme"), 200);
    serve.finish();
    let left: Vec<_> = fs::read_dir(place.socket.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "only the configuration: {left:?}");
}

#[test]
fn somebody_at_the_socket_who_is_no_gateway_is_not_believed() {
    let app = EchoHeads::start();
    let place = Place::new(app.address());
    let stranger = UnixListener::bind(&place.socket).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = stranger.accept().unwrap();
        stream.write_all(b"{\"sockets\":{\"names\":[\"listener\"],\"more\":false}}\n").unwrap();
        let _ = stream.read(&mut [0; 256]);
    });
    let output = place.run(&["--takeover"]);
    thread.join().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("does not speak this protocol"), "{}", stderr(&output));
}

// --- passed sockets -----------------------------------------------------------------------

/// Starts `serve` with these sockets as descriptors 3 and 4, as a service manager would.
fn passing(config: &Path, names: &str, one: TcpListener, other: Option<TcpListener>) -> Command {
    let mut shell = Command::new("sh");
    shell.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let (script, count) = match other {
        Some(other) => {
            shell.stderr(OwnedFd::from(other));
            ("exec 3<&0 4<&2 0</dev/null 2>/dev/null; LISTEN_PID=$$ exec \"$0\" \"$@\"", "2")
        }
        None => ("exec 3<&0 0</dev/null; LISTEN_PID=$$ exec \"$0\" \"$@\"", "1"),
    };
    shell.args(["-c", script, BINARY, "serve", "--config", config.to_str().unwrap()]);
    shell.env("LISTEN_FDS", count).env("LISTEN_FDNAMES", names);
    shell.stdin(OwnedFd::from(one));
    shell
}

#[test]
fn sockets_of_a_service_manager_are_used_and_who_waits_in_them_is_served() {
    let app = EchoHeads::start();
    let folder = Folder::new();
    let (calls, admin) = (listening(), listening());
    let addresses = [calls.local_addr().unwrap(), admin.local_addr().unwrap()];
    let text = text(app.address(), 3)
        .replacen("127.0.0.1:0", &addresses[0].to_string(), 1)
        .replacen("127.0.0.1:0", &addresses[1].to_string(), 1);
    let path = folder.write("gateway.toml", text);
    let (calls_kept, admin_kept) = (calls.try_clone().unwrap(), admin.try_clone().unwrap());
    // They come before anybody accepts.
    let mut early: Vec<_> = (0..20).map(|_| Caller::to(addresses[0])).collect();
    early.iter_mut().for_each(|caller| caller.send(get("/")));
    // The admin socket first: the address decides, not the order.
    let mut shell = passing(&path, "admin:web", admin, Some(calls));
    let mut child = shell.stdout(Stdio::null()).spawn().unwrap();
    for caller in &mut early {
        caller.read_response().expect(200);
    }
    eventually("admin answers", || admin_ready(addresses[1]).is_ok());
    // A restart: whoever comes meanwhile waits in the socket that the manager holds.
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, Kill::TERM).unwrap();
    drop(early);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut late = Caller::to(addresses[0]);
    late.send(get("/"));
    let mut shell = passing(&path, "", admin_kept, Some(calls_kept));
    let mut child = shell.stdout(Stdio::null()).spawn().unwrap();
    late.read_response().expect(200);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn listening() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn passed_sockets_that_the_configuration_does_not_name_are_a_clear_error() {
    let app = EchoHeads::start();
    let folder = Folder::new();
    let socket = listening();
    let address = socket.local_addr().unwrap();
    let path =
        folder.write("gateway.toml", text(app.address(), 1).replace("127.0.0.1:0", "127.0.0.2:0"));
    let mut shell = passing(&path, "web", socket, None);
    let output = finish(shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains(&format!("LISTEN_FDS passes {address} (named web)")), "{text}");
    assert!(text.contains("127.0.0.2:0"), "{text}");

    // Not a socket at all, and no number.
    let mut command = command(&["serve", "--config", path.to_str().unwrap()]);
    command.env("LISTEN_FDS", "many");
    let output = finish(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("LISTEN_FDS is `many`"), "{}", stderr(&output));
    // Meant for another process.
    let path = folder.write("good.toml", config("text", &["hello"], app.address()));
    let serve = Serve::start_with(&path, &[("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]);
    assert_eq!(serve.status("hello-acme"), 200);
    serve.finish();
}

#[test]
fn passed_sockets_are_handed_over_like_any_other() {
    let app = EchoHeads::start();
    let place = Place::with(app.address(), 3);
    let mut shell = passing(&place.config, "web", listening(), None);
    shell.args(["--takeover-socket", place.socket.to_str().unwrap()]);
    let first = Serve::launch(shell);
    eventually("the take-over socket is there", || place.socket.exists());
    let address = first.address;
    let load = Load::start(address, 6, 6);
    load.wait(100);
    let mut running = first;
    for workers in [5, 2] {
        place.folder.write("gateway.toml", text(app.address(), workers));
        let next = place.take_over();
        running.wait_end();
        load.wait(100);
        running = next;
    }
    load.stop();
    running.finish();
}

// --- the service manager ------------------------------------------------------------------

/// A service manager that hears what it is told.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(folder: &Folder) -> Self {
        let path = folder.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self { socket, path }
    }

    /// The next message that is not the watchdog's.
    #[track_caller]
    fn next(&self) -> String {
        loop {
            let mut buffer = [0; 512];
            let length = self.socket.recv(&mut buffer).expect("the manager is told something");
            let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if text != "WATCHDOG=1" {
                return text;
            }
        }
    }

    #[track_caller]
    fn expect(&self, lines: &[&str]) -> String {
        let text = self.next();
        for line in lines {
            assert!(text.lines().any(|told| told == *line), "no {line} in {text}");
        }
        text
    }
}

#[test]
fn the_service_manager_is_told_of_readiness_reloads_and_the_end() {
    let app = EchoHeads::start();
    let place = Place::new(app.address());
    let manager = Manager::new(&place.folder);
    let mut command = place.command(&[]);
    command.env("NOTIFY_SOCKET", &manager.path);
    let serve = Serve::launch(command);
    let pid = format!("MAINPID={}", serve.pid());
    let text = manager.expect(&["READY=1", &pid]);
    assert!(text.contains("STATUS=serving, apps: 1, listeners: 1"), "{text}");
    serve.kill(Kill::HUP);
    let text = manager.expect(&["RELOADING=1"]);
    assert!(text.contains("\nMONOTONIC_USEC="), "{text}");
    manager.expect(&["READY=1"]);
    place.folder.write("gateway.toml", "workerz = 3\n");
    manager.expect(&["RELOADING=1"]);
    let text = manager.expect(&["READY=1"]);
    assert!(text.contains("refused"), "{text}");
    serve.kill(Kill::TERM);
    manager.expect(&["STOPPING=1"]);
    serve.wait_end();
}

#[test]
fn the_service_manager_learns_the_new_main_process_and_never_hears_of_a_stop() {
    let app = EchoHeads::start();
    let place = Place::new(app.address());
    let manager = Manager::new(&place.folder);
    let mut command = place.command(&[]);
    command.env("NOTIFY_SOCKET", &manager.path);
    let old = Serve::launch(command);
    manager.expect(&["READY=1"]);
    eventually("the take-over socket is there", || place.socket.exists());
    // Started by hand: it learns of the manager from the old one.
    let new = place.take_over();
    let pid = format!("MAINPID={}", new.pid());
    manager.expect(&[&pid]);
    manager.expect(&["READY=1", &pid]);
    old.wait_end();
    new.kill(Kill::TERM);
    manager.expect(&["STOPPING=1"]);
    new.wait_end();
}

#[test]
fn the_watchdog_is_fed_by_the_new_process_too() {
    let app = EchoHeads::start();
    let place = Place::new(app.address());
    let manager = Manager::new(&place.folder);
    let mut command = place.command(&[]);
    command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "100000");
    let old = Serve::launch(command);
    eventually("the take-over socket is there", || place.socket.exists());
    let new = place.take_over();
    old.wait_end();
    // What was told before is read away; what comes from here on is the new one's.
    manager.socket.set_nonblocking(true).unwrap();
    while manager.socket.recv(&mut [0; 512]).is_ok() {}
    manager.socket.set_nonblocking(false).unwrap();
    for _ in 0..3 {
        let mut buffer = [0; 512];
        let length = manager.socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"WATCHDOG=1");
    }
    new.finish();
}

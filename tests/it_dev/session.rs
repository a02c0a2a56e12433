//! One run of `ignite-gateway dev`: its lines as they come, calls through it, its end.
//!
//! Everything waits for a line, an answer or an end, up to [`DEADLINE`]. Dropping a
//! session ends the process and whatever it started.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The longest that any single thing may take.
pub const DEADLINE: Duration = Duration::from_secs(40);
const PROGRAM: &str = env!("CARGO_BIN_EXE_ignite-gateway");

/// A running `dev`, and what it printed so far.
pub struct Session {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

/// How a session ended.
pub struct End {
    /// The process's status.
    pub status: ExitStatus,
    /// Its error output.
    pub errors: String,
    /// Every line of its output.
    pub lines: Vec<String>,
}

impl Session {
    /// Starts `dev` on ports of its own.
    pub fn start(arguments: &[&str]) -> Self {
        let ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        Self::start_exactly(&[&ports, arguments].concat())
    }

    /// Starts `dev --tls`, its certificate kept in a folder within `cache`.
    pub fn start_tls(cache: &Path) -> Self {
        let arguments = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--tls"];
        Self::start_with(&arguments, &[("XDG_CACHE_HOME", cache)])
    }

    /// Starts `dev` with these arguments, its probes quick unless they say otherwise.
    pub fn start_exactly(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    fn start_with(arguments: &[&str], environment: &[(&str, &Path)]) -> Self {
        let quick = [["--initial-delay", "50ms"], ["--period", "100ms"]];
        let quick = quick.into_iter().filter(|[name, _]| !arguments.contains(name)).flatten();
        let mut child = Command::new(PROGRAM)
            .arg("dev")
            .args(quick)
            .args(arguments)
            .env_remove("RUST_LOG")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built binary starts");
        let output = BufReader::new(child.stdout.take().unwrap());
        let (print, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if print.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// The next line that holds `text`.
    pub fn line(&mut self, text: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(why) => panic!("no line with `{text}` ({why}):\n{}", self.seen.join("\n")),
            }
        }
    }

    /// The number at the end of the next line that holds `text`.
    pub fn number(&mut self, text: &str) -> i32 {
        let line = self.line(text);
        let digits = line.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap();
        digits.parse().unwrap_or_else(|_| panic!("no number in `{line}`"))
    }

    /// Host and port of the next URL that was printed for an app.
    pub fn url(&mut self) -> (String, u16) {
        let line = self.line("  http://");
        let (host, rest) = line.trim().strip_prefix("http://").unwrap().split_once(':').unwrap();
        (host.to_owned(), rest.split_once('/').unwrap().0.parse().unwrap())
    }

    /// Asks the process to stop.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the process's end, which is the end of its output.
    pub fn end(mut self) -> End {
        let until = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(why) => panic!("it does not end ({why}):\n{}", self.seen.join("\n")),
            }
        }
        let status = self.child.wait().unwrap();
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        End { status, errors, lines: std::mem::take(&mut self.seen) }
    }

    /// Stops the process with this signal and expects a clean end.
    pub fn stop(self, signal: Signal) -> End {
        self.signal(signal);
        let end = self.end();
        assert_eq!(end.status.code(), Some(0), "{}\n{}", end.lines.join("\n"), end.errors);
        end
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // The second one makes it kill the app; its own death would leave that behind.
            self.signal(Signal::TERM);
            self.signal(Signal::TERM);
            while self.lines.recv_timeout(Duration::from_secs(15)).is_ok() {}
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Calls the gateway at `port` for `host`; the whole answer.
pub fn call(port: u16, host: &str, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\
         X-Ignite-Execution-Id: forged\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Waits until the process is gone, or a zombie that only its new parent can reap.
pub fn dies(pid: i32) {
    let until = Instant::now() + DEADLINE;
    while is_alive(pid) {
        assert!(Instant::now() < until, "process {pid} still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the process runs.
pub fn is_alive(pid: i32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output();
    let output = output.expect("`ps` is there");
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    !(state.is_empty() || state.starts_with('Z'))
}

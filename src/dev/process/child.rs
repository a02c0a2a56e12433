//! One life of an app: its process group from start to end.
//!
//! Does not restart anything. The group is signalled as a whole, and only while
//! its first process is not yet reaped: until then the kernel cannot give the
//! group's id to a stranger.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use thiserror::Error;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as SignalEvents, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time;

use super::output::{self, Sink, Stream};

/// How long the last output of an ended app is awaited. It is there at once,
/// unless a process that left the group still holds the pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The command that is run as an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppCommand {
    program: OsString,
    arguments: Vec<OsString>,
}

impl AppCommand {
    /// A program, looked up in `PATH` unless it holds a `/`, and its arguments.
    pub fn new<A: Into<OsString>>(
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { program: program.into(), arguments }
    }
}

/// For people to read, not for a shell to run.
impl fmt::Display for AppCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.program.display().fmt(f)?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", argument.display()))
    }
}

/// Why a command could not be started.
#[derive(Debug, Clone, Error)]
pub enum StartError {
    /// There is no such program.
    #[error("the command `{0}` was not found: is it installed, and in PATH?")]
    NotFound(String),
    /// There is no file of that name.
    #[error("there is no file `{0}`: is the path right?")]
    NoFile(String),
    /// The file is there; what it needs to run is not.
    #[error("`{0}` cannot run: the interpreter that its first line names was not found")]
    NoInterpreter(String),
    /// The file is not executable.
    #[error("`{0}` may not be executed: is it a program, with `chmod +x`?")]
    NotExecutable(String),
    /// Any other error of the system.
    #[error("`{program}` could not be started")]
    System {
        /// The command's program.
        program: String,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
}

impl StartError {
    fn new(program: &OsStr, error: io::Error) -> Self {
        let path = Path::new(program);
        let name = path.display().to_string();
        match error.kind() {
            io::ErrorKind::NotFound if path.components().count() < 2 => Self::NotFound(name),
            io::ErrorKind::NotFound if path.exists() => Self::NoInterpreter(name),
            io::ErrorKind::NotFound => Self::NoFile(name),
            io::ErrorKind::PermissionDenied => Self::NotExecutable(name),
            _ => Self::System { program: name, source: Arc::new(error) },
        }
    }
}

/// A running app. Dropping it kills its whole process group.
#[derive(Debug)]
pub struct AppProcess {
    // Dropped first: the group is killed before its first process is reaped.
    group: Group,
    child: Child,
    children_changed: SignalEvents,
    readers: JoinSet<()>,
}

impl AppProcess {
    /// Starts `command` in its own process group with `PORT` set, and hands every
    /// line of its output to `sink`.
    pub fn spawn(command: &AppCommand, port: u16, sink: &Sink) -> Result<Self, StartError> {
        Self::try_spawn(command, port, sink)
            .map_err(|error| StartError::new(&command.program, error))
    }

    fn try_spawn(command: &AppCommand, port: u16, sink: &Sink) -> io::Result<Self> {
        // Before the start, so that no end goes unnoticed.
        let children_changed = signal(SignalKind::child())?;
        let mut child = Command::new(&command.program)
            .args(&command.arguments)
            .env("PORT", port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group: Ctrl-C reaches the gateway only, which stops the app in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let leader = leader.ok_or_else(|| io::Error::other("the new process has no id"))?;
        let group = Group { leader, done: false };

        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(output::relay(stdout, Stream::Stdout, Arc::clone(sink)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(output::relay(stderr, Stream::Stderr, Arc::clone(sink)));
        }
        Ok(Self { group, child, children_changed, readers })
    }

    /// The app's first process, which is its process group too.
    pub fn pid(&self) -> u32 {
        self.group.leader.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits until the app's first process has ended, and leaves it unreaped.
    pub async fn exited(&mut self) {
        while !self.group.leader_has_ended() {
            if self.children_changed.recv().await.is_none() {
                // The runtime shuts down and tells no more signals.
                std::future::pending::<()>().await;
            }
        }
    }

    /// SIGTERM to the group; SIGKILL to what is left of it when the first process
    /// has ended, or after `grace`. Says how the first process ended.
    pub async fn stop(mut self, grace: Duration) -> String {
        self.group.signal(Signal::TERM);
        // In time or not: what follows is the same.
        let _ = time::timeout(grace, self.exited()).await;
        self.finish().await
    }

    /// Kills what is left of the group, reaps its first process and reads the last
    /// output. Says how the first process ended.
    pub async fn finish(mut self) -> String {
        self.group.signal(Signal::KILL);
        let status = self.child.wait().await;
        self.group.done = true;
        let readers = async { while self.readers.join_next().await.is_some() {} };
        // Too late is as good as done: a process that left the group holds the pipe.
        let _ = time::timeout(LAST_WORDS, readers).await;
        describe(&status)
    }
}

/// `exit status 3`, `signal 9 (SIGKILL)`.
fn describe(status: &io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string().replacen(": ", " ", 1),
        Err(error) => format!("unknown status ({error})"),
    }
}

/// A process group that is killed when this is dropped, unless it is done.
#[derive(Debug)]
struct Group {
    leader: Pid,
    /// The leader was reaped: its id may be a stranger's from here on.
    done: bool,
}

impl Group {
    fn signal(&self, signal: Signal) {
        if !self.done {
            // The only likely error is that nobody is left.
            let _ = kill_process_group(self.leader, signal);
        }
    }

    fn leader_has_ended(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // An error means that there is no such child any more.
        !matches!(waitid(WaitId::Pid(self.leader), look), Ok(None))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

#[cfg(test)]
mod tests;

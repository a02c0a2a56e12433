//! One child process that is certain to end.
//!
//! Dropping it sends SIGTERM, waits a little, then kills its whole process group: so it ends with a
//! finished run, an error, a panic and ctrl-c alike. Should the bench itself be killed, the kernel
//! does it (`setpriv --pdeathsig`, where that is installed).

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Fallible;
use crate::tools;

/// Long enough for a proxy without connections to leave by itself.
const GRACE: Duration = Duration::from_secs(3);
/// A log that does not grow for so long is written.
const QUIET: Duration = Duration::from_millis(150);
const LOG_LINES_SHOWN: usize = 6;

pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    told: bool,
}

impl Process {
    /// Starts `command` on `cores`, its output in a file of `folder`.
    pub(crate) fn start(
        name: &str,
        command: &[OsString],
        cores: Option<&str>,
        folder: &Path,
    ) -> Fallible<Self> {
        let log = folder.join(format!("{name}.log"));
        // Whoever appends goes on at the start, once what it wrote was taken away.
        let output = OpenOptions::new().create(true).append(true).open(&log)?;
        output.set_len(0)?;
        // The shell raises the limit of open files, then becomes the program: one process id.
        let mut whole = vec![OsString::from(
            "ulimit -S -n 65536 2>/dev/null || ulimit -S -n \"$(ulimit -H -n)\"; exec \"$@\"",
        )];
        whole.push("sh".into());
        if tools::find("setpriv").is_some() {
            whole.extend(["setpriv", "--pdeathsig", "TERM"].map(OsString::from));
        }
        whole.extend(tools::on_cores(cores));
        whole.extend_from_slice(command);
        let child = Command::new("/bin/sh")
            .arg("-c")
            .args(whole)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{name} cannot be started: {error}"))?;
        Ok(Self { child, log, told: false })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let shown = lines.iter().skip(lines.len().saturating_sub(LOG_LINES_SHOWN));
        shown.fold(String::new(), |text, line| text + "\n      " + line)
    }

    /// Counts the lines that it has written, once it writes no more, and throws them away.
    pub(crate) async fn take_log(&self) -> usize {
        let length = || fs::metadata(&self.log).map_or(0, |log| log.len());
        let mut before = length();
        for _ in 0..20 {
            tokio::time::sleep(QUIET).await;
            let now = length();
            if now == before {
                break;
            }
            before = now;
        }
        let log = fs::read(&self.log).unwrap_or_default();
        if let Ok(file) = OpenOptions::new().write(true).open(&self.log) {
            let _ = file.set_len(0);
        }
        memchr::memchr_iter(b'\n', &log).count()
    }

    /// Asks it to end, without waiting: many can be asked before the first is waited for.
    pub(crate) fn tell_to_end(&mut self) {
        if !self.told && self.child.try_wait().is_ok_and(|status| status.is_none()) {
            signal("-TERM", &self.child.id().to_string());
        }
        self.told = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.tell_to_end();
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        // Not waited for yet, so its id, and that of its group, cannot be anybody else's.
        signal("-KILL", &format!("-{}", self.child.id()));
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {
            let _ = writeln!(std::io::stderr(), "process {} could not be ended", self.child.id());
        }
    }
}

fn signal(which: &str, whom: &str) {
    let sent = Command::new("kill").args([which, "--", whom]).stderr(Stdio::null()).status();
    drop(sent);
}

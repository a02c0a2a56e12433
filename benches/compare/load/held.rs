//! Connections that a caller of this bench holds, in a process of its own, until it is told to end.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::MARK;
use crate::Fallible;

/// For ten thousand handshakes with the slowest, on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(120);

/// Dropped, they are closed.
pub(crate) struct Held {
    caller: Child,
    orders: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
    pub(crate) opened_in: Duration,
}

impl Held {
    /// Returns when all are open and idle.
    pub(super) async fn open(line: Vec<OsString>) -> Fallible<Self> {
        let (program, arguments) = line.split_first().ok_or("an empty command")?;
        let mut caller = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let orders = caller.stdin.take().ok_or("no way to tell it")?;
        let reports = BufReader::new(caller.stdout.take().ok_or("no way to hear it")?).lines();
        let mut held = Self { caller, orders, reports, opened_in: Duration::ZERO };
        let micros = held.report("opened").await?;
        held.opened_in = Duration::from_micros(micros.parse()?);
        Ok(held)
    }

    /// Proves that all are open still and some of them serve, and closes them.
    pub(crate) async fn close(mut self) -> Fallible<()> {
        self.orders.write_all(b"prove\n").await?;
        self.report("served").await?;
        drop(self.orders);
        tokio::time::timeout(PATIENCE, self.caller.wait()).await??;
        Ok(())
    }

    async fn report(&mut self, expected: &str) -> Fallible<String> {
        let line = tokio::time::timeout(PATIENCE, self.reports.next_line())
            .await
            .map_err(|_| "idle connections: no answer in time")??;
        let said = line.as_deref().and_then(|line| line.strip_prefix(MARK));
        if let Some(value) = said.and_then(|said| said.trim().strip_prefix(expected)) {
            return Ok(value.trim().to_owned());
        }
        let mut complaint = String::new();
        if let Some(errors) = &mut self.caller.stderr {
            errors.read_to_string(&mut complaint).await?;
        }
        let complaint = complaint.lines().next().unwrap_or("the caller has ended");
        Err(format!("idle connections: {complaint} {}", line.unwrap_or_default()).into())
    }
}

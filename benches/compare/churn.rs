//! Apps by the thousand, and their changes while the gateway is measured.
//!
//! A file tells the gateway of its apps, and it reads the whole of it anew whenever it changed: so the
//! changes of a second are written together. Of each thousand, half are endpoints that moved, half are
//! apps that went while others came. A write counts as applied when an app that came with it answers.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::apps::DOMAIN;
use crate::{Fallible, check, tls};

const A_SECOND: f64 = 1_000.0;
const BETWEEN_WRITES: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);
const PATIENCE: Duration = Duration::from_secs(20);

/// The gateway's configuration with its numbered apps.
#[derive(Clone)]
pub(crate) struct Churn {
    gateway: SocketAddr,
    changes: bool,
    text: Arc<Mutex<Text>>,
}

/// What is going on, until it is told to end.
pub(crate) struct Changing {
    ended: Arc<AtomicBool>,
    task: JoinHandle<Fallible<String>>,
}

impl Changing {
    /// What changed meanwhile, in words.
    pub(crate) async fn end(self) -> Fallible<String> {
        self.ended.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

impl Churn {
    /// `head` with so many apps behind it.
    pub(crate) fn new(
        (file, head): (&Path, &str),
        apps: usize,
        backend: SocketAddr,
        gateway: SocketAddr,
        changes: bool,
    ) -> Self {
        let text = Arc::new(Mutex::new(Text::new(file, head, apps, backend)));
        Self { gateway, changes, text }
    }

    pub(crate) fn write(&self) -> Fallible<()> {
        Ok(self.text.try_lock()?.write()?)
    }

    /// Changes apps from now on, if that is what this is for.
    pub(crate) fn begin(&self, client: &tls::Client) -> Option<Changing> {
        let ended = Arc::new(AtomicBool::new(false));
        let (this, client, until) = (self.clone(), client.clone(), Arc::clone(&ended));
        let go_on = async move { this.go_on(&client, &until).await };
        self.changes.then(|| Changing { ended, task: tokio::task::spawn_local(go_on) })
    }

    async fn go_on(&self, client: &tls::Client, ended: &AtomicBool) -> Fallible<String> {
        let mut text = self.text.lock().await;
        let (begun, mut changed, mut writes) = (Instant::now(), 0.0, 0_u32);
        let mut slowest = Duration::ZERO;
        while !ended.load(Ordering::Relaxed) {
            // As many as are due, however long the gateway took for the last ones.
            let due = (begun.elapsed() + BETWEEN_WRITES).as_secs_f64() * A_SECOND - changed;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive")]
            let newcomer = text.change(due.max(2.0) as usize);
            let written = Instant::now();
            text.write()?;
            while !check::serves(self.gateway, &newcomer, client).await? {
                if written.elapsed() > PATIENCE {
                    return Err(format!("{newcomer} is not there after {PATIENCE:?}").into());
                }
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            (changed, writes) = (changed + due, writes + 1);
            slowest = slowest.max(written.elapsed());
            let rest = BETWEEN_WRITES.saturating_sub(written.elapsed());
            for _ in 0..rest.as_millis() / BETWEEN_LOOKS.as_millis() {
                if !ended.load(Ordering::Relaxed) {
                    tokio::time::sleep(BETWEEN_LOOKS).await;
                }
            }
        }
        let (each, slowest) = (changed / begun.elapsed().as_secs_f64(), slowest.as_secs_f64());
        Ok(format!(
            "{each:.0} changes a second in {writes} writes, in force after {slowest:.2} s at most"
        ))
    }
}

/// Every numbered app takes as many bytes as any other, so that a change is one byte.
struct Text {
    file: PathBuf,
    whole: Vec<u8>,
    head: usize,
    record: usize,
    next: usize,
}

/// The letter that tells an app from the one that comes in its place, and where an endpoint that moves
/// goes, by its last digit: nobody calls it.
const NAMES: [u8; 2] = *b"pq";
const ENDPOINTS: [u8; 2] = *b"12";
const BEFORE_LETTER: &str = "[[app]]\norganization = \"many\"\nname = \"ap";

impl Text {
    fn new(file: &Path, head: &str, apps: usize, backend: SocketAddr) -> Self {
        let mut whole = head.as_bytes().to_vec();
        let mut record = 0;
        for number in 0..apps {
            let begin = whole.len();
            let rest =
                format!("p-{number:06}\"\nendpoints = [\"{backend}\"]\nhealth_check = false\n");
            whole.extend_from_slice(BEFORE_LETTER.as_bytes());
            whole.extend_from_slice(rest.as_bytes());
            record = whole.len() - begin;
        }
        Self { file: file.to_owned(), whole, head: head.len(), record, next: 0 }
    }

    /// Returns the host of an app that was not there before.
    fn change(&mut self, count: usize) -> String {
        let apps = (self.whole.len() - self.head) / self.record;
        let mut newcomer = String::new();
        for _ in 0..count.next_multiple_of(2) {
            let number = self.next % apps;
            self.next += 1;
            let begin = self.head + number * self.record;
            let Some(record) = self.whole.get_mut(begin..begin + self.record) else { continue };
            if number.is_multiple_of(2) {
                let digit = memchr::memmem::find(record, b"127.0.0.").map_or(0, |at| at + 8);
                toggle(record.get_mut(digit), ENDPOINTS);
            } else {
                let letter = toggle(record.get_mut(BEFORE_LETTER.len()), NAMES);
                newcomer = format!("ap{letter}-{number:06}-many.{DOMAIN}");
            }
        }
        newcomer
    }

    /// Whole or not at all: the file takes the old one's place.
    fn write(&self) -> std::io::Result<()> {
        // Beside the folder that is watched, not in it.
        let aside = self.file.parent().unwrap_or(&self.file).with_extension("new");
        fs::write(&aside, &self.whole)?;
        fs::rename(aside, &self.file)
    }
}

/// Returns the byte that is there now.
fn toggle(byte: Option<&mut u8>, [one, other]: [u8; 2]) -> char {
    let Some(byte) = byte else { return ' ' };
    *byte = if *byte == one { other } else { one };
    char::from(*byte)
}

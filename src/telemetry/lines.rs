//! The one way of log lines to standard output: gathered where they are made,
//! handed over in batches, written by a thread of their own.
//!
//! Nobody waits for a slow terminal or pipe. What waits to be written is bounded
//! for the whole process; lines beyond that are dropped and counted. Batches hold
//! whole lines, so lines of different threads never mix.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How much may wait to be written.
const MOST: usize = 16 << 20;
/// How long the end of the process waits for a reader that does not read.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a writer that would block is left alone.
const PAUSE: Duration = Duration::from_millis(10);
/// Buffers that are kept for the next batches.
const SPARE: usize = 8;
/// A buffer that has grown beyond is not kept.
const LARGE: usize = 256 << 10;

/// Where lines are handed over; by default they go nowhere.
#[derive(Debug, Clone, Default)]
pub struct Lines(Option<Arc<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    /// Rung for the writing thread.
    filled: Condvar,
    /// Rung when everything was written.
    emptied: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Batch>,
    /// Bytes of the batches, the one that is being written included.
    bytes: usize,
    spare: Vec<Vec<u8>>,
    ended: bool,
}

#[derive(Debug)]
struct Batch {
    text: Vec<u8>,
    lines: u64,
}

impl Lines {
    /// Starts a thread that writes to `out`.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Arc::<Queue>::default();
        let own = queue.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || own.write_all(out))?;
        Ok(Self(Some(queue)))
    }

    /// Whether lines go anywhere.
    pub fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Hands over whole lines, and leaves an empty buffer for the next.
    pub fn hand_over(&self, text: &mut Vec<u8>, lines: u64) {
        let Some(queue) = self.0.as_ref().filter(|_| !text.is_empty()) else {
            return text.clear();
        };
        let mut state = queue.lock();
        if state.ended || state.bytes + text.len() > MOST {
            drop(state);
            queue.dropped.fetch_add(lines, Ordering::Relaxed);
            return text.clear();
        }
        state.bytes += text.len();
        let spare = state.spare.pop().unwrap_or_default();
        let text = std::mem::replace(text, spare);
        state.batches.push_back(Batch { text, lines });
        drop(state);
        queue.filled.notify_one();
    }

    /// Lines that were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |queue| queue.dropped.load(Ordering::Relaxed))
    }

    /// Waits until what was handed over is written, but not for ever for a reader that does not
    /// read. What comes after is dropped.
    pub fn finish(&self) {
        let Some(queue) = &self.0 else { return };
        let mut state = queue.lock();
        state.ended = true;
        queue.filled.notify_one();
        let all = |state: &mut State| state.bytes > 0;
        let waited = queue.emptied.wait_timeout_while(state, PATIENCE, all);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writing thread.
    fn write_all(&self, mut out: impl Write) {
        while let Some(mut batch) = self.next() {
            if write(&mut out, &batch.text).is_err() {
                self.dropped.fetch_add(batch.lines, Ordering::Relaxed);
            }
            let mut state = self.lock();
            state.bytes -= batch.text.len();
            if state.bytes == 0 {
                self.emptied.notify_all();
            }
            if state.spare.len() < SPARE && batch.text.capacity() <= LARGE {
                batch.text.clear();
                state.spare.push(batch.text);
            }
        }
    }

    /// The next batch; `None` at the end.
    fn next(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            if let Some(batch) = state.batches.pop_front() {
                return Some(batch);
            }
            if state.ended {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Writes a batch whole. A pipe that somebody made non-blocking is tried again: half a line would
/// spoil the next.
fn write(out: &mut impl Write, mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        match out.write(text) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => text = text.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

/// Standard output, of which `dev` and an app behind it write lines, too.
pub struct Stdout;

impl Write for Stdout {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        // One lock for a whole batch.
        let mut out = io::stdout().lock();
        write(&mut out, text).map(|()| text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;

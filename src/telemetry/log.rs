//! Where log lines go: to standard error or output, by a thread of their own.
//!
//! Workers never wait for a slow terminal or pipe: lines queue, and are dropped
//! and counted when the queue is full.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use super::human::Human;
use super::level::LogLevel;
use crate::config::LogFormat;

/// Lines that may wait for a slow reader.
const QUEUE: usize = 65_536;

/// Keeps the writing thread; dropping it writes what is queued.
pub struct Logging {
    level: LogLevel,
    _guard: WorkerGuard,
}

impl Logging {
    /// Which lines are written.
    pub fn level(&self) -> &LogLevel {
        &self.level
    }
}

/// Starts logging to standard output; `RUST_LOG` chooses the level, `info` without it.
///
/// Does nothing if this process logs already.
pub fn start(format: LogFormat) -> Logging {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUE)
        .lossy(true)
        .thread_name("log")
        .finish(std::io::stdout());
    let level = LogLevel::from_environment(format != LogFormat::Off);
    let terminal = std::io::stdout().is_terminal();
    let layer = fmt::layer().with_writer(writer);
    let layer = if is_json(format, terminal) {
        layer.json().flatten_event(true).with_current_span(false).boxed()
    } else {
        layer.event_format(Human::default()).with_ansi(colour()).boxed()
    };
    if tracing_subscriber::registry().with(level.layer()).with(layer).try_init().is_ok() {
        log_panics();
    }
    Logging { level, _guard: guard }
}

/// A panic is a line like any other, on one line whatever it says, instead of text on standard
/// error that nobody collects. With `RUST_BACKTRACE` the usual text follows it.
fn log_panics() {
    let usual = std::panic::take_hook();
    let traced = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or_default();
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let said = payload.downcast_ref::<String>().map(String::as_str);
        let message = said.or_else(|| payload.downcast_ref().copied()).unwrap_or_default();
        tracing::error!(thread, location, panic = ?message, "a defect: something panicked");
        if traced {
            usual(panic);
        }
    }));
}

/// Whether standard output is a terminal whose reader did not ask for plain text
/// with `NO_COLOR`.
pub fn colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !refused
}

fn is_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto | LogFormat::Off => !terminal,
    }
}

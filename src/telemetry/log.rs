//! What the process says of itself, by way of `tracing`, and where all log lines
//! go: to standard output, by a thread of their own.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use super::access_log::{Output, Style};
use super::level::LogLevel;
use super::lines::{Lines, Stdout};
use crate::config::LogFormat;

/// Keeps the writing thread; dropping it writes what was handed over.
pub struct Logging {
    level: LogLevel,
    output: Output,
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.output.lines.finish();
    }
}

impl Logging {
    /// Which lines are written.
    pub fn level(&self) -> &LogLevel {
        &self.level
    }

    /// Where access logs are written.
    pub fn output(&self) -> Output {
        self.output.clone()
    }
}

/// Starts logging to standard output; `RUST_LOG` chooses the level, `info` without it.
pub fn start(format: LogFormat) -> std::io::Result<Logging> {
    let lines = Lines::start(Stdout)?;
    let style = style(format);
    let level = LogLevel::from_environment();
    let writer = lines.clone();
    let layer = fmt::layer().with_writer(move || Writer(writer.clone()));
    let layer = match style {
        Style::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
        Style::Text { colour } => layer.with_ansi(colour).boxed(),
    };
    // Who logs already goes on as before.
    if tracing_subscriber::registry().with(level.layer()).with(layer).try_init().is_ok() {
        log_panics();
    }
    Ok(Logging { level, output: Output { lines, style } })
}

/// Takes whole lines.
struct Writer(Lines);

impl std::io::Write for Writer {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.hand_over(&mut text.to_vec(), 1);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
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

fn style(format: LogFormat) -> Style {
    let text = match format {
        LogFormat::Json => false,
        LogFormat::Text => true,
        LogFormat::Auto | LogFormat::Off => std::io::stdout().is_terminal(),
    };
    if text { Style::Text { colour: colour() } } else { Style::Json }
}

//! Which log lines are written, changed while the process runs.
//!
//! The filter is read without a lock. An `EnvFilter` in `tracing_subscriber::reload`
//! would be read under one that all workers share. The access log is none of its
//! business: its lines go another way.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::{EnvFilter, filter::ParseError};

/// The longest text of a level.
pub const LONGEST: usize = 1024;

/// The level of the log: one word, or directives as in `RUST_LOG`.
#[derive(Clone)]
pub struct LogLevel {
    current: Arc<ArcSwap<Current>>,
    at_start: Arc<str>,
}

struct Current {
    text: String,
    filter: EnvFilter,
}

/// Why a level is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLevel(String);

impl fmt::Display for BadLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLevel").field("text", &self.text()).finish_non_exhaustive()
    }
}

impl LogLevel {
    /// What `RUST_LOG` says, else `info`.
    pub(super) fn from_environment() -> Self {
        let typed = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
        let current = typed.and_then(|text| {
            let filter = EnvFilter::try_new(&text).ok()?;
            Some(Current { text, filter })
        });
        let current = current
            .unwrap_or_else(|| Current { text: "info".to_owned(), filter: EnvFilter::new("info") });
        let at_start = current.text.as_str().into();
        Self { current: Arc::new(ArcSwap::from_pointee(current)), at_start }
    }

    /// The level in force.
    pub fn text(&self) -> String {
        self.current.load().text.clone()
    }

    /// The level that the process started with.
    pub fn at_start(&self) -> &str {
        &self.at_start
    }

    /// Puts another level in force, at once and for all threads.
    pub fn set(&self, text: &str) -> Result<(), BadLevel> {
        let filter = Self::filter(text)?;
        self.current.store(Arc::new(Current { text: text.to_owned(), filter }));
        // What every place that logs has remembered was the old filter's answer.
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    fn filter(text: &str) -> Result<EnvFilter, BadLevel> {
        let bad = |why: &str| {
            Err(BadLevel(format!(
                "{why}; write off, error, warn, info, debug or trace, or directives such as \
                 info,ignite_gateway::upstream=debug"
            )))
        };
        if text.len() > LONGEST {
            return bad("too long");
        }
        if text.contains('[') {
            return bad("there are no spans to filter by");
        }
        if text.split(',').any(|directive| !is_directive(directive)) {
            return bad("no level");
        }
        EnvFilter::try_new(text).or_else(|error: ParseError| bad(&error.to_string()))
    }

    /// The part of a subscriber that obeys it.
    pub(super) fn layer(&self) -> Filter {
        Filter(self.current.clone())
    }
}

/// `level` or `target=level`. A mistyped level alone would be taken for the name of a target, and
/// show all that comes from there: nothing.
fn is_directive(directive: &str) -> bool {
    let level = directive.trim().rsplit('=').next().unwrap_or_default();
    !level.is_empty() && level.parse::<LevelFilter>().is_ok()
}

/// Asks the filter in force.
pub(super) struct Filter(Arc<ArcSwap<Current>>);

impl<S: Subscriber> Layer<S> for Filter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        Layer::<S>::register_callsite(&self.0.load().filter, metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.0.load().filter.enabled(metadata, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Layer::<S>::max_level_hint(&self.0.load().filter)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use std::sync::Mutex;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let metadata = event.metadata();
            let line = format!("{} {}", metadata.level(), metadata.target());
            self.0.lock().unwrap().push(line);
        }
    }

    fn level() -> LogLevel {
        let current = Current { text: "info".to_owned(), filter: EnvFilter::new("info") };
        let current = Arc::new(ArcSwap::from_pointee(current));
        LogLevel { current, at_start: "info".into() }
    }

    fn log() {
        tracing::debug!(target: "pool", "kept");
        tracing::warn!(target: "pool", "lost");
    }

    #[test]
    fn a_change_holds_at_once() {
        let (level, written) = (level(), Written::default());
        let subscriber = tracing_subscriber::registry().with(level.layer()).with(written.clone());
        tracing::subscriber::with_default(subscriber, || {
            let lines = |text: &str| {
                level.set(text).unwrap();
                log();
                std::mem::take(&mut *written.0.lock().unwrap())
            };
            assert_eq!(lines("debug"), ["DEBUG pool", "WARN pool"]);
            assert_eq!(lines("error"), Vec::<String>::new());
            assert_eq!(lines("off,pool=warn"), ["WARN pool"]);
            assert_eq!(level.text(), "off,pool=warn");
        });
    }

    #[test]
    fn what_is_no_level_is_refused_and_changes_nothing() {
        let level = level();
        let long = "x".repeat(LONGEST + 1);
        for wrong in ["", "loud", "info,", "pool=", "pool=loud", "info,[span]=debug", &long] {
            let error = level.set(wrong).expect_err(wrong).to_string();
            assert!(error.contains("write off, error, warn"), "{error}");
        }
        assert_eq!((&*level.text(), level.at_start()), ("info", "info"));
    }
}

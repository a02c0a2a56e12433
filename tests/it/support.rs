//! What the tests share: a gateway, apps and callers over real sockets, each
//! with a limit on every wait, so that a defect fails a test instead of
//! stopping it.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

pub mod app;
pub mod caller;
pub mod collector;
pub mod crowd;
pub mod edge;
pub mod fault;
pub mod fault_http2;
pub mod frames;
pub mod gateway;
pub mod load;
pub mod many;
pub mod talk;
pub mod tls;
pub mod tools;
pub mod wire;

pub use app::{EchoHeads, ScriptedApp};
pub use caller::{Caller, Response};
pub use crowd::Crowd;
pub use frames::Frames;
pub use gateway::{Gateway, app};
pub use wire::Ended;

/// The longest that anything may take.
pub const LIMIT: Duration = Duration::from_secs(20);
/// How long nothing must happen to be believed that nothing will.
pub const QUIET: Duration = Duration::from_millis(150);
/// A piece of a body that nobody looks at.
pub static PIECE: [u8; 64 << 10] = [0; 64 << 10];
/// The host of the app that a gateway has unless asked otherwise.
pub const HOST: &str = "hello-acme.ignite.test";

/// Something that happens once, for tests and their apps to wait for each other.
#[derive(Clone, Default)]
pub struct Signal(Arc<(Mutex<bool>, Condvar)>);

impl Signal {
    pub fn new() -> Self {
        Self::default()
    }

    /// It happened.
    pub fn give(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Whether it happened.
    pub fn is_given(&self) -> bool {
        *self.0.0.lock().unwrap()
    }

    /// Waits until it happened.
    #[track_caller]
    pub fn wait(&self) {
        let given = self.0.0.lock().unwrap();
        let (given, _) = self.0.1.wait_timeout_while(given, LIMIT, |given| !*given).unwrap();
        assert!(*given, "the signal never came");
    }
}

/// Waits for a state that rings no bell.
#[track_caller]
pub fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < LIMIT, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Bytes as text for a failure's message.
pub fn show(bytes: &[u8]) -> String {
    let short = bytes.get(..2000).unwrap_or(bytes);
    format!("{}{}", short.escape_ascii(), if short.len() < bytes.len() { " ..." } else { "" })
}

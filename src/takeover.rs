//! A restart without losing a call: a new process gets the listening sockets of
//! the running one, serves, and only then the old one drains.
//!
//! What is handed over is the sockets themselves, not their addresses: a
//! connection waits in the queue of one socket, and a socket that is closed by
//! its last holder resets those that wait. As long as the new process holds
//! each of them, no queue is lost, whichever process accepts.
//!
//! | new process | old process |
//! |---|---|
//! | `Hello` | is not draining, and the peer is of its own user: |
//! | | `Sockets`, as often as it takes, each after a `More` |
//! | reads its configuration, takes what it wants, binds the rest: `Prepared` | |
//! | | `Go`, with what it knows of the service manager |
//! | accepts: `Ready` | |
//! | | tells the service manager, `Done`; stops accepting, drains, ends |
//!
//! Up to `Done` the old process serves as if nobody had asked. Whatever goes wrong
//! before, in time or in form, ends the new one and is a line in the old one's log.

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;

mod channel;
mod door;
mod predecessor;
mod successor;

pub use door::{Door, DoorError, default_path};
pub use predecessor::{Lost, Predecessor};
pub use successor::{HandedOver, hand_over};

/// What both sides must agree on; another number is another protocol.
const VERSION: u32 = 1;
/// For an answer that needs no work.
const STEP: Duration = Duration::from_secs(5);
/// For the new process to read its configuration, to bind, and to hear from the apps.
const PREPARATION: Duration = Duration::from_secs(30);

/// Why a take-over failed.
#[derive(Debug, Error)]
pub enum TakeoverError {
    /// The socket cannot be asked.
    #[error("cannot ask for the sockets at {}", path.display())]
    Connect {
        /// The take-over socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error("the process at the take-over socket runs as user {theirs}, this one as {ours}")]
    Stranger {
        /// The user at the other end.
        theirs: u32,
        /// This process's user.
        ours: u32,
    },
    /// The other side said why.
    #[error("refused: {0}")]
    Refused(String),
    /// The other side left without a word.
    #[error("the other process is gone")]
    Gone,
    /// The other side took too long.
    #[error("the other process did not answer in time")]
    Timeout,
    /// The other side said something else than was its turn.
    #[error("the other process does not speak this protocol")]
    Protocol,
    /// Something of the system's.
    #[error("the take-over socket failed")]
    Io(#[from] io::Error),
}

/// The listening sockets that a successor gets: second descriptors of those that are accepted from.
#[derive(Debug, Clone, Default)]
pub struct Held(Arc<Mutex<Option<Vec<Named>>>>);

/// A listening socket and its name.
pub type Named = (String, TcpListener);

impl Held {
    /// Holds these, by name.
    pub fn new(sockets: Vec<Named>) -> Self {
        Self(Arc::new(Mutex::new(Some(sockets))))
    }

    /// Before the sockets are closed where they are accepted from: held here, they would go on
    /// taking connections that nobody accepts.
    pub fn release(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// More descriptors of the same sockets; `None` once they were released.
    fn share(&self) -> io::Result<Option<Vec<Named>>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let share = |(name, socket): &Named| Ok((name.clone(), socket.try_clone()?));
        held.as_ref().map(|sockets| sockets.iter().map(share).collect()).transpose()
    }
}

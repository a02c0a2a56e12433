//! The thread that asks, so that a gateway that does not answer never holds up a
//! key.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::snapshot::Snapshot;
use super::{Options, TopError};

/// What the thread has to tell.
pub(super) enum Told {
    /// An answer.
    Seen(Snapshot),
    /// None, and why.
    Lost(String),
    /// The process is asked to end.
    Asked,
}

/// A running thread; it ends when nobody listens.
pub(super) struct Poller(Receiver<Told>);

impl Poller {
    /// Asks once, and if that is answered, again and again.
    pub(super) fn start(options: Options) -> Result<(Self, Snapshot), TopError> {
        let runtime = runtime().map_err(TopError::Start)?;
        let first = runtime
            .block_on(Snapshot::fetch(options.admin))
            .map_err(|reason| TopError::Unreachable(options.admin, reason))?;
        let signals = runtime.block_on(async { Signals::new() }).map_err(TopError::Start)?;
        let (tell, told) = mpsc::channel();
        let thread = std::thread::Builder::new().name("poll".to_owned());
        thread
            .spawn(move || runtime.block_on(poll(options, signals, &tell)))
            .map_err(TopError::Start)?;
        Ok((Self(told), first))
    }

    /// What it has told meanwhile.
    pub(super) fn told(&self) -> Option<Told> {
        self.0.try_recv().ok()
    }
}

/// A runtime for one thing at a time.
pub(super) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Those that end a process, after which the terminal must be as it was.
struct Signals(Vec<Signal>);

impl Signals {
    fn new() -> io::Result<Self> {
        let kinds = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()];
        kinds.into_iter().map(signal).collect::<io::Result<_>>().map(Self)
    }

    async fn any(&mut self) {
        std::future::poll_fn(|cx| {
            let mut all = self.0.iter_mut();
            if all.any(|signal| signal.poll_recv(cx).is_ready()) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }
}

async fn poll(options: Options, mut signals: Signals, tell: &Sender<Told>) {
    let mut wait = options.interval;
    loop {
        let told = tokio::select! {
            () = tokio::time::sleep(wait) => match Snapshot::fetch(options.admin).await {
                Ok(snapshot) => Told::Seen(snapshot),
                Err(reason) => Told::Lost(in_one_line(&reason)),
            },
            () = signals.any() => Told::Asked,
        };
        // Back at once when it is back.
        let lost = matches!(told, Told::Lost(_));
        wait = if lost { options.interval.min(Duration::from_secs(1)) } else { options.interval };
        if tell.send(told).is_err() {
            return;
        }
    }
}

/// An error and what caused it.
fn in_one_line(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

//! Connections of callers who have been silent for a moment, as bare sockets:
//! no task, no buffers, no timer.
//!
//! Most of an edge's connections just wait. As a task with its timer and its
//! registration each cost 8 KB resident; here it is a socket in a selector of
//! the worker's own, which the worker's runtime watches as one descriptor, and
//! it costs some hundred bytes. Whoever speaks, or leaves, becomes a task again.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use mio::event::Source as _;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;

use super::{Open, Own};
use crate::clock::{self, Instant};
use crate::gateway::Gateway;
use crate::gateway::headers::forwarded::Peer;
use crate::listener::Silent;
use crate::listener::per_client::Counted;
use crate::shutdown::Drain;

/// Sockets that are told of at once; more are told of in the next round.
const EVENTS: usize = 1024;
/// How many are looked through for their time before other tasks have their turn.
const STEP: usize = 4096;
/// How often it is looked for idle connections while none is wanted.
const UNWANTED: Duration = Duration::from_millis(100);

/// Keeps a connection whose caller is silent.
pub(super) fn rest(silent: Option<Silent>, gateway: &Gateway, open: Open) {
    let Some(silent) = silent else { return };
    let limit = gateway.settings().timeouts.keepalive;
    let own = open.0.clone();
    own.idle.keep(silent, limit, open);
}

/// Goes on with connections that are idle no more, as long as the worker runs.
pub(super) async fn wake(gateway: Rc<Gateway>, own: Rc<Own>, drain: Drain) {
    let mut watch = drain.watch();
    let go_on = |woken: Woken| resume(woken, &gateway, &drain);
    loop {
        tokio::select! {
            woken = own.idle.woken() => match woken {
                Ok(woken) => woken.into_iter().for_each(go_on),
                Err(error) => {
                    tracing::error!(%error, "idle connections are not watched any more");
                    return own.idle.close_all();
                }
            },
            () = poll_fn(|cx| watch.poll_unwanted(cx)) => {}
        }
        // Few are added from here on: a connection looks at the signal before it rests.
        while watch.is_unwanted() {
            if watch.is_draining() {
                // What a drain still waits for, each connection knows best.
                own.idle.wake_all().into_iter().for_each(go_on);
            } else {
                own.idle.close_all();
            }
            tokio::time::sleep(UNWANTED).await;
        }
    }
}

fn resume(woken: Woken, gateway: &Rc<Gateway>, drain: &Drain) {
    let Woken { silent, open } = woken;
    let (gateway, drain) = (gateway.clone(), drain.watch());
    tokio::task::spawn_local(async move {
        rest(silent.resume(gateway.clone(), drain).await, &gateway, open);
    });
}

/// The idle connections of one worker.
pub(super) struct Idle {
    selector: AsyncFd<Selector>,
    waiting: RefCell<Slab<Waiting>>,
    events: RefCell<Events>,
    began: Instant,
}

/// One of them.
struct Waiting {
    stream: mio::net::TcpStream,
    address: SocketAddr,
    trusted: bool,
    counted: Option<Counted>,
    /// In seconds of this worker's life, when it has been silent for too long.
    until: u32,
    open: Open,
}

/// A connection that is idle no more.
pub(super) struct Woken {
    silent: Silent,
    open: Open,
}

impl Waiting {
    fn wake(mut self, selector: &Poll) -> io::Result<Woken> {
        self.stream.deregister(selector.registry())?;
        let stream = TcpStream::from_std(self.stream.into())?;
        let peer = Rc::new(Peer::again(self.address, self.trusted));
        Ok(Woken { silent: Silent { stream, peer, counted: self.counted }, open: self.open })
    }
}

/// A selector that another one can watch.
struct Selector(RefCell<Poll>, std::os::fd::RawFd);

impl std::os::fd::AsRawFd for Selector {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.1
    }
}

impl Idle {
    /// Nobody is idle yet. To be made on the worker's runtime.
    pub(super) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&poll);
        // The descriptor is the selector's own, stays the same and lives as long as it: what the
        // constructor's successor asks for by `unsafe`.
        #[expect(deprecated)]
        let selector = AsyncFd::with_interest(
            Selector(RefCell::new(poll), descriptor),
            tokio::io::Interest::READABLE,
        )?;
        Ok(Self {
            selector,
            waiting: RefCell::new(Slab::new()),
            events: RefCell::new(Events::with_capacity(EVENTS)),
            began: clock::now(),
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Keeps a connection until somebody speaks on it, for about `limit`. One that cannot be kept is
    /// closed.
    pub(super) fn keep(&self, silent: Silent, limit: Duration, open: Open) {
        let Silent { stream, peer, counted } = silent;
        let kept = || -> io::Result<()> {
            let mut stream = mio::net::TcpStream::from_std(stream.into_std()?);
            let mut waiting = self.waiting.borrow_mut();
            let entry = waiting.vacant_entry();
            let selector = self.selector.get_ref().0.borrow();
            stream.register(selector.registry(), Token(entry.key()), Interest::READABLE)?;
            let (address, trusted) = (peer.address, peer.is_trusted());
            let until = self.age(limit);
            entry.insert(Waiting { stream, address, trusted, counted, until, open });
            Ok(())
        };
        if let Err(error) = kept() {
            tracing::warn!(%error, "an idle connection is closed: it cannot be watched");
        }
    }

    /// Waits until some speak or leave, and takes them out.
    pub(super) async fn woken(&self) -> io::Result<Vec<Woken>> {
        loop {
            let mut ready = self.selector.readable().await?;
            let woken = self.take_ready()?;
            if !woken.is_empty() {
                // Perhaps there are more: the selector stays ready as long as it has some.
                return Ok(woken);
            }
            ready.clear_ready();
        }
    }

    fn take_ready(&self) -> io::Result<Vec<Woken>> {
        let mut selector = self.selector.get_ref().0.borrow_mut();
        let events = &mut *self.events.borrow_mut();
        match selector.poll(events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Vec::new()),
            polled => polled?,
        }
        let mut waiting = self.waiting.borrow_mut();
        let ready = events.iter().filter_map(|event| waiting.try_remove(event.token().0));
        Ok(ready.filter_map(|waiting| waiting.wake(&selector).ok()).collect())
    }

    /// Takes all out.
    pub(super) fn wake_all(&self) -> Vec<Woken> {
        let selector = self.selector.get_ref().0.borrow();
        let waiting = self.take_all();
        waiting.into_iter().filter_map(|(_, waiting)| waiting.wake(&selector).ok()).collect()
    }

    /// Closes all.
    pub(super) fn close_all(&self) {
        drop(self.take_all());
    }

    fn take_all(&self) -> Slab<Waiting> {
        std::mem::take(&mut *self.waiting.borrow_mut())
    }

    /// Closes those that were silent for too long, and gives memory back where many have left.
    pub(super) async fn sweep(&self) {
        let now = self.age(Duration::ZERO);
        let mut from = 0;
        loop {
            let end = self.sweep_some(from, now);
            if end {
                break;
            }
            from += STEP;
            tokio::task::yield_now().await;
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() && waiting.capacity() > 0 {
            *waiting = Slab::new();
        }
    }

    fn sweep_some(&self, from: usize, now: u32) -> bool {
        let waiting = &mut *self.waiting.borrow_mut();
        for key in from..from + STEP {
            if waiting.get(key).is_some_and(|waiting| waiting.until <= now) {
                waiting.remove(key);
            }
        }
        from + STEP >= waiting.capacity()
    }

    /// When `wait` from now is.
    fn age(&self, wait: Duration) -> u32 {
        let age = clock::recent().saturating_duration_since(self.began) + wait;
        u32::try_from(age.as_secs()).unwrap_or(u32::MAX)
    }
}

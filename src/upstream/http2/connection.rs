//! One HTTP/2 connection to an endpoint, driven by a task of its own: its
//! streams belong to many requests, none of which could drive it for the rest.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::super::app::Endpoint;
use super::room::Room;
use crate::clock::Deadline;
use crate::config::{Limits, Timeouts};
use crate::http2::frame::Code;
use crate::http2::session::{self, Role, Session};
use crate::http2::settings::OwnSettings;
use crate::http2::wire::{Gone, Wire};

/// How long an app may be silent while requests wait, before it is asked for a sign of life:
/// behind a dead peer every new request would wait, too.
const QUIET: Duration = Duration::from_secs(10);
/// How long it may take to give one.
const ANSWER: Duration = Duration::from_secs(10);
/// All streams together may be sent this much ahead of their readers: each has a window of its
/// own, and one slow caller must not stop the others.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// How long an app that takes nothing any more is read on: a write fails as soon as a reset came,
/// which may be right behind an answer.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How much more an app may send that serves no request than a caller may: its connection carries
/// many callers' requests, and a server has more to say of its own accord.
const GENEROUS: u32 = 10;

/// A connection.
pub struct Connection {
    session: Rc<Session>,
    settled: Rc<Notify>,
    room: Rc<Room>,
}

impl Connection {
    /// Speaks first, and starts the task that goes on with it.
    pub(super) fn start(
        stream: TcpStream,
        endpoint: &Arc<Endpoint>,
        room: Rc<Room>,
        timeouts: &Timeouts,
        limits: &Limits,
    ) -> Rc<Self> {
        let own = OwnSettings {
            max_concurrent: 0,
            stream_window: limits.stream_window,
            connection_window: CONNECTION_WINDOW,
            field_section: limits.response_header_bytes,
            fields: limits.headers,
            target: 0,
        };
        let bounds = session::Limits {
            control_frames: limits.control_frames.saturating_mul(GENEROUS),
            resets: limits.stream_resets.saturating_mul(GENEROUS),
        };
        let session = Session::new(Role::Client, own, bounds);
        let settled = Rc::new(Notify::new());
        let mut driver = Driver {
            wire: Wire::new(stream, BytesMut::new()),
            session: session.clone(),
            settled: settled.clone(),
            room: room.clone(),
            was_settled: false,
            endpoint: endpoint.clone(),
            patience: timeouts.idle_body,
            keepalive: timeouts.upstream_keepalive,
            idle: Deadline::new(),
            quiet: Deadline::new(),
            asked: false,
            last_words: Deadline::new(),
        };
        tokio::task::spawn_local(async move { poll_fn(|cx| driver.poll(cx)).await });
        Rc::new(Self { session, settled, room })
    }

    /// The connection's streams.
    pub fn session(&self) -> &Rc<Session> {
        &self.session
    }

    /// A stream's task is done with it.
    pub(super) fn finish(&self, id: u32) {
        self.session.finish(id, Code::CANCEL);
        self.room.freed();
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        self.session.is_closed()
    }

    /// Whether the app has ever spoken on it.
    pub(super) fn was_settled(&self) -> bool {
        self.session.is_settled()
    }

    /// Whether it takes another stream.
    pub fn takes_streams(&self) -> bool {
        self.session.takes_streams()
    }

    /// Streams that are open.
    pub fn active(&self) -> usize {
        self.session.active()
    }

    /// Waits for the peer's first frame; false if it is no HTTP/2, or does not come in time.
    pub(super) async fn settled(&self, timeout: Duration) -> bool {
        if !self.first_frame(timeout).await {
            self.session.close();
        }
        self.session.is_settled() && !self.session.is_closed()
    }

    /// Waits for the peer's first frame or the connection's end; false if neither comes in time.
    pub(super) async fn first_frame(&self, timeout: Duration) -> bool {
        let wait = async {
            loop {
                let mut changed = std::pin::pin!(self.settled.notified());
                changed.as_mut().enable();
                if self.session.is_settled() || self.session.is_closed() {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(timeout, wait).await.is_ok()
    }
}

struct Driver {
    wire: Wire<TcpStream>,
    session: Rc<Session>,
    settled: Rc<Notify>,
    room: Rc<Room>,
    was_settled: bool,
    endpoint: Arc<Endpoint>,
    patience: Duration,
    keepalive: Duration,
    idle: Deadline,
    /// For anything to come while streams are open.
    quiet: Deadline,
    asked: bool,
    /// Set once nothing can be written.
    last_words: Deadline,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.session.close();
        self.settled.notify_waiters();
        self.room.all_freed();
    }
}

impl Driver {
    /// Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.session.register_driver(cx);
        loop {
            if self.poll_input(cx).is_err() || self.session.is_closed() {
                return Poll::Ready(());
            }
            if self.last_words.is_set() {
                return self.last_words.poll_passed(cx);
            }
            if self.poll_time(cx).is_ready() {
                self.session.go_away(Code::NO_ERROR, true);
                let _ = self.wire.poll_write(&self.session, self.patience, cx);
                return Poll::Ready(());
            }
            let was_full = self.session.is_full();
            if let Poll::Ready(Err(Gone)) = self.wire.poll_write(&self.session, self.patience, cx) {
                self.session.lose_peer();
                self.last_words.set_in(LAST_WORDS);
                continue;
            }
            if !was_full || self.session.is_full() {
                return Poll::Pending;
            }
        }
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Result<(), Gone> {
        while !self.session.is_full() {
            if let Err(code) = self.wire.take_frames(&self.session) {
                self.session.go_away(code, true);
                let _ = self.wire.poll_write(&self.session, self.patience, cx);
                return Err(Gone);
            }
            if !self.was_settled && self.session.is_settled() {
                self.was_settled = true;
                self.settled.notify_waiters();
            }
            match self.wire.poll_read(cx) {
                Poll::Ready(result) => result?,
                Poll::Pending => break,
            }
            self.quiet.clear();
            self.asked = false;
        }
        Ok(())
    }

    /// Ready when the connection is of no more use: idle for too long, or its peer is dead.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.session.active() == 0 {
            self.quiet.clear();
            if self.endpoint.is_retired() || !self.session.takes_streams() {
                return Poll::Ready(());
            }
            if !self.idle.is_set() {
                self.idle.set_in(self.keepalive);
            }
            return self.idle.poll_passed(cx);
        }
        self.idle.clear();
        if !self.quiet.is_set() {
            self.quiet.set_in(QUIET);
        }
        while self.quiet.poll_passed(cx).is_ready() {
            if self.asked {
                return Poll::Ready(());
            }
            self.asked = true;
            self.session.ping();
            self.quiet.set_in(ANSWER);
        }
        Poll::Pending
    }
}

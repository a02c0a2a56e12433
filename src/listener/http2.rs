//! One caller's HTTP/2 connection: reads frames, starts a task for each
//! request, writes what the tasks leave to be written.
//!
//! The tasks run on the same thread. When several of them are ready in one
//! turn of the loop, the connection runs after them and writes once for all.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;

use super::transport::Transport;
use crate::clock::Deadline;
use crate::gateway::headers::forwarded::Peer;
use crate::gateway::{Gateway, Settings};
use crate::http2::frame::Code;
use crate::http2::session::{Limits, Role, Session};
use crate::http2::settings::OwnSettings;
use crate::http2::wire::{Gone, Wire};
use crate::shutdown::DrainWatch;

mod answer;
mod websocket;

/// How long an idle connection keeps its buffers.
const PARK: Duration = Duration::from_secs(1);
/// How long a caller may take to learn that no new requests are taken, before those that it has
/// under way to us are refused: about the longest round trip.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a closing connection is read on, so that the last answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(2);

/// Serves a caller until either side is done; `input` came already.
pub async fn serve<S: Transport>(
    stream: S,
    input: BytesMut,
    peer: Rc<Peer>,
    gateway: Rc<Gateway>,
    drain: DrainWatch,
) {
    let settings = gateway.settings();
    gateway.load().connections().http2.up();
    let session = Session::new(Role::Server, own(&settings), limits(&settings));
    let mut connection = Connection {
        wire: Wire::new(stream, input),
        session,
        greeted: false,
        peer,
        gateway,
        drain,
        stage: Stage::Open,
        busy: false,
        begun: Deadline::new(),
        idle: Deadline::new(),
        parked: false,
        farewell: Deadline::new(),
    };
    connection.begun.set_in(settings.timeouts.header);
    if poll_fn(|cx| connection.poll(cx, &settings)).await.is_ok() {
        connection.close().await;
    }
}

/// What a connection still does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The caller was told to open no more streams; those under way to us are served.
    Announced,
    /// No new streams are served; it ends with the last one.
    Ending,
    /// It ends when all is written.
    Over,
}

struct Connection<S> {
    wire: Wire<S>,
    session: Rc<Session>,
    greeted: bool,
    peer: Rc<Peer>,
    gateway: Rc<Gateway>,
    drain: DrainWatch,
    stage: Stage,
    /// A request is under way.
    busy: bool,
    /// For a preface or a field block to come whole.
    begun: Deadline,
    idle: Deadline,
    parked: bool,
    farewell: Deadline,
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.session.close();
        self.set_busy(false);
        self.gateway.load().connections().http2.down();
    }
}

impl<S> Connection<S> {
    fn set_busy(&mut self, busy: bool) {
        if self.busy != busy {
            self.busy = busy;
            let counts = self.gateway.load().connections();
            if busy { counts.http2_busy.up() } else { counts.http2_busy.down() }
        }
    }
}

impl<S: Transport> Connection<S> {
    /// Ready when the connection is over and everything was written.
    fn poll(&mut self, cx: &mut Context<'_>, settings: &Settings) -> Poll<Result<(), Gone>> {
        self.session.register_driver(cx);
        loop {
            if self.poll_input(cx).is_ready() {
                return Poll::Ready(Err(Gone));
            }
            self.poll_stage(cx, settings);
            let was_full = self.session.is_full();
            let patience = settings.timeouts.idle_body;
            match self.wire.poll_write(&self.session, patience, cx) {
                Poll::Ready(Ok(())) if self.stage == Stage::Over => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(gone)) => return Poll::Ready(Err(gone)),
                Poll::Pending => return Poll::Pending,
            }
            // Reading had to stop, and nobody else would begin again.
            if !was_full || self.session.is_full() {
                return Poll::Pending;
            }
        }
    }

    /// Reads and takes frames until there are no more; ready when the caller has left.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.stage == Stage::Over || self.session.is_full() {
                return Poll::Pending;
            }
            if let Err(code) = self.take_frames() {
                self.end(code);
                return Poll::Pending;
            }
            if self.session.is_full() {
                return Poll::Pending;
            }
            match self.wire.poll_read(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(Gone)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn take_frames(&mut self) -> Result<(), Code> {
        if !self.greeted {
            self.greeted = self.wire.take_preface()?;
            if !self.greeted {
                return Ok(());
            }
        }
        while let Some(opened) = self.wire.take_frames(&self.session)? {
            let id = opened.id;
            let (peer, gateway) = (self.peer.clone(), self.gateway.clone());
            let answer = answer::answer(self.session.clone(), opened, peer, gateway);
            let task = tokio::task::spawn_local(answer);
            self.session.answered_by(id, task.abort_handle());
            if self.session.is_full() {
                break;
            }
        }
        Ok(())
    }

    /// What time and the gateway's own end ask for.
    fn poll_stage(&mut self, cx: &mut Context<'_>, settings: &Settings) {
        let active = self.session.active() > 0;
        self.set_busy(active);
        if self.session.is_settled() && !self.session.is_in_block() {
            self.begun.clear();
        } else {
            if !self.begun.is_set() {
                self.begun.set_in(settings.timeouts.header);
            }
            if self.begun.poll_passed(cx).is_ready() {
                self.end(Code::ENHANCE_YOUR_CALM);
            }
        }
        if self.stage == Stage::Open && self.drain.poll_draining(cx).is_ready() {
            self.session.go_away(Code::NO_ERROR, false);
            self.session.ping();
            self.farewell.set_in(FAREWELL);
            self.stage = Stage::Announced;
        }
        if self.stage == Stage::Announced
            && (self.session.is_ping_answered() || self.farewell.poll_passed(cx).is_ready())
        {
            self.session.go_away(Code::NO_ERROR, true);
            self.stage = Stage::Ending;
        }
        if self.stage == Stage::Ending && !active {
            self.stage = Stage::Over;
        }
        self.poll_idle(cx, settings, active);
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>, settings: &Settings, active: bool) {
        if active || self.stage != Stage::Open {
            self.idle.clear();
            self.parked = false;
            return;
        }
        let keepalive = settings.timeouts.keepalive;
        if !self.idle.is_set() {
            self.idle.set_in(PARK.min(keepalive));
        }
        while self.idle.poll_passed(cx).is_ready() {
            if self.parked || keepalive <= PARK {
                return self.end(Code::NO_ERROR);
            }
            self.parked = true;
            self.session.park();
            self.wire.park();
            self.idle.set_in(keepalive.saturating_sub(PARK));
        }
        // One that was in use a moment ago may have a request under way to us.
        if self.parked && self.drain.poll_unwanted(cx).is_ready() {
            self.end(Code::NO_ERROR);
        }
    }

    fn end(&mut self, code: Code) {
        if self.stage == Stage::Over {
            return;
        }
        if code != Code::NO_ERROR {
            self.gateway.shared().http2.failed(code.reason());
        }
        self.session.go_away(code, true);
        self.stage = Stage::Over;
    }

    /// Ends the connection so that the last frames arrive.
    async fn close(&mut self) {
        self.session.close();
        let _ = tokio::time::timeout(LINGER, poll_fn(|cx| self.wire.poll_close(cx))).await;
    }
}

fn own(settings: &Settings) -> OwnSettings {
    let limits = &settings.limits;
    OwnSettings {
        max_concurrent: limits.concurrent_streams,
        stream_window: limits.stream_window,
        connection_window: limits.connection_window,
        field_section: limits.header_bytes,
        fields: limits.headers,
        target: limits.request_target_bytes,
    }
}

fn limits(settings: &Settings) -> Limits {
    Limits { control_frames: settings.limits.control_frames, resets: settings.limits.stream_resets }
}

//! One HTTP/2 connection without its I/O: streams, windows, tables, and what
//! either side may still do. The same for both roles.
//!
//! A driver owns the byte stream: it feeds [`Session::receive`] and writes what
//! [`Session::write`] shows. Each stream has a task of its own that reads and
//! writes content through the session; whatever it leaves to be written wakes
//! the driver, once for all streams that were ready in one turn of the loop.
//! All of it runs on one thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use rustc_hash::FxHashMap;
use tokio::task::AbortHandle;

use super::frame::{self, Code, Kind, MAX_STREAM_ID, PREFACE};
use super::hpack::{Decoder, Encoder};
use super::out::{Out, SLICES};
use super::section::{Refusal, RequestHead};
use super::settings::{DEFAULT_TABLE, DEFAULT_WINDOW, OwnSettings, PeerSettings};

mod budget;
mod read;
mod receive;
mod send;
mod stream;

pub use budget::Limits;
pub use stream::Failure;

use budget::Budget;
use receive::FieldBlock;
use stream::Stream;

/// As much content waits at most to be written; then streams wait their turn.
const OUT_CONTENT: usize = 64 << 10;
/// As much waits at most in all; then nothing is read, so that nothing more is to be answered.
const OUT_ALL: usize = 128 << 10;
/// How many of the streams that we reset are remembered, because frames for them may be under way:
/// more than a caller has open, all of which may be answered before their uploads came whole.
const REMEMBERED: usize = 512;

/// Which side of a connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Callers open streams.
    Server,
    /// We open streams.
    Client,
}

/// A stream that a caller has opened.
#[derive(Debug)]
pub struct Opened {
    /// The stream.
    pub id: u32,
    /// The request, or why there is none. A malformed one is reset already.
    pub request: Result<RequestHead, Refusal>,
    /// Nothing follows the head.
    pub ended: bool,
}

/// One connection.
#[derive(Debug)]
pub struct Session(RefCell<State>);

#[derive(Debug)]
struct State {
    role: Role,
    own: OwnSettings,
    peer: PeerSettings,
    /// The peer's first SETTINGS came.
    settled: bool,
    out: Out,
    /// Bytes that have left.
    written: u64,
    scratch: BytesMut,
    decoder: Decoder,
    encoder: Encoder,
    streams: FxHashMap<u32, Stream>,
    send_window: i64,
    receive_window: i64,
    unclaimed: u32,
    /// Streams that wait for the connection's window or for room, in order.
    blocked: VecDeque<u32>,
    block: Option<FieldBlock>,
    /// The last stream that the peer opened.
    last_peer: u32,
    /// The next stream that we open.
    next_own: u32,
    /// Streams above this one, opened by the peer, are not served any more.
    serves_up_to: u32,
    /// The peer serves our streams up to this one.
    served_up_to: u32,
    budget: Budget,
    reset: VecDeque<u32>,
    ping_answered: bool,
    closed: bool,
    driver: Option<Waker>,
}

impl Session {
    /// A connection that begins: its first frames wait to be written.
    pub fn new(role: Role, own: OwnSettings, limits: Limits) -> Rc<Self> {
        let mut state = State {
            role,
            peer: PeerSettings::default(),
            settled: false,
            out: Out::default(),
            written: 0,
            scratch: BytesMut::new(),
            decoder: Decoder::new(DEFAULT_TABLE),
            encoder: Encoder::new(),
            streams: FxHashMap::default(),
            send_window: i64::from(DEFAULT_WINDOW),
            receive_window: i64::from(own.connection_window.max(DEFAULT_WINDOW)),
            unclaimed: 0,
            blocked: VecDeque::new(),
            block: None,
            last_peer: 0,
            next_own: 1,
            serves_up_to: MAX_STREAM_ID,
            served_up_to: MAX_STREAM_ID,
            budget: Budget::new(limits),
            reset: VecDeque::new(),
            ping_answered: false,
            closed: false,
            driver: None,
            own,
        };
        let settings = match role {
            Role::Server => own.of_server(),
            Role::Client => own.of_client(),
        };
        let more = own.connection_window.saturating_sub(DEFAULT_WINDOW);
        state.out.with(|out| {
            if role == Role::Client {
                out.extend_from_slice(PREFACE);
            }
            frame::put(out, Kind::Settings, 0, 0, &settings);
            if more > 0 {
                frame::put(out, Kind::WindowUpdate, 0, 0, &more.to_be_bytes());
            }
        });
        Rc::new(Self(RefCell::new(state)))
    }

    /// Streams that are open, or whose tasks have not ended yet.
    pub fn active(&self) -> usize {
        self.0.borrow().streams.len()
    }

    /// The driver is woken when there is something to write, or the last stream ended.
    pub fn register_driver(&self, cx: &Context<'_>) {
        let driver = &mut self.0.borrow_mut().driver;
        match driver {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => *driver = Some(cx.waker().clone()),
        }
    }

    /// Whether the peer is owed so much that nothing more should be read from it.
    pub fn is_full(&self) -> bool {
        self.0.borrow().out.len() >= OUT_ALL
    }

    /// Whether nothing waits to be written.
    pub fn is_flushed(&self) -> bool {
        self.0.borrow().out.is_empty()
    }

    /// Shows what is to be written next to `write`, which tells how much it wrote.
    pub fn write(
        &self,
        write: impl FnOnce(&[IoSlice<'_>]) -> Poll<std::io::Result<usize>>,
    ) -> Poll<std::io::Result<usize>> {
        let state = &mut *self.0.borrow_mut();
        let (slices, count) = state.out.slices();
        debug_assert!(count <= SLICES);
        let written = write(slices.get(..count).unwrap_or_default());
        if let Poll::Ready(Ok(written)) = written {
            state.out.advance(written);
            state.written += written as u64;
            state.wake_blocked();
        }
        written
    }

    /// Gives memory back while nothing is under way.
    pub fn park(&self) {
        let state = &mut *self.0.borrow_mut();
        if state.streams.is_empty() {
            state.out.release();
            state.scratch = BytesMut::new();
            state.streams.shrink_to_fit();
            state.blocked = VecDeque::new();
        }
    }

    /// Ends the connection: every stream that is left fails.
    pub fn close(&self) {
        let state = &mut *self.0.borrow_mut();
        state.closed = true;
        for stream in state.streams.values_mut() {
            stream.fail(Failure::Closed);
            if let Some(task) = stream.task.take() {
                task.abort();
            }
        }
    }

    /// The peer takes nothing any more: what waits for it is dropped, and no stream is opened. What
    /// it said before may still be read.
    pub fn lose_peer(&self) {
        let state = &mut *self.0.borrow_mut();
        state.out = Out::default();
        state.served_up_to = state.served_up_to.min(MAX_STREAM_ID - 1);
    }

    /// Tells the peer that no new streams are taken; `at_once` also refuses those that are
    /// under way, otherwise they are still served, RFC 9113 section 6.8.
    pub fn go_away(&self, code: Code, at_once: bool) {
        let state = &mut *self.0.borrow_mut();
        let last = if at_once { state.last_peer } else { MAX_STREAM_ID };
        state.serves_up_to = state.serves_up_to.min(last);
        let mut payload = [0; 8];
        payload[..4].copy_from_slice(&last.to_be_bytes());
        payload[4..].copy_from_slice(&code.0.to_be_bytes());
        state.out.with(|out| frame::put(out, Kind::GoAway, 0, 0, &payload));
        state.wake_driver();
    }

    /// Asks the peer for a sign of life; [`Self::is_ping_answered`] tells when it came.
    pub fn ping(&self) {
        let state = &mut *self.0.borrow_mut();
        state.ping_answered = false;
        state.out.with(|out| frame::put(out, Kind::Ping, 0, 0, &[0; 8]));
    }

    /// Whether the last ping was answered.
    pub fn is_ping_answered(&self) -> bool {
        self.0.borrow().ping_answered
    }

    /// Whether a field section is under way that is not whole yet.
    pub fn is_in_block(&self) -> bool {
        self.0.borrow().block.is_some()
    }

    /// Whether the peer's settings came.
    pub fn is_settled(&self) -> bool {
        self.0.borrow().settled
    }

    /// Remembers the task that answers a stream, so that a reset can end it.
    pub fn answered_by(&self, id: u32, task: AbortHandle) {
        if let Some(stream) = self.0.borrow_mut().streams.get_mut(&id) {
            stream.task = Some(task);
        }
    }
}

impl State {
    fn wake_driver(&mut self) {
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }

    /// Lets streams go on that wait for room, as many as there is room for.
    fn wake_blocked(&mut self) {
        let room = OUT_CONTENT.saturating_sub(self.out.len());
        let window = usize::try_from(self.send_window).unwrap_or(0);
        let mut turns = room.min(window).div_ceil(self.peer.max_payload.min(frame::MAX_PAYLOAD));
        while turns > 0
            && let Some(id) = self.blocked.pop_front()
        {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.is_blocked = false;
                stream.wake_writer();
                turns -= 1;
            }
        }
    }

    fn put_reset(&mut self, id: u32, code: Code) {
        self.out.with(|out| frame::put(out, Kind::ResetStream, 0, id, &code.0.to_be_bytes()));
        if self.reset.len() >= REMEMBERED {
            self.reset.pop_front();
        }
        self.reset.push_back(id);
        self.wake_driver();
    }
}

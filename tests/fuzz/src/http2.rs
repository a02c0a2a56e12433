//! An HTTP/2 connection without I/O, in both roles: any bytes are frames or an error; what is
//! written back is well-formed; and how the bytes were cut decides nothing.

use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use ignite_gateway::fields::Fields;
use ignite_gateway::http2::frame::{Code, HEAD, Head, Kind, MAX_PAYLOAD, PREFACE};
use ignite_gateway::http2::session::{Limits, Role, Session};
use ignite_gateway::http2::settings::OwnSettings;

use super::exchange::show;
use super::stage::cuts;

const OWN: OwnSettings = OwnSettings {
    max_concurrent: 8,
    stream_window: 65_535,
    connection_window: 65_535,
    field_section: 4 << 10,
    fields: 24,
    target: 1 << 10,
};
const LIMITS: Limits = Limits { control_frames: 100, resets: 20 };
/// More than this is never owed to a peer: what may wait, and one frame beyond it.
const MOST_OWED: usize = 256 << 10;

/// The target; the first byte chooses the role, and whether the peer's settings stand before the
/// rest.
pub fn run(input: &[u8]) {
    // More than a window: whether content is read in between would decide.
    let Some((mode, bytes)) = input.split_first().filter(|_| input.len() < 32 << 10) else {
        return;
    };
    let role = if mode & 1 == 0 { Role::Server } else { Role::Client };
    let settings: &[u8] = if mode & 2 == 0 { b"\0\0\0\x04\0\0\0\0\0" } else { b"" };
    let bytes = [settings, bytes].concat();
    let whole = play(role, &bytes, &[]);
    let pieces = play(role, &bytes, &cuts(&bytes));
    assert_eq!(whole.0, pieces.0, "{role:?} {}", show(input));
    assert_eq!(whole.1, pieces.1, "{role:?} {}", show(input));
}

/// What came of the bytes: streams that opened, pieces of content, the end.
type Events = Vec<String>;

fn play(role: Role, bytes: &[u8], cuts: &[usize]) -> (Events, Result<(), Code>) {
    let session = Session::new(role, OWN, LIMITS);
    let mut events = Vec::new();
    let mut streams: Vec<u32> = Vec::new();
    if role == Role::Client {
        let open = |target| session.open(&Method::GET, target, &Fields::default(), None, true);
        streams.extend([open(b"/a"), open(b"/b")].into_iter().flatten());
    }
    let mut buffer = BytesMut::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        buffer.extend_from_slice(&bytes[start..end]);
        start = end;
        loop {
            let opened = match session.receive(&mut buffer) {
                Ok(opened) => opened,
                Err(code) => {
                    session.go_away(code, true);
                    written(&session, role);
                    session.close();
                    // What a stream had before the end may have been read already or not.
                    return (events, Err(code));
                }
            };
            let Some(opened) = opened else { break };
            assert!(session.active() <= OWN.max_concurrent as usize + 1);
            events.push(format!("open {} {}", opened.id, describe(&opened.request)));
            if opened.request.is_ok() {
                streams.push(opened.id);
                let _ = session.respond(opened.id, StatusCode::OK, &Fields::default(), None, false);
                let cx = Context::from_waker(Waker::noop());
                if let Poll::Ready(Ok(5..)) = session.poll_room(opened.id, &cx) {
                    let _ = session.send(opened.id, Bytes::from_static(b"hello"), true);
                }
            }
        }
        for id in &streams {
            drain(&session, *id);
        }
        written(&session, role);
    }
    session.close();
    (events, Ok(()))
}

fn describe<H: std::fmt::Debug>(request: &Result<H, impl std::fmt::Debug>) -> String {
    match request {
        Ok(_) => "a request".to_owned(),
        Err(refusal) => format!("{refusal:?}"),
    }
}

/// Reads what came on a stream.
fn drain(session: &Rc<Session>, id: u32) {
    let cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(Ok(_))) = session.poll_frame(id, &cx) {}
    let _ = session.poll_head(id, &cx);
}

/// Takes what is to be written, and reads it as frames.
fn written(session: &Session, role: Role) {
    let mut out = Vec::new();
    while !session.is_flushed() {
        let taken = session.write(|slices| {
            let before = out.len();
            slices.iter().for_each(|slice| out.extend_from_slice(slice));
            Poll::Ready(Ok(out.len() - before))
        });
        assert!(matches!(taken, Poll::Ready(Ok(1..))), "something to write");
        assert!(out.len() < MOST_OWED, "{} bytes are owed", out.len());
    }
    let mut rest = &out[..];
    if role == Role::Client {
        rest = rest.strip_prefix(PREFACE).unwrap_or(rest);
    }
    while !rest.is_empty() {
        let head = Head::parse(rest).expect("a whole head");
        assert!(head.length <= MAX_PAYLOAD, "{head:?}");
        let fits = match head.kind {
            Kind::Settings => head.length.is_multiple_of(6) && head.stream == 0,
            Kind::Ping => head.length == 8 && head.stream == 0,
            Kind::GoAway => head.length >= 8 && head.stream == 0,
            Kind::WindowUpdate | Kind::ResetStream => head.length == 4,
            Kind::Data | Kind::Headers | Kind::Continuation => head.stream != 0,
            Kind::Priority | Kind::PushPromise | Kind::Unknown(_) => false,
        };
        assert!(fits, "{head:?}");
        rest = rest.get(HEAD + head.length..).expect("a whole frame");
    }
}

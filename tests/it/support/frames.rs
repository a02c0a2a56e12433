//! HTTP/2 off a socket, frame by frame, for callers and apps that keep no rule
//! but those that a test gives them.
//!
//! What a peer must say to be kept (acknowledgements, windows) is said unless a
//! test turns it off; everything else is the test's own bytes.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ignite_gateway::http2::frame::PREFACE;
use ignite_gateway::http2::hpack::Decoder;

use super::wire::{Ended, Wire, send_until_blocked};
use super::{Gateway, HOST, LIMIT, show};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;

pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;

/// A window that no test fills.
const AMPLE: u32 = 1 << 30;

/// One frame, right or wrong.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A SETTINGS frame.
pub fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let entry = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, entries.iter().flat_map(entry).collect::<Vec<u8>>())
}

pub fn window_update(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, more.to_be_bytes())
}

pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, code.to_be_bytes())
}

pub fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, [last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// A field block: literals that touch no table.
pub fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        text(name.as_ref(), &mut out);
        text(value.as_ref(), &mut out);
    }
    out
}

/// RFC 7541 section 5.2, without Huffman coding.
fn text(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.len() < 127 {
        out.push(u8::try_from(bytes.len()).unwrap());
    } else {
        out.push(127);
        let mut rest = bytes.len() - 127;
        while rest >= 128 {
            out.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        out.push(u8::try_from(rest).unwrap());
    }
    out.extend(bytes);
}

/// A HEADERS frame that holds a whole section.
pub fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, block(fields))
}

/// The pseudo-header fields of a request to the default app.
pub fn request_fields<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![(":method", method), (":scheme", "http"), (":authority", HOST), (":path", path)]
}

/// A whole GET.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, END_STREAM, &request_fields("GET", path))
}

/// The head of a POST.
pub fn post(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, 0, &request_fields("POST", path))
}

/// What came on one stream.
#[derive(Clone, Default)]
pub struct Message {
    /// Field sections in their order: interim heads, the head, trailers.
    pub sections: Vec<Vec<(String, String)>>,
    pub content: Vec<u8>,
    /// Ended by the flag `END_STREAM`.
    pub whole: bool,
    /// Ended by a reset with this code.
    pub reset: Option<u32>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, content) = (self.whole, show(&self.content));
        write!(f, "{:?} \"{content}\" whole: {whole}, reset: {:?}", self.sections, self.reset)
    }
}

impl Message {
    /// A field of the last section.
    pub fn field(&self, name: &str) -> Option<&str> {
        let field = self.sections.last()?.iter().find(|(known, _)| known == name)?;
        Some(&field.1)
    }

    /// A response's status.
    #[track_caller]
    pub fn status(&self) -> u16 {
        let status = self.sections.iter().rev().find_map(|section| match section.first() {
            Some((name, value)) if name == ":status" => value.parse().ok(),
            _ => None,
        });
        status.unwrap_or_else(|| panic!("no status: {self:?}"))
    }

    /// Asserts a whole response of this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> &Self {
        assert!(self.status() == status && self.whole && self.reset.is_none(), "{self:?}");
        self
    }

    /// Asserts that the gateway itself answered with this status and `Proxy-Status` error.
    #[track_caller]
    pub fn expect_problem(&self, status: u16, error: &str) -> &Self {
        let wanted = format!("ignite-gateway; error={error}");
        assert_eq!(self.field("proxy-status"), Some(&wanted[..]), "{self:?}");
        self.expect(status)
    }

    /// Asserts that there is no response but a reset.
    #[track_caller]
    pub fn expect_reset(&self, code: u32) {
        assert!(self.sections.is_empty() && self.reset == Some(code), "{self:?}");
    }

    fn is_over(&self) -> bool {
        self.whole || self.reset.is_some()
    }
}

/// One end of an HTTP/2 connection.
pub struct Frames {
    stream: Arc<TcpStream>,
    wire: Wire,
    decoder: Decoder,
    under_way: Vec<u8>,
    /// What came on each stream.
    pub streams: BTreeMap<u32, Message>,
    /// The last stream and the code of the last GOAWAY.
    pub goaway: Option<(u32, u32)>,
    /// What the peer's settings say.
    pub settings: Vec<(u16, u32)>,
    /// Whether the peer has acknowledged ours.
    pub acknowledged: bool,
    /// Content that came is given back to its windows.
    pub gives_windows: bool,
    /// Settings and pings are answered.
    pub answers: bool,
}

impl Frames {
    pub fn new(stream: Arc<TcpStream>) -> Self {
        Self {
            wire: Wire::new(stream.clone(), None),
            stream,
            decoder: Decoder::new(4096),
            under_way: Vec::new(),
            streams: BTreeMap::new(),
            goaway: None,
            settings: Vec::new(),
            acknowledged: false,
            gives_windows: true,
            answers: true,
        }
    }

    /// A caller's connection without a byte said.
    #[track_caller]
    pub fn silent(gateway: &Gateway) -> Self {
        Self::silent_at(gateway.address())
    }

    #[track_caller]
    fn silent_at(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, LIMIT);
        Self::new(Arc::new(stream.expect("the gateway accepts")))
    }

    /// The same with a receive buffer as small as the system allows.
    #[track_caller]
    pub fn silent_with_small_buffers(gateway: &Gateway) -> Self {
        let kind = socket2::Type::STREAM;
        let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        socket.set_send_buffer_size(4 << 10).unwrap();
        socket.connect(&gateway.address().into()).expect("the gateway accepts");
        Self::new(Arc::new(socket.into()))
    }

    /// A caller that has said its preface and settings and knows the gateway's.
    #[track_caller]
    pub fn call(gateway: &Gateway) -> Self {
        Self::call_with(gateway, &[])
    }

    /// The same with settings of its own.
    #[track_caller]
    pub fn call_with(gateway: &Gateway, entries: &[(u16, u32)]) -> Self {
        Self::silent(gateway).greeted(entries)
    }

    /// A caller of a gateway that listens there.
    #[track_caller]
    pub fn call_at(address: SocketAddr) -> Self {
        Self::silent_at(address).greeted(&[])
    }

    #[track_caller]
    fn greeted(mut self, entries: &[(u16, u32)]) -> Self {
        self.send([PREFACE, &settings(entries)].concat());
        self.until("settings of both sides", |caller| caller.acknowledged);
        self
    }

    /// An app's side: takes the gateway's preface, says its own settings.
    #[track_caller]
    pub fn serve(stream: Arc<TcpStream>, entries: &[(u16, u32)]) -> Self {
        let mut app = Self::new(stream);
        let mut preface = Vec::new();
        app.wire.exactly(PREFACE.len(), &mut preface).expect("a preface");
        assert_eq!(preface, PREFACE);
        app.send(settings(entries));
        app
    }

    /// Gives all streams together a window that no test fills.
    pub fn open_connection_window(&mut self) {
        self.send(window_update(0, AMPLE));
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the gateway takes the bytes");
    }

    /// Sends to a gateway that may not want it any more.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        (&*self.stream).write_all(bytes.as_ref())
    }

    /// Sends `piece` again and again until no more is taken for `patience`, or `limit`
    /// bytes are gone; returns how many went.
    pub fn send_until_blocked(&mut self, piece: &[u8], limit: usize, patience: Duration) -> usize {
        send_until_blocked(&self.stream, piece, limit, patience)
    }

    /// Reads one frame and does what a peer has to.
    #[track_caller]
    pub fn read(&mut self) -> Result<(), Ended> {
        let mut head = Vec::new();
        self.wire.exactly(9, &mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = Vec::new();
        self.wire.exactly(length, &mut payload)?;
        self.take(head[3], head[4], id, &payload);
        Ok(())
    }

    #[track_caller]
    fn take(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match kind {
            DATA => {
                let message = self.streams.entry(id).or_default();
                message.content.extend(payload);
                message.whole |= flags & END_STREAM != 0;
                if self.gives_windows && !payload.is_empty() {
                    let more = u32::try_from(payload.len()).unwrap();
                    let both = [window_update(0, more), window_update(id, more)].concat();
                    let _ = self.try_send(both);
                }
            }
            HEADERS | CONTINUATION => {
                self.under_way.extend(payload);
                let message = self.streams.entry(id).or_default();
                message.whole |= kind == HEADERS && flags & END_STREAM != 0;
                if flags & END_HEADERS != 0 {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let mut section = Vec::new();
                    let taken =
                        self.decoder.decode(&self.under_way, |name: &[u8], value: &[u8]| {
                            section.push((text(name), text(value)));
                        });
                    taken.expect("a field block");
                    message.sections.push(section);
                    self.under_way.clear();
                }
            }
            RST_STREAM => self.streams.entry(id).or_default().reset = Some(number(0)),
            SETTINGS if flags & ACK != 0 => self.acknowledged = true,
            SETTINGS => {
                let entries = payload.chunks(6).map(|entry| {
                    let value = entry[2..].try_into().unwrap();
                    (u16::from_be_bytes([entry[0], entry[1]]), u32::from_be_bytes(value))
                });
                self.settings.extend(entries);
                if self.answers {
                    let _ = self.try_send(frame(SETTINGS, ACK, 0, ""));
                }
            }
            PING if flags & ACK == 0 && self.answers => {
                let _ = self.try_send(frame(PING, ACK, 0, payload));
            }
            GOAWAY => self.goaway = Some((number(0), number(4))),
            PING | WINDOW_UPDATE => {}
            other => panic!("a frame that the gateway must not send: {other}"),
        }
    }

    /// Reads until something is so.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        while !so(self) {
            let read = self.read();
            assert!(read.is_ok(), "the connection ended before {what}; GOAWAY: {:?}", self.goaway);
        }
    }

    /// What came on a stream, once it is over.
    #[track_caller]
    pub fn answer(&mut self, id: u32) -> Message {
        self.until(&format!("the end of stream {id}"), |peer| {
            peer.streams.get(&id).is_some_and(Message::is_over)
        });
        self.streams[&id].clone()
    }

    /// Sends a request and waits for its end.
    #[track_caller]
    pub fn ask(&mut self, id: u32, request: impl AsRef<[u8]>) -> Message {
        self.send(request);
        self.answer(id)
    }

    /// Waits for the next request's head; its stream. `None` when the connection ended before.
    #[track_caller]
    pub fn next_stream(&mut self, after: u32) -> Option<u32> {
        loop {
            if let Some((id, _)) = self.streams.range(after + 1..).next() {
                return Some(*id);
            }
            self.read().ok()?;
        }
    }

    /// Reads until the connection ends.
    #[track_caller]
    pub fn read_to_close(&mut self) {
        while self.read().is_ok() {}
    }

    /// Reads until the connection ends, whatever comes.
    #[track_caller]
    pub fn read_raw_to_close(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let _ = self.wire.rest(&mut out);
        out
    }

    /// Asserts that the gateway ends the connection and says why.
    #[track_caller]
    pub fn expect_end(&mut self, code: u32) {
        self.read_to_close();
        let said = self.goaway.map(|(_, code)| code);
        assert_eq!(said, Some(code), "{:?}", self.streams);
    }
}

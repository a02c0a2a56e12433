//! HTTP/2 apps that fail at a place and in a way that their test chooses.

use super::app::{AppConnection, ScriptedApp};
use super::frames::{DATA, END_STREAM, Message, frame, headers};
use super::load::{ID, Sightings, answer, question};

/// One request at such an app.
pub struct Asked {
    pub stream: u32,
    pub id: u64,
    /// What an answer says.
    pub body: Vec<u8>,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The connection is closed.
    Close,
    /// It is reset.
    Reset,
    /// Nothing, until the gateway has enough, on this stream alone.
    Next,
}

/// An app's fault.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// The first request of each connection is served well.
    pub kept: bool,
    /// The request's content is not waited for.
    pub early: bool,
    /// What the app sends.
    pub answer: fn(&Asked) -> Vec<u8>,
    pub then: Then,
    /// Byte by byte.
    pub slowly: bool,
}

impl Fault {
    /// An app without a fault.
    pub const NONE: Self =
        Self { kept: false, early: false, answer: whole, then: Then::Next, slowly: false };

    /// Starts an app with this fault, which serves `host`.
    pub fn start(self, host: &str, sightings: &Sightings) -> ScriptedApp {
        let (host, sightings) = (host.to_owned(), sightings.clone());
        ScriptedApp::start(move |connection| self.serve(connection, &host, &sightings))
    }

    fn serve(self, connection: &mut AppConnection, host: &str, sightings: &Sightings) {
        let mut app = connection.http2(&[]);
        let mut last = 0;
        while let Some(stream) = app.next_stream(last) {
            let well = self.kept && last == 0;
            last = stream;
            let id = field(&app.streams[&stream], ID).parse().expect("a request with its id");
            sightings.add(host, id);
            if !self.early {
                while !app.streams[&stream].whole && app.streams[&stream].reset.is_none() {
                    if app.read().is_err() {
                        return;
                    }
                }
                let message = &app.streams[&stream];
                let post = field(message, ":method") == "POST";
                let asked = if post { question(host, id) } else { Vec::new() };
                let gone = message.reset.is_some();
                assert!(gone || message.content == asked, "the content of {id}: {message:?}");
            }
            let asked = Asked { stream, id, body: answer(host, id) };
            let bytes = if well { whole(&asked) } else { (self.answer)(&asked) };
            let size = if self.slowly { 1 } else { bytes.len().max(1) };
            if bytes.chunks(size).any(|piece| app.try_send(piece).is_err()) {
                return;
            }
            match self.then {
                _ if well => {}
                Then::Next => {}
                Then::Close => return,
                Then::Reset => return connection.reset(),
            }
        }
    }
}

fn field<'a>(message: &'a Message, name: &str) -> &'a str {
    let head = message.sections.first().expect("a head");
    &head.iter().find(|(known, _)| known == name).expect("the field").1
}

/// The head of an answer that declares this length.
pub fn head(asked: &Asked, length: Option<usize>) -> Vec<u8> {
    let (id, length) = (asked.id.to_string(), length.map(|length| length.to_string()));
    let mut fields = vec![(":status", "200"), (ID, &id)];
    if let Some(length) = &length {
        fields.push(("content-length", length));
    }
    headers(asked.stream, 0, &fields)
}

/// A whole answer.
pub fn whole(asked: &Asked) -> Vec<u8> {
    let data = frame(DATA, END_STREAM, asked.stream, &asked.body);
    [head(asked, Some(asked.body.len())), data].concat()
}

/// The head and the first half of the content, of an undeclared length.
pub fn half(asked: &Asked) -> Vec<u8> {
    let half = &asked.body[..asked.body.len() / 2];
    [head(asked, None), frame(DATA, 0, asked.stream, half)].concat()
}

//! The one body type, in both directions: pieces pulled one at a time.
//!
//! Nothing here buffers. Whoever writes a body asks for the next piece only
//! when the last one is gone, so the slower side sets the pace of the faster.

use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::error::Error;
use crate::fields::Fields;

/// One piece of a body.
#[derive(Debug)]
pub enum Frame {
    /// Content, never empty.
    Data(Bytes),
    /// The trailer section; nothing follows it.
    Trailers(Fields),
}

/// Where a streamed body comes from.
pub trait Source {
    /// The next piece; `None` is the proved end of the message, never a cut.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>>;

    /// Lets work that goes on beside this body go on while nobody asks for a
    /// piece: a response that waits for a slow caller must not stop the upload
    /// that the same caller still sends. Ready when there is none left.
    fn drive(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// A message's body.
#[derive(Default)]
pub struct Body {
    kind: Kind,
    length: Option<u64>,
    trailers: bool,
}

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Full(Bytes),
    Stream(Box<dyn Source>),
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self { kind: Kind::Empty, length: Some(0), trailers: false }
    }

    /// A body that is all there.
    pub fn full(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return Self::empty();
        }
        Self { length: Some(bytes.len() as u64), kind: Kind::Full(bytes), trailers: false }
    }

    /// A body that comes piece by piece; `length` in bytes if the sender declared it.
    pub fn stream(source: Box<dyn Source>, length: Option<u64>) -> Self {
        Self { kind: Kind::Stream(source), length, trailers: length.is_none() }
    }

    /// The same from a protocol that has trailers behind content of a declared length, too.
    pub fn stream_with_trailers(source: Box<dyn Source>, length: Option<u64>) -> Self {
        Self { kind: Kind::Stream(source), length, trailers: true }
    }

    /// What comes after a switch of protocols, to the end of the connection.
    pub fn raw(source: Box<dyn Source>) -> Self {
        Self { kind: Kind::Stream(source), length: None, trailers: false }
    }

    /// The length in bytes that the sender declared, of the whole body.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether trailers may follow the content.
    pub fn may_have_trailers(&self) -> bool {
        self.trailers
    }

    /// Whether it is known that nothing will come.
    pub fn is_empty(&self) -> bool {
        matches!(self.kind, Kind::Empty)
    }

    /// The next piece; `None` is the proved end of the message.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.kind = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::Data(bytes))))
            }
            Kind::Stream(source) => source.poll_frame(cx),
        }
    }

    /// See [`Source::drive`].
    pub fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.kind {
            Kind::Stream(source) => source.drive(cx),
            Kind::Empty | Kind::Full(_) => Poll::Ready(()),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("length", &self.length).finish_non_exhaustive()
    }
}

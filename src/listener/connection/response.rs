//! A response onto a caller's connection, piece by piece as it comes.
//!
//! Head and first piece leave in one write if they are there together; small
//! pieces are joined, large ones are written from where they lie. A response
//! that cannot be completed is broken off so that the caller sees it.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::StatusCode;

use super::gone::Watch;
use super::{Connection, Transport};
use crate::body::{Body, Frame};
use crate::clock::Deadline;
use crate::error::Error;
use crate::fields::Known;
use crate::gateway::Settings;
use crate::gateway::record::Record;
use crate::http1::decode::Decoded;
use crate::http1::encode::{self, ConnectionOption};
use crate::http1::framing::Framing;
use crate::io::poll_write;
use crate::message::{Response, Version};

/// Up to this size a piece is copied behind what waits to be written: cheaper
/// than another slice of a vectored write.
const COPIED: usize = 4 << 10;
/// As much waits at most before it is written.
const JOINED: usize = 16 << 10;

/// What of a request decides how its response is written.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) version: Version,
    pub(super) head_only: bool,
    pub(super) keep_alive: bool,
    pub(super) trailers: bool,
    /// The protocol that the caller asked to switch to.
    pub(super) upgrade: Option<Bytes>,
}

impl Call {
    /// For an answer to what was no request.
    pub(super) fn refused() -> Self {
        Self {
            version: Version::Http11,
            head_only: false,
            keep_alive: false,
            trailers: false,
            upgrade: None,
        }
    }
}

/// What becomes of the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It may carry another request.
    KeepAlive,
    /// It is closed in order.
    Close,
    /// It is dropped as it is.
    Broken,
}

struct Writer {
    body: Body,
    chunked: bool,
    trailers: bool,
    chunk: Bytes,
    tail: &'static [u8],
    ended: bool,
    failed: Option<Error>,
    /// How long a caller may read nothing.
    patience: Duration,
    deadline: Deadline,
    watch: Watch,
}

/// A message that only the close ends, as long as it is not whole: dropped like this, by an error, a
/// panic or the end of a drain, it ends by a reset, which nobody takes for its end.
struct Cut<'a, S: Transport>(Option<&'a Connection<S>>);

impl<S: Transport> Drop for Cut<'_, S> {
    fn drop(&mut self) {
        if let Some(connection) = self.0
            && let Ok(mut stream) = connection.stream.try_borrow_mut()
        {
            stream.abort();
        }
    }
}

impl<S: Transport> Connection<S> {
    /// Writes a response; its record closes when this returns.
    pub(super) async fn respond(
        self: &Rc<Self>,
        response: &mut Response,
        mut record: Record,
        call: Call,
        settings: &Settings,
    ) -> End {
        // The request's body holds this connection as long as somebody may read it. Once nobody
        // does, what has not arrived yet never will be read: the connection has to end.
        let timeouts = &settings.timeouts;
        let uploading = Rc::strong_count(self) > 1;
        let unread = !uploading && !self.discard_buffered();
        let framing = framing(response, &call);
        let switched = response.status == StatusCode::SWITCHING_PROTOCOLS;
        let keep_alive = call.keep_alive
            && call.upgrade.is_none()
            && !response.close
            && !unread
            && framing != Framing::UntilClose;
        let option = match (keep_alive, call.version, &call.upgrade) {
            (_, _, Some(protocol)) if switched => ConnectionOption::Upgrade(protocol),
            (true, Version::Http11 | Version::Http2, _) => ConnectionOption::Implied,
            (true, Version::Http10, _) => ConnectionOption::KeepAlive,
            (false, _, _) => ConnectionOption::Close,
        };
        let reason = response.reason.as_deref();
        encode::response_head(
            &mut self.out.borrow_mut(),
            response.status,
            reason,
            &response.fields,
            framing,
            option,
        );
        let mut writer = Writer {
            ended: response.body.is_empty() || call.head_only,
            body: std::mem::replace(&mut response.body, Body::empty()),
            chunked: framing == Framing::Chunked,
            trailers: call.trailers,
            chunk: Bytes::new(),
            tail: &[],
            failed: None,
            patience: if switched { timeouts.upgrade_idle } else { timeouts.idle_body },
            deadline: Deadline::new(),
            watch: Watch::default(),
        };
        let mut cut = Cut((framing == Framing::UntilClose).then_some(&**self));
        let mut result = poll_fn(|cx| self.poll_respond(&mut writer, &mut record, cx)).await;
        if switched && result.is_ok() {
            result = self.finish_tunnel(&mut writer, timeouts.idle_body).await;
        }
        record.received(self.inbound.borrow().received);
        if let Err(error) = result {
            record.failed(&error);
            return End::Broken;
        }
        cut.0 = None;
        record.completed();
        drop(record);
        drop(writer);
        if switched {
            // Both directions ended: there is nothing to wait for.
            return End::Broken;
        }
        if keep_alive && self.discard_buffered() { End::KeepAlive } else { End::Close }
    }

    fn poll_respond(
        &self,
        writer: &mut Writer,
        record: &mut Record,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        loop {
            let waits = self.fill(writer, record, cx);
            match self.poll_flush(writer, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Error::CallerGone)),
                Poll::Pending => {
                    // The rest of it goes on when its turn comes again.
                    let _ = writer.body.drive(cx);
                    if !writer.deadline.is_set() {
                        writer.deadline.set_in(writer.patience);
                    }
                    return writer.deadline.poll_passed(cx).map(|()| Err(Error::CallerTimeout));
                }
            }
            if let Some(error) = writer.failed.take() {
                return Poll::Ready(Err(error));
            }
            if writer.ended {
                return Poll::Ready(Ok(()));
            }
            if waits {
                return self.poll_gone(&mut writer.watch, cx).map(|()| Err(Error::CallerGone));
            }
        }
    }

    /// The app has ended its direction of a switched connection: the caller is told, and may go
    /// on with its own.
    async fn finish_tunnel(&self, writer: &mut Writer, limit: Duration) -> Result<(), Error> {
        let shutdown = poll_fn(|cx| Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx));
        // Over TLS that is a record more, for which a caller who reads nothing leaves no room.
        let told = tokio::time::timeout(limit, shutdown).await;
        told.map_err(|_| Error::CallerTimeout)?.map_err(|_| Error::CallerGone)?;
        poll_fn(|cx| writer.body.drive(cx)).await;
        Ok(())
    }

    /// Takes pieces off the body as long as they are there and there is room;
    /// true if the next one has to be waited for.
    fn fill(&self, writer: &mut Writer, record: &mut Record, cx: &mut Context<'_>) -> bool {
        while !writer.ended && writer.failed.is_none() && writer.chunk.is_empty() {
            if self.out.borrow().len() >= JOINED {
                return false;
            }
            // The caller's body may be read in here: no borrow may be held.
            let Poll::Ready(frame) = writer.body.poll_frame(cx) else { return true };
            let out = &mut *self.out.borrow_mut();
            match frame {
                Some(Ok(Frame::Data(data))) => {
                    record.sent(data.len());
                    let tail = if writer.chunked { encode::CHUNK_END } else { &[] };
                    if writer.chunked {
                        encode::chunk_start(out, data.len());
                    }
                    if data.len() <= COPIED {
                        out.extend_from_slice(&data);
                        out.extend_from_slice(tail);
                    } else {
                        writer.chunk = data;
                        writer.tail = tail;
                    }
                }
                Some(Ok(Frame::Trailers(trailers))) => {
                    writer.ended = true;
                    if writer.chunked {
                        encode::last_chunk(out, Some(&trailers).filter(|_| writer.trailers));
                    }
                }
                Some(Err(error)) => writer.failed = Some(error),
                None => {
                    writer.ended = true;
                    if writer.chunked {
                        encode::last_chunk(out, None);
                    }
                }
            }
        }
        false
    }

    fn poll_flush(&self, writer: &mut Writer, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let out = &mut *self.out.borrow_mut();
        let stream = &mut *self.stream.borrow_mut();
        while out.has_remaining() || writer.chunk.has_remaining() || !writer.tail.is_empty() {
            let slices =
                [IoSlice::new(out), IoSlice::new(&writer.chunk), IoSlice::new(writer.tail)];
            let mut written = std::task::ready!(poll_write(stream, &slices, cx))?;
            // A slow reader has time as long as it reads at all.
            writer.deadline.clear();
            self.written.set(self.written.get() + written as u64);
            for part in [out as &mut dyn Buf, &mut writer.chunk, &mut writer.tail] {
                let taken = written.min(part.remaining());
                part.advance(taken);
                written -= taken;
            }
        }
        // An empty piece would still hold its buffer, and the next read need another.
        writer.chunk = Bytes::new();
        // A transport that keeps what the socket did not take must not be left with it.
        Pin::new(stream).poll_flush(cx)
    }

    /// Drops what has already arrived of a request body that nobody wants; true
    /// if that was all of it, so that the next request's place is known.
    fn discard_buffered(&self) -> bool {
        let inbound = &mut *self.inbound.borrow_mut();
        loop {
            match inbound.decoder.decode(&mut inbound.buffer) {
                Ok(Decoded::Data(data)) => inbound.received += data.len() as u64,
                Ok(Decoded::End | Decoded::Trailers(_)) => return true,
                Ok(Decoded::More) | Err(_) => return false,
            }
        }
    }
}

/// One framing of the gateway's own for what the caller gets.
fn framing(response: &Response, call: &Call) -> Framing {
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return Framing::UntilClose;
    }
    let bodiless = call.head_only
        || response.status == StatusCode::NO_CONTENT
        || response.status == StatusCode::NOT_MODIFIED;
    if bodiless {
        return response.declared_length.map_or(Framing::None, Framing::Length);
    }
    // Content of a declared length cannot have trailers here: RFC 9112 section 6.1. Where they are
    // announced and wanted, the length is given up for them.
    let trailers =
        call.trailers && response.body.may_have_trailers() && response.fields.has(Known::Trailer);
    match response.body.length().filter(|_| !trailers) {
        Some(length) => Framing::Length(length),
        None if call.version == Version::Http10 => Framing::UntilClose,
        None => Framing::Chunked,
    }
}

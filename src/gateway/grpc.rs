//! What the gateway knows of gRPC: which requests are calls, until when their
//! callers wait, and what an answer of the gateway's own says to them.
//!
//! A call passes like any other HTTP/2 request: messages, metadata and status
//! are the app's. By the gRPC protocol over HTTP/2 a client reads the outcome
//! from `grpc-status` and looks at the HTTP status only where that is missing.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{HeaderValue, StatusCode};

use crate::body::{Body, Frame, Source};
use crate::clock::Deadline;
use crate::error::Error;
use crate::fields::Fields;
use crate::message::Response;

mod code;
mod timeout;

pub use code::Code;

/// What every call's content type begins with; `application/grpc-web` is another protocol.
const CONTENT_TYPE: &[u8] = b"application/grpc";

/// How a call ended by its own account, told when that is known.
pub type Outcome = Rc<Cell<Option<u32>>>;

/// A request that is a call.
pub struct Call {
    deadline: Deadline,
    outcome: Outcome,
}

impl Call {
    /// Looks whether a request is a call: all that requests of another kind pay for this module.
    pub fn of(fields: &Fields) -> Option<Self> {
        if !fields.named(b"content-type").next().is_some_and(is_content_type) {
            return None;
        }
        let mut deadline = Deadline::new();
        if let Some(timeout) = timeout::of(fields) {
            deadline.set_in(timeout);
        }
        Some(Self { deadline, outcome: Outcome::default() })
    }

    /// Where the call's outcome will be told.
    pub fn outcome(&self) -> Outcome {
        self.outcome.clone()
    }

    /// Keeps an eye on the app's response: on the deadline, and on the status at its end.
    pub fn follow(self, response: &mut Response) {
        // After a switch of protocols it is no call any more.
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        // A call that fails at once has no content: its head is its trailers.
        self.outcome.set(status_of(&response.fields));
        if !response.body.is_empty() {
            let length = response.body.length();
            let followed = Followed { call: self, body: std::mem::take(&mut response.body) };
            response.body = Body::stream_with_trailers(Box::new(followed), length);
        }
    }

    /// Ends the call with what the gateway says of a failure.
    pub fn fail(&self, fields: &mut Fields, error: &Error) {
        let code = Code::of(error) as u16;
        self.outcome.set(Some(code.into()));
        fields.add("content-type", HeaderValue::from_static("application/grpc"));
        fields.add("grpc-status", HeaderValue::from(code));
        // What the encoding leaves is printable ASCII, which any field takes.
        if let Ok(message) = HeaderValue::from_str(&code::percent_encoded(&error.detail())) {
            fields.add("grpc-message", message);
        }
    }
}

/// Waits for an answer as long as the caller does. Whatever was under way is dropped with
/// `answer`: the app's stream is cancelled, a place in a queue is free again.
pub async fn in_time<T>(
    call: Option<&mut Call>,
    mut answer: Pin<&mut impl Future<Output = Result<T, Error>>>,
) -> Result<T, Error> {
    let Some(call) = call else { return answer.await };
    poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(answer),
        Poll::Pending => call.deadline.poll_passed(cx).map(|()| Err(Error::DeadlineExceeded)),
    })
    .await
}

fn is_content_type(value: &[u8]) -> bool {
    value.split_at_checked(CONTENT_TYPE.len()).is_some_and(|(name, rest)| {
        name.eq_ignore_ascii_case(CONTENT_TYPE) && matches!(rest.first(), None | Some(b'+' | b';'))
    })
}

fn status_of(fields: &Fields) -> Option<u32> {
    str::from_utf8(fields.named(b"grpc-status").next()?).ok()?.parse().ok()
}

/// A call's response, which ends at the deadline or with a status.
struct Followed {
    call: Call,
    body: Body,
}

impl Followed {
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        self.call.deadline.poll_passed(cx).map(|()| {
            // The app's stream is cancelled here, however long the caller takes to hear of it.
            self.body = Body::empty();
            Error::DeadlineExceeded
        })
    }
}

impl Source for Followed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        if let Poll::Ready(error) = self.poll_late(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = self.body.poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => {
                self.call.outcome.set(status_of(trailers));
            }
            Poll::Ready(Some(Ok(Frame::Data(_)) | Err(_)) | None) | Poll::Pending => {}
        }
        frame
    }

    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_late(cx) {
            // The failure shows when the next piece is asked for.
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => self.body.drive(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use super::*;
    use crate::fields::Builder;

    fn fields(content_type: &str) -> Fields {
        let mut builder = Builder::new();
        builder.push(b"Content-Type", content_type.as_bytes());
        builder.finish().0
    }

    #[test]
    fn calls_are_known_by_their_content_type() {
        for value in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;x=y",
            "Application/GRPC",
        ] {
            assert!(Call::of(&fields(value)).is_some(), "{value}");
        }
        for value in
            ["", "application/grpc-web", "application/grpcx", "application/gr", "text/plain"]
        {
            assert!(Call::of(&fields(value)).is_none(), "{value}");
        }
        assert!(Call::of(&Fields::default()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_a_deadline_waits_for_its_answer() {
        let answer = async {
            tokio::time::sleep(Duration::from_secs(1 << 20)).await;
            Ok(())
        };
        let mut call = Call::of(&fields("application/grpc"));
        assert!(in_time(call.as_mut(), pin!(answer)).await.is_ok());
    }
}

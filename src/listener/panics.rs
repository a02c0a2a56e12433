//! A panic ends the request, the stream or the connection that it is in, and
//! nothing else. Each is counted: it is a defect.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use crate::telemetry::refusals::Refusals;

/// The future's output, or nothing if it panicked. What it held is dropped in the unwinding, or
/// with the future.
pub(super) async fn caught<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_panic) => Poll::Ready(None),
    })
    .await
}

/// The same where nobody answers for a panic: it is counted here.
pub(super) async fn counted<F: Future>(
    future: Pin<&mut F>,
    refusals: &Refusals,
) -> Option<F::Output> {
    let output = caught(future).await;
    if output.is_none() {
        refusals.panicked();
    }
    output
}

#[cfg(test)]
mod tests;

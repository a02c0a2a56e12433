//! The end of a caller's connection, in which its last answer must not be lost.
//!
//! A socket that is closed while the caller still sends is reset, and a reset
//! may take an answer along that the caller has not read yet. So the connection
//! is read on, RFC 9112 section 9.6, as long as the caller is busy sending what
//! nobody wants, and within bounds.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::{Connection, Transport};
use crate::clock::Deadline;
use crate::io::poll_read;
use crate::shutdown::DrainWatch;

/// How long a caller may send nothing.
const QUIET: Duration = Duration::from_secs(2);
/// How long it may go on sending.
const LONGEST: Duration = Duration::from_secs(30);

impl<S: Transport> Connection<S> {
    /// Ends the connection so that the last answer arrives. A drain cuts it short.
    pub(super) async fn close(&self, mut drain: Option<&mut DrainWatch>) {
        // A failing shutdown says no more than a good one: nothing goes out any more.
        let shutdown = poll_fn(|cx| Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx));
        let _ = tokio::time::timeout(QUIET, shutdown).await;
        let (mut end, mut hurried) = (Deadline::new(), drain.is_none());
        end.set_in(if hurried { QUIET } else { LONGEST });
        self.inbound.borrow_mut().deadline.clear();
        poll_fn(|cx| {
            if let Some(drain) = &mut drain
                && !hurried
                && drain.poll_draining(cx).is_ready()
            {
                hurried = true;
                end.set_in(QUIET);
            }
            if end.poll_passed(cx).is_ready() {
                return Poll::Ready(());
            }
            let inbound = &mut *self.inbound.borrow_mut();
            loop {
                inbound.buffer.clear();
                let stream = &mut *self.stream.borrow_mut();
                match poll_read(stream, &mut inbound.buffer, 0, cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(_)) => inbound.deadline.clear(),
                    Poll::Pending => {
                        if !inbound.deadline.is_set() {
                            inbound.deadline.set_in(QUIET);
                        }
                        return inbound.deadline.poll_passed(cx);
                    }
                }
            }
        })
        .await;
    }
}

//! The end of a peer whose bytes nobody reads. A read would find it behind them
//! only; the kernel tells of it beside them.
//!
//! A second descriptor of the socket is watched, because what the runtime knows
//! of the first is for its reader: it has something to read, and is asked no more.
//! That costs two system calls, and a wake-up for each segment that comes: it is
//! for waits, not for the way of every request.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::net::TcpStream;

/// Tells when a peer sends no more.
pub struct Departure(TcpStream);

impl Departure {
    /// Watches a socket.
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        let second = socket.as_fd().try_clone_to_owned()?;
        TcpStream::from_std(second.into()).map(Self)
    }

    /// Ready when the peer has ended what it sends, or the connection is broken.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // An error would be the runtime's own end.
            let Ok(()) = ready!(self.0.poll_read_ready(cx)) else { return Poll::Pending };
            match pin!(self.0.ready(Interest::READABLE)).poll(cx) {
                Poll::Ready(Ok(ready)) if ready.is_read_closed() => return Poll::Ready(()),
                // What is there to be read is not read here: the next event is awaited.
                _ => drop(
                    self.0
                        .try_io(Interest::READABLE, || Err::<(), _>(ErrorKind::WouldBlock.into())),
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::future::poll_fn;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use socket2::SockRef;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    async fn gone(departure: &Departure) {
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, poll_fn(|cx| departure.poll(cx))).await.unwrap();
    }

    async fn is_there(departure: &Departure) {
        let moment = Duration::from_millis(50);
        assert!(tokio::time::timeout(moment, poll_fn(|cx| departure.poll(cx))).await.is_err());
    }

    #[tokio::test]
    async fn an_end_or_a_reset_behind_unread_bytes_is_seen_and_the_bytes_can_still_be_read() {
        for reset in [false, true] {
            let (mut peer, mut own) = pair().await;
            peer.write_all(b"unread").await.unwrap();
            own.readable().await.unwrap();
            let departure = Departure::of(&own).unwrap();
            is_there(&departure).await;
            peer.write_all(b", too").await.unwrap();
            is_there(&departure).await;
            if reset {
                SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(peer);
            gone(&departure).await;
            drop(departure);
            let mut text = String::new();
            assert_eq!(own.read_to_string(&mut text).await.is_err(), reset);
            assert!(reset || text == "unread, too");
        }
    }

    #[tokio::test]
    async fn who_had_left_before_the_watch_began_is_seen_too() {
        let (mut peer, own) = pair().await;
        peer.write_all(b"unread").await.unwrap();
        drop(peer);
        gone(&Departure::of(&own).unwrap()).await;
    }
}

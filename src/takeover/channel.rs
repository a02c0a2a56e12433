//! Messages of a take-over: a line of JSON each, with the descriptors that
//! belong to it. Each side speaks in turn, so a read never meets two messages.
//!
//! The peer is of the same user, and still everything is bounded: it may be
//! another version of this program.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::{STEP, TakeoverError};
use crate::supervisor::Told;

/// Descriptors that one message may carry: Linux's own limit (`SCM_MAX_FD`).
pub(super) const DESCRIPTORS: usize = 253;
/// Bytes of a message: a name for each descriptor, and room.
const LONGEST: usize = 64 << 10;
const ROOM: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS));

/// What is said.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// A new process asks for the sockets.
    Hello {
        version: u32,
    },
    /// A name for each of the descriptors that come with it.
    Sockets {
        names: Vec<String>,
        more: bool,
    },
    More,
    Prepared,
    Go {
        told: Told,
    },
    Ready,
    Done,
    Refused {
        reason: String,
    },
}

/// A conversation with the other process.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    /// The other process.
    pub(super) pid: u32,
}

impl Channel {
    /// A conversation, if the other process is of the same user.
    pub(super) fn new(stream: UnixStream) -> Result<Self, TakeoverError> {
        let peer = stream.peer_cred()?;
        let (ours, theirs) = (rustix::process::geteuid().as_raw(), peer.uid());
        if ours != theirs {
            return Err(TakeoverError::Stranger { theirs, ours });
        }
        let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
        Ok(Self { stream, pid })
    }

    /// Says something.
    pub(super) async fn say(&self, message: &Message) -> Result<(), TakeoverError> {
        self.pass(message, &[]).await
    }

    /// Says something and passes descriptors with it.
    pub(super) async fn pass(
        &self,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), TakeoverError> {
        let mut line = serde_json::to_vec(message).map_err(io::Error::from)?;
        line.push(b'\n');
        let write = async {
            // With the first byte, whatever else fits.
            let mut passed = descriptors;
            let mut rest = line.as_slice();
            while !rest.is_empty() {
                let send = || send(&self.stream, rest, passed);
                let count = self.stream.async_io(Interest::WRITABLE, send).await?;
                rest = rest.get(count..).unwrap_or_default();
                passed = &[];
            }
            Ok(())
        };
        tokio::time::timeout(STEP, write).await.map_err(|_| TakeoverError::Timeout)?
    }

    /// Hears something without descriptors.
    pub(super) async fn hear(&self, limit: Duration) -> Result<Message, TakeoverError> {
        self.take(limit).await.map(|(message, _)| message)
    }

    /// Hears something and the descriptors that come with it.
    pub(super) async fn take(
        &self,
        limit: Duration,
    ) -> Result<(Message, Vec<OwnedFd>), TakeoverError> {
        let read = async {
            let (mut line, mut taken) = (Vec::new(), Vec::new());
            while line.last() != Some(&b'\n') {
                let receive = || receive(&self.stream, &mut line, &mut taken);
                if self.stream.async_io(Interest::READABLE, receive).await? == 0 {
                    return Err(TakeoverError::Gone);
                }
                if line.len() > LONGEST || taken.len() > DESCRIPTORS {
                    return Err(TakeoverError::Protocol);
                }
            }
            match serde_json::from_slice(&line).map_err(|_| TakeoverError::Protocol)? {
                Message::Refused { reason } => Err(TakeoverError::Refused(reason)),
                message => Ok((message, taken)),
            }
        };
        tokio::time::timeout(limit, read).await.map_err(|_| TakeoverError::Timeout)?
    }
}

fn send(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut control = SendAncillaryBuffer::new(&mut room);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::empty())?)
}

fn receive(stream: &UnixStream, line: &mut Vec<u8>, taken: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let (mut room, mut bytes) = ([MaybeUninit::uninit(); ROOM], [0; 4 << 10]);
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let received =
        recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::empty())?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            taken.extend(descriptors);
        }
    }
    for descriptor in &*taken {
        fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
    }
    // A socket that got lost on the way would be one whose queue nobody accepts.
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("descriptors were lost: too few are free (ulimit -n)"));
    }
    line.extend_from_slice(bytes.get(..received.bytes).unwrap_or_default());
    Ok(received.bytes)
}

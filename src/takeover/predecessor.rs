//! The new process's side: asks the running gateway for its sockets, and tells
//! it when it may go.

use std::net::TcpListener;
use std::path::Path;

use super::channel::{Channel, Message};
use super::{STEP, TakeoverError, VERSION, door};
use crate::inherited::{Inherited, Socket};
use crate::supervisor::Told;

/// More sockets than any configuration has.
const MOST: usize = 1 << 16;

/// The gateway that ran before, as long as it waits for this one.
#[derive(Debug)]
pub struct Predecessor {
    channel: Channel,
}

/// How the end of a take-over failed.
#[derive(Debug)]
pub enum Lost {
    /// The running gateway is gone: this one is all there is.
    Predecessor,
    /// It stays, for this reason: this one has to go.
    Takeover(TakeoverError),
}

impl Predecessor {
    /// The gateway at this take-over socket and its listening sockets; `None` if there is none.
    pub async fn meet(path: &Path) -> Result<Option<(Self, Inherited)>, TakeoverError> {
        let fail = |source| TakeoverError::Connect { path: path.to_owned(), source };
        let Some(stream) = door::knock(path).await.map_err(fail)? else { return Ok(None) };
        let channel = Channel::new(stream)?;
        channel.say(&Message::Hello { version: VERSION }).await?;
        let mut sockets = Vec::new();
        loop {
            let (message, descriptors) = channel.take(STEP).await?;
            let Message::Sockets { names, more } = message else {
                return Err(TakeoverError::Protocol);
            };
            if names.len() != descriptors.len() || sockets.len() > MOST {
                return Err(TakeoverError::Protocol);
            }
            for (name, descriptor) in names.into_iter().zip(descriptors) {
                sockets.push(Socket::new(name, TcpListener::from(descriptor))?);
            }
            if !more {
                return Ok(Some((Self { channel }, Inherited::handed_over(sockets))));
            }
            channel.say(&Message::More).await?;
        }
    }

    #[cfg(test)]
    pub(super) fn over(channel: Channel) -> Self {
        Self { channel }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.channel.pid
    }

    /// Says that nothing is left that could fail, and waits for leave to accept; what the
    /// predecessor knows of the service manager.
    pub async fn prepared(&mut self) -> Result<Told, TakeoverError> {
        // Where it gave up, its reason is there to be heard, and this has nobody to go to.
        let _ = self.channel.say(&Message::Prepared).await;
        match self.channel.hear(STEP).await? {
            Message::Go { told } => Ok(told),
            _ => Err(TakeoverError::Protocol),
        }
    }

    /// Says that this process accepts, and waits until the predecessor lets go.
    pub async fn ready(self) -> Result<(), Lost> {
        let let_go = async {
            let _ = self.channel.say(&Message::Ready).await;
            match self.channel.hear(STEP).await? {
                Message::Done => Ok(()),
                _ => Err(TakeoverError::Protocol),
            }
        };
        match let_go.await {
            Ok(()) => Ok(()),
            // A gateway that lives says why it stays.
            Err(TakeoverError::Gone | TakeoverError::Io(_)) => Err(Lost::Predecessor),
            Err(error) => Err(Lost::Takeover(error)),
        }
    }
}

//! The running process's side: hands its sockets to whoever asks and may, and
//! goes on as before until that one accepts.

use std::os::fd::AsFd as _;

use tokio::net::UnixStream;

use super::channel::{Channel, DESCRIPTORS, Message};
use super::{Door, Held, PREPARATION, STEP, TakeoverError, VERSION};
use crate::supervisor::Supervisor;

/// Another process accepts from every socket of this one.
#[derive(Debug, Clone, Copy)]
pub struct HandedOver {
    /// That process.
    pub pid: u32,
}

/// Answers one process after the other; `done` hears of the one that took over. Afterwards, who
/// asks too late is told so. Never ends.
pub async fn hand_over(
    mut door: Door,
    held: Held,
    supervisor: Supervisor,
    done: impl FnOnce(HandedOver),
) {
    let mut done = Some(done);
    loop {
        let stream = match door.listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the take-over socket cannot be asked");
                tokio::time::sleep(STEP).await;
                continue;
            }
        };
        match converse(stream, &held, &supervisor).await {
            Ok(Some(handed_over)) => {
                door.leave();
                if let Some(done) = done.take() {
                    done(handed_over);
                }
            }
            // Somebody looked whether this process lives.
            Ok(None) => {}
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the take-over failed; this process goes on serving"
            ),
        }
    }
}

async fn converse(
    stream: UnixStream,
    held: &Held,
    supervisor: &Supervisor,
) -> Result<Option<HandedOver>, TakeoverError> {
    let channel = Channel::new(stream)?;
    match channel.hear(STEP).await {
        Ok(Message::Hello { version: VERSION }) => {}
        Ok(Message::Hello { version }) => {
            let reason = format!("it speaks version {VERSION} of the protocol, not {version}");
            return refuse(&channel, reason).await.map(|()| None);
        }
        Ok(_) => return Err(TakeoverError::Protocol),
        Err(TakeoverError::Gone) => return Ok(None),
        Err(error) => return Err(error),
    }
    tracing::info!(pid = channel.pid, "a new process takes over");
    let done = hand_to(&channel, held, supervisor).await;
    if let Err(error) = &done {
        // It may be gone already.
        let _ = refuse(&channel, error.to_string()).await;
    }
    done.map(|()| Some(HandedOver { pid: channel.pid }))
}

async fn refuse(channel: &Channel, reason: String) -> Result<(), TakeoverError> {
    channel.say(&Message::Refused { reason }).await
}

async fn hand_to(
    channel: &Channel,
    held: &Held,
    supervisor: &Supervisor,
) -> Result<(), TakeoverError> {
    let draining = || TakeoverError::Refused("it drains already".to_owned());
    let sockets = held.share()?.ok_or_else(draining)?;
    let mut pieces = sockets.chunks(DESCRIPTORS).peekable();
    while let Some(piece) = pieces.next() {
        let more = pieces.peek().is_some();
        let names = piece.iter().map(|(name, _)| name.clone()).collect();
        let descriptors: Vec<_> = piece.iter().map(|(_, socket)| socket.as_fd()).collect();
        channel.pass(&Message::Sockets { names, more }, &descriptors).await?;
        if more {
            expect(channel, STEP, |message| matches!(message, Message::More)).await?;
        }
    }
    drop(sockets);
    expect(channel, PREPARATION, |message| matches!(message, Message::Prepared)).await?;
    channel.say(&Message::Go { told: supervisor.told() }).await?;
    expect(channel, STEP, |message| matches!(message, Message::Ready)).await?;
    // First the new main process, then the end of the old one: a service manager takes the end of
    // its main process for the end of the service.
    supervisor.succeeded_by(channel.pid);
    let done = channel.say(&Message::Done).await;
    match done {
        // Nobody else gets them from here.
        Ok(()) => held.release(),
        Err(_) => supervisor.ready("serving; a new process ended while it took over"),
    }
    done
}

async fn expect(
    channel: &Channel,
    limit: std::time::Duration,
    is_it: impl Fn(&Message) -> bool,
) -> Result<(), TakeoverError> {
    let message = channel.hear(limit).await?;
    is_it(&message).then_some(()).ok_or(TakeoverError::Protocol)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use tempfile::TempDir;
    use tokio::sync::oneshot;

    use super::super::Predecessor;
    use super::*;
    use crate::inherited::Wanted;

    /// A gateway with `count` sockets, all of one address; the folder holds its door.
    async fn running(
        count: usize,
    ) -> (TempDir, std::path::PathBuf, Wanted, oneshot::Receiver<HandedOver>) {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("takeover.sock");
        let mut door = Door::beside(place.clone(), false).await.unwrap();
        door.open().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = Wanted { address: socket.local_addr().unwrap(), admin: false };
        let named = |_| (String::new(), socket.try_clone().unwrap());
        let held = Held::new((0..count).map(named).collect());
        let (done, taken) = oneshot::channel();
        tokio::spawn(hand_over(door, held, Supervisor::default(), |next| {
            let _ = done.send(next);
        }));
        (folder, place, wanted, taken)
    }

    #[tokio::test]
    async fn every_socket_arrives_also_of_more_than_fit_into_one_message() {
        let (_folder, place, wanted, taken) = running(DESCRIPTORS + 7).await;
        let (mut predecessor, sockets) = Predecessor::meet(&place).await.unwrap().unwrap();
        assert_eq!(predecessor.pid(), std::process::id());
        let claimed = sockets.claim(&[wanted]).unwrap();
        assert_eq!(claimed[0].len(), DESCRIPTORS + 7);
        predecessor.prepared().await.unwrap();
        predecessor.ready().await.unwrap();
        assert_eq!(taken.await.unwrap().pid, std::process::id());
        let late = Predecessor::meet(&place).await.unwrap_err();
        assert!(late.to_string().contains("drains already"), "{late}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_prepared_in_time_is_told_so_and_the_next_one_is_served() {
        let (_folder, place, _, taken) = running(1).await;
        let (mut slow, _sockets) = Predecessor::meet(&place).await.unwrap().unwrap();
        tokio::time::sleep(PREPARATION + Duration::from_secs(1)).await;
        let error = slow.prepared().await.unwrap_err();
        assert!(
            matches!(&error, TakeoverError::Refused(why) if why.contains("in time")),
            "{error}"
        );
        let (mut next, _sockets) = Predecessor::meet(&place).await.unwrap().unwrap();
        next.prepared().await.unwrap();
        next.ready().await.unwrap();
        taken.await.unwrap();
    }

    #[tokio::test]
    async fn a_predecessor_that_dies_at_the_last_step_is_known_from_one_that_stays() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let predecessor = Predecessor::over(Channel::new(ours).unwrap());
        drop(theirs);
        assert!(matches!(predecessor.ready().await, Err(super::super::Lost::Predecessor)));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let predecessor = Predecessor::over(Channel::new(ours).unwrap());
        refuse(&Channel::new(theirs).unwrap(), "no".to_owned()).await.unwrap();
        assert!(matches!(predecessor.ready().await, Err(super::super::Lost::Takeover(_))));
    }
}

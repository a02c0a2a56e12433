//! Fixed moments, at any rate: a timer of the kernel, for tokio's own ticks once in a millisecond.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

pub(super) struct Metronome {
    timer: AsyncFd<OwnedFd>,
    begun: Instant,
    interval: Duration,
    given: u32,
}

impl Metronome {
    /// The first moment is an interval from now.
    pub(super) fn start(interval: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let each = Timespec {
            tv_sec: i64::try_from(interval.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: interval.subsec_nanos().into(),
        };
        let spec = Itimerspec { it_interval: each, it_value: each };
        let begun = Instant::now();
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an `OwnedFd` is what that asks for"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self { timer, begun, interval, given: 0 })
    }

    /// The next moment, once it has come. Those that were missed are given one after the other: a
    /// caller who is late knows by how much.
    pub(super) async fn next(&mut self) -> io::Result<Instant> {
        let next = self.begun + self.interval * (self.given + 1);
        while Instant::now() < next {
            let mut ready = self.timer.readable().await?;
            let mut count = [0; 8];
            let _ = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut count[..])?));
        }
        self.given += 1;
        Ok(next)
    }
}

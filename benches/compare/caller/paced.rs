//! Requests at fixed moments, whether or not those before them were answered, as callers come who know
//! nothing of each other.
//!
//! A latency is counted from the moment when the request was due, not from when it could be sent: so a
//! proxy that stands still for a moment pays for every request that came in it (no coordinated
//! omission).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{self, JoinHandle};

use super::kept::Kept;
use super::metronome::Metronome;
use super::{Order, Tally};
use crate::{Fallible, tls};

/// Requests that are due, and connections that wait for them: the one that waits longest is first.
#[derive(Default)]
struct Queue {
    due: RefCell<VecDeque<Instant>>,
    bell: Notify,
    closed: Cell<bool>,
}

pub(super) async fn drive(
    order: Order,
    client: tls::Client,
    tally: Rc<RefCell<Tally>>,
) -> Fallible<()> {
    let queue = Rc::new(Queue::default());
    let mut lines = Vec::with_capacity(order.connections);
    for number in 0..order.connections {
        lines.push(Kept::open(&order, &client, number).await?);
    }
    let lines = warm(lines).await?;
    let serving: Vec<JoinHandle<()>> = lines
        .into_iter()
        .map(|line| task::spawn_local(serve(line, Rc::clone(&queue), Rc::clone(&tally))))
        .collect();

    tally.borrow_mut().begun = Some(Instant::now());
    let rate = (order.rate / order.threads as u64).max(1);
    let mut metronome = Metronome::start(Duration::from_secs(1) / u32::try_from(rate)?)?;
    for _ in 0..rate * order.seconds {
        let due = metronome.next().await?;
        queue.due.borrow_mut().push_back(due);
        queue.bell.notify_one();
        if tally.borrow().errors + tally.borrow().late > 0 {
            break;
        }
    }
    queue.closed.set(true);
    queue.bell.notify_waiters();
    for line in serving {
        line.await?;
    }
    Ok(())
}

/// All at once, so that the proxy's connections to the app are there before the first request counts.
async fn warm(lines: Vec<Kept>) -> Fallible<Vec<Kept>> {
    let calls = lines.into_iter().map(|mut line| {
        task::spawn_local(async move {
            line.call().await?;
            line.call().await?;
            Ok::<_, Box<dyn std::error::Error>>(line)
        })
    });
    let calls: Vec<_> = calls.collect();
    let mut warm = Vec::with_capacity(calls.len());
    for call in calls {
        warm.push(call.await??);
    }
    Ok(warm)
}

async fn serve(mut line: Kept, queue: Rc<Queue>, tally: Rc<RefCell<Tally>>) {
    loop {
        let due = queue.due.borrow_mut().pop_front();
        match due {
            Some(due) => match line.call().await {
                Ok(bytes) => tally.borrow_mut().count(due, bytes),
                Err(error) => return tally.borrow_mut().complain(&*error),
            },
            None if queue.closed.get() => return,
            None => queue.bell.notified().await,
        }
    }
}

//! What the workers know of each other: how many connections each has, whether
//! each is still at work, and the way to hand one a connection.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::gateway::Gateway;
use crate::gateway::overload::Load;
use crate::listener::Listener;
use crate::listener::per_client::PerClient;
use crate::telemetry::metrics::WorkerMetrics;

/// A connection on its way to a less loaded worker.
pub(super) struct Handover {
    pub(super) stream: std::net::TcpStream,
    pub(super) address: SocketAddr,
    pub(super) listener: Arc<Listener>,
}

/// What a worker is asked by somebody who is none; it answers between two requests.
pub(super) type Question = Box<dyn FnOnce(&Gateway) + Send>;

/// Questions that may wait for one worker.
pub(super) const QUESTIONS: usize = 64;

/// What the workers know of each other.
pub struct Crew {
    pub(super) open: AtomicUsize,
    pub(super) members: Vec<Member>,
    pub(super) per_client: Arc<PerClient>,
    since: Instant,
}

/// One of them, as the others see it.
pub(super) struct Member {
    /// Its connections.
    pub(super) load: AtomicUsize,
    pub(super) metrics: Arc<WorkerMetrics>,
    pub(super) inbox: mpsc::UnboundedSender<Handover>,
    pub(super) questions: mpsc::Sender<Question>,
    /// When it was last seen at work, in milliseconds of the crew's life.
    pub(super) seen: AtomicU64,
}

impl Member {
    /// A worker that has no connection yet.
    pub(super) fn new(
        inbox: mpsc::UnboundedSender<Handover>,
        questions: mpsc::Sender<Question>,
    ) -> Self {
        let (load, seen) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { load, metrics: Arc::default(), inbox, questions, seen }
    }
}

impl Crew {
    /// A crew whose age is counted from now.
    pub(super) fn new(members: Vec<Member>) -> Self {
        let (open, per_client) = (AtomicUsize::new(0), Arc::default());
        Self { open, members, per_client, since: Instant::now() }
    }

    /// Connections of callers that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether every worker was seen at work within `limit`, or has ended.
    pub fn works(&self, limit: Duration) -> bool {
        let now = self.age();
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.members
            .iter()
            .all(|member| now.saturating_sub(member.seen.load(Ordering::Relaxed)) <= limit)
    }

    /// Milliseconds of its life.
    pub(super) fn age(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Asks every worker for something that it alone can read; nothing if one does not answer in
    /// time. What is asked keeps its requests waiting.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl Fn(&Gateway) -> T + Clone + Send + 'static,
        limit: Duration,
    ) -> Option<Vec<T>> {
        let mut answers = Vec::new();
        for member in &self.members {
            let (sender, answer) = oneshot::channel();
            let question = question.clone();
            let asked = member.questions.try_send(Box::new(move |gateway| {
                let _ = sender.send(question(gateway));
            }));
            asked.ok()?;
            answers.push(answer);
        }
        let all = async {
            let mut told = Vec::new();
            for answer in answers {
                told.push(answer.await.ok()?);
            }
            Some(told)
        };
        tokio::time::timeout(limit, all).await.ok()?
    }

    /// Each worker's counters.
    pub fn metrics(&self) -> impl Iterator<Item = &Arc<WorkerMetrics>> {
        self.members.iter().map(|member| &member.metrics)
    }

    /// The load of a worker, which reads the others'.
    pub(super) fn load(&self, index: usize) -> Rc<Load> {
        let cells = self.metrics().map(|metrics| metrics.load.clone()).enumerate();
        let (own, others): (Vec<_>, Vec<_>) = cells.partition(|(other, _)| *other == index);
        let own = own.into_iter().next().map(|(_, cell)| cell).unwrap_or_default();
        Load::new(index, own, others.into_iter().map(|(_, cell)| cell).collect())
    }

    /// The least loaded other worker, if `index` has clearly more than it: more
    /// than one connection, and more than an eighth.
    pub(super) fn relief(&self, index: usize) -> Option<&Member> {
        let own = self.members.get(index)?.load.load(Ordering::Relaxed);
        let least = self.members.iter().min_by_key(|member| member.load.load(Ordering::Relaxed))?;
        let less = least.load.load(Ordering::Relaxed);
        (own > less + 1 + less / 8).then_some(least)
    }
}

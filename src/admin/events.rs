//! `GET /events`: what each second was like, as Server-Sent Events.
//!
//! A second is read and written once, whoever listens, and not at all when
//! nobody does. A listener gets first what it needs to show a whole page, then
//! each second only the apps whose numbers changed. One that does not keep up is
//! cut off, and begins anew when its browser comes back.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;

use super::Admin;
use super::patience::Patience;
use super::problem::Problem;
use crate::telemetry::state::Phase;

mod sample;

use sample::{Point, Row, Sampler, Second};

/// Listeners at once; each has one of the listener's connections.
const LISTENERS: usize = 16;
/// Seconds that a listener may lag behind.
const LAG: usize = 4;
/// Seconds that are remembered for those who come later.
const HISTORY: usize = 300;
/// Seconds without a listener after which nothing is read any more.
const ALONE: u32 = 60;
/// The most apps of one message; those that change most come first.
const MOST_ROWS: usize = 2000;

/// Whoever listens.
#[derive(Clone, Default)]
pub struct Events(Arc<Inner>);

#[derive(Default)]
struct Inner {
    stage: Mutex<Stage>,
    came: Notify,
}

#[derive(Default)]
struct Stage {
    listeners: Vec<mpsc::Sender<Bytes>>,
    history: VecDeque<Point>,
    /// The apps that have something to do.
    busy: Arc<Vec<Row>>,
    ended: bool,
}

#[derive(Serialize)]
struct Hello<'a> {
    version: &'static str,
    phase: &'static str,
    problem: Option<String>,
    apps: usize,
    history: &'a [Point],
    rows: &'a [Row],
}

#[derive(Serialize)]
struct Told<'a> {
    phase: &'static str,
    problem: Option<String>,
    apps: usize,
    point: &'a Point,
    rows: &'a [Row],
}

/// `GET /events`.
pub(super) async fn listen(
    State(admin): State<Admin>,
    Extension(patience): Extension<Patience>,
) -> Result<Response, Problem> {
    let shared = admin.shared.clone();
    let apps = tokio::task::spawn_blocking(move || sample::apps(&shared)).await;
    let apps = apps.map_err(|_panicked| Problem::failed())?;
    let (receiver, history, busy) = admin.events.join()?;
    let hello = Hello {
        version: env!("CARGO_PKG_VERSION"),
        phase: phase(&admin),
        problem: admin.state.reload_problem(),
        apps,
        history: &history,
        rows: busy.get(..busy.len().min(MOST_ROWS)).unwrap_or_default(),
    };
    let first = Some(message("hello", &hello).ok_or_else(Problem::failed)?);
    let content = Body::new(Stream { first, receiver, patience });
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], content).into_response())
}

fn phase(admin: &Admin) -> &'static str {
    match admin.state.phase() {
        Phase::Starting => "starting",
        Phase::Serving => "serving",
        Phase::Draining => "draining",
    }
}

fn message(name: &str, data: &impl Serialize) -> Option<Bytes> {
    let mut content = format!("event: {name}\ndata: ").into_bytes();
    // JSON has no line break of its own.
    serde_json::to_writer(&mut content, data).ok()?;
    content.extend_from_slice(b"\n\n");
    Some(content.into())
}

impl Events {
    fn stage(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.0.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One listener more, and what has been until now: nothing is missed or told twice in between.
    #[expect(clippy::type_complexity, reason = "read once")]
    fn join(&self) -> Result<(mpsc::Receiver<Bytes>, Vec<Point>, Arc<Vec<Row>>), Problem> {
        let mut stage = self.stage();
        stage.listeners.retain(|listener| !listener.is_closed());
        if stage.listeners.len() >= LISTENERS || stage.ended {
            let detail = "as many listen as may; close another dashboard";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
        }
        let (sender, receiver) = mpsc::channel(LAG);
        stage.listeners.push(sender);
        self.0.came.notify_one();
        Ok((receiver, stage.history.iter().copied().collect(), stage.busy.clone()))
    }

    /// Tells everybody that it is over.
    pub(super) fn end(&self) {
        let mut stage = self.stage();
        stage.ended = true;
        stage.listeners.clear();
    }

    /// Reads every second as long as somebody listens; never ends.
    pub(super) async fn run(self, admin: Admin) {
        loop {
            self.0.came.notified().await;
            self.watch(&admin).await;
            let mut stage = self.stage();
            stage.history.clear();
            stage.busy = Arc::default();
        }
    }

    async fn watch(&self, admin: &Admin) {
        let mut sampler = Sampler::default();
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut alone = 0;
        while alone < ALONE {
            ticks.tick().await;
            let asked = admin.clone();
            let reading = tokio::task::spawn_blocking(move || {
                let second = sampler.sample(&asked, MOST_ROWS);
                (sampler, second)
            });
            let Ok((back, second)) = reading.await else { return };
            sampler = back;
            // The first reading has nothing to be compared with.
            let Some(second) = second else { continue };
            alone = if self.tell(admin, second) { 0 } else { alone + 1 };
        }
    }

    /// Tells all listeners; whether there are any.
    fn tell(&self, admin: &Admin, second: Second) -> bool {
        let Second { point, apps, changed, busy } = second;
        let told = Told {
            phase: phase(admin),
            problem: admin.state.reload_problem(),
            apps,
            point: &point,
            rows: &changed,
        };
        let told = message("second", &told);
        let mut stage = self.stage();
        stage.history.push_back(point);
        if stage.history.len() > HISTORY {
            stage.history.pop_front();
        }
        stage.busy = Arc::new(busy);
        if let Some(told) = told {
            stage.listeners.retain(|listener| listener.try_send(told.clone()).is_ok());
        }
        !stage.listeners.is_empty()
    }
}

/// What one listener gets.
struct Stream {
    first: Option<Bytes>,
    receiver: mpsc::Receiver<Bytes>,
    patience: Patience,
}

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let next = match this.first.take() {
            Some(first) => Some(first),
            None => ready!(this.receiver.poll_recv(cx)),
        };
        // Asked for more than is written: the listener reads.
        this.patience.extend();
        Poll::Ready(next.map(|content| Ok(Frame::data(content))))
    }
}

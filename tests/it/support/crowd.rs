//! An app that knows how many requests it holds, and answers when it is told.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use super::app::AppConnection;
use super::{LIMIT, ScriptedApp, eventually};

/// The app. Dropping it answers whatever it holds.
pub struct Crowd {
    app: ScriptedApp,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    healthy: AtomicBool,
    /// Targets in the order in which they came.
    came: Mutex<Vec<String>>,
    now: AtomicUsize,
    peak: AtomicUsize,
    /// Answers that may be given; `None`: any number.
    answers: Mutex<Option<usize>>,
    changed: Condvar,
}

impl Crowd {
    /// An app that answers at once.
    pub fn open() -> Self {
        Self::with(None, TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
    }

    /// An app that holds every request until [`Self::answer`] or [`Self::answer_all`].
    pub fn holding() -> Self {
        Self::with(Some(0), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
    }

    /// An app that answers at once, on a listener of the test's own.
    pub fn on(listener: TcpListener) -> Self {
        Self::with(None, listener)
    }

    /// One that holds every request, on a listener of the test's own.
    pub fn holding_on(listener: TcpListener) -> Self {
        Self::with(Some(0), listener)
    }

    fn with(answers: Option<usize>, listener: TcpListener) -> Self {
        let state = Arc::new(State { answers: Mutex::new(answers), ..State::default() });
        let app = ScriptedApp::on(listener, {
            let state = state.clone();
            move |connection| state.serve(connection)
        });
        Self { app, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.app.address()
    }

    /// Probes succeed from now on.
    pub fn turn_healthy(&self) {
        self.state.healthy.store(true, Ordering::SeqCst);
    }

    /// Gives this many answers, one to each request that is held or comes.
    pub fn answer(&self, count: usize) {
        if let Some(answers) = &mut *self.state.answers.lock().unwrap() {
            *answers += count;
        }
        self.state.changed.notify_all();
    }

    /// Answers everything from now on.
    pub fn answer_all(&self) {
        *self.state.answers.lock().unwrap() = None;
        self.state.changed.notify_all();
    }

    /// The targets in the order in which they came.
    pub fn came(&self) -> Vec<String> {
        self.state.came.lock().unwrap().clone()
    }

    /// The most requests that it ever held.
    pub fn peak(&self) -> usize {
        self.state.peak.load(Ordering::SeqCst)
    }

    /// How many requests it holds.
    pub fn now(&self) -> usize {
        self.state.now.load(Ordering::SeqCst)
    }

    /// Waits until it holds this many.
    #[track_caller]
    pub fn wait_holding(&self, count: usize) {
        eventually(&format!("the app holds {count}"), || self.now() == count);
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.answer_all();
    }
}

impl State {
    fn serve(&self, connection: &mut AppConnection) {
        // A caller that leaves takes its request with it, wherever that is.
        while let Ok(seen) = connection.try_request() {
            let target = String::from_utf8_lossy(seen.head.target()).into_owned();
            let status = if target == "/healthz" && !self.healthy.load(Ordering::SeqCst) {
                "503 No"
            } else {
                "200 OK"
            };
            if target != "/healthz" {
                self.hold(target);
            }
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
            if connection.try_send(answer).is_err() {
                return;
            }
        }
    }

    fn hold(&self, target: String) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(now, Ordering::SeqCst);
        self.came.lock().unwrap().push(target);
        let answers = self.answers.lock().unwrap();
        let none = |answers: &mut Option<usize>| *answers == Some(0);
        let (mut answers, waited) =
            self.changed.wait_timeout_while(answers, 2 * LIMIT, none).unwrap();
        assert!(!waited.timed_out(), "the test gave no answer");
        *answers = answers.map(|left| left - 1);
        drop(answers);
        // Before the answer goes: the gateway may send the next as soon as it has it.
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

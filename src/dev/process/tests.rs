//! Real `sh` scripts under the supervisor. Each test waits for events and lines;
//! none sleeps and hopes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;

const DEADLINE: Duration = Duration::from_secs(30);
const NO_GRACE: Order = Order::Stop { grace: Duration::ZERO };
const LONG_GRACE: Order = Order::Stop { grace: DEADLINE };

/// An app under a supervisor, and all that comes out of it.
struct Supervised {
    orders: mpsc::Sender<Order>,
    events: mpsc::UnboundedReceiver<Event>,
    lines: mpsc::UnboundedReceiver<(Stream, String)>,
    task: JoinHandle<Result<(), StartError>>,
}

impl Supervised {
    fn start(command: AppCommand, backoff: Backoff) -> Self {
        let (orders, orders_taken) = mpsc::channel(4);
        let (tell, events) = mpsc::unbounded_channel();
        let (print, lines) = mpsc::unbounded_channel();
        let sink: Sink = Arc::new(move |stream, line| {
            let _ = print.send((stream, line.to_owned()));
        });
        let task = tokio::spawn(supervise(command, 41_231, orders_taken, tell, backoff, sink));
        Self { orders, events, lines, task }
    }

    fn script(script: &str) -> Self {
        let long = Duration::from_secs(3600);
        let backoff = Backoff { first: long, longest: long, reset_after: long };
        Self::start(AppCommand::new("sh", ["-c", script]), backoff)
    }

    async fn event(&mut self) -> Event {
        time::timeout(DEADLINE, self.events.recv()).await.expect("an event in time").unwrap()
    }

    async fn started(&mut self) -> u32 {
        match self.event().await {
            Event::Started { pid } => pid,
            other => panic!("expected a start, got {other:?}"),
        }
    }

    async fn exited(&mut self) -> (String, Duration) {
        match self.event().await {
            Event::Exited { status, next_start_in, .. } => (status, next_start_in),
            other => panic!("expected an exit, got {other:?}"),
        }
    }

    async fn line(&mut self) -> String {
        time::timeout(DEADLINE, self.lines.recv()).await.expect("a line in time").unwrap().1
    }

    async fn pid_line(&mut self) -> i32 {
        self.line().await.parse().unwrap()
    }

    async fn order(&self, order: Order) {
        self.orders.send(order).await.unwrap();
    }

    /// The supervisor ends by itself and without error.
    async fn ended(&mut self) {
        assert!(matches!(self.event().await, Event::Stopped));
        time::timeout(DEADLINE, &mut self.task).await.unwrap().unwrap().unwrap();
    }
}

/// Waits until the process is gone, or a zombie that only its new parent can reap.
async fn dies(pid: i32) {
    let gone = async {
        while is_alive(pid).await {
            time::sleep(Duration::from_millis(5)).await;
        }
    };
    time::timeout(DEADLINE, gone).await.unwrap_or_else(|_| panic!("{pid} still runs"));
}

async fn is_alive(pid: i32) -> bool {
    let mut ps = tokio::process::Command::new("ps");
    let output = ps.args(["-o", "stat=", "-p", &pid.to_string()]).output().await.unwrap();
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    !(state.is_empty() || state.starts_with('Z'))
}

#[tokio::test]
async fn the_app_gets_port_and_its_output_is_shown_before_its_exit() {
    let mut app = Supervised::script("echo $PORT; echo oops >&2; printf 'no newline'; exit 3");
    app.started().await;
    let (status, _) = app.exited().await;
    assert_eq!(status, "exit status 3");
    let mut lines = Vec::new();
    while let Ok((stream, line)) = app.lines.try_recv() {
        lines.push((stream == Stream::Stderr, line));
    }
    lines.sort();
    let expected = [(false, "41231"), (false, "no newline"), (true, "oops")];
    assert_eq!(lines, expected.map(|(stderr, line)| (stderr, line.to_owned())));
    app.order(NO_GRACE).await;
    app.ended().await;
}

#[tokio::test]
async fn stdin_is_empty_and_the_group_is_the_apps_own() {
    let mut app = Supervised::script("cat; ps -o pgid= -p $$; echo done");
    let pid = app.started().await;
    assert_eq!(app.line().await.trim(), pid.to_string());
    assert_eq!(app.line().await, "done");
    app.exited().await;
    app.order(NO_GRACE).await;
    app.ended().await;
}

#[tokio::test]
async fn an_app_that_ends_at_sigterm_is_given_the_time() {
    let script = "trap 'sleep 0.05; echo bye; exit 0' TERM; sleep 1000 & echo ready; wait";
    let mut app = Supervised::script(script);
    app.started().await;
    assert_eq!(app.line().await, "ready");
    app.order(LONG_GRACE).await;
    app.ended().await;
    assert_eq!(app.line().await, "bye");
}

#[tokio::test]
async fn an_app_that_ignores_sigterm_is_killed_after_the_grace() {
    let mut app = Supervised::script("trap '' TERM; echo ready; while :; do sleep 1000; done");
    let pid = app.started().await;
    assert_eq!(app.line().await, "ready");
    app.order(Order::Stop { grace: Duration::from_millis(50) }).await;
    app.ended().await;
    dies(i32::try_from(pid).unwrap()).await;
}

#[tokio::test]
async fn a_grandchild_dies_when_the_app_is_stopped() {
    let mut app =
        Supervised::script("sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1000; done' & wait");
    app.started().await;
    let grandchild = app.pid_line().await;
    assert!(is_alive(grandchild).await);
    app.order(LONG_GRACE).await;
    app.ended().await;
    dies(grandchild).await;
}

#[tokio::test]
async fn a_grandchild_dies_when_the_app_exits_by_itself() {
    let mut app = Supervised::script("sleep 1000 & echo $!; exit 0");
    app.started().await;
    let grandchild = app.pid_line().await;
    assert_eq!(app.exited().await.0, "exit status 0");
    dies(grandchild).await;
    app.order(NO_GRACE).await;
    app.ended().await;
}

#[tokio::test]
async fn everything_dies_when_the_supervisor_is_dropped() {
    let mut app = Supervised::script("trap '' TERM; sleep 1000 & echo $!; wait");
    let pid = app.started().await;
    let grandchild = app.pid_line().await;
    app.task.abort();
    assert!(app.task.await.unwrap_err().is_cancelled());
    dies(grandchild).await;
    dies(i32::try_from(pid).unwrap()).await;
}

#[test]
fn everything_dies_when_the_caller_panics_with_its_runtime() {
    let (say, said) = std::sync::mpsc::channel();
    let caller = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut app = Supervised::script("trap '' TERM; sleep 1000 & echo $!; wait");
            app.started().await;
            say.send(app.pid_line().await).unwrap();
            panic!("the caller's own mistake");
        });
    });
    assert!(caller.join().is_err());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(dies(said.recv().unwrap()));
}

#[tokio::test]
async fn a_caller_who_goes_away_stops_the_app() {
    let Supervised { orders, events, mut lines, task } =
        Supervised::script("echo $$; exec sleep 1000");
    let pid = time::timeout(DEADLINE, lines.recv()).await.unwrap().unwrap().1.parse().unwrap();
    drop((orders, events, lines));
    time::timeout(DEADLINE, task).await.unwrap().unwrap().unwrap();
    dies(pid).await;
}

#[tokio::test]
async fn an_app_that_keeps_ending_is_started_again_with_longer_waits() {
    let millis = Duration::from_millis;
    let backoff = Backoff { first: millis(1), longest: millis(3), reset_after: DEADLINE };
    let mut app = Supervised::start(AppCommand::new("sh", ["-c", "exit 1"]), backoff);
    let mut pids = Vec::new();
    for wait in [1, 2, 3, 3] {
        pids.push(app.started().await);
        assert_eq!(app.exited().await, ("exit status 1".to_owned(), millis(wait)));
    }
    pids.dedup();
    assert_eq!(pids.len(), 4);
    app.order(NO_GRACE).await;
    while !matches!(app.event().await, Event::Stopped) {}
    app.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_restart_stops_the_app_and_starts_it_again() {
    let short = Duration::from_millis(1);
    let backoff = Backoff { first: short, longest: short, reset_after: DEADLINE };
    let mut app = Supervised::start(AppCommand::new("sleep", ["1000"]), backoff);
    let first = app.started().await;
    app.order(Order::Restart).await;
    assert_eq!(app.exited().await.0, "signal 15 (SIGTERM)");
    assert_ne!(app.started().await, first);
    app.order(LONG_GRACE).await;
    app.ended().await;
}

#[tokio::test]
async fn a_restart_does_not_cut_the_back_off_short_but_a_stop_does() {
    let mut app = Supervised::script("exit 7");
    app.started().await;
    app.exited().await;
    app.order(Order::Restart).await;
    app.order(LONG_GRACE).await;
    app.ended().await;
}

#[tokio::test]
async fn the_signal_that_killed_the_app_is_named() {
    let mut app = Supervised::script("exec sleep 1000");
    let pid = i32::try_from(app.started().await).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    assert_eq!(app.exited().await.0, "signal 9 (SIGKILL)");
    app.order(NO_GRACE).await;
    app.ended().await;
}

#[tokio::test]
async fn a_command_that_is_not_there_is_given_up_plainly() {
    let command = AppCommand::new("no-such-command-of-ours", ["x"]);
    let mut app = Supervised::start(command, Backoff::default());
    match app.event().await {
        Event::FailedToStart { error, next_start_in: None } => assert_eq!(
            error.to_string(),
            "the command `no-such-command-of-ours` was not found: is it installed, and in PATH?"
        ),
        other => panic!("{other:?}"),
    }
    assert!(app.task.await.unwrap().is_err());
    assert!(app.events.recv().await.is_none());
}

#[tokio::test]
async fn a_command_that_vanishes_between_two_starts_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("app");
    std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
    let millis = Duration::from_millis;
    let backoff = Backoff { first: millis(1), longest: millis(5), reset_after: DEADLINE };
    let script = r#"mv "$0" "$0.away"; exit 0"#;
    let arguments = ["-c".into(), script.into(), link.clone().into_os_string()];
    let mut app = Supervised::start(AppCommand::new(&link, arguments), backoff);
    app.started().await;
    app.exited().await;
    assert!(matches!(app.event().await, Event::FailedToStart { next_start_in: Some(_), .. }));
    std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
    while !matches!(app.event().await, Event::Started { .. }) {}
    app.order(NO_GRACE).await;
    while !matches!(app.event().await, Event::Stopped) {}
}

#[test]
fn waits_double_up_to_the_longest_and_begin_anew_after_a_long_run() {
    let mut waits = Waits::new(Backoff::default());
    let short = Duration::from_secs(59);
    let row: Vec<_> = (0..8).map(|_| waits.after(short).as_millis()).collect();
    assert_eq!(row, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    assert_eq!(waits.after(Duration::from_secs(60)).as_millis(), 500);
    assert_eq!(waits.after(short).as_millis(), 1000);
}

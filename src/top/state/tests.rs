#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::*;

const APPS: &str = r#"[
    {"organization": "acme", "name": "a", "in_flight": 1, "waiting": 0, "ports": [
        {"port": 80, "host": "a-acme.test", "endpoints": [
            {"address": "127.0.0.1:1", "ready": true, "in_flight": 1},
            {"address": "127.0.0.1:2", "ready": false, "in_flight": 0},
            {"address": "127.0.0.1:3", "ready": true, "in_flight": 0,
             "ejected": {"reason": "reset", "seconds_left": 2.5}}]}]},
    {"organization": "acme", "name": "b", "in_flight": 7, "waiting": 3, "ports": []},
    {"organization": "other", "name": "c", "in_flight": 0, "waiting": 0, "ports": []}]"#;

/// A look `seconds` after `start`, at which each app had as many requests, errors among them, and
/// requests within 0.1 s and within 1 s.
fn look(start: Instant, seconds: u64, counts: &[(&str, [u32; 4])]) -> Snapshot {
    let mut metrics = "ignite_gateway_build_info{version=\"9.9\"} 1\n".to_owned();
    for (name, [requests, errors, fast, all]) in counts {
        let labels = format!("organization=\"acme\",app=\"{name}\",port=\"80\"");
        for (class, count) in [("2xx", requests - errors), ("5xx", *errors)] {
            let _ = writeln!(
                metrics,
                "ignite_gateway_requests_total{{{labels},http_response_status_class=\"{class}\"}} {count}"
            );
        }
        for (le, count) in [("0.1", fast), ("1.0", all), ("+Inf", all)] {
            let name = "http_server_request_duration_seconds_bucket";
            let _ = writeln!(metrics, "{name}{{{labels},le=\"{le}\"}} {count}");
        }
    }
    let mut snapshot = Snapshot::of(APPS.as_bytes(), &metrics).unwrap();
    snapshot.at = start + Duration::from_secs(seconds);
    snapshot
}

fn state() -> State {
    let start = Instant::now();
    let mut state = State::new(look(start, 0, &[("a", [100, 10, 90, 100]), ("b", [5, 0, 5, 5])]));
    assert!(!state.has_rates() && state.rows[0].p99_seconds.is_none());
    let counts = [("a", [120, 20, 100, 120]), ("b", [105, 0, 105, 105]), ("x", [4, 0, 0, 4])];
    state.see(look(start, 2, &counts));
    state
}

fn press(state: &mut State, keys: &str) {
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '\u{8}' => KeyCode::Backspace,
            key => KeyCode::Char(key),
        };
        assert_eq!(state.press(KeyEvent::new(code, KeyModifiers::NONE)), Next::Stay, "{key:?}");
    }
}

fn names(state: &State) -> Vec<&str> {
    state.shown().iter().map(|row| row.app.as_str()).collect()
}

fn near(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-9, "{left} {right}");
}

#[test]
fn rates_and_times_are_of_the_time_between_two_looks() {
    let state = state();
    let row = |name| state.rows.iter().find(|row| row.app == name).unwrap();
    let a = row("acme/a");
    near(a.requests_per_second, 10.0);
    near(a.errors_per_second, 5.0);
    near(a.error_share(), 0.5);
    // Of twenty ten were within 0.1 s, the others within 1 s.
    near(a.p50_seconds.unwrap(), 0.1);
    near(a.p99_seconds.unwrap(), 0.1 + 0.9 * 0.98);
    assert_eq!((a.ready, a.endpoints), (1, 3));
    assert_eq!(row("other/c"), &Row { app: "other/c".into(), ..Row::default() });
    // Counted, and no app: it has a row all the same.
    near(row("acme/x").requests_per_second, 2.0);
    near(state.total.requests_per_second, 62.0);
    assert_eq!((state.total.in_flight, state.total.waiting), (8, 3));
}

#[test]
fn a_gateway_that_was_restarted_counts_from_zero() {
    let start = Instant::now();
    let mut state = State::new(look(start, 0, &[("a", [100, 10, 90, 100])]));
    state.see(look(start, 1, &[("a", [7, 0, 7, 7])]));
    near(state.total.requests_per_second, 7.0);
    assert!(state.total.p99_seconds.unwrap() <= 0.1);
}

#[test]
fn keys_order_filter_and_choose() {
    let mut state = state();
    assert_eq!(names(&state), ["acme/b", "acme/a", "acme/x", "other/c"], "by requests");
    press(&mut state, "e");
    assert_eq!(names(&state)[0], "acme/a");
    press(&mut state, "p");
    assert_eq!(names(&state)[0], "acme/x");
    press(&mut state, "a");
    assert_eq!(names(&state), ["acme/a", "acme/b", "acme/x", "other/c"]);
    press(&mut state, "a");
    assert_eq!(names(&state), ["other/c", "acme/x", "acme/b", "acme/a"]);
    press(&mut state, "w");
    assert_eq!((names(&state)[0], state.reversed), ("acme/b", false));

    press(&mut state, "/OTHq\u{8}");
    assert_eq!((names(&state), state.mode), (vec!["other/c"], Mode::Filter));
    press(&mut state, "\n\n");
    assert_eq!((state.mode, state.app().unwrap().0.name.as_str()), (Mode::App, "c"));
    press(&mut state, "\u{1b}\u{1b}");
    assert_eq!((state.mode, names(&state).len()), (Mode::Apps, 4));

    press(&mut state, "agj");
    assert_eq!(state.selected(), 1);
    // Who is chosen stays chosen, wherever the order puts it.
    press(&mut state, "i");
    assert_eq!((state.selected(), names(&state)[0]), (0, "acme/b"));
    press(&mut state, "G");
    assert_eq!(state.selected(), 3);
    press(&mut state, "jjk");
    assert_eq!(state.selected(), 2);
}

#[test]
fn q_and_control_c_quit_but_q_in_a_filter_is_a_letter() {
    let q = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    for mode in [Mode::Apps, Mode::App, Mode::Help, Mode::Filter] {
        let mut state = state();
        state.mode = mode;
        let wanted = if mode == Mode::Filter { Next::Stay } else { Next::Quit };
        assert_eq!(state.press(q), wanted, "{mode:?}");
        assert_eq!(state.press(control_c), Next::Quit, "{mode:?}");
    }
}

#[test]
fn an_app_that_is_gone_and_no_apps_at_all_are_shown_without_harm() {
    let mut state = state();
    press(&mut state, "ag\n");
    let mut empty = Snapshot::of(b"[]", "").unwrap();
    empty.at = Instant::now() + Duration::from_secs(9);
    state.see(empty);
    assert!(state.app().is_none());
    press(&mut state, "jk\u{1b}jkgG\n");
    assert_eq!((state.selected(), names(&state).len()), (0, 0));
}

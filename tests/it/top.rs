//! `top` against a real gateway: what it draws, and what it does to a terminal.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use ignite_gateway::config::Config;
use ignite_gateway::top::snapshot::Snapshot;
use ignite_gateway::top::state::{Mode, State};
use ignite_gateway::top::view::{self, Style};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::binary::{Folder, command, finish, stderr};
use crate::support::caller::get;
use crate::support::edge::Refusing;
use crate::support::{Caller, EchoHeads, Gateway, ScriptedApp, app, eventually, tools};

fn look(admin: SocketAddr) -> Snapshot {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Snapshot::fetch(admin)).expect("the admin listener answers")
}

/// The screen's lines.
fn screen(state: &mut State, (width, height): (u16, u16)) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, state, Style::new(true))).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |row| (0..width).map(|column| buffer[(column, row)].symbol()).collect::<String>();
    (0..height).map(|row| line(row).trim_end().to_owned()).collect()
}

#[track_caller]
fn line<'a>(screen: &'a [String], text: &str) -> &'a str {
    screen.iter().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {screen:#?}"))
}

fn press(state: &mut State, code: KeyCode) {
    state.press(KeyEvent::new(code, KeyModifiers::NONE));
}

/// An app that works, one that fails, one of which an endpoint is gone, and one with a long name.
fn gateway(good: SocketAddr, bad: SocketAddr, change: impl FnOnce(&mut Config)) -> Gateway {
    Gateway::with(|config| {
        config.apps.push(app("acme/hello", &[(80, &[good]), (8080, &[good])]));
        config.apps.push(app("acme/broken", &[(80, &[bad])]));
        config.apps.push(app("acme/idle", &[(80, &[])]));
        let long = format!("{}/{}", "o".repeat(30), "a".repeat(32));
        config.apps.push(app(&long, &[(80, &[good])]));
        change(config);
    })
}

#[test]
fn every_app_has_a_line_with_what_it_did_in_80_columns() {
    let good = EchoHeads::start();
    let bad = ScriptedApp::answering(
        "HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
    );
    let gateway = gateway(good.address(), bad.address(), |_| {});
    let mut state = State::new(look(gateway.admin()));
    for _ in 0..40 {
        Caller::ask(&gateway, get("/")).expect(200);
    }
    for _ in 0..10 {
        let request = "GET / HTTP/1.1\r\nHost: broken-acme.ignite.test\r\n\r\n";
        Caller::ask(&gateway, request).expect(500);
    }
    gateway.wait_idle();
    state.see(look(gateway.admin()));

    let seen = screen(&mut state, (80, 24));
    assert!(seen[0].contains(concat!("ignite-gateway ", env!("CARGO_PKG_VERSION"))), "{seen:#?}");
    assert!(seen[0].contains("apps 4"), "{seen:#?}");
    assert!(seen[1].contains("errors 20%") && seen[1].contains("p99"), "{seen:#?}");
    let rows: Vec<&String> = seen.iter().filter(|line| line.contains("acme/")).collect();
    assert!(rows[0].starts_with("acme/hello") && rows[0].ends_with("2/2"), "{seen:#?}");
    assert!(rows[1].starts_with("acme/broken") && rows[1].contains("100%"), "{seen:#?}");
    assert!(line(&seen, "acme/idle").ends_with("0/0"), "{seen:#?}");
    assert!(line(&seen, "oooooooooo").ends_with("1/1"), "{seen:#?}");
    assert!(line(&seen, "REQ/S▼").contains("READY"));
    assert!(line(&seen, "q quit").contains("? help"));

    // One app, its hosts and its endpoints.
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.mode, Mode::App);
    let seen = screen(&mut state, (80, 24));
    assert!(line(&seen, "80 → hello-acme.ignite.test").starts_with("  80"));
    assert!(line(&seen, "8080 → hello-acme-8080.ignite.test").contains("8080"));
    let address = good.address().to_string();
    assert!(line(&seen, &address).contains("ready"), "{seen:#?}");

    // A filter.
    press(&mut state, KeyCode::Esc);
    for key in "/idl".chars() {
        press(&mut state, KeyCode::Char(key));
    }
    let seen = screen(&mut state, (80, 24));
    assert!(line(&seen, "/idl█").starts_with('/'));
    assert_eq!(seen.iter().filter(|line| line.contains("acme/")).count(), 1, "{seen:#?}");

    // The gateway is gone, and says nothing new.
    state.lose("no connection".to_owned());
    assert!(line(&screen(&mut state, (80, 24)), "No answer").contains("no connection"));
    // A terminal of any size is drawn on, without harm.
    for size in [(1, 1), (20, 4), (79, 3), (300, 100)] {
        for mode in [Mode::Apps, Mode::App, Mode::Filter, Mode::Help] {
            state.mode = mode;
            screen(&mut state, size);
        }
    }
}

#[test]
fn once_prints_a_table_or_json_for_scripts() {
    let good = EchoHeads::start();
    let gateway = gateway(good.address(), good.address(), |_| {});
    Caller::ask(&gateway, get("/")).expect(200);
    let admin = gateway.admin().to_string();
    let run = |more: &[&str]| {
        let arguments = [&["top", "--admin", &admin, "--once", "--interval", "0.1"], more].concat();
        let mut top = command(&arguments);
        let child = top.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = finish(child);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run(&[]);
    assert!(text.starts_with("APP "), "{text}");
    assert!(text.lines().any(|line| line.starts_with("acme/hello") && line.ends_with("2/2")));
    assert!(text.lines().last().unwrap().starts_with("all "), "{text}");
    let json: serde_json::Value = serde_json::from_str(&run(&["--output", "json"])).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["apps"].as_array().unwrap().len(), 4);
    assert_eq!(json["total"]["endpoints"], 4);
}

#[test]
fn no_gateway_is_said_plainly() {
    let nobody = Refusing::new();
    let admin = nobody.address().to_string();
    for more in [&[][..], &["--once"]] {
        let arguments = [&["top", "--admin", &admin], more].concat();
        let child = command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let output = finish(child.unwrap());
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(
            text.starts_with(&format!("ignite-gateway: no gateway answers at {admin}")),
            "{text}"
        );
        assert!(!text.contains('\u{1b}') && output.stdout.is_empty(), "{text}");
    }
    // Something else listens there.
    let other = ScriptedApp::answering_once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let arguments = ["top", "--admin", &other.address().to_string(), "--once"];
    let child = command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let text = stderr(&finish(child.unwrap()));
    assert!(text.contains("/apps is not a gateway's"), "{text}");
}

/// A pseudo-terminal with a shell in it, by `script` of util-linux.
#[test]
fn in_a_terminal_it_shows_an_app_and_q_gives_the_terminal_back() {
    if !tools::demanded("script", tools::is_there("script")) {
        return;
    }
    let good = EchoHeads::start();
    let gateway = gateway(good.address(), good.address(), |_| {});
    for ending in ["q", "\u{3}", ""] {
        let folder = Folder::new();
        let (before, after) = (folder.path("before"), folder.path("after"));
        let pid = folder.path("pid");
        let program = env!("CARGO_BIN_EXE_ignite-gateway");
        let script = format!(
            "stty rows 24 cols 80\nstty -g > {before}\n\
             (echo $BASHPID > {pid}; exec {program} top --admin {admin} --interval 0.2)\n\
             echo ended $?\nstty -g > {after}\n",
            before = before.display(),
            after = after.display(),
            pid = pid.display(),
            admin = gateway.admin(),
        );
        let file = folder.write("run.sh", script);
        let mut child = Command::new("script")
            .args(["-qec", &format!("bash {}", file.display()), "/dev/null"])
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut keys = child.stdin.take().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let reader = std::thread::spawn({
            let (shown, mut out) = (shown.clone(), child.stdout.take().unwrap());
            move || {
                let mut piece = [0; 4096];
                while let Ok(length @ 1..) = out.read(&mut piece) {
                    shown.lock().unwrap().extend_from_slice(&piece[..length]);
                }
            }
        });
        let text = || String::from_utf8_lossy(&shown.lock().unwrap()).into_owned();
        eventually("the app's row is there", || {
            Caller::ask(&gateway, get("/")).expect(200);
            text().contains("acme/hello") && text().contains("\u{1b}[?1049h")
        });
        if ending.is_empty() {
            let pid: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        } else {
            keys.write_all(ending.as_bytes()).unwrap();
        }
        eventually("it has ended", || text().contains("ended 0"));
        drop(keys);
        assert!(child.wait().unwrap().success());
        reader.join().unwrap();
        let shown = text();
        let restored = shown.rfind("\u{1b}[?1049l").expect("the other screen is left");
        assert!(restored > shown.rfind("acme/hello").unwrap(), "{shown:?}");
        assert!(shown.rfind("\u{1b}[?25h") > shown.rfind("\u{1b}[?25l"), "the cursor is back");
        let settings = |path| fs::read_to_string(path).unwrap();
        assert_eq!(settings(&before), settings(&after), "the terminal is as it was");
    }
}

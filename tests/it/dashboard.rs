//! The dashboard in a real browser: it loads, lives, is found around in by keys,
//! and can be read by everybody.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use ignite_gateway::config::Config;
use serde_json::{Value, json};

use crate::support::tools::{Running, demanded, is_there};
use crate::support::{Caller, EchoHeads, Gateway, app};

mod pictures;

/// A page of a headless Chromium.
struct Browser {
    running: Running,
    answers: BufReader<std::process::ChildStdout>,
}

/// Whether there is all that it needs.
fn has_browser() -> bool {
    let python = Command::new("python3").args(["-c", "import websockets"]).output();
    let python = python.is_ok_and(|output| output.status.success());
    is_there("chromium") && demanded("websockets for python3", python)
}

impl Browser {
    #[track_caller]
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/dashboard/browser.py");
        let mut command = Command::new("python3");
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running(command.spawn().unwrap());
        let answers = BufReader::new(running.0.stdout.take().unwrap());
        Self { running, answers }
    }

    #[track_caller]
    fn tell(&mut self, command: &Value) -> Value {
        let stdin = self.running.0.stdin.as_mut().unwrap();
        stdin.write_all(format!("{command}\n").as_bytes()).expect("the browser is driven");
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).expect("the browser's driver answers");
        assert!(answer.get("error").is_none(), "{command}: {}", answer["error"].as_str().unwrap());
        answer["ok"].clone()
    }

    #[track_caller]
    fn open(&mut self, gateway: &Gateway, hash: &str) {
        self.tell(&json!({ "open": format!("http://{}/{hash}", gateway.admin()) }));
    }

    #[track_caller]
    fn eval(&mut self, expression: &str) -> Value {
        self.tell(&json!({ "eval": expression }))
    }

    /// Waits until an expression is true.
    #[track_caller]
    fn until(&mut self, expression: &str) {
        self.tell(&json!({ "until": expression }));
    }

    #[track_caller]
    fn key(&mut self, key: &str) {
        self.tell(&json!({ "key": key }));
    }

    /// The names in the table, from top to bottom.
    #[track_caller]
    fn names(&mut self) -> Vec<String> {
        let names = self.eval(
            "[...document.querySelectorAll('tbody tr:not([hidden]) td.name a')]\
             .map((link) => link.textContent)",
        );
        serde_json::from_value(names).unwrap()
    }

    #[track_caller]
    fn expect_no_errors(&mut self) {
        assert_eq!(self.tell(&json!({ "errors": true })), json!([]));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // At the end of its input it ends the browser.
        drop(self.running.0.stdin.take());
        let _ = self.running.0.wait();
    }
}

/// How many rows are there.
const ROWS: &str = "document.querySelectorAll('tbody tr:not([hidden])').length";

fn of_apps(ids: &[&str], echo: &EchoHeads, change: impl FnOnce(&mut Config)) -> Gateway {
    Gateway::with(|config| {
        config.apps.extend(ids.iter().map(|id| app(id, &[(80, &[echo.address()])])));
        change(config);
    })
}

/// Calls an app again and again as long as `work` takes.
fn while_called<T>(gateway: &Gateway, host: &str, work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut caller = Caller::new(gateway);
            while !over.load(Ordering::Relaxed) {
                caller.send(format!("GET /orders?token=secret HTTP/1.1\r\nHost: {host}\r\n\r\n"));
                caller.read_response().expect(200);
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        // A test that fails in here must not wait for the thread for ever.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn it_lives_and_is_found_around_in_by_mouse_and_by_keys() {
    if !has_browser() {
        return;
    }
    let echo = EchoHeads::start();
    let ids = ["acme/checkout", "acme/search", "globex/checkout", "globex/images"];
    let gateway = of_apps(&ids, &echo, |config| {
        config.apps.push(app("initech/nowhere", &[(80, &[])]));
    });
    let mut browser = Browser::start();
    browser.open(&gateway, "");
    browser.until(&format!("{ROWS} === 5"));
    browser.until("document.querySelector('#state').innerText === 'Live'");
    assert_eq!(browser.eval("document.title"), "ignite-gateway");

    // It moves under traffic, and sorts the busiest to the top.
    while_called(&gateway, "images-globex.ignite.test", || {
        browser.until("parseFloat(document.querySelector('.figure').innerText) > 0");
        browser.until("document.querySelector('tbody td.name a').textContent === 'globex/images'");
        let path = "document.querySelector('.chart .line-accent').getAttribute('d')";
        browser.until(&format!("({path} ?? '').length > 20"));
        let before = browser.eval(path).as_str().unwrap().to_owned();
        browser.until(&format!("{path} !== {}", json!(before)));
    });

    // Sorting.
    browser.eval("[...document.querySelectorAll('th button')][0].click()");
    assert_eq!(browser.names()[0], "acme/checkout");
    browser.eval("[...document.querySelectorAll('th button')][0].click()");
    assert_eq!(browser.names()[0], "initech/nowhere");
    assert_eq!(browser.eval("document.querySelector('th').ariaSort"), "descending");
    browser.eval("[...document.querySelectorAll('.chips button')][2].click()");
    assert_eq!(browser.names(), ["initech/nowhere"], "the one in trouble");
    browser.eval("[...document.querySelectorAll('.chips button')][0].click()");

    // Searching and moving by keys alone.
    browser.key("/");
    browser.tell(&json!({ "type": "checkout" }));
    browser.until(&format!("{ROWS} === 2"));
    browser.key("ArrowDown");
    assert_eq!(browser.eval("document.activeElement.textContent"), "globex/checkout");
    browser.key("ArrowDown");
    browser.key("ArrowDown");
    assert_eq!(browser.eval("document.activeElement.textContent"), "acme/checkout", "the last");
    browser.key("Enter");
    browser.until("document.querySelector('h1').textContent === 'acme/checkout'");
    let endpoint = echo.address().to_string();
    browser.until(&format!("document.body.innerText.includes({})", json!(endpoint)));
    browser.key("Escape");
    browser.until(&format!("{ROWS} === 5"));
    assert_eq!(browser.eval("document.querySelector('#search').value"), "");

    browser.key("/");
    browser.tell(&json!({ "type": "<img src=x onerror=alert(1)>" }));
    browser.until("document.querySelector('.empty')?.innerText.includes('Nothing found')");
    browser.key("Escape");
    browser.key("Escape");
    browser.key("?");
    browser.until("document.querySelector('dialog').open");
    browser.key("Escape");
    browser.until("!document.querySelector('dialog').open");
    let theme = browser.eval("document.documentElement.dataset.theme");
    browser.key("t");
    assert_ne!(browser.eval("document.documentElement.dataset.theme"), theme);
    browser.expect_no_errors();
}

#[test]
fn thousands_of_apps_do_not_stop_it_and_a_lost_gateway_is_told() {
    if !has_browser() {
        return;
    }
    let echo = EchoHeads::start();
    let ids: Vec<_> = (0..5000).map(|number| format!("acme/app-{number}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let gateway = of_apps(&ids, &echo, |_| {});
    let mut browser = Browser::start();
    browser.open(&gateway, "");
    browser.until("document.querySelector('.section .count').textContent === '5,000'");
    browser.until("document.querySelector('.pager').innerText.includes('of 5,000')");
    assert_eq!(browser.eval(ROWS), 50, "a page of them");
    browser.key("/");
    browser.tell(&json!({ "type": "app-4999" }));
    browser.until(&format!("{ROWS} === 1"));
    gateway.finish();
    browser.until("document.querySelector('#state').innerText === 'Reconnecting'");
    browser.until("!document.querySelector('#banner').hidden");
    assert_eq!(browser.names(), ["acme/app-4999"], "what it showed stays");
}

#[test]
fn axe_finds_nothing_wrong_in_either_theme() {
    if !has_browser() {
        return;
    }
    let Some(axe) = axe() else { return };
    let echo = EchoHeads::start();
    let gateway = of_apps(&["acme/checkout", "acme/search"], &echo, |config| {
        config.apps.push(app("initech/nowhere", &[(80, &[])]));
    });
    let mut browser = Browser::start();
    while_called(&gateway, "checkout-acme.ignite.test", || {
        for dark in [false, true] {
            browser.tell(&json!({ "dark": dark }));
            for (hash, ready) in [
                ("", "document.querySelector('td.name a')?.textContent === 'acme/checkout'"),
                ("#/apps/acme/checkout", "document.body.innerText.includes('ready')"),
                ("#/apps/acme/none", "document.body.innerText.includes('No such app')"),
                ("#/executions/none", "document.querySelector('.empty b') !== null"),
            ] {
                // From another page: a change of the hash alone is no load.
                browser.tell(&json!({ "open": "about:blank" }));
                browser.open(&gateway, hash);
                browser.until(ready);
                browser.tell(&json!({ "script": axe }));
                let found = browser.eval(
                    "axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', \
                     'best-practice'] }).then(({ violations }) => violations.map((one) => \
                     one.id + ': ' + one.help + ' ' + one.nodes.map((node) => node.html + ' ' + \
                     node.failureSummary).join(' | ')))",
                );
                assert_eq!(found, json!([]), "{hash} dark: {dark}");
            }
        }
    });
}

/// axe-core, which `.ci/run` installs.
fn axe() -> Option<PathBuf> {
    let installed = "target/ci-npm/node_modules/axe-core/axe.min.js";
    let file = std::env::var_os("AXE_CORE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(installed), PathBuf::from);
    demanded("axe-core (npm install --prefix target/ci-npm axe-core)", file.is_file())
        .then_some(file)
}

//! A reader that does not read the log costs nobody but itself.

use std::io::Read as _;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::{AT_ONCE, File, request};
use crate::binary::{Folder, access_lines, command};
use crate::support::tools::Running;
use crate::support::{Caller, EchoHeads, eventually};

#[test]
fn nobody_waits_for_a_reader_that_does_not_read_and_what_is_lost_is_counted() {
    let app = EchoHeads::start();
    let file = File::new("[limits]\nrequest_target_bytes = \"16KiB\"\n").app(
        "hello",
        &[app.address()],
        "",
    );
    let folder = Folder::new();
    let path = folder.write("gateway.toml", &file.0);
    let mut command = command(&["serve", "--config", path.to_str().unwrap()]);
    command.env(AT_ONCE.0, AT_ONCE.1).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Running(command.spawn().unwrap());
    let mut out = child.0.stdout.take().unwrap();
    // The announcements, and nothing any more.
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    let address = |said: &[u8], what: &str| -> Option<SocketAddr> {
        let text = String::from_utf8_lossy(said);
        let line = text.lines().find(|line| line.contains(&format!("\"message\":\"{what}\"")))?;
        let line: Value = serde_json::from_str(line).ok()?;
        line["address"].as_str()?.parse().ok()
    };
    while address(&said, "admin listening").is_none() {
        let read = out.read(&mut piece).unwrap();
        assert!(read > 0, "it ended");
        said.extend_from_slice(&piece[..read]);
    }
    let (gateway, admin) =
        (address(&said, "listening").unwrap(), address(&said, "admin listening").unwrap());
    // 20 MB of lines, where 16 MiB and a pipe's may wait.
    let count = Arc::new(AtomicUsize::new(0));
    let target = format!("GET /{}", "x".repeat(10_000));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (count, text) = (count.clone(), request(&target, "hello", ""));
            std::thread::spawn(move || {
                let mut caller = Caller::to(gateway);
                while count.fetch_add(1, Ordering::Relaxed) < 2000 {
                    caller.send(&text);
                    let _ = caller.read_response().expect(200);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().expect("every request is answered");
    }
    eventually("what is lost is counted", || dropped(admin) > 0);
    // What was kept is whole lines, and there when somebody reads again.
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        out.read_to_end(&mut rest).unwrap();
        rest
    });
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.0.id()).unwrap()).unwrap();
    let lost = dropped(admin);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let rest = reader.join().unwrap();
    assert!(child.0.wait().unwrap().success());
    let text = String::from_utf8([said, rest].concat()).unwrap();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let written = access_lines(&lines).len() as u64;
    assert!(written + lost <= 2000 && written > 500, "{written} written, {lost} lost");
}

/// Log lines that were dropped so far.
fn dropped(admin: SocketAddr) -> u64 {
    let mut caller = Caller::to(admin);
    caller.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let text = caller.read_response().expect(200).text();
    let line =
        text.lines().find_map(|line| line.strip_prefix("ignite_gateway_log_lines_dropped_total "));
    line.expect("the metric is there").trim().parse().unwrap()
}

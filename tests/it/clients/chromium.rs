//! A browser: a page that uploads, listens to events and tells what it saw.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Certificate, content, over_tls};
use crate::support::app::{AppConnection, Seen};
use crate::support::tools::{Running, is_there};
use crate::support::{Gateway, LIMIT, ScriptedApp};

/// Browsers look up what ends in `localhost` by themselves.
const HOST: &str = "hello-acme.localhost";
const UPLOAD: u32 = 3 << 20;

/// Fetches run side by side. At the end the page's own text is sent, which is the report.
const PAGE: &str = r"<!doctype html><title>running</title><body><ul></ul><script>
const say = (text) => {
  const line = document.createElement('li');
  line.textContent = text;
  document.querySelector('ul').append(line);
};
const sent = new Uint8Array(LENGTH);
for (let at = 0; at < sent.length; at++) sent[at] = Math.imul(at, 2654435761) >>> 24;
async function upload() {
  const answer = await fetch('/upload', { method: 'POST', body: sent });
  const back = new Uint8Array(await answer.arrayBuffer());
  say('upload ' + answer.status + ' ' + (back.length === sent.length && back.every((b, at) => b === sent[at])));
}
function events() {
  return new Promise((done, fail) => {
    const source = new EventSource('/events');
    const got = [];
    source.onerror = () => fail(new Error('no events'));
    source.onmessage = (event) => {
      got.push(event.data);
      if (got.length === 3) { source.close(); say('events ' + got.join(' ')); done(); }
    };
  });
}
async function many() {
  const all = await Promise.all([...Array(30).keys()].map(async (n) => {
    const text = await (await fetch('/many?' + n)).text();
    return text === '/many?' + n;
  }));
  say('many ' + all.filter((right) => right).length);
}
function chat() {
  return new Promise((done, fail) => {
    const socket = new WebSocket('/chat');
    socket.onerror = () => fail(new Error('no WebSocket'));
    socket.onopen = () => socket.send('hello');
    socket.onmessage = (event) => {
      say('chat ' + event.data);
      socket.close();
      done();
    };
  });
}
async function main() {
  await upload();
  await Promise.all([events(), many(), chat()]);
  const seen = performance.getEntriesByType('resource').map((entry) => entry.nextHopProtocol);
  say('protocol ' + [...new Set(seen)].join(' '));
}
main().catch((error) => say('failed: ' + error)).finally(() => {
  const lines = [...document.querySelectorAll('li')].map((line) => line.textContent).sort();
  fetch('/report', { method: 'POST', body: lines.join('\n') });
});
</script>";

/// The app behind the page, and what the page reports.
fn page_app() -> (ScriptedApp, Receiver<String>) {
    let (report, reported) = mpsc::channel();
    let app = ScriptedApp::start(move |connection| {
        while let Ok(seen) = connection.try_request() {
            if seen.head.target() == b"/report" {
                let _ = report.send(String::from_utf8_lossy(&seen.content).into_owned());
            }
            if answer(connection, &seen).is_err() {
                return;
            }
        }
    });
    (app, reported)
}

fn answer(connection: &mut AppConnection, seen: &Seen) -> std::io::Result<()> {
    let whole = |kind: &str, content: &[u8]| {
        let length = content.len();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
        [head.as_bytes(), content].concat()
    };
    match seen.head.target() {
        b"/" => {
            let page = PAGE.replace("LENGTH", &UPLOAD.to_string());
            connection.try_send(whole("text/html", page.as_bytes()))
        }
        b"/upload" => {
            assert!(seen.content == content(UPLOAD), "not what the page sent");
            connection.try_send(whole("application/octet-stream", &seen.content))
        }
        b"/events" => {
            let head = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n";
            connection.try_send(format!("HTTP/1.1 200 OK\r\n{head}\r\n"))?;
            for number in 0..3 {
                let event = format!("data: {number}\n\n");
                connection.try_send(format!("{:x}\r\n{event}\r\n", event.len()))?;
            }
            connection.try_send("0\r\n\r\n")
        }
        b"/chat" => chat(connection, seen),
        target => connection.try_send(whole("text/plain", target)),
    }
}

/// A WebSocket that answers one short message with itself and the version it came through.
fn chat(connection: &mut AppConnection, seen: &Seen) -> std::io::Result<()> {
    let key = seen.field("sec-websocket-key").expect("a key");
    let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let proof = digest(&SHA1_FOR_LEGACY_USE_ONLY, [&key, guid].concat().as_bytes());
    connection.try_send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        BASE64.encode(proof)
    ))?;
    // RFC 6455 section 5.2: a final text frame, shorter than 126 bytes, masked.
    let head = connection.body(2);
    assert_eq!((head[0], head[1] & 0x80), (0x81, 0x80));
    let (mask, masked) = (connection.body(4), connection.body(usize::from(head[1] & 0x7f)));
    let text = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    let via = seen.field("via").unwrap_or_default();
    let answer = [&text.collect::<Vec<u8>>()[..], b" via ", via.as_bytes()].concat();
    let length = u8::try_from(answer.len()).expect("a short answer");
    connection.try_send([&[0x81, length][..], &answer].concat())?;
    connection.read_to_close();
    Ok(())
}

/// Opens the page and waits for its report.
#[track_caller]
fn report(url: &str, reported: &Receiver<String>) -> String {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new("chromium");
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-dev-shm-usage", "--no-proxy-server", "--ignore-certificate-errors"])
        // Stays until it is told to go.
        .args(["--remote-debugging-port=0", url])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut browser = Running(command.spawn().unwrap());
    let (log, lines) = mpsc::channel();
    let stderr = BufReader::new(browser.0.stderr.take().unwrap());
    // Reads on to the end: the browser must not block on a full pipe.
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            let _ = log.send(line);
        }
    });
    // A browser takes its time to start on a busy machine.
    let report = reported.recv_timeout(2 * LIMIT);
    drop(browser);
    report.unwrap_or_else(|_| panic!("no report: {:#?}", lines.iter().collect::<Vec<_>>()))
}

#[test]
fn a_browser_uploads_hears_events_and_chats_in_the_clear() {
    if !is_there("chromium") {
        return;
    }
    let (app, reported) = page_app();
    let gateway = Gateway::of_with(app.address(), |config| {
        config.domain = "localhost".parse().unwrap();
    });
    let url = format!("http://{HOST}:{}/", gateway.address().port());
    let report = report(&url, &reported);
    assert_eq!(
        report,
        "chat hello via 1.1 ignite-gateway\nevents 0 1 2\nmany 30\nprotocol http/1.1\n\
         upload 200 true"
    );
}

#[test]
fn a_browser_uploads_hears_events_and_chats_over_tls_by_http_2() {
    if !is_there("chromium") || !is_there("openssl") {
        return;
    }
    let (app, reported) = page_app();
    let certificate = Certificate::new(HOST);
    let gateway = over_tls(app.address(), &certificate, |config| {
        config.domain = "localhost".parse().unwrap();
    });
    let url = format!("https://{HOST}:{}/", gateway.address().port());
    let report = report(&url, &reported);
    // The WebSocket, too: RFC 8441.
    assert_eq!(
        report,
        "chat hello via 2.0 ignite-gateway\nevents 0 1 2\nmany 30\nprotocol h2\n\
         upload 200 true"
    );
}

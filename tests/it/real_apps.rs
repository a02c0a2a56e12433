//! What people really run: Python's and Node's own servers behind the gateway,
//! and curl in front of it.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::caller::{get, request};
use crate::support::tools::is_there;
use crate::support::{Caller, EchoHeads, Gateway, HOST, LIMIT, ScriptedApp};

/// A process that serves at the port that it writes as its first line.
pub struct RealApp {
    child: Child,
    pub address: SocketAddr,
}

impl RealApp {
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let (sender, line) = std::sync::mpsc::channel();
        // Reads on to the end: a server must not block on a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let port = line.recv_timeout(LIMIT).ok().and_then(|line| line.trim().parse().ok());
        let Some(port) = port else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the app did not say its port");
        };
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// Python's `http.server` on a folder.
    fn python(folder: &Path) -> Self {
        let script = "import http.server, functools, sys\n\
            class H(http.server.SimpleHTTPRequestHandler):\n    pass\n\
            h = functools.partial(H, directory=sys.argv[1])\n\
            s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), h)\n\
            print(s.server_address[1], flush=True)\n\
            s.serve_forever()\n";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(folder);
        Self::start(command)
    }

    /// A Node server whose handler is this body of a function of `q` and `s`.
    fn node(handler: &str, setup: &str) -> Self {
        let script = format!(
            "const http = require('http');\n\
             const server = http.createServer((q, s) => {{ {handler} }});\n{setup}\n\
             server.listen(0, '127.0.0.1', () => console.log(server.address().port));"
        );
        let mut command = Command::new("node");
        command.args(["-e", &script]);
        Self::start(command)
    }
}

impl Drop for RealApp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// curl to the default app, with these arguments before the URL.
#[track_caller]
fn curl(gateway: &Gateway, path: &str, arguments: &[&str]) -> Output {
    curl_with(gateway, path, arguments, b"")
}

#[track_caller]
fn curl_with(gateway: &Gateway, path: &str, arguments: &[&str], input: &[u8]) -> Output {
    let address = gateway.address();
    let connect = format!("{HOST}:80:{}:{}", address.ip(), address.port());
    let mut child = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"])
        .args(["--connect-to", &connect])
        .args(arguments)
        .arg(format!("http://{HOST}{path}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl: {} {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

// --- Python -------------------------------------------------------------------------------

#[test]
fn pythons_http_server_serves_files_errors_and_conditional_requests() {
    if !is_there("python3") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let content = "some content\n".repeat(50_000);
    std::fs::write(folder.path().join("file.txt"), &content).unwrap();
    let app = RealApp::python(folder.path());
    let gateway = Gateway::of(app.address);
    let mut caller = Caller::new(&gateway);

    let response = caller.get("/file.txt").expect(200);
    assert!(response.complete && response.body == content.as_bytes());
    assert_eq!(response.field("content-type").as_deref(), Some("text/plain"));
    assert!(response.field("server").unwrap().starts_with("SimpleHTTP"), "the app's own");
    assert_eq!(response.field("connection"), None, "an HTTP/1.0 app costs no caller's connection");
    let modified = response.field("last-modified").unwrap();

    let _ = caller.get("/nothing").expect(404);
    assert!(caller.get("/").expect(200).text().contains("file.txt"));

    caller.send(request("HEAD /file.txt", "", ""));
    let response = caller.read_response_to_head().expect(200);
    assert_eq!(response.field("content-length"), Some(content.len().to_string()));

    caller.send(request("GET /file.txt", &format!("If-Modified-Since: {modified}\r\n"), ""));
    let response = caller.read_response().expect(304);
    assert_eq!(response.field("content-length"), None);
    let _ = caller.get("/file.txt").expect(200);

    caller.send(request("POST /file.txt", "Content-Length: 4\r\n", "body"));
    let response = caller.read_response().expect(501);
    assert!(response.complete && response.text().contains("Unsupported method"), "the app's own");
}

#[test]
fn pythons_refusal_of_a_large_post_reaches_the_caller() {
    if !is_there("python3") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = RealApp::python(folder.path());
    let gateway = Gateway::of(app.address);
    // It answers 501 without reading the body, and closes.
    for size in [100, 10_000, 200_000] {
        let body = "x".repeat(size);
        let mut caller = Caller::new(&gateway);
        let _ = caller.try_send(request("POST /", &format!("Content-Length: {size}\r\n"), &body));
        assert_eq!(caller.read_response().status, 501, "{size}");
    }
}

#[test]
fn pythons_http_server_serves_many_callers_at_once() {
    if !is_there("python3") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for number in 0..8 {
        let content = format!("{number} ").repeat(20_000);
        std::fs::write(folder.path().join(format!("{number}.txt")), content).unwrap();
    }
    let app = RealApp::python(folder.path());
    let gateway = Gateway::of_with(app.address, |config| config.workers = 2);
    let address = gateway.address();
    let callers: Vec<_> = (0..8)
        .map(|number| {
            std::thread::spawn(move || {
                let mut caller = Caller::to(address);
                let expected = format!("{number} ").repeat(20_000);
                for _ in 0..25 {
                    let response = caller.get(&format!("/{number}.txt")).expect(200);
                    assert!(response.complete && response.body == expected.as_bytes());
                }
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| caller.join().unwrap());
}

// --- Node ---------------------------------------------------------------------------------

#[test]
fn a_node_server_streams_chunks_and_trailers_and_keeps_its_connection() {
    if !is_there("node") {
        return;
    }
    let app = RealApp::node(
        "if (q.url === '/port') return s.end(String(q.socket.remotePort));
         s.writeHead(200, { Trailer: 'X-Sum', 'Content-Type': 'text/plain' });
         for (let i = 0; i < 5; i++) s.write('piece ' + i + '\\n');
         s.addTrailers({ 'X-Sum': '5' }); s.end();",
        "",
    );
    let gateway = Gateway::of(app.address);
    let mut caller = Caller::new(&gateway);
    let port = caller.get("/port").expect(200).text();
    caller.send(request("GET /", "TE: trailers\r\nConnection: TE\r\n", ""));
    let response = caller.read_response().expect(200);
    assert!(response.head.is_chunked() && response.complete);
    assert_eq!(response.text(), "piece 0\npiece 1\npiece 2\npiece 3\npiece 4\n");
    assert_eq!(response.trailers, [("x-sum".to_owned(), "5".to_owned())]);
    assert_eq!(response.field("keep-alive"), None, "the app's Keep-Alive is not the caller's");
    assert_eq!(caller.get("/port").expect(200).text(), port, "one connection to Node");
}

#[test]
fn a_node_server_gets_a_large_upload_whole() {
    if !is_there("node") {
        return;
    }
    let app = RealApp::node(
        "const hash = require('crypto').createHash('sha256'); let length = 0;
         q.on('data', (d) => { hash.update(d); length += d.length; });
         q.on('end', () => s.end(length + ' ' + hash.digest('hex') + ' '
           + (q.headers['transfer-encoding'] || 'length')));",
        "",
    );
    let gateway = Gateway::of(app.address);
    let body: Vec<u8> =
        (0..5_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", &format!("Content-Length: {}\r\n", body.len()), ""));
    caller.send(&body);
    let whole = caller.read_response().expect(200).text();
    let (length, hash) = whole.split_once(' ').unwrap();
    assert_eq!(length, body.len().to_string());
    assert!(hash.ends_with(" length"), "{whole}");
    // The same in chunks has the same hash.
    caller.send(request("POST /", "Transfer-Encoding: chunked\r\n", ""));
    for chunk in body.chunks(100_000) {
        caller.send(format!("{:x}\r\n", chunk.len()));
        caller.send(chunk);
        caller.send("\r\n");
    }
    caller.send("0\r\n\r\n");
    let chunked = caller.read_response().expect(200).text();
    assert_eq!(chunked.replace("chunked", "length"), whole);
    if is_there("curl") {
        let output = curl_with(&gateway, "/", &["-T", "-"], &body);
        assert_eq!(succeeded(&output).replace("chunked", "length"), whole);
        let output = curl_with(&gateway, "/", &["--data-binary", "@-"], &body);
        assert_eq!(succeeded(&output), whole);
    }
}

#[test]
fn server_sent_events_reach_the_caller_as_each_is_written() {
    if !is_there("node") {
        return;
    }
    // Each event is written only when the one before was acknowledged by another request.
    let app = RealApp::node(
        "if (q.url === '/next') { global.next(); return s.end('ok'); }
         s.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
         let n = 0;
         global.next = () => { n < 5 ? s.write('data: ' + (n++) + '\\n\\n') : s.end(); };
         s.flushHeaders();",
        "",
    );
    let gateway = Gateway::of(app.address);
    let (mut events, mut acknowledge) = (Caller::new(&gateway), Caller::new(&gateway));
    events.send(get("/events"));
    // The head comes before there is any event.
    let head = events.read_head();
    assert_eq!(head.get("content-type").as_deref(), Some("text/event-stream"));
    for number in 0..5 {
        events.expect_silence();
        let _ = acknowledge.get("/next").expect(200);
        assert_eq!(events.read_chunk().unwrap(), format!("data: {number}\n\n").as_bytes());
    }
    let _ = acknowledge.get("/next").expect(200);
    assert_eq!(events.read_chunk(), None);
}

#[test]
fn a_caller_who_leaves_ends_the_work_of_a_node_server() {
    if !is_there("node") {
        return;
    }
    let app = RealApp::node(
        "if (q.url === '/closed') return s.end(String(global.closed || 0));
         s.write('first'); s.on('close', () => { global.closed = (global.closed || 0) + 1; });",
        "",
    );
    let gateway = Gateway::of(app.address);
    let mut caller = Caller::new(&gateway);
    caller.send(get("/"));
    let _ = caller.read_head();
    caller.leave();
    let mut asks = Caller::new(&gateway);
    crate::support::eventually("Node sees the close", || {
        asks.get("/closed").expect(200).text() == "1"
    });
}

/// POSTs with pauses around the time at which the app closes idle connections.
fn posts_around(app: &RealApp, pauses: impl Iterator<Item = u64>) -> Vec<u16> {
    let gateway = Gateway::of(app.address);
    let mut caller = Caller::new(&gateway);
    pauses
        .map(|pause| {
            caller.send(request("POST /", "Content-Length: 4\r\n", "body"));
            let status = caller.read_response().status;
            // The time that the connection lies idle is what is tested.
            std::thread::sleep(Duration::from_millis(pause));
            status
        })
        .collect()
}

const READ_AND_ANSWER: &str = "q.resume(); q.on('end', () => s.end('ok'));";

#[test]
fn posts_around_nodes_idle_close_never_fail() {
    if !is_there("node") {
        return;
    }
    // Node says `Keep-Alive: timeout=0` then.
    let app = RealApp::node(READ_AND_ANSWER, "server.keepAliveTimeout = 300;");
    let threads: Vec<_> = (0..8)
        .map(|offset| {
            let address = app.address;
            std::thread::spawn(move || {
                let gateway = Gateway::of(address);
                let mut caller = Caller::new(&gateway);
                for round in 0..12 {
                    caller.send(request("POST /", "Content-Length: 4\r\n", "body"));
                    let response = caller.read_response();
                    assert_eq!(response.status, 200, "{}", response.text());
                    // The time that the connection lies idle is what is tested.
                    std::thread::sleep(Duration::from_millis(290 + (offset + 8 * round) % 24));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn posts_around_a_close_that_node_announces_in_seconds_never_fail() {
    if !is_there("node") {
        return;
    }
    // Says `timeout=1` and closes after 1 s.
    let app = RealApp::node(READ_AND_ANSWER, "server.keepAliveTimeout = 1000;");
    let statuses = posts_around(&app, [995, 1000, 0].into_iter());
    assert_eq!(statuses, [200; 3]);
}

#[test]
fn nodes_usual_keep_alive_is_used() {
    if !is_there("node") {
        return;
    }
    let app = RealApp::node("s.end(String(q.socket.remotePort));", "");
    let gateway = Gateway::of(app.address);
    let mut caller = Caller::new(&gateway);
    let first = caller.get("/").expect(200).text();
    for _ in 0..50 {
        assert_eq!(caller.get("/").expect(200).text(), first);
    }
}

#[test]
fn a_node_server_that_answers_early_hints_and_expectations_is_understood() {
    if !is_there("node") {
        return;
    }
    let app = RealApp::node(
        "s.writeEarlyHints && s.writeEarlyHints({ link: '</a.css>; rel=preload' });
         q.resume(); q.on('end', () => s.end('done'));",
        "",
    );
    let gateway = Gateway::of(app.address);
    let mut caller = Caller::new(&gateway);
    caller.send(request("POST /", "Expect: 100-continue\r\nContent-Length: 4\r\n", ""));
    let mut response = caller.read_response();
    while response.status < 200 {
        if response.status == 100 {
            caller.send("body");
        }
        response = caller.read_response();
    }
    assert_eq!(response.expect(200).text(), "done");
}

// --- curl ---------------------------------------------------------------------------------

#[test]
fn curl_uploads_a_file_with_a_length_and_without() {
    if !is_there("curl") {
        return;
    }
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("upload.bin");
    let content = "0123456789".repeat(200_000);
    std::fs::write(&file, &content).unwrap();
    let output = curl(&gateway, "/put", &["-o", "/dev/null", "-T", file.to_str().unwrap()]);
    succeeded(&output);
    let seen = app.last();
    assert!(seen.head.line().starts_with(b"PUT /put"));
    assert!(seen.content == content.as_bytes());
    assert_eq!(seen.head.content_length(), Some(content.len()));

    let output = curl_with(&gateway, "/put", &["-o", "/dev/null", "-T", "-"], content.as_bytes());
    succeeded(&output);
    assert!(app.last().head.is_chunked() && app.last().content == content.as_bytes());
}

#[test]
fn curl_waits_for_100_continue_and_gets_it_at_once() {
    if !is_there("curl") {
        return;
    }
    let app = EchoHeads::start();
    let gateway = Gateway::of(app.address());
    // It would go on after 10 s without an answer.
    let start = Instant::now();
    let arguments = ["-v", "-H", "Expect: 100-continue", "--expect100-timeout", "10", "-d", "body"];
    let output = curl(&gateway, "/", &arguments);
    let text = succeeded(&output);
    assert!(text.ends_with("body"), "{text}");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("HTTP/1.1 100 Continue"), "{log}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // A refusal comes instead of it, and the body is never sent.
    let gateway = Gateway::of_with(app.address(), |config| config.limits.request_body = 3);
    let output = curl(&gateway, "/", &arguments);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("HTTP/1.1 413") && !log.contains("100 Continue"), "{log}");
    assert_eq!(app.seen().len(), 1);
}

#[test]
fn curl_speaks_http_1_0_and_gets_what_it_understands() {
    if !is_there("curl") {
        return;
    }
    let app = ScriptedApp::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n6\r\n and 6\r\n0\r\n\r\n",
    );
    let gateway = Gateway::of(app.address());
    let output = curl(&gateway, "/", &["--http1.0", "-i"]);
    let text = succeeded(&output);
    assert!(text.ends_with("\r\n\r\nfour and 6"), "{text}");
    assert!(!text.to_lowercase().contains("transfer-encoding"), "{text}");
    let echo = EchoHeads::start();
    let gateway = Gateway::of(echo.address());
    let output = curl(&gateway, "/x", &["--http1.0", "-d", "body"]);
    assert!(succeeded(&output).starts_with("POST /x HTTP/1.1"));
    assert_eq!(echo.last().content, b"body");
}

#[test]
fn curl_downloads_much_fast_and_slow_and_uses_its_connection_again() {
    if !is_there("curl") {
        return;
    }
    const SIZE: usize = 32 << 20;
    let app = ScriptedApp::start(|connection| {
        while connection.next_request().is_some() {
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
            let piece = vec![b'x'; 1 << 20];
            for _ in 0..SIZE >> 20 {
                if connection.try_send(&piece).is_err() {
                    return;
                }
            }
        }
    });
    let gateway = Gateway::of(app.address());
    let again = format!("http://{HOST}/again");
    let arguments =
        ["-o", "/dev/null", "-w", "%{size_download} %{num_connects}\n", "-o", "/dev/null", &again];
    let text = succeeded(&curl(&gateway, "/", &arguments));
    assert_eq!(text, format!("{SIZE} 1\n{SIZE} 0\n"));
    // A reader who takes its time gets all of it, too.
    let slow = ["-o", "/dev/null", "-w", "%{size_download}", "--limit-rate", "16M"];
    assert_eq!(succeeded(&curl(&gateway, "/", &slow)), SIZE.to_string());
    // Who asks for less than all leaves in the middle; the gateway and the app live on.
    let output = curl(&gateway, "/", &["-o", "/dev/null", "--max-filesize", "1000"]);
    assert_eq!(output.status.code(), Some(63));
    assert_eq!(succeeded(&curl(&gateway, "/", &slow[..4])), SIZE.to_string());
}

#[test]
fn curl_understands_the_gateways_own_answers() {
    if !is_there("curl") {
        return;
    }
    let gateway = Gateway::with(|_| {});
    let output = curl(&gateway, "/", &["-w", "\n%{http_code} %{content_type}"]);
    let text = succeeded(&output);
    assert!(text.ends_with("\n404 application/problem+json"), "{text}");
    assert!(text.contains("\"execution_id\""), "{text}");
    let output = curl(&gateway, "/", &["--fail", "-d", &"x".repeat(100_000)]);
    assert_eq!(output.status.code(), Some(22), "{}", String::from_utf8_lossy(&output.stderr));
    let text = succeeded(&curl(&gateway, "/", &["--head"]));
    assert!(text.starts_with("HTTP/1.1 404"), "{text}");
}

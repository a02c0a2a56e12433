//! How many instructions one request costs, counted by valgrind: a figure that
//! a busy machine does not change, and so one that a change can be held to.
//!
//! `cargo bench --bench instructions` fails if a scenario costs more than
//! [`ALLOWED`] above `benches/instructions.toml`; with `-- --record` it writes
//! that file. The count holds the caller's and the app's side, too: the same
//! few calls of tokio's before and after any change. The kernel's is not in it.
//!
//! Each scenario runs for two numbers of requests, and the difference counts:
//! what start-up costs falls out.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::sync::Arc;

use ignite_gateway::clock;
use ignite_gateway::config::{Config, Protocol};
use ignite_gateway::gateway::headers::forwarded::Peer;
use ignite_gateway::gateway::overload::Load;
use ignite_gateway::gateway::routes::{AppSpec, PortSpec};
use ignite_gateway::gateway::{Gateway, Shared};
use ignite_gateway::http2::frame::PREFACE;
use ignite_gateway::listener::connection;
use ignite_gateway::shutdown::Drain;
use ignite_gateway::telemetry::access_log::Output;
use ignite_gateway::telemetry::lines::Lines;
use ignite_gateway::upstream::turns::Concurrency;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// The binary's, whose instructions count.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much more than the baseline is an error, in parts of it.
const ALLOWED: f64 = 0.03;
const FEW: u32 = 500;
const MANY: u32 = 2500;
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.toml");

const HOST: &str = "app-org.ignite.dodil.cloud";
const FIELDS: [(&str, &str); 3] = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate, br"),
];

/// What was counted, and by which compiler: another one's counts are no measure.
#[derive(Debug, Serialize, Deserialize)]
struct Baseline {
    rustc: String,
    instructions: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Http1Get,
    /// The same with a line in the access log.
    Http1GetLogged,
    /// The same with a place in a trace that is not sampled, as 99 of 100.
    Http1GetTraced,
    Http1Post,
    Http2Get,
}

impl Scenario {
    const ALL: [Self; 5] = [
        Self::Http1Get,
        Self::Http1GetLogged,
        Self::Http1GetTraced,
        Self::Http1Post,
        Self::Http2Get,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Http1Get => "http1_get",
            Self::Http1GetLogged => "http1_get_logged",
            Self::Http1GetTraced => "http1_get_traced",
            Self::Http1Post => "http1_post",
            Self::Http2Get => "http2_get",
        }
    }

    /// What the caller says first.
    fn greeting(self) -> Vec<u8> {
        match self {
            Self::Http1Get | Self::Http1GetLogged | Self::Http1GetTraced | Self::Http1Post => {
                Vec::new()
            }
            Self::Http2Get => {
                // No setting, and a window for the answers of the whole run.
                let window = frame(8, 0, 0, &(1_u32 << 30).to_be_bytes());
                [PREFACE, &frame(4, 0, 0, &[])[..], &window].concat()
            }
        }
    }

    fn request(self) -> Vec<u8> {
        let head = |method: &str, more: &str| {
            let fields = FIELDS.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
            format!("{method} /v1/items?limit=20 HTTP/1.1\r\nHost: {HOST}\r\n{fields}{more}\r\n")
        };
        match self {
            Self::Http1Get | Self::Http1GetLogged | Self::Http1GetTraced => {
                head("GET", "").into_bytes()
            }
            Self::Http1Post => {
                let head = head("POST", "Content-Length: 1024\r\n");
                [head.as_bytes(), &[b'x'; 1024]].concat()
            }
            Self::Http2Get => {
                // As a browser repeats itself: indexed what the static table has, else literal.
                let mut block = vec![0x82, 0x87];
                for (name, value) in [(":path", "/v1/items?limit=20"), (":authority", HOST)] {
                    literal(&mut block, name, value);
                }
                for (name, value) in FIELDS {
                    literal(&mut block, name, value);
                }
                frame(1, 0x4 | 0x1, 0, &block)
            }
        }
    }

    /// Makes it the request of that number: where streams are numbered, they are in turn.
    fn number(self, request: &mut [u8], number: u32) {
        if let (Self::Http2Get, Some(stream)) = (self, request.get_mut(5..9)) {
            stream.copy_from_slice(&(2 * number + 1).to_be_bytes());
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        block.push(u8::try_from(text.len()).unwrap());
        block.extend_from_slice(text.as_bytes());
    }
}

/// An app that answers every read with 32 bytes: each request fits into one.
async fn app(listener: tokio::net::TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::task::spawn_local(async move {
            stream.set_nodelay(true).unwrap();
            let mut buffer = vec![0; 8192];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n0123456789abcdef0123456789abcdef";
                stream.write_all(answer).await.unwrap();
            }
        });
    }
}

/// A worker's gateway with one app, and a connection to it.
async fn connect(log: Output, traced: bool) -> DuplexStream {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Config::new("ignite.dodil.cloud".parse().unwrap());
    if traced {
        // Nobody is there: nothing is sent.
        config.traces.endpoint = Some("http://127.0.0.1:4317".parse().unwrap());
        config.traces.sampling.share = 0.0;
    }
    let shared = Arc::new(Shared { log, ..Shared::new(&config) });
    let spec = AppSpec {
        id: "org/app".parse().unwrap(),
        ports: vec![PortSpec {
            port: 80,
            endpoints: vec![listener.local_addr().unwrap()],
            draining: Vec::new(),
            protocol: Protocol::Http1,
        }],
        concurrency: Concurrency::default(),
        rate_limit: None,
        ready: true,
    };
    shared.routes.register(&spec, &config.domain);
    tokio::task::spawn_local(app(listener));
    let gateway: Rc<Gateway> = Gateway::new(shared, Load::alone());
    let (caller, stream) = tokio::io::duplex(64 << 10);
    let peer = Rc::new(Peer::new("192.0.2.7:4000".parse().unwrap(), &[]));
    tokio::task::spawn_local(connection::serve(stream, peer, gateway, Drain::new().watch()));
    caller
}

/// Sends `count` requests, one after another.
fn run(scenario: Scenario, count: u32) {
    let mut log = Output::default();
    if scenario == Scenario::Http1GetLogged {
        log.lines = Lines::start(std::io::sink()).unwrap();
    }
    // As a worker's.
    clock::keep();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_unpark(clock::keep)
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut caller = connect(log, scenario == Scenario::Http1GetTraced).await;
        caller.write_all(&scenario.greeting()).await.unwrap();
        let (mut answer, mut buffer) = (Vec::new(), vec![0; 8192]);
        let mut request = scenario.request();
        for number in 0..count {
            scenario.number(&mut request, number);
            caller.write_all(&request).await.unwrap();
            answer.clear();
            while !answer.ends_with(b"0123456789abcdef0123456789abcdef") {
                let read = caller.read(&mut buffer).await.unwrap();
                assert!(read > 0, "closed after {}", String::from_utf8_lossy(&answer));
                answer.extend_from_slice(buffer.get(..read).unwrap());
            }
        }
    });
}

/// Instructions of a run of this program with `count` requests.
fn count(scenario: Scenario, count: u32) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["--run", scenario.name(), &count.to_string()])
        .output()
        .expect("valgrind runs");
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    let collected = collected.filter(|_| output.status.success());
    let (_, number) = collected.unwrap_or_else(|| panic!("valgrind counted nothing:\n{text}"));
    number.trim().parse().unwrap()
}

fn rustc() -> String {
    let output = Command::new("rustc").arg("--version").output().expect("rustc runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Counts every scenario, beside the baseline.
fn measure(record: bool) -> ExitCode {
    let instructions: BTreeMap<_, _> = Scenario::ALL
        .into_iter()
        .map(|scenario| {
            let difference = count(scenario, MANY) - count(scenario, FEW);
            (scenario.name().to_owned(), difference / u64::from(MANY - FEW))
        })
        .collect();
    let now = Baseline { rustc: rustc(), instructions };
    if record {
        std::fs::write(BASELINE, toml::to_string(&now).unwrap()).unwrap();
        println!("recorded in {BASELINE}:\n{now:#?}");
        return ExitCode::SUCCESS;
    }
    let before: Baseline = toml::from_str(&std::fs::read_to_string(BASELINE).unwrap()).unwrap();
    let comparable = before.rustc == now.rustc;
    let mut within = true;
    println!("instructions for a request: baseline, now, change");
    for (name, now) in &now.instructions {
        let Some(&before) = before.instructions.get(name) else {
            println!("{name:16} {:>8} {now:>8}  not in the baseline: run with --record", "-");
            within = false;
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "far below what a float holds")]
        let change = *now as f64 / before as f64 - 1.0;
        let verdict = if change > ALLOWED { "  TOO MANY" } else { "" };
        within &= change <= ALLOWED;
        println!("{name:16} {before:>8} {now:>8} {:+6.1} %{verdict}", 100.0 * change);
    }
    if !comparable {
        println!("no verdict: the baseline is of {}, this is {}", before.rustc, now.rustc);
        return ExitCode::SUCCESS;
    }
    if !within {
        println!("Make it cheaper, or record the new cost with its reason: -- --record");
    }
    ExitCode::from(u8::from(!within))
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--run", name, count] => {
            let scenario = Scenario::ALL.into_iter().find(|scenario| scenario.name() == name);
            run(scenario.expect("a scenario"), count.parse().expect("a number"));
            ExitCode::SUCCESS
        }
        // `cargo test --benches` builds it and runs nothing.
        _ if !words.contains(&"--bench") => ExitCode::SUCCESS,
        _ => measure(words.contains(&"--record")),
    }
}

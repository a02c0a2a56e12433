//! One look at a gateway: what `/apps` and `/metrics` of its admin listener say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use thiserror::Error;
use tokio::net::TcpStream;

use super::exposition::{self, Sample};

/// For each question, so that a gateway that hangs is told from one that is slow.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer: more than a hundred thousand apps.
const ANSWER: usize = 256 << 20;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum Unreachable {
    /// No connection.
    #[error("no connection")]
    Connect(#[source] std::io::Error),
    /// It took too long.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Late,
    /// Something that is not HTTP, or that broke off.
    #[error("a broken answer")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another status than 200.
    #[error("{path} answers {status}")]
    Status {
        /// What was asked for.
        path: &'static str,
        /// The answer.
        status: StatusCode,
    },
    /// Something that no gateway says.
    #[error("{path} is not a gateway's")]
    Alien {
        /// What was asked for.
        path: &'static str,
    },
}

/// What a gateway said at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When.
    pub at: Instant,
    /// Its apps.
    pub apps: Vec<App>,
    /// What it counted, by `organization/name`.
    pub counts: BTreeMap<String, Counts>,
    /// Its version.
    pub version: String,
    /// Connections of callers.
    pub connections: u64,
}

/// An app as `/apps` shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct App {
    /// Who owns it.
    pub organization: String,
    /// Its name.
    pub name: String,
    /// Requests at it.
    pub in_flight: u64,
    /// Requests that wait for it.
    pub waiting: u64,
    /// Requests that it works on at once; 0: no limit.
    #[serde(default)]
    pub concurrency: u64,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// One port of an app.
#[derive(Debug, Clone, Deserialize)]
pub struct Port {
    /// The port.
    pub port: u16,
    /// Its host.
    pub host: String,
    /// Where it runs.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint of a port.
#[derive(Debug, Clone, Deserialize)]
pub struct Endpoint {
    /// Where.
    pub address: String,
    /// Whether its probes succeed.
    pub ready: bool,
    /// Whether it gets nothing new.
    #[serde(default)]
    pub draining: bool,
    /// Requests at it.
    pub in_flight: u64,
    /// It is left alone.
    #[serde(default)]
    pub ejected: Option<Ejected>,
}

/// Why and how long an endpoint is left alone.
#[derive(Debug, Clone, Deserialize)]
pub struct Ejected {
    /// Why.
    pub reason: String,
    /// How long.
    pub seconds_left: f64,
}

/// What was counted of an app since its gateway started.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// Requests that ended.
    pub requests: f64,
    /// Those of them that failed at the app or the gateway.
    pub errors: f64,
    /// How many took no longer than each bound, by its text.
    pub buckets: Vec<(f64, f64)>,
}

impl Snapshot {
    /// Asks the gateway whose admin listener this is.
    pub async fn fetch(admin: SocketAddr) -> Result<Self, Unreachable> {
        let (apps, metrics) = (get(admin, "/apps").await?, get(admin, "/metrics").await?);
        let metrics = String::from_utf8_lossy(&metrics);
        let alien = Unreachable::Alien { path: "/metrics" };
        Self::of(&apps, &metrics)
            .and_then(|seen| if seen.version.is_empty() { Err(alien) } else { Ok(seen) })
    }

    /// Reads both answers.
    pub fn of(apps: &[u8], metrics: &str) -> Result<Self, Unreachable> {
        let apps =
            serde_json::from_slice(apps).map_err(|_| Unreachable::Alien { path: "/apps" })?;
        let mut seen = Self {
            at: Instant::now(),
            apps,
            counts: BTreeMap::new(),
            version: String::new(),
            connections: 0,
        };
        for sample in exposition::samples(metrics) {
            seen.take(&sample);
        }
        Ok(seen)
    }

    fn take(&mut self, sample: &Sample<'_>) {
        match sample.name {
            "ignite_gateway_build_info" => {
                sample.label("version").unwrap_or_default().clone_into(&mut self.version);
            }
            "ignite_gateway_downstream_connections" => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a count"
                )]
                let connections = sample.value as u64;
                self.connections += connections;
            }
            "ignite_gateway_requests_total" => {
                let class = sample.label("http_response_status_class");
                let Some(counts) = self.counts_of(sample) else { return };
                counts.requests += sample.value;
                if class == Some("5xx") {
                    counts.errors += sample.value;
                }
            }
            "http_server_request_duration_seconds_bucket" => {
                let bound = sample.label("le").and_then(|le| le.parse::<f64>().ok());
                let Some(bound) = bound else { return };
                let Some(counts) = self.counts_of(sample) else { return };
                let known =
                    counts.buckets.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq());
                match known {
                    Some((_, count)) => *count += sample.value,
                    None => counts.buckets.push((bound, sample.value)),
                }
            }
            _ => {}
        }
    }

    /// An app's counts are those of all its ports.
    fn counts_of(&mut self, sample: &Sample<'_>) -> Option<&mut Counts> {
        let app = format!("{}/{}", sample.label("organization")?, sample.label("app")?);
        Some(self.counts.entry(app).or_default())
    }
}

async fn get(admin: SocketAddr, path: &'static str) -> Result<Bytes, Unreachable> {
    tokio::time::timeout(TIMEOUT, ask(admin, path)).await.unwrap_or(Err(Unreachable::Late))
}

async fn ask(admin: SocketAddr, path: &'static str) -> Result<Bytes, Unreachable> {
    let broken = |error: hyper::Error| Unreachable::Broken(error.into());
    let stream = TcpStream::connect(admin).await.map_err(Unreachable::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // By address, because admin answers to no other names.
    let request = Request::get(path).header(header::HOST, admin.to_string());
    let request = request.header(header::ACCEPT, "text/plain, application/json");
    let request = request.body(Empty::<Bytes>::new()).unwrap_or_default();
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(Unreachable::Status { path, status });
        }
        let content = Limited::new(response.into_body(), ANSWER).collect().await;
        content.map(Collected::to_bytes).map_err(Unreachable::Broken)
    };
    // The connection's own failure shows in the answer.
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

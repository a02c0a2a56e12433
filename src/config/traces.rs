//! Traces: where spans go, and of which requests there are any.

use std::time::Duration;

use http::Uri;

/// Spans of requests, for an OpenTelemetry collector.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    /// The collector; `None`: no traces.
    pub endpoint: Option<Uri>,
    /// What it speaks.
    pub protocol: Protocol,
    /// Which requests are traced.
    pub sampling: Sampling,
    /// For the collector to take one batch.
    pub timeout: Duration,
    /// Traced requests that wait to be sent.
    pub queue: usize,
}

impl Traces {
    /// What cannot change while the process runs.
    pub fn fixed(&self) -> (&Option<Uri>, Protocol, Duration, usize) {
        (&self.endpoint, self.protocol, self.timeout, self.queue)
    }
}

/// How OTLP is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A gRPC call.
    Grpc,
    /// A POST of the same message.
    Http,
}

/// Which requests are traced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// The share of requests, 0 to 1, where no parent decides.
    pub share: f64,
    /// Whose decision counts.
    pub parent: Parent,
}

/// Whose `traceparent` decides whether a request is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// That of trusted proxies: a stranger would decide what tracing costs.
    Trusted,
    /// Everybody's.
    All,
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: Protocol::Grpc,
            sampling: Sampling::default(),
            timeout: Duration::from_secs(10),
            queue: 8192,
        }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self { share: 0.01, parent: Parent::Trusted }
    }
}

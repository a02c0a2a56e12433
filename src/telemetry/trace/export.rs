//! The exporter: takes finished requests off the queue, sends their spans in
//! batches, and never makes anybody wait.
//!
//! A batch that the collector does not take is tried again for a while; what
//! comes meanwhile stays in the queue, and beyond that is dropped and counted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::attributes::Attributes;
use super::client::{Collector, Refusal};
use super::{Lost, Recorded, Traces};
use crate::config::traces::Traces as Settings;
use crate::shutdown::Drain;

/// Spans of one message; at about 1 KiB each far below the 4 MiB that collectors take.
const BATCH: usize = 512;
/// How long the first of a batch waits for others. Meanwhile nobody wakes the exporter, so that a
/// worker does not pay for that with each request.
const GATHER: Duration = Duration::from_millis(200);
/// How long a batch is kept for a collector that does not take it.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first pause between two tries, and the longest: each is twice the one before.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

/// Sends spans as long as the gateway runs.
pub struct Exporter {
    traces: Arc<Traces>,
    queue: mpsc::Receiver<Box<Recorded>>,
    collector: Collector,
    timeout: Duration,
    resource: Resource,
    /// Whether the last batch was taken, so that a change is told once.
    well: bool,
}

impl Exporter {
    /// The exporter of these traces, where there are any and it is asked for the first time.
    pub fn new(traces: &Arc<Traces>, settings: &Settings) -> io::Result<Option<Self>> {
        let Some(endpoint) = &settings.endpoint else { return Ok(None) };
        let collector = Collector::new(endpoint, settings.protocol)?;
        let Some(queue) = traces.exporter() else { return Ok(None) };
        let (traces, timeout, resource) = (traces.clone(), settings.timeout, resource());
        Ok(Some(Self { traces, queue, collector, timeout, resource, well: true }))
    }

    /// Works until `stop`, and then until the queue is empty. What is left when the time is up is
    /// dropped with it.
    pub async fn run(mut self, stop: Drain) {
        let mut spans = Vec::new();
        loop {
            tokio::select! {
                biased;
                first = self.queue.recv() => match first {
                    Some(first) => first.into_spans(&mut spans),
                    None => return,
                },
                () = stop.begun() => self.queue.close(),
            }
            if !stop.is_draining() {
                tokio::select! {
                    () = tokio::time::sleep(GATHER) => {}
                    () = stop.begun() => {}
                }
            }
            loop {
                while spans.len() < BATCH
                    && let Ok(next) = self.queue.try_recv()
                {
                    next.into_spans(&mut spans);
                }
                if spans.is_empty() {
                    break;
                }
                self.deliver(std::mem::take(&mut spans), &stop).await;
            }
        }
    }

    /// Sends one batch, several times where that may help.
    async fn deliver(&mut self, spans: Vec<Span>, stop: &Drain) {
        let lost = Batch { traces: self.traces.clone(), spans: spans.len() as u64 };
        let message = self.message(spans);
        let (begun, mut pause) = (Instant::now(), PAUSE.0);
        let outcome = loop {
            let sent = tokio::time::timeout(self.timeout, self.collector.send(&message)).await;
            let refusal = match sent.unwrap_or(Err(Refusal::Late)) {
                Ok(rejected) => break Ok(rejected),
                Err(refusal) => refusal,
            };
            self.failed(&refusal);
            let wait = refusal.after().unwrap_or(pause).min(PATIENCE);
            if !refusal.may_be_repeated() || begun.elapsed() + wait > PATIENCE || stop.is_draining()
            {
                break Err(());
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // One last try.
                () = stop.begun() => {}
            }
            pause = (pause * 2).min(PAUSE.1);
        };
        match outcome {
            Ok(rejected) => {
                lost.taken(rejected);
                if !self.well {
                    tracing::info!("the trace collector takes spans again");
                    self.well = true;
                }
            }
            Err(()) => lost.lost(Lost::Export),
        }
    }

    fn failed(&mut self, refusal: &Refusal) {
        if std::mem::take(&mut self.well) {
            tracing::warn!(
                error = refusal as &dyn std::error::Error,
                "the trace collector does not take spans; they are kept for a while, then dropped"
            );
        }
    }

    fn message(&self, spans: Vec<Span>) -> ExportTraceServiceRequest {
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
        let resource = Some(self.resource.clone());
        let resource_spans =
            vec![ResourceSpans { resource, scope_spans, schema_url: String::new() }];
        ExportTraceServiceRequest { resource_spans }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.queue.close();
        while let Ok(left) = self.queue.try_recv() {
            self.traces.counts.lost(Lost::Drain, left.spans());
        }
    }
}

/// A batch under way, of which each span is counted once, however it ends.
struct Batch {
    traces: Arc<Traces>,
    spans: u64,
}

impl Batch {
    fn taken(mut self, rejected: u64) {
        let spans = std::mem::take(&mut self.spans);
        let rejected = rejected.min(spans);
        self.traces.counts.took(spans - rejected);
        self.traces.counts.lost(Lost::Rejected, rejected);
    }

    fn lost(mut self, why: Lost) {
        self.traces.counts.lost(why, std::mem::take(&mut self.spans));
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.traces.counts.lost(Lost::Drain, self.spans);
    }
}

/// Who the spans are of: this process.
fn resource() -> Resource {
    let mut attributes = Attributes::with_capacity(4);
    attributes.text("service.name", env!("CARGO_PKG_NAME"));
    attributes.text("service.version", env!("CARGO_PKG_VERSION"));
    attributes.text("service.instance.id", uuid::Uuid::from_u128(rand::random()).to_string());
    attributes.whole("process.pid", u64::from(std::process::id()));
    Resource { attributes: attributes.done(), ..Resource::default() }
}

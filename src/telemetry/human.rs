//! Log lines for people: a request is one short line, anything else is the
//! usual format.
//!
//! `12:03:04 GET /hello 200 1.9ms acme/hello 01a2…`; why a request failed
//! stands behind it.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Full, Writer};
use tracing_subscriber::fmt::time::FormatTime as _;
use tracing_subscriber::fmt::{FmtContext, time::SystemTime};
use tracing_subscriber::registry::LookupSpan;

use super::access_log::TARGET;

/// The formatter.
#[derive(Debug, Default)]
pub(super) struct Human(Format<Full, SystemTime>);

impl<S, N> FormatEvent<S, N> for Human
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if event.metadata().target() != TARGET {
            return self.0.format_event(context, writer, event);
        }
        let mut request = Request::default();
        event.record(&mut request);
        SystemTime.format_time(&mut writer)?;
        request.write(&mut writer)
    }
}

/// What of an access log event a person wants to see at a glance.
#[derive(Default)]
struct Request {
    method: String,
    path: String,
    status: u64,
    grpc: u64,
    millis: f64,
    app: String,
    host: String,
    id: String,
    reason: String,
}

impl Visit for Request {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let slot = match field.name() {
            "http.request.method" => &mut self.method,
            "url.path" => &mut self.path,
            "ignite.function_id" => &mut self.app,
            "server.address" => &mut self.host,
            "ignite.execution_id" => &mut self.id,
            "error.type" => &mut self.reason,
            _ => return,
        };
        value.clone_into(slot);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "http.response.status_code" => self.status = value,
            "rpc.grpc.status_code" => self.grpc = value,
            _ => {}
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "duration_ms" {
            self.millis = value;
        }
    }
}

impl Request {
    fn write(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let colour = match self.status {
            500.. | 0 => "\x1b[31m",
            400.. => "\x1b[33m",
            _ => "\x1b[32m",
        };
        let (on, off, dim) =
            if writer.has_ansi_escapes() { (colour, "\x1b[0m", "\x1b[2m") } else { ("", "", "") };
        let status = if self.status == 0 { "---".to_owned() } else { self.status.to_string() };
        // An unknown app is best told by the host that was asked for, which a caller chose.
        let app = if self.app.is_empty() { self.host.clone() } else { self.app.clone() };
        let (method, path, millis) = (&self.method, &self.path, self.millis);
        write!(writer, " {method} {path} {on}{status}{off} {millis:.1}ms {app}")?;
        if self.grpc != 0 {
            write!(writer, " grpc-status {}", self.grpc)?;
        }
        if !self.reason.is_empty() {
            write!(writer, " {on}{}{off}", self.reason)?;
        }
        writeln!(writer, " {dim}{}{off}", self.id)
    }
}

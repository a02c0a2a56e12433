//! What is measured: which protocol, how many connections, how large, and what one unit of it is.

mod list;

use crate::measure::Metric;
use crate::setting::{Cast, Edge, Setting};

/// In the order of the report. `--only` takes these names.
pub(crate) const GROUPS: [&str; 13] = [
    "http1",
    "bodies",
    "websocket",
    "latency",
    "workers",
    "tls",
    "tls-bodies",
    "handshake",
    "http2",
    "grpc",
    "idle",
    "apps",
    "observed",
];

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What a caller does again and again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Download,
    Upload,
    /// A download begun at fixed moments, whether or not those before it were answered.
    Paced,
    /// A new connection, a full handshake, one request.
    Handshake,
    Http2,
    Grpc,
    WebSocket,
    /// One request on each connection, then nothing.
    Idle,
}

impl Work {
    /// Streams at once on each connection, if there is more than one.
    pub(crate) fn streams(self) -> Option<usize> {
        matches!(self, Self::Http2 | Self::Grpc).then_some(100)
    }
}

/// What a scenario is about, of all that is measured in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// CPU time for each unit.
    Cpu,
    /// How long the slowest in a hundred takes.
    Latency,
    /// Memory for each connection.
    Memory,
}

impl Figure {
    pub(crate) fn metric(self) -> Metric {
        match self {
            Self::Cpu => |sample| sample.cpu_us,
            Self::Latency => |sample| sample.p99_us,
            Self::Memory => |sample| sample.bytes_per_connection,
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "CPU-us",
            Self::Latency => "p99 us",
            Self::Memory => "bytes",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) group: &'static str,
    pub(crate) setting: Setting,
    pub(crate) work: Work,
    pub(crate) connections: usize,
    /// Bytes of the answer; of the request's body for an upload; of a message.
    pub(crate) size: usize,
}

impl Scenario {
    pub(crate) fn edge(&self) -> Edge {
        self.setting.edge
    }

    pub(crate) fn figure(&self) -> Figure {
        match self.group {
            "latency" => Figure::Latency,
            "idle" => Figure::Memory,
            _ => Figure::Cpu,
        }
    }

    /// What the cost is the cost of.
    pub(crate) fn unit(&self) -> &'static str {
        match self.work {
            _ if self.is_about_bodies() => "MiB",
            Work::Handshake => "handshake",
            Work::WebSocket => "message",
            Work::Idle => "connection",
            _ => "request",
        }
    }

    /// How many of its units a request is worth.
    pub(crate) fn units_of_a_request(&self) -> f64 {
        if self.is_about_bodies() { self.size as f64 / MIB as f64 } else { 1.0 }
    }

    /// Of a small body, the request costs more than its bytes.
    fn is_about_bodies(&self) -> bool {
        self.group.ends_with("bodies") && self.size >= 64 * KIB
    }

    /// Its rate is to be found out before it can run.
    pub(crate) fn is_paced(&self) -> bool {
        self.work == Work::Paced
    }

    /// The same as fast as it is answered, if it is paced.
    pub(crate) fn at_saturation(&self) -> Self {
        if self.is_paced() { Self { work: Work::Download, ..*self } } else { *self }
    }

    pub(crate) fn title(&self) -> String {
        let what = match self.work {
            Work::Download | Work::Upload | Work::Idle => "HTTP/1.1",
            Work::Paced => "HTTP/1.1 at a fixed rate",
            Work::Handshake => "full handshakes",
            Work::Http2 => "HTTP/2",
            Work::Grpc => "gRPC unary",
            Work::WebSocket => "WebSocket",
        };
        let protocol = match (self.figure(), self.edge().has_tls()) {
            (Figure::Cpu, true) => ", TLS 1.3",
            (Figure::Cpu, false) => ", plain",
            // Which the shape says.
            _ => "",
        };
        format!("{what}{protocol}: {}", self.shape())
    }

    /// How many at once, and how large.
    pub(crate) fn shape(&self) -> String {
        let (connections, size) = (self.connections, amount(self.size));
        let at_once = match (self.work.streams(), connections) {
            (Some(streams), _) => format!("{connections} connections x {streams} streams"),
            (None, 1) => "1 connection".to_owned(),
            (None, _) => format!("{connections} connections"),
        };
        let tls = self.edge().has_tls();
        match (self.setting.cast, self.work) {
            (Cast::Apps(many), _) => format!("{},000 apps, 1,000 changes a second", many / 1000),
            (_, Work::Idle | Work::Paced) => {
                format!("{at_once}{}", if tls { ", TLS" } else { ", plain" })
            }
            (_, Work::Download) if self.group == "workers" && self.setting.workers == 1 => {
                format!("1 worker, {at_once}")
            }
            (_, Work::Download) if self.group == "workers" => {
                format!("{} workers, {at_once}", self.setting.workers)
            }
            (_, Work::Download | Work::Http2) => format!("{at_once}, answers of {size}"),
            (_, Work::Upload) => format!("{at_once}, uploads of {size}"),
            (_, Work::Handshake) => format!("{connections} at once, answers of {size}"),
            (_, Work::Grpc | Work::WebSocket) => format!("{at_once}, messages of {size}"),
        }
    }
}

fn amount(bytes: usize) -> String {
    match bytes {
        MIB.. if bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        KIB.. if bytes.is_multiple_of(KIB) => format!("{} KiB", bytes / KIB),
        _ => format!("{bytes} B"),
    }
}

//! What is measured: which protocol, how many connections, how large, and what one unit of it is.
//!
//! Scenarios that need the same configuration of a contender share an `Edge`: the contenders are
//! started once for each, with nothing in their configuration that the scenario does not need.

use crate::options::Options;

/// In the order of the report. `--only` takes these names.
pub(crate) const GROUPS: [&str; 8] =
    ["http1", "bodies", "websocket", "tls", "tls-bodies", "handshake", "http2", "grpc"];

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const CONNECTIONS: usize = 64;
/// Few connections with many streams: what a browser's edge or a service mesh sends.
const CONNECTIONS_HTTP2: usize = 16;
const SMALL: usize = 32;

/// What a contender speaks to the caller and to the app.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    /// HTTP/1.1 on both sides.
    Plain,
    /// TLS with HTTP/2 and HTTP/1.1 by ALPN to the caller, HTTP/1.1 to the app.
    Tls,
    /// TLS with HTTP/2 to the caller, HTTP/2 with prior knowledge to the app.
    Grpc,
}

impl Edge {
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Tls, Self::Grpc];

    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Plain => "plain HTTP/1.1 to the caller, HTTP/1.1 to the app",
            Self::Tls => "TLS 1.3 (h2, http/1.1) to the caller, HTTP/1.1 to the app",
            Self::Grpc => "TLS 1.3 (h2) to the caller, h2c to the app",
        }
    }

    pub(crate) fn has_tls(self) -> bool {
        self != Self::Plain
    }

    /// The scheme of a caller's request, as the app is told it.
    pub(crate) fn scheme(self) -> &'static str {
        if self.has_tls() { "https" } else { "http" }
    }
}

/// What a caller does again and again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Download,
    Upload,
    /// A new connection, a full handshake, one request.
    Handshake,
    Http2,
    Grpc,
    WebSocket,
}

impl Work {
    /// Streams at once on each connection, if there is more than one.
    pub(crate) fn streams(self) -> Option<usize> {
        matches!(self, Self::Http2 | Self::Grpc).then_some(100)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) group: &'static str,
    pub(crate) edge: Edge,
    pub(crate) work: Work,
    pub(crate) connections: usize,
    /// Bytes of the answer; of the request's body for an upload; of a message.
    pub(crate) size: usize,
}

impl Scenario {
    pub(crate) fn wanted(options: &Options) -> Vec<Self> {
        let mut scenarios = star(&options.connections, &options.sizes);
        scenarios.extend(bodies("bodies", Edge::Plain));
        scenarios.push(small("websocket", Edge::Plain, Work::WebSocket));
        scenarios.push(small("tls", Edge::Tls, Work::Download));
        scenarios.extend(bodies("tls-bodies", Edge::Tls));
        scenarios.push(small("handshake", Edge::Tls, Work::Handshake));
        scenarios.push(small("http2", Edge::Tls, Work::Http2));
        scenarios.push(small("grpc", Edge::Grpc, Work::Grpc));
        scenarios.retain(|scenario| options.wants_group(scenario.group));
        if options.quick {
            // Those that are alike but for their size follow each other.
            scenarios.dedup_by_key(|scenario| (scenario.group, scenario.work));
        }
        scenarios
    }

    /// What the cost is the cost of.
    pub(crate) fn unit(&self) -> &'static str {
        match self.work {
            Work::Download | Work::Upload if self.is_about_bodies() => "MiB",
            Work::Handshake => "handshake",
            Work::WebSocket => "message",
            _ => "request",
        }
    }

    /// How many of its units a request is worth.
    pub(crate) fn units_of_a_request(&self) -> f64 {
        if self.is_about_bodies() { self.size as f64 / MIB as f64 } else { 1.0 }
    }

    pub(crate) fn is_about_bodies(&self) -> bool {
        self.group.ends_with("bodies")
    }

    pub(crate) fn title(&self) -> String {
        let what = match self.work {
            Work::Download | Work::Upload => "HTTP/1.1",
            Work::Handshake => "full handshakes",
            Work::Http2 => "HTTP/2",
            Work::Grpc => "gRPC unary",
            Work::WebSocket => "WebSocket",
        };
        let protocol = if self.edge.has_tls() { "TLS 1.3" } else { "plain" };
        format!("{what}, {protocol}: {}", self.shape())
    }

    /// How many at once, and how large.
    pub(crate) fn shape(&self) -> String {
        let (connections, size) = (self.connections, amount(self.size));
        let at_once = self.work.streams().map_or_else(
            || format!("{connections} connections"),
            |streams| format!("{connections} connections x {streams} streams"),
        );
        match self.work {
            Work::Download | Work::Http2 => format!("{at_once}, answers of {size}"),
            Work::Upload => format!("{at_once}, uploads of {size}"),
            Work::Handshake => format!("{connections} at once, answers of {size}"),
            Work::Grpc | Work::WebSocket => format!("{at_once}, messages of {size}"),
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

fn small(group: &'static str, edge: Edge, work: Work) -> Scenario {
    let connections = if work.streams().is_some() { CONNECTIONS_HTTP2 } else { CONNECTIONS };
    Scenario { group, edge, work, connections, size: SMALL }
}

/// Every number of connections with the first size, then every other size with the first number.
fn star(connections: &[usize], sizes: &[usize]) -> Vec<Scenario> {
    let (Some(&first), Some((&smallest, others))) = (connections.first(), sizes.split_first())
    else {
        return Vec::new();
    };
    let download = |connections, size| {
        let base = small("http1", Edge::Plain, Work::Download);
        Scenario { connections, size, ..base }
    };
    let wide = connections.iter().map(|&connections| download(connections, smallest));
    let long = others.iter().map(|&size| download(first, size));
    wide.chain(long).collect()
}

fn bodies(group: &'static str, edge: Edge) -> impl Iterator<Item = Scenario> {
    [Work::Download, Work::Upload].into_iter().flat_map(move |work| {
        [64 * KIB, MIB].into_iter().map(move |size| Scenario { size, ..small(group, edge, work) })
    })
}

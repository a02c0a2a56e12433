//! Every scenario, in the order of the report, and those of them that a quick run takes.

use super::{KIB, MIB, Scenario, Work};
use crate::options::Options;
use crate::setting::{Cast, Edge, Setting};

const CONNECTIONS: usize = 64;
/// Few connections with many streams: what a browser's edge or a service mesh sends.
const CONNECTIONS_HTTP2: usize = 16;
const SMALL: usize = 32;
const IDLE: usize = 10_000;
const IDLE_QUICK: usize = 1_000;
const MANY_APPS: usize = 100_000;
const MANY_APPS_QUICK: usize = 10_000;

impl Scenario {
    pub(crate) fn wanted(options: &Options) -> Vec<Self> {
        let mut scenarios = star(&options.connections, &options.sizes);
        scenarios.extend(bodies("bodies", Edge::Plain, &[SMALL, KIB, 64 * KIB, MIB]));
        scenarios.push(small("websocket", Edge::Plain, Work::WebSocket));
        scenarios.push(small("latency", Edge::Plain, Work::Paced));
        scenarios.push(small("latency", Edge::Tls, Work::Paced));
        scenarios.extend(numbers_of_workers().map(with_workers));
        scenarios.push(small("tls", Edge::Tls, Work::Download));
        scenarios.extend(bodies("tls-bodies", Edge::Tls, &[64 * KIB, MIB]));
        scenarios.push(small("handshake", Edge::Tls, Work::Handshake));
        scenarios.push(small("http2", Edge::Tls, Work::Http2));
        scenarios.push(small("grpc", Edge::Grpc, Work::Grpc));
        let (idle, apps) =
            if options.quick { (IDLE_QUICK, MANY_APPS_QUICK) } else { (IDLE, MANY_APPS) };
        scenarios.extend([Edge::Plain, Edge::Tls].map(|edge| {
            let base = small("idle", edge, Work::Idle).with(Cast::Fresh);
            Self { connections: idle, ..base }
        }));
        scenarios.push(small("apps", Edge::Plain, Work::Paced).with(Cast::Apps(apps)));
        scenarios.push(small("observed", Edge::Plain, Work::Download).with(Cast::Observed));
        scenarios.retain(|scenario| options.wants_group(scenario.group));
        if options.quick {
            scenarios.retain(Self::is_quick);
        }
        scenarios
    }

    /// Each kind once.
    fn is_quick(&self) -> bool {
        match self.group {
            "http1" => self.connections == CONNECTIONS,
            "bodies" => self.size == 64 * KIB,
            "tls-bodies" => self.size == 64 * KIB && self.work == Work::Download,
            "workers" => self.setting.workers == 2,
            "latency" | "idle" => self.edge() == Edge::Plain,
            _ => true,
        }
    }

    fn with(self, cast: Cast) -> Self {
        Self { setting: Setting { cast, ..self.setting }, ..self }
    }
}

/// One, two, and as many as there are cores.
fn numbers_of_workers() -> impl Iterator<Item = usize> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut numbers = vec![1, 2, cores];
    numbers.retain(|number| *number <= cores);
    numbers.dedup();
    numbers.into_iter()
}

fn with_workers(workers: usize) -> Scenario {
    let base = small("workers", Edge::Plain, Work::Download);
    let setting = Setting { workers, ..base.setting };
    // Enough to keep all of them busy, however unevenly connections fall.
    Scenario { setting, connections: 2 * CONNECTIONS, ..base }
}

fn small(group: &'static str, edge: Edge, work: Work) -> Scenario {
    let connections = if work.streams().is_some() { CONNECTIONS_HTTP2 } else { CONNECTIONS };
    let setting = Setting { edge, cast: Cast::Peers, workers: 1 };
    Scenario { group, setting, work, connections, size: SMALL }
}

/// Every number of connections with the first size, then every other size with the usual number, or
/// the first.
fn star(connections: &[usize], sizes: &[usize]) -> Vec<Scenario> {
    let usual = connections.iter().find(|number| **number == CONNECTIONS);
    let (Some(&usual), Some((&smallest, others))) =
        (usual.or(connections.first()), sizes.split_first())
    else {
        return Vec::new();
    };
    let download = |connections, size| {
        let base = small("http1", Edge::Plain, Work::Download);
        Scenario { connections, size, ..base }
    };
    let wide = connections.iter().map(|&connections| download(connections, smallest));
    let long = others.iter().map(|&size| download(usual, size));
    wide.chain(long).collect()
}

fn bodies(group: &'static str, edge: Edge, sizes: &[usize]) -> impl Iterator<Item = Scenario> {
    [Work::Download, Work::Upload].into_iter().flat_map(move |work| {
        sizes.iter().map(move |&size| Scenario { size, ..small(group, edge, work) })
    })
}

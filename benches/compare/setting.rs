//! Where a scenario is played: what the contenders speak, how many workers they have, and who they are.
//!
//! Scenarios of one setting share their contenders, which are started once for it, with nothing in
//! their configuration that the setting does not need.

use crate::options::Options;
use crate::scenario::Scenario;
use crate::tools::Cores;

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

/// Who takes part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cast {
    /// The gateway, the floor and the peers.
    Peers,
    /// The same, started for it: memory that a load has left behind would hide what a connection takes.
    Fresh,
    /// The gateway with few apps, and the gateway with so many, which change.
    Apps(usize),
    /// The gateway that watches nothing, and the same with its eyes open.
    Observed,
}

/// In the order of the report: ours, the floor, the peers.
pub(crate) const NAMES: [&str; 5] = ["gateway", FLOOR, "haproxy", "nginx", "envoy"];
pub(crate) const FLOOR: &str = "relay";
pub(crate) const MANY_APPS: &str = "many apps";
pub(crate) const ACCESS_LOG: &str = "access log";
pub(crate) const EVERYTHING: &str = "everything";

/// Whether the row is this gateway's, in whichever configuration.
pub(crate) fn is_ours(name: &str) -> bool {
    name == "gateway" || !NAMES.contains(&name)
}

pub(crate) fn is_peer(name: &str) -> bool {
    name != FLOOR && !is_ours(name)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) edge: Edge,
    pub(crate) cast: Cast,
    pub(crate) workers: usize,
}

impl Setting {
    /// Those of the scenarios, each once, in their order.
    pub(crate) fn of_all(scenarios: &[Scenario]) -> Vec<Self> {
        let mut settings = Vec::new();
        for scenario in scenarios {
            if !settings.contains(&scenario.setting) {
                settings.push(scenario.setting);
            }
        }
        settings
    }

    /// Cores for each contender: one for each worker, and where many apps change, one for the threads
    /// that work the changes in, if there are enough.
    pub(crate) fn cores(self) -> usize {
        match self.cast {
            Cast::Apps(_) if Cores::suffice(2) => self.workers + 1,
            _ => self.workers,
        }
    }

    pub(crate) fn contenders(self, options: &Options) -> Vec<&'static str> {
        let names: &[&'static str] = match self.cast {
            Cast::Peers | Cast::Fresh => &NAMES,
            Cast::Apps(_) => &["gateway", MANY_APPS],
            Cast::Observed => &["gateway", ACCESS_LOG, EVERYTHING],
        };
        let wanted = |name: &str| {
            options.wants_contender(if is_ours(name) { "gateway" } else { name })
                // It has one thread, and two connections for one: no floor for either.
                && (name != FLOOR || (self.workers == 1 && self.cast == Cast::Peers))
        };
        names.iter().copied().filter(|name| wanted(name)).collect()
    }

    pub(crate) fn describe(self) -> String {
        let edge = self.edge.describe();
        match (self.cast, self.workers) {
            (Cast::Peers, 1) => edge.to_owned(),
            (Cast::Peers, workers) => format!("{edge}, {workers} workers each"),
            (Cast::Fresh, _) => format!("{edge}, just started"),
            (Cast::Apps(_), _) => format!("{edge}, this gateway with few apps and with many"),
            (Cast::Observed, _) => format!("{edge}, this gateway, silent and observed"),
        }
    }
}

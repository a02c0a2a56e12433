//! What the figures were taken on: without it they cannot be compared with any others.

use std::collections::HashMap;
use std::fs;

use crate::load::Load;
use crate::tools::Cores;

pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// Over the last minute, before the first round: what others do on this machine.
    pub(crate) load_average: f64,
    pub(crate) pinning: String,
    pub(crate) load: String,
}

impl Machine {
    pub(crate) fn describe(load: &Load, cores: &Cores) -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let information = text("/proc/cpuinfo");
        let fields: HashMap<&str, &str> = information
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim(), value.trim()))
            .collect();
        let average = text("/proc/loadavg");
        Self {
            date: format!("{:.0}", jiff::Timestamp::now()),
            processor: fields.get("model name").unwrap_or(&"unknown processor").to_string(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: average.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0),
            pinning: cores.describe(),
            load: load.versions(),
        }
    }
}

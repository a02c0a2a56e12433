//! The machine: where its programs are, which version, its free ports, and which core each part has.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Fallible;

/// Looks on `PATH`, then where Debian keeps servers, which is not on everybody's `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// The first line that the program prints, on either stream, with anything in it.
pub(crate) fn version(program: &Path, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else {
        return "version unknown".to_owned();
    };
    let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
    printed.push_str(&String::from_utf8_lossy(&output.stderr));
    let line = printed.lines().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or("version unknown").to_owned()
}

/// All are held until the last is found, so that no two are the same.
pub(crate) fn free_addresses(count: usize) -> Fallible<Vec<SocketAddr>> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    Ok(held.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?)
}

/// Which cores each part may use; `None`: any, because they cannot be kept apart.
pub(crate) struct Cores {
    pub(crate) proxy: Option<String>,
    pub(crate) backend: Option<String>,
    pub(crate) load: Option<String>,
    /// How many the backend and the load use, each for itself if there are enough.
    pub(crate) backend_count: usize,
    pub(crate) load_count: usize,
}

impl Cores {
    /// The proxy has a core for each of its workers; backend and load share the rest out, and where
    /// nothing is left they go wherever there is time.
    pub(crate) fn share_out(workers: usize) -> Self {
        let allowed = allowed_cores();
        let apart =
            Self { proxy: None, backend: None, load: None, backend_count: 1, load_count: 1 };
        if find("taskset").is_none() || allowed.len() < 2 {
            return apart;
        }
        let (proxy, rest) = allowed.split_at(workers.min(allowed.len()));
        let rest = if rest.is_empty() { &allowed } else { rest };
        // One thread answers far more than one worker passes on.
        let (backend, load) = match rest.split_at(workers.div_ceil(2).min(rest.len() / 2)) {
            ([], all) => (all, all),
            parts => parts,
        };
        let list = |cores: &[usize]| {
            Some(cores.iter().map(usize::to_string).collect::<Vec<_>>().join(","))
        };
        Self {
            proxy: list(proxy),
            backend: list(backend),
            load: list(load),
            backend_count: backend.len().min(workers),
            load_count: load.len(),
        }
    }

    /// Whether what is around a proxy of so many workers has as many cores as they have.
    pub(crate) fn suffice(workers: usize) -> bool {
        allowed_cores().len() >= 2 * workers
    }

    pub(crate) fn describe(&self) -> String {
        match (&self.proxy, &self.backend, &self.load) {
            (Some(proxy), Some(backend), Some(load)) => {
                format!("proxy on core {proxy}, backend on {backend}, load on {load}")
            }
            _ => "NOT PINNED (one core only, or no taskset): the parts disturb each other".into(),
        }
    }
}

/// The start of a command line that keeps what follows on these cores.
pub(crate) fn on_cores(cores: Option<&str>) -> Vec<OsString> {
    cores.map_or_else(Vec::new, |cores| ["taskset", "-c", cores].map(OsString::from).to_vec())
}

/// From the kernel, not from zero up: a container may be given cores 6 and 7.
fn allowed_cores() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ranges = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let mut cores = Vec::new();
    for part in ranges.unwrap_or_default().trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            cores.extend(first..=last);
        }
    }
    cores
}

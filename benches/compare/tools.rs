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
    /// How many the load has for itself.
    pub(crate) load_count: usize,
}

impl Cores {
    /// The proxy has one core for itself; the backend another if there are three; the load the rest.
    pub(crate) fn share_out() -> Self {
        let allowed = allowed_cores();
        let apart = Self { proxy: None, backend: None, load: None, load_count: 1 };
        let (Some((proxy, rest)), Some(_)) = (allowed.split_first(), find("taskset")) else {
            return apart;
        };
        let (backend, load) = match rest {
            [] => return apart,
            [only] => (only, rest),
            [backend, load @ ..] => (backend, load),
        };
        let load_list: Vec<String> = load.iter().map(usize::to_string).collect();
        Self {
            proxy: Some(proxy.to_string()),
            backend: Some(backend.to_string()),
            load: Some(load_list.join(",")),
            load_count: load.len(),
        }
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

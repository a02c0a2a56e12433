//! Watches the memory of the process where there is a limit to it.
//!
//! Beyond it the kernel would end the process, and with it every request: new
//! ones are refused and idle connections closed before that. Measured is what is
//! resident; the control group counts more (the page cache, sockets' buffers),
//! so its own limit is taken with a margin.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::load::MemoryLimit;
use crate::gateway::Shared;
use crate::shutdown::Drain;

/// How often it is measured: a read of one file of `/proc`, some 20 µs on the control plane.
const PERIOD: Duration = Duration::from_millis(100);
/// Where the control group file systems are mounted by every distribution and runtime.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Measures as long as it is polled, and tells the workers' connections.
pub(super) async fn watch(shared: Arc<Shared>, connections: Vec<Drain>) {
    let own = own_limit();
    let mut known = None;
    loop {
        let limit = match shared.settings.load().limits.memory {
            MemoryLimit::Auto => own.unwrap_or(0),
            MemoryLimit::Bytes(bytes) => bytes,
        };
        if known != Some(limit) {
            known = Some(limit);
            if limit > 0 {
                tracing::info!(limit, "memory is watched");
            }
        }
        let resident = (limit > 0).then(resident).flatten();
        // What cannot be measured has no limit.
        let limit = if resident.is_some() { limit } else { 0 };
        if let Some(short) = shared.memory.measure(resident.unwrap_or(0), limit) {
            for connections in &connections {
                connections.relieve(short);
            }
            if short {
                tracing::warn!(
                    resident,
                    limit,
                    "too little memory: new requests are refused, idle connections closed"
                );
            } else {
                tracing::info!(resident, limit, "enough memory again");
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Resident bytes, which the system tells in KiB.
fn resident() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1 << 10)
}

/// Nine tenths of what the process's control group may use.
fn own_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    group_limit(&groups, Path::new(CGROUPS)).map(|limit| limit / 10 * 9)
}

/// The least of the limits of a group and those that it is in. In a container the group's path is
/// mostly `/`, and its limit stands at the mount itself.
fn group_limit(groups: &str, mount: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        // Version 2 is `0::/path`; version 1 a line for each controller.
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let (root, file) = match controllers {
            "" => (mount.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (mount.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let below = Path::new(path.trim_start_matches('/'));
        let groups = below.ancestors().map(|group| root.join(group).join(file));
        groups.filter_map(limit_of).min()
    });
    // Version 1 says "no limit" by a number that no machine has.
    limits.min().filter(|limit| *limit < 1 << 60)
}

fn limit_of(file: PathBuf) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn limits(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, limit) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{limit}\n")).unwrap();
        }
        folder
    }

    #[test]
    fn the_least_limit_on_the_way_to_the_root_counts() {
        let mount = limits(&[
            ("memory.max", "max"),
            ("pods/memory.max", "4000"),
            ("pods/one/memory.max", "9000"),
            ("pods/two/memory.max", "1"),
        ]);
        let limit = |groups| group_limit(groups, mount.path());
        assert_eq!(limit("0::/pods/one\n"), Some(4000));
        assert_eq!(limit("0::/\n"), None);
        assert_eq!(limit("0::/elsewhere\n"), None);
        assert_eq!(limit("nonsense"), None);
    }

    #[test]
    fn version_1_has_a_mount_of_its_own_and_a_number_for_no_limit() {
        let mount = limits(&[
            ("memory/memory.limit_in_bytes", "9223372036854771712"),
            ("memory/box/memory.limit_in_bytes", "5000"),
        ]);
        let limit = |groups| group_limit(groups, mount.path());
        assert_eq!(limit("5:cpu,cpuacct:/x\n4:memory:/box\n0::/box\n"), Some(5000));
        assert_eq!(limit("4:memory:/\n"), None);
    }

    #[test]
    fn this_process_is_somewhere_in_memory() {
        let resident = resident();
        assert!(resident.is_some_and(|bytes| bytes > 1 << 20), "{resident:?}");
    }
}

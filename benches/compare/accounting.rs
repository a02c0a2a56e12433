//! What a contender cost, by the kernel's own books.
//!
//! CPU time is summed over every thread of the process and of its descendants from `schedstat`
//! (nanoseconds on a core); where that is not to be had, from `utime` + `stime` (hundredths of a
//! second). Figures that a program reports about itself are never used.

use std::collections::HashMap;
use std::fs;

use rustix::process::{Resource, getrlimit};

use crate::Fallible;

/// `USER_HZ`: fixed at 100 by the kernel's interface on every machine that Rust runs on.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

/// The books of a process and its descendants at one moment.
pub(crate) struct Usage {
    threads: HashMap<u32, Thread>,
    ticks: u64,
}

struct Thread {
    ran: u64,
    /// It serves callers, by its name.
    works: bool,
}

/// Nanoseconds on a core.
pub(crate) struct Spent {
    pub(crate) all: u64,
    /// By the gateway's workers: not by its control plane, not by its log.
    pub(crate) workers: u64,
}

impl Usage {
    pub(crate) fn read(root: u32) -> Fallible<Self> {
        let mut usage = Self { threads: HashMap::new(), ticks: 0 };
        for process in family(root) {
            let Some(stat) = Stat::read(process) else { continue };
            usage.ticks += stat.ticks;
            for thread in numbered(&format!("/proc/{process}/task")) {
                let of_it = |file| {
                    let path = format!("/proc/{process}/task/{thread}/{file}");
                    fs::read_to_string(path).unwrap_or_default()
                };
                let book = of_it("schedstat");
                if let Some(ran) = book.split_whitespace().next().and_then(|ran| ran.parse().ok()) {
                    let works = of_it("comm").starts_with("worker");
                    usage.threads.insert(thread, Thread { ran, works });
                }
            }
        }
        if usage.threads.is_empty() && usage.ticks == 0 {
            return Err(format!("process {root} has no accounting: it has ended").into());
        }
        Ok(usage)
    }

    /// What it has cost since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Spent {
        let of_thread = |(id, thread): (&u32, &Thread)| {
            thread.ran.saturating_sub(earlier.threads.get(id).map_or(0, |before| before.ran))
        };
        let all: u64 = self.threads.iter().map(of_thread).sum();
        let workers = self.threads.iter().filter(|(_, it)| it.works).map(of_thread).sum();
        // A thread that ended took its `schedstat` with it; the process's ticks still hold its time.
        let lost = earlier.threads.keys().any(|thread| !self.threads.contains_key(thread));
        if lost || self.threads.is_empty() {
            let ticks = self.ticks.saturating_sub(earlier.ticks);
            // They are coarse, and never less than what the threads that stayed have used.
            return Spent { all: all.max(ticks * NANOSECONDS_PER_TICK), workers };
        }
        Spent { all, workers }
    }
}

/// Nanoseconds on a core of all children of this process that have ended: the load, each run of it.
pub(crate) fn of_children() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u64 = fields.skip(13).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    ticks * NANOSECONDS_PER_TICK
}

/// Resident memory of a process and its descendants, in KiB.
pub(crate) fn resident(root: u32) -> u64 {
    let of_process = |process| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    family(root).into_iter().filter_map(of_process).sum()
}

/// Memory of a process and its descendants in bytes, what several of them share counted once; where the
/// kernel does not tell that, resident memory.
pub(crate) fn memory(root: u32) -> u64 {
    let of_process = |process| {
        let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    let shares: Option<Vec<u64>> = family(root).into_iter().map(of_process).collect();
    1024 * shares.map_or_else(|| resident(root), |shares| shares.into_iter().sum())
}

/// How many files a process may open here at most.
pub(crate) fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// The process and all below it.
pub(crate) fn family(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = numbered("/proc")
        .into_iter()
        .filter_map(|process| Some((process, Stat::read(process)?.parent)))
        .collect();
    let mut members = vec![root];
    let mut next = 0;
    while let Some(&member) = members.get(next) {
        members.extend(parents.iter().filter(|(_, parent)| *parent == member).map(|(id, _)| id));
        next += 1;
    }
    members
}

struct Stat {
    parent: u32,
    ticks: u64,
}

impl Stat {
    fn read(process: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name in parentheses may hold anything, spaces and parentheses too.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        let user: u64 = fields.nth(9)?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some(Self { parent, ticks: user + system })
    }
}

fn numbered(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

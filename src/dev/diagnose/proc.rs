//! Where the processes of a group listen, as `/proc` tells it.
//!
//! A best effort for a message to a person: processes come and go while it
//! reads, those of other users hide, and all of that is left out silently.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The TCP addresses that the processes of this group listen on, sorted. Nothing
/// on systems without Linux's `/proc`. Reads many small files: not for a worker.
pub fn listening(group: u32) -> Vec<SocketAddr> {
    listening_under(Path::new("/proc"), group)
}

fn listening_under(proc: &Path, group: u32) -> Vec<SocketAddr> {
    let sockets: HashSet<u64> = members(proc, group).flat_map(|pid| sockets(proc, pid)).collect();
    if sockets.is_empty() {
        return Vec::new();
    }
    let tables = ["net/tcp", "net/tcp6"].map(|table| read(&proc.join(table)));
    let mut all: Vec<_> = tables
        .iter()
        .flat_map(|table| table.lines().filter_map(listener))
        .filter(|(_, inode)| sockets.contains(inode))
        .map(|(address, _)| address)
        .collect();
    all.sort_unstable();
    // SO_REUSEPORT: one address, many sockets.
    all.dedup();
    all
}

fn members(proc: &Path, group: u32) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(move |pid| group_of(&read(&proc.join(pid.to_string()).join("stat"))) == Some(group))
}

/// The process group in a line of `/proc/<pid>/stat`: `pid (name) state ppid pgrp …`.
/// The name can hold anything, also brackets and blanks, so the last bracket counts.
fn group_of(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(2)?.parse().ok()
}

/// The inodes of the sockets that a process holds.
fn sockets(proc: &Path, pid: u32) -> impl Iterator<Item = u64> {
    let files = fs::read_dir(proc.join(pid.to_string()).join("fd")).into_iter().flatten().flatten();
    files.filter_map(|file| {
        let target = fs::read_link(file.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    })
}

/// Address and inode of a line of `/proc/net/tcp` or `tcp6` whose socket listens:
/// `sl local remote state queues timer retransmits uid timeout inode …`.
fn listener(line: &str) -> Option<(SocketAddr, u64)> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    let (ip, port) = local.split_once(':')?;
    Some((SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?), inode))
}

/// An address as the kernel prints it: words of 32 bits in the machine's own byte
/// order, whose bytes in memory are the address's in network order.
fn address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = text.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut octets = [0; 16];
            for (at, into) in octets.chunks_exact_mut(4).enumerate() {
                into.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    #![allow(clippy::print_stderr)]

    use super::*;

    #[test]
    fn the_group_is_found_behind_any_name() {
        assert_eq!(group_of("7 (sh) S 1 42 7 0 -1"), Some(42));
        assert_eq!(group_of("7 (a) R 9 9 (b) S 1 42 7 0"), Some(42));
        assert_eq!(group_of("7 (sh"), None);
        assert_eq!(group_of(""), None);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn listening_lines_are_read_and_others_left_out() {
        let line = |local: &str, state: &str| {
            format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000        0 48213 1 x"
            )
        };
        let of =
            |local, state| listener(&line(local, state)).map(|(at, inode)| (at.to_string(), inode));
        assert_eq!(of("0100007F:1F90", "0A"), Some(("127.0.0.1:8080".into(), 48_213)));
        assert_eq!(of("0100007F:1F90", "01"), None);
        let loopback = "00000000000000000000000001000000:0BB8";
        assert_eq!(of(loopback, "0A"), Some(("[::1]:3000".into(), 48_213)));
        let mapped = "0000000000000000FFFF00000100007F:0BB8";
        assert_eq!(of(mapped, "0A"), Some(("[::ffff:127.0.0.1]:3000".into(), 48_213)));
        for broken in
            ["", "0100007F", "0100007:1F90", "0100007F:XYZ", "é100007F:1F90", "é00007F:1F90"]
        {
            assert_eq!(of(broken, "0A"), None, "{broken}");
        }
        let heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(listener(heading), None);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_listeners_of_a_group_are_found() {
        let four = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let six = tokio::net::TcpListener::bind("[::1]:0").await;
        let connected = tokio::net::TcpStream::connect(four.local_addr().unwrap()).await.unwrap();

        let own = rustix::process::getpgrp().as_raw_nonzero().get().unsigned_abs();
        let found = listening(own);
        assert!(found.contains(&four.local_addr().unwrap()), "{found:?}");
        assert!(!found.contains(&connected.local_addr().unwrap()), "{found:?}");
        match six {
            Ok(six) => assert!(found.contains(&six.local_addr().unwrap()), "{found:?}"),
            Err(error) => eprintln!("no IPv6 here, not tested: {error}"),
        }
        assert_eq!(listening(u32::MAX), [], "no such group");
    }

    #[test]
    fn without_proc_nothing_is_found() {
        assert_eq!(listening_under(Path::new("/no/such/proc"), 1), []);
    }
}

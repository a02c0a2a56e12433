//! What the service manager is told: ready, reloading, stopping, who the main
//! process is, and that the process still works (`sd_notify`).
//!
//! A datagram a message, written here: the crates for it read their address
//! from the environment, and after a take-over it comes from the gateway that
//! ran before. Nothing waits for the manager, and nothing depends on it.

use std::env;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// How soon a process that seems not to work is looked at again.
const RETRY: Duration = Duration::from_millis(100);

/// The way to the service manager, if there is one.
#[derive(Debug, Clone, Default)]
pub struct Supervisor(Option<Arc<Manager>>);

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    told: Told,
}

/// What a service manager told a process in its environment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Told {
    notify_socket: Option<String>,
    watchdog_usec: Option<u64>,
}

impl Supervisor {
    /// As `NOTIFY_SOCKET` and `WATCHDOG_USEC` say.
    pub fn from_environment() -> Self {
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let is_for_us =
            number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        Self::new(Told {
            notify_socket: env::var("NOTIFY_SOCKET").ok().filter(|path| !path.is_empty()),
            watchdog_usec: number("WATCHDOG_USEC").filter(|usec| *usec > 0 && is_for_us),
        })
    }

    /// The manager of the gateway that ran before is this one's, unless it has its own. That the
    /// watchdog is on is told to a unit's first process only.
    #[must_use]
    pub fn or(self, before: Told) -> Self {
        match &self.0 {
            None => Self::new(before),
            Some(own) if own.told.watchdog_usec.is_some() => self,
            Some(own) => {
                let watchdog_usec = before.watchdog_usec;
                Self::new(Told { watchdog_usec, ..own.told.clone() })
            }
        }
    }

    fn new(told: Told) -> Self {
        let Some(address) = &told.notify_socket else { return Self(None) };
        let connected = address_of(address).and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        });
        match connected {
            Ok((socket, address)) => Self(Some(Arc::new(Manager { socket, address, told }))),
            Err(error) => {
                tracing::warn!(%error, address, "the service manager cannot be told anything");
                Self(None)
            }
        }
    }

    /// For the gateway that takes over.
    pub fn told(&self) -> Told {
        self.0.as_ref().map_or_else(Told::default, |manager| manager.told.clone())
    }

    /// Calls are taken, and this is the main process.
    pub fn ready(&self, status: &str) {
        let pid = std::process::id();
        self.send(&format!("READY=1\nMAINPID={pid}\nSTATUS={status}"));
    }

    /// Another process takes the calls from now on.
    pub fn succeeded_by(&self, pid: u32) {
        self.send(&format!("MAINPID={pid}\nSTATUS=taken over by process {pid}"));
    }

    /// A configuration is put in force; [`Supervisor::ready`] follows.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}\nSTATUS=reloading"));
    }

    /// The end is near, and meant.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=draining");
    }

    /// Tells the watchdog again and again that this process works, as long as it is `alive`; never
    /// ends.
    pub async fn keep_alive(&self, alive: impl Fn() -> bool) {
        let Some(usec) = self.0.as_ref().and_then(|manager| manager.told.watchdog_usec) else {
            return std::future::pending().await;
        };
        // Twice as often as is asked for, as sd_watchdog_enabled(3) advises.
        let period = Duration::from_micros(usec / 2).max(Duration::from_millis(1));
        loop {
            let works = alive();
            if works {
                self.send("WATCHDOG=1");
            }
            // A hiccup must not cost half of the manager's patience.
            tokio::time::sleep(if works { period } else { period.min(RETRY) }).await;
        }
    }

    fn send(&self, message: &str) {
        let Some(manager) = &self.0 else { return };
        if let Err(error) = manager.socket.send_to_addr(message.as_bytes(), &manager.address) {
            tracing::debug!(%error, message, "the service manager was not told");
        }
    }
}

/// A path, or with `@` a name in Linux's abstract namespace.
fn address_of(text: &str) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = text.strip_prefix('@') {
        use std::os::linux::net::SocketAddrExt as _;
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_of_the_gateway_before_is_used_where_there_is_no_own_one() {
        let told =
            |path: &str, usec| Told { notify_socket: Some(path.to_owned()), watchdog_usec: usec };
        let after = Supervisor::default().or(told("/before", Some(5))).told();
        assert_eq!(after.notify_socket.as_deref(), Some("/before"));
        assert_eq!(after.watchdog_usec, Some(5));
        let after = Supervisor::new(told("/own", None)).or(told("/before", Some(5))).told();
        assert_eq!(after.notify_socket.as_deref(), Some("/own"));
        assert_eq!(after.watchdog_usec, Some(5), "told to a unit's first process only");
    }

    #[test]
    fn messages_have_the_documented_form() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let told = Told { notify_socket: path.to_str().map(str::to_owned), watchdog_usec: None };
        let supervisor = Supervisor::new(told);
        let next = || {
            let mut buffer = [0; 256];
            let length = manager.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        supervisor.ready("all is well");
        let pid = std::process::id();
        assert_eq!(next(), format!("READY=1\nMAINPID={pid}\nSTATUS=all is well"));
        supervisor.reloading();
        let text = next();
        let usec = text.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(text.starts_with("RELOADING=1\n") && usec.unwrap().parse::<u64>().unwrap() > 0);
        supervisor.stopping();
        assert_eq!(next(), "STOPPING=1\nSTATUS=draining");
        supervisor.succeeded_by(7);
        assert_eq!(next(), "MAINPID=7\nSTATUS=taken over by process 7");
    }
}

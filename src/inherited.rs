//! Listening sockets that another process bound: passed by a service manager
//! in `LISTEN_FDS`, or handed over by the gateway that ran before.
//!
//! An address says which listener a socket is for. Its name is only asked where
//! the configuration leaves the port to the system.

use std::env;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use socket2::SockRef;
use thiserror::Error;

/// The name of the admin listener's socket; any other one is a listener's.
pub const ADMIN: &str = "admin";
/// More would be a mistake, not a service manager.
const MOST: usize = 4096;

/// Why passed sockets cannot be used.
#[derive(Debug, Error)]
pub enum InheritError {
    /// `LISTEN_FDS` is no sensible number.
    #[error("LISTEN_FDS is `{0}`, not a number up to {MOST}")]
    Count(String),
    /// Something else than a listening TCP socket.
    #[error("descriptor {position} of LISTEN_FDS{name} is not a listening TCP socket")]
    Kind {
        /// Which one, from 0.
        position: usize,
        /// Its name, in brackets, if it has one.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
    /// No listener of the configuration has the address.
    #[error(
        "LISTEN_FDS passes {passed}, for which the configuration has no listener. It listens on \
         {configured}: make the socket unit's ListenStream= and the configuration's addresses equal"
    )]
    Unclaimed {
        /// What was passed in vain.
        passed: String,
        /// What the configuration names.
        configured: String,
    },
}

/// What a socket is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The configured address; port 0 fits any.
    pub address: SocketAddr,
    /// For the operator's listener.
    pub admin: bool,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.address, if self.admin { " (admin)" } else { "" })
    }
}

/// One listening socket of another process.
#[derive(Debug)]
pub struct Socket {
    name: String,
    address: SocketAddr,
    listener: TcpListener,
}

impl Socket {
    /// A socket as it was passed; an error if nobody can accept from it.
    pub fn new(name: String, socket: TcpListener) -> io::Result<Self> {
        if !socket_acceptconn(&socket)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
        }
        let address = socket.local_addr()?;
        socket.set_nonblocking(true)?;
        SockRef::from(&socket).set_tcp_nodelay(true)?;
        Ok(Self { name, address, listener: socket })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn fits(&self, wanted: Wanted) -> bool {
        if wanted.address.port() != 0 {
            return self.address == wanted.address;
        }
        self.address.ip() == wanted.address.ip() && (self.name == ADMIN) == wanted.admin
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "{}", self.address),
            name => write!(f, "{} (named {name})", self.address),
        }
    }
}

/// All sockets that came from elsewhere.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Socket>,
    /// Those that nobody wants are an error.
    strict: bool,
}

impl Inherited {
    /// What a service manager passed to this process, if any.
    ///
    /// Before anything else opens a descriptor or starts a thread: the variables are taken out of
    /// the environment.
    pub fn from_environment() -> Result<Self, InheritError> {
        let Ok(count) = env::var("LISTEN_FDS") else { return Ok(Self::default()) };
        if count.parse().map_or(true, |count: usize| count > MOST) {
            return Err(InheritError::Count(count));
        }
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for position in 0..passed.len() {
            let name = names.next().unwrap_or_default().to_owned();
            let shown = if name.is_empty() { String::new() } else { format!(" ({name})") };
            let fail = |source| InheritError::Kind { position, name: shown, source };
            let socket = passed
                .take_tcp_listener(position)
                .and_then(|socket| socket.map(|socket| Socket::new(name, socket)).transpose());
            sockets.extend(socket.map_err(fail)?);
        }
        Ok(Self { sockets, strict: true })
    }

    /// What the gateway that ran before hands over; it closes what is not wanted any more.
    pub fn handed_over(sockets: Vec<Socket>) -> Self {
        Self { sockets, strict: false }
    }

    /// The sockets of each address that is wanted, in its order: none, or all that share it.
    pub fn claim(mut self, wanted: &[Wanted]) -> Result<Vec<Vec<TcpListener>>, InheritError> {
        let mut claimed: Vec<_> = wanted.iter().map(|_| Vec::new()).collect();
        // Exact addresses first: a port that the system chose could be somebody's exact one.
        for any_port in [false, true] {
            for (wanted, claimed) in wanted.iter().zip(&mut claimed) {
                if (wanted.address.port() == 0) != any_port {
                    continue;
                }
                let first = self.sockets.iter().find(|socket| socket.fits(*wanted));
                if let Some(address) = first.map(Socket::address) {
                    let (fitting, rest) =
                        self.sockets.into_iter().partition(|socket| socket.address == address);
                    self.sockets = rest;
                    *claimed = fitting;
                }
            }
        }
        if self.strict && !self.sockets.is_empty() {
            let (passed, configured) = (list(&self.sockets), list(wanted));
            return Err(InheritError::Unclaimed { passed, configured });
        }
        for socket in self.sockets {
            tracing::warn!(address = %socket.address, "not configured any more: closed");
        }
        let listeners = |sockets: Vec<Socket>| sockets.into_iter().map(|socket| socket.listener);
        Ok(claimed.into_iter().map(|sockets| listeners(sockets).collect()).collect())
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(address: &str) -> TcpListener {
        TcpListener::bind(address).unwrap()
    }

    fn inherited(sockets: Vec<(&str, TcpListener)>, strict: bool) -> Inherited {
        let socket = |(name, socket): (&str, _)| Socket::new(name.to_owned(), socket).unwrap();
        Inherited { sockets: sockets.into_iter().map(socket).collect(), strict }
    }

    fn wanted(address: &str, admin: bool) -> Wanted {
        Wanted { address: address.parse().unwrap(), admin }
    }

    #[test]
    fn an_exact_address_decides_whatever_the_name() {
        let (one, other) = (listening("127.0.0.1:0"), listening("127.0.0.1:0"));
        let addresses = [one.local_addr().unwrap(), other.local_addr().unwrap()];
        let inherited = inherited(vec![("admin", one), ("web", other)], true);
        let claimed = inherited
            .claim(&[wanted("127.0.0.1:0", false), wanted(&addresses[0].to_string(), false)])
            .unwrap();
        assert_eq!(claimed[0][0].local_addr().unwrap(), addresses[1]);
        assert_eq!(claimed[1][0].local_addr().unwrap(), addresses[0]);
    }

    #[test]
    fn the_name_tells_admin_where_any_port_fits() {
        let (admin, web) = (listening("127.0.0.1:0"), listening("127.0.0.1:0"));
        let addresses = [web.local_addr().unwrap(), admin.local_addr().unwrap()];
        let twin = web.try_clone().unwrap();
        let inherited = inherited(vec![("admin", admin), ("", web), ("", twin)], true);
        let claimed =
            inherited.claim(&[wanted("127.0.0.1:0", false), wanted("127.0.0.1:0", true)]).unwrap();
        assert_eq!([claimed[0].len(), claimed[1].len()], [2, 1], "all that share an address");
        for (claimed, address) in claimed.iter().zip(addresses) {
            assert_eq!(claimed[0].local_addr().unwrap(), address);
        }
    }

    #[test]
    fn what_nobody_wants_is_an_error_of_a_service_manager_only() {
        for strict in [true, false] {
            let inherited = inherited(vec![("web", listening("127.0.0.1:0"))], strict);
            let claimed = inherited.claim(&[wanted("127.0.0.1:1", false), wanted("[::1]:0", true)]);
            assert_eq!(claimed.is_err(), strict);
            if let Err(error) = claimed {
                let text = error.to_string();
                assert!(text.contains("(named web)"), "{text}");
                assert!(text.contains("127.0.0.1:1, [::1]:0 (admin)"), "{text}");
            }
        }
    }
}

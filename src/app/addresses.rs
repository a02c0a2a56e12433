//! Every address of the configuration: its sockets were inherited, or are bound.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::StartError;
use crate::config::Config;
use crate::inherited::{ADMIN, Inherited, Wanted};
use crate::listener::tls::Acceptor;
use crate::listener::{self, accept};
use crate::takeover::Held;
use crate::worker;

/// The name of a listener's socket at a take-over.
const LISTENER: &str = "listener";

/// The sockets of a gateway, and where they really are.
pub(super) struct Addresses {
    pub(super) per_worker: Vec<Vec<worker::Socket>>,
    /// Of the listeners, in the configuration's order.
    pub(super) listeners: Vec<SocketAddr>,
    pub(super) admin: tokio::net::TcpListener,
    pub(super) admin_address: SocketAddr,
    pub(super) held: Held,
}

impl Addresses {
    /// Takes them for `workers` workers; `acceptors` are those of the listeners that speak TLS.
    pub(super) fn take(
        config: &Config,
        workers: usize,
        mut acceptors: impl Iterator<Item = Arc<Acceptor>>,
        inherited: Inherited,
    ) -> Result<Self, StartError> {
        let mut per_worker: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        let (mut listeners, mut held) = (Vec::new(), Vec::new());
        let mut inherited = inherited.claim(&wanted(config))?.into_iter();
        for listener in &config.listeners {
            let address = listener.address;
            let fail = |source| StartError::Bind { what: "listener", address, source };
            let tls = listener.tls.as_ref().and_then(|_| acceptors.next());
            let options = Arc::new(listener::Listener::new(listener, tls));
            let passed = inherited.next().unwrap_or_default();
            let sockets = sockets(address, passed, workers).map_err(fail)?;
            for (position, socket) in sockets.iter().enumerate() {
                if position == 0 {
                    listeners.push(socket.local_addr().map_err(fail)?);
                }
                held.push((LISTENER.to_owned(), socket.try_clone().map_err(fail)?));
            }
            let hands = accept::deal(sockets, workers).map_err(fail)?;
            for (worker, sockets) in per_worker.iter_mut().zip(hands) {
                worker.extend(sockets.into_iter().map(|socket| (socket, options.clone())));
            }
        }
        let address = config.admin.address;
        let fail = |source| StartError::Bind { what: "admin", address, source };
        let admin = match inherited.next().and_then(|sockets| sockets.into_iter().next()) {
            Some(socket) => socket,
            None => TcpListener::bind(address).map_err(fail)?,
        };
        admin.set_nonblocking(true).map_err(fail)?;
        held.push((ADMIN.to_owned(), admin.try_clone().map_err(fail)?));
        let admin = tokio::net::TcpListener::from_std(admin).map_err(fail)?;
        let admin_address = admin.local_addr().map_err(fail)?;
        Ok(Self { per_worker, listeners, admin, admin_address, held: Held::new(held) })
    }
}

/// The listeners in their order, then admin.
fn wanted(config: &Config) -> Vec<Wanted> {
    let listeners = config.listeners.iter();
    let listeners = listeners.map(|listener| Wanted { address: listener.address, admin: false });
    listeners.chain([Wanted { address: config.admin.address, admin: true }]).collect()
}

/// The sockets of one address.
fn sockets(
    address: SocketAddr,
    passed: Vec<TcpListener>,
    workers: usize,
) -> io::Result<Vec<TcpListener>> {
    if passed.is_empty() {
        accept::bind(address, workers)
    } else {
        accept::bind_beside(passed, workers)
    }
}

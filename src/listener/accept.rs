//! Listening sockets, one per worker and address, and accepting that never ends
//! on an error.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::sockopt::socket_acceptconn;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;

use crate::io::bound_unsent;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long accepting rests when the system has no more descriptors or memory.
const REST: Duration = Duration::from_millis(50);

/// Binds `count` sockets to one address, among which the kernel spreads connections.
///
/// Port 0 is chosen once, for all of them.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    // With SO_REUSEPORT a second gateway would silently share the address with the first. So the
    // first socket gets it only once it is bound.
    let first = bind_silent(address, false)?;
    first.set_reuse_address(true)?;
    first.set_reuse_port(true)?;
    first.listen(BACKLOG)?;
    let first = std::net::TcpListener::from(first);
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..count {
        let socket = bind_silent(bound, true)?;
        socket.listen(BACKLOG)?;
        sockets.push(socket.into());
    }
    Ok(sockets)
}

/// Binds more sockets beside those of one address that another process bound, until there are
/// `count`. None where they do not share the address, or must not: [`deal`] makes do with them.
///
/// They do not [`listen`]: until this process accepts, the kernel must not put a connection there.
pub fn bind_beside(
    mut sockets: Vec<std::net::TcpListener>,
    count: usize,
) -> io::Result<Vec<std::net::TcpListener>> {
    for socket in &sockets {
        bound_unsent(socket)?;
        if !SockRef::from(socket).reuse_port()? {
            return Ok(sockets);
        }
    }
    let Some(address) = sockets.first().map(std::net::TcpListener::local_addr).transpose()? else {
        return Ok(sockets);
    };
    while sockets.len() < count {
        match bind_silent(address, true) {
            Ok(socket) => sockets.push(socket.into()),
            Err(error) => {
                tracing::debug!(%error, %address, "the workers share the sockets that are there");
                break;
            }
        }
    }
    Ok(sockets)
}

/// Deals the sockets of one address to `count` workers.
///
/// Each one is accepted from, however many there are: a connection that the kernel put into a
/// socket's queue is found nowhere else. Workers that would have none share one with another.
pub fn deal(
    sockets: Vec<std::net::TcpListener>,
    count: usize,
) -> io::Result<Vec<Vec<std::net::TcpListener>>> {
    let shared = (sockets.len()..count).filter_map(|worker| {
        let position = worker.checked_rem(sockets.len())?;
        sockets.get(position).map(std::net::TcpListener::try_clone)
    });
    let shared = shared.collect::<io::Result<Vec<_>>>()?;
    let mut hands: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
    for (position, socket) in sockets.into_iter().chain(shared).enumerate() {
        let hand = position.checked_rem(count).and_then(|worker| hands.get_mut(worker));
        if let Some(hand) = hand {
            hand.push(socket);
        }
    }
    Ok(hands)
}

/// Listens where a socket does not yet.
pub fn listen(socket: &std::net::TcpListener) -> io::Result<()> {
    if socket_acceptconn(socket)? { Ok(()) } else { SockRef::from(socket).listen(BACKLOG) }
}

/// Bound, and nothing waits in it yet.
fn bind_silent(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port of the system's choice may be one that somebody has bound and does not listen at yet,
    // if both allow it.
    socket.set_reuse_address(address.port() != 0)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit these: no system call per connection.
    socket.set_tcp_nodelay(true)?;
    bound_unsent(&socket)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The next connection. An error of one connection is passed over; one of the
/// system is waited out: a listener that gave up would look like an outage.
pub async fn accept(listener: &TcpListener) -> (tokio::net::TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; trying again");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// The connections that wait in a listening socket that is about to be closed: no more than can
/// wait at one time, as another process may take over the socket and its newcomers with it.
pub fn accept_rest(listener: TcpListener) -> Vec<(tokio::net::TcpStream, SocketAddr)> {
    let Ok(socket) = listener.into_std() else { return Vec::new() };
    std::iter::from_fn(|| socket.accept().ok())
        .take(BACKLOG.unsigned_abs() as usize)
        .filter_map(|(stream, address)| {
            stream.set_nonblocking(true).ok()?;
            Some((tokio::net::TcpStream::from_std(stream).ok()?, address))
        })
        .collect()
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

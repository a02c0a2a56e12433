//! The floor: a TCP relay that reads nothing of what it passes on.
//!
//! One thread, one upstream connection for each caller's connection, bytes copied both ways. No
//! proxy in user space can forward a request for less, so every CPU figure is also shown over this.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

/// Large bodies decide it: with 8 KiB a MiB costs twice as much.
const BUFFER: usize = 64 * 1024;

pub(crate) async fn serve(listen: SocketAddr, to: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (caller, _) = listener.accept().await?;
        // A broken connection concerns its two ends only.
        tokio::spawn(relay(caller, to));
    }
}

async fn relay(mut caller: TcpStream, to: SocketAddr) -> io::Result<()> {
    let mut app = TcpStream::connect(to).await?;
    caller.set_nodelay(true)?;
    app.set_nodelay(true)?;
    tokio::io::copy_bidirectional_with_sizes(&mut caller, &mut app, BUFFER, BUFFER).await?;
    Ok(())
}

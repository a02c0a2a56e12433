//! A new connection to an endpoint, under its deadline.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::error::Error;
use crate::io::bound_unsent;

/// Connects within `timeout`.
pub async fn connect(address: SocketAddr, timeout: Duration) -> Result<TcpStream, Error> {
    match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            // Messages are written whole: waiting for more would only delay them.
            stream.set_nodelay(true).map_err(Error::ConnectRefused)?;
            bound_unsent(&stream).map_err(Error::ConnectRefused)?;
            Ok(stream)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(Error::ConnectTimeout),
        Ok(Err(error)) => Err(Error::ConnectRefused(error)),
        Err(_elapsed) => Err(Error::ConnectTimeout),
    }
}

//! A new connection to an endpoint, under its deadline.
//!
//! What comes of it is remembered at the endpoint: whether it accepts any.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

use super::app::Endpoint;
use crate::error::Error;
use crate::io::bound_unsent;

/// Connects within `timeout`, while the endpoint is its app's.
pub async fn connect(endpoint: &Endpoint, timeout: Duration) -> Result<TcpStream, Error> {
    let connecting = TcpStream::connect(endpoint.address());
    match tokio::time::timeout(timeout, connecting).await {
        // It may have left its app meanwhile, and another's may answer at the address.
        Ok(Ok(_)) if endpoint.is_retired() => {
            Err(Error::ConnectRefused(io::ErrorKind::AddrNotAvailable.into()))
        }
        Ok(Ok(stream)) => {
            endpoint.accepted();
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_endpoint_that_has_left_its_app_is_no_more_whoever_answers_there() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint = Endpoint::new(listener.local_addr().unwrap(), true);
        let patience = Duration::from_secs(10);
        assert!(connect(&endpoint, patience).await.is_ok());
        endpoint.retire();
        assert!(matches!(connect(&endpoint, patience).await, Err(Error::ConnectRefused(_))));
    }
}

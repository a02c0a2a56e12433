//! The app that echoes WebSocket messages, one by one.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::websocket::{self, ACCEPT, HEAD_ECHO, KEY};

const READ_AT_ONCE: usize = 4 * 1024;
/// A call that is no opening: the contender has not passed it on as one.
const REFUSAL: &[u8] = b"HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\n\
    connection: close\r\ncontent-length: 0\r\n\r\n";

pub(super) async fn converse(mut stream: TcpStream, path: &str, head: &[u8]) -> io::Result<()> {
    if !is_opening(head) {
        return stream.write_all(REFUSAL).await;
    }
    let accepted = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {ACCEPT}\r\nX-Ignite-Organization-Id: evil\r\n\r\n"
    );
    stream.write_all(accepted.as_bytes()).await?;
    if path == HEAD_ECHO {
        stream.write_all(&websocket::plain(head)).await?;
    }
    let mut received = Vec::with_capacity(READ_AT_ONCE);
    let mut echo = Vec::with_capacity(READ_AT_ONCE);
    while stream.read_buf(&mut received).await? > 0 {
        while let Some((message, taken)) =
            websocket::first(&received).map_err(|error| io::Error::other(error.to_string()))?
        {
            echo.extend(websocket::plain(&message));
            received.drain(..taken);
        }
        stream.write_all(&echo).await?;
        echo.clear();
    }
    Ok(())
}

fn is_opening(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let key = format!("\r\nsec-websocket-key: {}\r\n", KEY.to_ascii_lowercase());
    head.contains("\r\nupgrade: websocket\r\n") && head.contains(&key)
}

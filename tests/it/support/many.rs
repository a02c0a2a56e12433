//! An app for thousands of connections, on one thread: it answers whole requests,
//! echoes after an upgrade, and minds nobody who leaves.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::LIMIT;

/// How much `/large` answers.
pub const LARGE: usize = 1 << 20;

/// The app. It ends with its runtime.
pub struct Many {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Many {
    pub fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(serve(stream))),
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
        Self { address, runtime: Some(runtime) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(LIMIT);
        }
    }
}

async fn serve(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Some(head) = next_head(&mut stream, &mut buffer).await {
        let answered = if head.contains("\r\nupgrade: websocket") {
            let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                          Upgrade: websocket\r\n\r\n";
            if stream.write_all(switch.as_bytes()).await.is_ok() {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
            return;
        } else if take_body(&mut stream, &mut buffer, &head).await.is_none() {
            return;
        } else if head.starts_with("get /large ") {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
            stream.write_all(&[head.as_bytes(), &vec![b'x'; LARGE]].concat()).await
        } else {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await
        };
        if answered.is_err() {
            return;
        }
    }
}

/// The next request's head in lower case.
async fn next_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = buffer.drain(..end + 4).collect::<Vec<u8>>();
            return Some(String::from_utf8_lossy(&head).to_lowercase());
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// Takes the request's body, if it comes whole.
async fn take_body(stream: &mut TcpStream, buffer: &mut Vec<u8>, head: &str) -> Option<()> {
    let chunked = head.contains("\r\ntransfer-encoding: chunked");
    let length = head.split("\r\ncontent-length: ").nth(1);
    let length = length.and_then(|rest| rest.split("\r\n").next()?.parse().ok()).unwrap_or(0);
    loop {
        let end = if chunked {
            buffer.windows(5).position(|bytes| bytes == b"0\r\n\r\n").map(|at| at + 5)
        } else {
            (buffer.len() >= length).then_some(length)
        };
        if let Some(end) = end {
            buffer.drain(..end);
            return Some(());
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

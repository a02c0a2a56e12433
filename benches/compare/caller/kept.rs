//! A kept connection, plain or over TLS, and one request after the other on it.

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Order, in_time};
use crate::apps::APPS;
use crate::{Fallible, tls};

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

pub(super) struct Kept {
    stream: Box<dyn Stream>,
    request: Vec<u8>,
    received: Vec<u8>,
    size: usize,
}

impl Kept {
    /// `number`: of the connection; it chooses the app, where all are to be called.
    pub(super) async fn open(order: &Order, client: &tls::Client, number: usize) -> Fallible<Self> {
        let stream = in_time(async {
            let stream = TcpStream::connect(order.target).await?;
            stream.set_nodelay(true)?;
            Ok(if order.tls {
                Box::new(client.http1(stream).await?) as Box<dyn Stream>
            } else {
                Box::new(stream)
            })
        })
        .await?;
        let app = APPS.get(if order.every_app { number % APPS.len() } else { 0 });
        let (host, size) = (app.ok_or("no app")?.host(), order.size);
        let request = format!("GET /{size} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
        Ok(Self { stream, request, received: Vec::new(), size })
    }

    /// One request and its whole answer; returns its bytes.
    pub(super) async fn call(&mut self) -> Fallible<usize> {
        let Self { stream, request, received, size } = self;
        in_time(async {
            stream.write_all(request).await?;
            stream.flush().await?;
            received.clear();
            loop {
                if stream.read_buf(received).await? == 0 {
                    return Err("closed in the middle".into());
                }
                let head = memmem::find(received, b"\r\n\r\n");
                if head.is_some_and(|head| received.len() >= head + 4 + *size) {
                    break;
                }
            }
            if !received.starts_with(b"HTTP/1.1 200 ") {
                return Err(format!("answered {:?}", String::from_utf8_lossy(received)).into());
            }
            Ok(received.len())
        })
        .await
    }

    /// Gives back what a connection that is to be idle has no use for.
    pub(super) fn shrink(&mut self) {
        self.received = Vec::new();
        self.request.shrink_to_fit();
    }
}

//! One call on a connection of its own, in whichever protocol a scenario speaks.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::HeaderMap;
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::head::{self, Head};
use crate::{Fallible, tls};

const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    Http1,
    Http1Tls,
    Http2Tls,
    /// HTTP/2 with the fields of a gRPC call.
    GrpcTls,
}

pub(super) struct Caller<'run> {
    pub(super) address: SocketAddr,
    pub(super) speech: Speech,
    pub(super) client: &'run tls::Client,
}

pub(super) struct Request<'run> {
    host: String,
    path: String,
    pub(super) fields: Vec<(&'run str, &'run str)>,
    pub(super) body: Vec<u8>,
}

impl Request<'_> {
    pub(super) fn to(host: &str, path: &str) -> Self {
        Self { host: host.into(), path: path.into(), fields: Vec::new(), body: Vec::new() }
    }
}

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: Head,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
}

impl Reply {
    /// In gRPC a 200 says nothing: the status that counts is in the trailers, or, where there is no
    /// body, in the head.
    pub(super) fn succeeded(&self) -> bool {
        let trailer = self.trailers.as_ref().and_then(|fields| fields.get("grpc-status"));
        let failed = self.head.the_one("grpc-status").is_ok_and(|status| status != "0");
        self.status == 200 && !failed && trailer.is_none_or(|status| status == "0")
    }
}

impl Caller<'_> {
    pub(super) async fn call(&self, request: &Request<'_>) -> Fallible<Reply> {
        let exchange = async {
            let stream = TcpStream::connect(self.address).await?;
            match self.speech {
                Speech::Http1 => over_http1(stream, request).await,
                Speech::Http1Tls => over_http1(self.client.http1(stream).await?, request).await,
                Speech::Http2Tls | Speech::GrpcTls => {
                    let stream = self.client.http2(stream).await?;
                    let (sender, connection) = h2::client::handshake(stream).await?;
                    // It lives as long as the call: the other side of the race ends it.
                    tokio::select! {
                        reply = over_http2(sender, request, self.speech) => reply,
                        ended = connection => Err(format!("the connection ended: {ended:?}").into()),
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| "no answer in time")?
    }
}

async fn over_http1(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &Request<'_>,
) -> Fallible<Reply> {
    let Request { host, path, fields, body } = request;
    let method = if body.is_empty() { "GET" } else { "POST" };
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: compare\r\n");
    text += &head::lines(fields.iter().copied());
    if !body.is_empty() {
        text += &head::lines([("Content-Length", body.len().to_string())]);
    }
    stream.write_all(format!("{text}Connection: close\r\n\r\n").as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await?;

    let mut received = Vec::new();
    let (status, head) = read_head(&mut stream, &mut received).await?;
    // By `content-length` if there is one: the backend itself does not close.
    let length = head.the_one("content-length").ok().and_then(|it| it.parse().ok());
    while length.is_none_or(|length: usize| received.len() < length) {
        if stream.read_buf(&mut received).await? == 0 {
            break;
        }
    }
    Ok(Reply { status, head, body: received, trailers: None })
}

/// Reads up to the end of a response's head; what came after it stays in `received`.
pub(super) async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    received: &mut Vec<u8>,
) -> Fallible<(u16, Head)> {
    loop {
        if let Some(end) = memmem::find(received, b"\r\n\r\n") {
            let head: Vec<u8> = received.drain(..end + 4).collect();
            let head = Head::parse(&String::from_utf8_lossy(&head));
            let status = head.text.split(' ').nth(1).unwrap_or_default().parse()?;
            return Ok((status, head));
        }
        if stream.read_buf(received).await? == 0 {
            return Err("closed without an answer".into());
        }
    }
}

async fn over_http2(
    sender: SendRequest<Bytes>,
    request: &Request<'_>,
    speech: Speech,
) -> Fallible<Reply> {
    let Request { host, path, fields, body } = request;
    let grpc = speech == Speech::GrpcTls;
    let mut head = http::Request::builder()
        .method(if grpc || !body.is_empty() { "POST" } else { "GET" })
        .uri(format!("https://{host}{path}"))
        .header("user-agent", "compare");
    if grpc {
        head = head.header("content-type", "application/grpc").header("te", "trailers");
    }
    for (name, value) in fields {
        head = head.header(*name, *value);
    }
    let mut sender = sender.ready().await?;
    // A request without a body says so in its head: else it would go on as one of unknown length.
    let (response, mut sending) = sender.send_request(head.body(())?, body.is_empty())?;
    if !body.is_empty() {
        sending.send_data(Bytes::copy_from_slice(body), true)?;
    }

    let (answer, mut stream) = response.await?.into_parts();
    let mut received = Vec::new();
    while let Some(part) = stream.data().await {
        let part = part?;
        stream.flow_control().release_capacity(part.len())?;
        received.extend_from_slice(&part);
    }
    let trailers = stream.trailers().await?;
    let (status, fields) = (answer.status.as_u16(), head::of_map(&answer.headers));
    let head = Head::parse(&format!("HTTP/2 {status}\r\n{fields}"));
    Ok(Reply { status, head, body: received, trailers })
}

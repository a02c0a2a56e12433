//! An app that speaks gRPC over HTTP/2 with prior knowledge: every message comes back, then trailers.
//!
//! `/echo` answers with the request's head instead, written as HTTP/1.1 would write it, so that
//! the check reads one format only. Its message has gRPC's five bytes in front, as all have.

use std::io;

use bytes::{Bytes, BytesMut};
use h2::server::{self, SendResponse};
use h2::{Error, RecvStream};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpStream;
use tokio::task;

use crate::head;

/// More than any load here has: waiting for a stream is no part of what is measured.
const STREAMS: u32 = 8192;

pub(super) async fn converse(stream: TcpStream) -> io::Result<()> {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(STREAMS);
    let mut connection = builder.handshake::<_, Bytes>(stream).await.map_err(io::Error::other)?;
    while let Some(call) = connection.accept().await {
        let (request, reply) = call.map_err(io::Error::other)?;
        task::spawn_local(answer(request, reply));
    }
    Ok(())
}

async fn answer(request: Request<RecvStream>, mut reply: SendResponse<Bytes>) -> Result<(), Error> {
    let (head, mut body) = request.into_parts();
    let mut message = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        message.extend_from_slice(&part);
    }
    let mut response = Response::new(());
    let fields = response.headers_mut();
    fields.insert("content-type", HeaderValue::from_static("application/grpc"));
    if head.uri.path() == "/echo" {
        fields.insert("x-ignite-organization-id", HeaderValue::from_static("evil"));
        message = framed(as_text(&head).as_bytes());
    }
    let mut body = reply.send_response(response, false)?;
    body.send_data(message.freeze(), false)?;
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    body.send_trailers(trailers)
}

/// A gRPC message: not compressed, its length, its bytes.
pub(crate) fn framed(message: &[u8]) -> BytesMut {
    let mut whole = BytesMut::with_capacity(5 + message.len());
    whole.extend_from_slice(&[0]);
    whole.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    whole.extend_from_slice(message);
    whole
}

fn as_text(head: &Parts) -> String {
    let line = format!("{} {} HTTP/2\r\n", head.method, head.uri.path());
    let host = head.uri.authority().map(|authority| ("host", authority));
    line + &head::lines(host) + &head::of_map(&head.headers)
}

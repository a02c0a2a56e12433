//! A contender passes a WebSocket on: opening, header work, messages of both length formats.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::call::read_head;
use super::{FORGED, contract};
use crate::Fallible;
use crate::backend::pattern;
use crate::contender::Unsupported;
use crate::head::{self, Head};
use crate::setting::Edge;
use crate::websocket::{self, ACCEPT, HEAD_ECHO};

const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn works(address: SocketAddr, edge: Edge) -> Fallible<Vec<String>> {
    let talk = converse(address, edge);
    tokio::time::timeout(PATIENCE, talk).await.map_err(|_| "no message in time")?
}

async fn converse(address: SocketAddr, edge: Edge) -> Fallible<Vec<String>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(websocket::opening(HEAD_ECHO, &head::lines(FORGED)).as_bytes()).await?;
    let mut received = Vec::new();
    let (status, answer) = read_head(&mut stream, &mut received).await?;
    if status != 101 {
        return Err(Unsupported(format!("no WebSocket: status {status} to an opening")).into());
    }
    if answer.the_one("sec-websocket-accept")? != ACCEPT {
        return Err(format!("another sec-websocket-accept:\n{}", answer.text).into());
    }
    let seen = message(&mut stream, &mut received).await?;
    let remarks = contract(&Head::parse(&String::from_utf8_lossy(&seen)), &answer, edge)?;
    for size in [0, 32, 125, 126, 20_000] {
        stream.write_all(&websocket::masked(&pattern(size))).await?;
        if message(&mut stream, &mut received).await? != pattern(size) {
            return Err(format!("a message of {size} bytes comes back as another").into());
        }
    }
    Ok(remarks)
}

async fn message(stream: &mut TcpStream, received: &mut Vec<u8>) -> Fallible<Vec<u8>> {
    loop {
        if let Some((message, taken)) = websocket::first(received)? {
            received.drain(..taken);
            return Ok(message);
        }
        if stream.read_buf(received).await? == 0 {
            return Err("closed before a message".into());
        }
    }
}

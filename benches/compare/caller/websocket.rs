//! One message after the other on each connection, each sent when the one before it has come back.

use std::cell::RefCell;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Order, Tally, in_time};
use crate::Fallible;
use crate::backend::pattern;
use crate::websocket::{self, ECHO};

pub(super) async fn again(order: &Order, tally: &RefCell<Tally>, end: Instant) -> Fallible<()> {
    let mut stream = TcpStream::connect(order.target).await?;
    stream.set_nodelay(true)?;
    let mut received = Vec::new();
    in_time(open(&mut stream, &mut received)).await?;
    let (sent, expected) =
        (websocket::masked(&pattern(order.size)), websocket::plain(&pattern(order.size)));
    while Instant::now() < end {
        let begun = Instant::now();
        in_time(async {
            stream.write_all(&sent).await?;
            received.clear();
            while received.len() < expected.len() {
                if stream.read_buf(&mut received).await? == 0 {
                    return Err("closed in the middle".into());
                }
            }
            Ok(())
        })
        .await?;
        if received != expected {
            return Err("another message came back".into());
        }
        tally.borrow_mut().count(begun, received.len());
    }
    Ok(())
}

async fn open(stream: &mut TcpStream, received: &mut Vec<u8>) -> Fallible<()> {
    stream.write_all(websocket::opening(ECHO, "").as_bytes()).await?;
    while !received.ends_with(b"\r\n\r\n") {
        if stream.read_buf(received).await? == 0 {
            return Err("closed without an answer".into());
        }
    }
    if !received.starts_with(b"HTTP/1.1 101 ") {
        return Err(format!("answered {:?}", String::from_utf8_lossy(received)).into());
    }
    Ok(())
}

//! A new connection each time: a full TLS 1.3 handshake, one request, its whole answer, the end.

use std::cell::RefCell;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Order, Tally, in_time};
use crate::apps::CALLED;
use crate::{Fallible, tls};

pub(super) async fn again(
    order: &Order,
    client: &tls::Client,
    tally: &RefCell<Tally>,
    end: Instant,
) -> Fallible<()> {
    let host = CALLED.host();
    let request =
        format!("GET /{} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", order.size);
    let mut answer = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        answer.clear();
        in_time(once(order, client, request.as_bytes(), &mut answer)).await?;
        tally.borrow_mut().count(begun, answer.len());
    }
    Ok(())
}

async fn once(
    order: &Order,
    client: &tls::Client,
    request: &[u8],
    answer: &mut Vec<u8>,
) -> Fallible<()> {
    let stream = TcpStream::connect(order.target).await?;
    stream.set_nodelay(true)?;
    // Which refuses what is not a full handshake.
    let mut stream = client.http1(stream).await?;
    stream.write_all(request).await?;
    stream.flush().await?;
    // To the end: an answer that breaks off, even without a word (close_notify), is an error.
    stream.read_to_end(answer).await?;
    if !answer.starts_with(b"HTTP/1.1 200 ") || answer.len() < order.size {
        return Err(format!("answered {:?}", String::from_utf8_lossy(answer)).into());
    }
    Ok(())
}

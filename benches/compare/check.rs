//! Holds a contender to the work before it is measured: a fast proxy that skips it proves nothing.
//!
//! One call tries to forge every field of the platform, and the backend echoes what reached it. What
//! breaks the contract leaves the contender out; what only falls short of it is a remark.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Fallible;
use crate::apps::CALLED;

const PATIENCE: Duration = Duration::from_secs(3);

/// A call comes back with 200.
pub(crate) async fn answers(address: SocketAddr) -> Fallible<()> {
    let reply = call(address, &format!("GET / HTTP/1.1\r\nHost: {}\r\n", CALLED.host())).await?;
    if reply.status == 200 { Ok(()) } else { Err(format!("status {}", reply.status).into()) }
}

/// The number of connections that the backend has had.
pub(crate) async fn connections_accepted(backend: SocketAddr) -> Fallible<u64> {
    let reply = call(backend, "GET /accepted HTTP/1.1\r\nHost: backend\r\n").await?;
    Ok(reply.body.trim().parse()?)
}

/// The header work is done, and an unknown host goes nowhere. Returns remarks.
pub(crate) async fn works(address: SocketAddr) -> Fallible<Vec<String>> {
    let stranger = call(address, "GET / HTTP/1.1\r\nHost: nobody.invalid\r\n").await?;
    if stranger.status == 200 {
        return Err("answers for a host that it has no app for".into());
    }
    let host = CALLED.host();
    let forged = format!(
        "GET /echo HTTP/1.1\r\nHost: {host}\r\nUser-Agent: compare\r\n\
         x-ignite-organization-id: evil\r\nX-Ignite-Organization-Id: evil\r\n\
         X-Ignite-Function-Id: evil\r\nX-IGNITE-EXECUTION-ID: evil\r\n\
         X_Ignite_Organization_Id: evil\r\nX-Forwarded-For: 192.0.2.66\r\n\
         X-Ignite-Other: unknown-but-reserved\r\n"
    );
    let reply = call(address, &forged).await?;
    if reply.status != 200 {
        return Err(format!("status {} to the forged call", reply.status).into());
    }
    let seen = Head::parse(&reply.body);
    if seen.text.contains("evil") {
        return Err(format!("a forged field reaches the backend:\n{}", seen.text).into());
    }
    if reply.head.text.contains("evil") {
        return Err("a forged field of the backend reaches the caller".into());
    }

    let execution = reply.head.the_one("x-ignite-execution-id")?;
    let expected = [
        ("host", host.as_str()),
        ("x-ignite-execution-id", execution),
        ("x-ignite-function-id", &CALLED.function_id()),
        ("x-ignite-organization-id", CALLED.organization),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", &host),
    ];
    for (name, value) in expected {
        let found = seen.the_one(name)?;
        if found != value {
            return Err(format!("{name} is {found:?} at the backend, not {value:?}").into());
        }
    }
    seen.the_one("via")?;
    if seen.text.to_ascii_lowercase().contains("x-ignite-other") {
        return Ok(vec!["removes the named x-ignite-* fields only, not every such name".into()]);
    }
    Ok(Vec::new())
}

struct Reply {
    status: u16,
    head: Head,
    body: String,
}

/// One call on a connection of its own; `head` without its last line.
async fn call(address: SocketAddr, head: &str) -> Fallible<Reply> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await?;
        read_reply(&mut stream).await
    };
    tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| "no answer in time")?
}

/// Reads by `content-length`: the backend itself does not close.
async fn read_reply(stream: &mut TcpStream) -> Fallible<Reply> {
    let mut received = Vec::new();
    loop {
        let end = stream.read_buf(&mut received).await? == 0;
        let text = String::from_utf8_lossy(&received);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if end {
                return Err("closed without an answer".into());
            }
            continue;
        };
        let status = head.split(' ').nth(1).unwrap_or_default().parse()?;
        let head = Head::parse(head);
        let length = head.the_one("content-length").ok().and_then(|n| n.parse::<usize>().ok());
        if end || length.is_some_and(|length| body.len() >= length) {
            return Ok(Reply { status, body: body.to_owned(), head });
        }
    }
}

/// A message's head, its first line left out of the fields.
struct Head {
    text: String,
    fields: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Self {
        let lines = text.lines().skip(1).filter_map(|line| line.split_once(':'));
        let fields = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().into()));
        Self { text: text.to_owned(), fields: fields.collect() }
    }

    /// The field's value; an error if it is missing or there is more than one.
    fn the_one(&self, name: &str) -> Fallible<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Ok(value),
            (None, _) => Err(format!("{name} is missing:\n{}", self.text).into()),
            _ => Err(format!("{name} is there more than once:\n{}", self.text).into()),
        }
    }
}

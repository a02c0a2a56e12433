//! Both halves of one exchange, as a caller or an app has them, in either
//! version of HTTP: what a test says of streaming holds for every pair.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, Response};
use ignite_gateway::config::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Gateway, HOST, LIMIT};

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

/// Every pair of a caller's version and an app's that has HTTP/2 in it.
pub const PAIRS: [(Version, Version); 3] = [
    (Version::Http2, Version::Http1),
    (Version::Http1, Version::Http2),
    (Version::Http2, Version::Http2),
];

/// One exchange from one of its ends.
pub struct Talk {
    pub say: Say,
    pub hear: Hear,
}

/// What this end sends.
pub enum Say {
    Http1(OwnedWriteHalf),
    Http2(h2::SendStream<Bytes>),
}

impl Say {
    /// Sends content, as soon as it may.
    pub async fn send(&mut self, content: &[u8]) {
        self.try_send(content).await.expect("the other side takes it");
    }

    /// The same; an error if nobody wants it any more.
    pub async fn try_send(&mut self, content: &[u8]) -> Result<(), String> {
        match self {
            Self::Http1(stream) => {
                let size = format!("{:x}\r\n", content.len());
                let chunk = [size.as_bytes(), content, b"\r\n"].concat();
                stream.write_all(&chunk).await.map_err(|error| error.to_string())
            }
            Self::Http2(stream) => {
                let mut rest = Bytes::copy_from_slice(content);
                while !rest.is_empty() {
                    stream.reserve_capacity(rest.len());
                    let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                    let room = room.ok_or("reset")?.map_err(|error| error.to_string())?;
                    let part = rest.split_to(room.min(rest.len()));
                    stream.send_data(part, false).map_err(|error| error.to_string())?;
                }
                Ok(())
            }
        }
    }

    /// Ends the message.
    pub async fn end(&mut self) {
        match self {
            Self::Http1(stream) => stream.write_all(b"0\r\n\r\n").await.unwrap(),
            Self::Http2(stream) => stream.send_data(Bytes::new(), true).unwrap(),
        }
    }
}

/// What this end receives.
pub struct Hear {
    from: From,
    come: Vec<u8>,
    ended: bool,
}

enum From {
    Http1 { stream: OwnedReadHalf, raw: Vec<u8>, head: bool },
    Http2(h2::RecvStream),
    Answer(ResponseFuture),
}

impl Hear {
    fn of(from: From) -> Self {
        Self { from, come: Vec::new(), ended: false }
    }

    /// As many bytes of content.
    pub async fn read(&mut self, length: usize) -> Vec<u8> {
        while self.come.len() < length {
            assert!(self.more().await, "the message ended after {} bytes", self.come.len());
        }
        self.come.drain(..length).collect()
    }

    /// The rest of the message, which must be whole.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.come)
    }

    /// Lets the rest of the message pass, which must be whole; how much it was.
    pub async fn skip(&mut self) -> usize {
        let mut length = self.come.len();
        self.come.clear();
        while self.more().await {
            length += self.come.len();
            self.come.clear();
        }
        length
    }

    /// Takes in what comes next; false at the end.
    async fn more(&mut self) -> bool {
        timeout(LIMIT, self.take()).await.expect("something comes")
    }

    async fn take(&mut self) -> bool {
        if self.ended {
            return false;
        }
        match &mut self.from {
            From::Answer(response) => {
                let response = response.await.expect("an answer");
                assert_eq!(response.status(), 200);
                self.from = From::Http2(response.into_body());
            }
            From::Http2(body) => match body.data().await {
                Some(data) => {
                    let data = data.expect("whole content");
                    let _ = body.flow_control().release_capacity(data.len());
                    self.come.extend(data);
                }
                None => self.ended = true,
            },
            From::Http1 { stream, raw, head } => {
                let taken = if *head { skip_head(raw) } else { take_chunk(raw, &mut self.come) };
                match taken {
                    Some(Taken::Head) => *head = false,
                    Some(Taken::Chunk) => {}
                    Some(Taken::End) => self.ended = true,
                    None => {
                        let count = stream.read_buf(raw).await.expect("the connection lives");
                        assert!(count > 0, "the connection was closed");
                    }
                }
            }
        }
        !self.ended
    }
}

enum Taken {
    Head,
    Chunk,
    End,
}

fn skip_head(raw: &mut Vec<u8>) -> Option<Taken> {
    let end = raw.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    assert!(raw.starts_with(b"HTTP/1.1 200 "), "{}", super::show(&raw[..end]));
    raw.drain(..end + 4);
    Some(Taken::Head)
}

fn take_chunk(raw: &mut Vec<u8>, content: &mut Vec<u8>) -> Option<Taken> {
    let line = raw.windows(2).position(|bytes| bytes == b"\r\n")?;
    let size = usize::from_str_radix(std::str::from_utf8(&raw[..line]).unwrap(), 16).unwrap();
    let whole = line + 2 + size + 2;
    if raw.len() < whole {
        return None;
    }
    content.extend(&raw[line + 2..line + 2 + size]);
    raw.drain(..whole);
    Some(if size == 0 { Taken::End } else { Taken::Chunk })
}

/// A caller of the default app: of HTTP/1.1 with a connection for each call, of HTTP/2 with one.
pub enum Caller {
    Http1(SocketAddr),
    Http2(SendRequest<Bytes>),
}

impl Caller {
    pub async fn new(gateway: SocketAddr, version: Version) -> Self {
        Self::with(gateway, version, &mut h2::client::Builder::new()).await
    }

    /// The same with settings of its own, if it speaks HTTP/2.
    pub async fn with(
        gateway: SocketAddr,
        version: Version,
        settings: &mut h2::client::Builder,
    ) -> Self {
        if version == Version::Http1 {
            return Self::Http1(gateway);
        }
        let stream = TcpStream::connect(gateway).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (requests, connection) = settings.handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self::Http2(requests)
    }

    /// Begins a POST of unknown length.
    pub async fn call(&mut self, path: &str) -> Talk {
        match self {
            Self::Http1(gateway) => {
                let (read, mut write) = TcpStream::connect(*gateway).await.unwrap().into_split();
                let fields = format!("Host: {HOST}\r\nTransfer-Encoding: chunked\r\n");
                let request = format!("POST {path} HTTP/1.1\r\n{fields}\r\n");
                write.write_all(request.as_bytes()).await.unwrap();
                let hear = Hear::of(From::Http1 { stream: read, raw: Vec::new(), head: true });
                Talk { say: Say::Http1(write), hear }
            }
            Self::Http2(requests) => {
                *requests = requests.clone().ready().await.unwrap();
                let request = Request::post(format!("http://{HOST}{path}")).body(()).unwrap();
                let (response, body) = requests.send_request(request, false).unwrap();
                Talk { say: Say::Http2(body), hear: Hear::of(From::Answer(response)) }
            }
        }
    }
}

/// An app that has said 200 to each request and goes on with it as `script` says.
pub struct App {
    pub address: SocketAddr,
    version: Version,
    task: JoinHandle<()>,
}

impl App {
    /// `script` gets the request's path.
    pub async fn start<F>(
        version: Version,
        script: impl Fn(String, Talk) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, script) = (listener.local_addr().unwrap(), Arc::new(script));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let script = script.clone();
                match version {
                    Version::Http1 => tokio::spawn(serve_http1(stream, script)),
                    Version::Http2 => tokio::spawn(serve_http2(stream, script)),
                };
            }
        });
        Self { address, version, task }
    }

    /// A gateway of this app.
    pub fn gateway(&self) -> Gateway {
        Gateway::of_with(self.address, |config| {
            if self.version == Version::Http2 {
                config.apps[0].ports[0].protocol = Protocol::H2c;
            }
        })
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve_http1<F>(stream: TcpStream, script: Arc<impl Fn(String, Talk) -> F>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (mut read, mut write) = stream.into_split();
    let mut raw = Vec::new();
    let end = loop {
        if read.read_buf(&mut raw).await.unwrap() == 0 {
            return;
        }
        if let Some(end) = raw.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
    };
    let path = raw.split(|byte| *byte == b' ').nth(1).unwrap();
    let path = String::from_utf8(path.to_vec()).unwrap();
    raw.drain(..end + 4);
    write.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    let hear = Hear::of(From::Http1 { stream: read, raw, head: false });
    script(path, Talk { say: Say::Http1(write), hear }).await;
}

async fn serve_http2<F>(
    stream: TcpStream,
    script: Arc<impl Fn(String, Talk) -> F + Send + Sync + 'static>,
) where
    F: Future<Output = ()> + Send + 'static,
{
    // Of one stream that is not read the others do not notice.
    let mut settings = h2::server::Builder::new();
    settings.initial_connection_window_size(16 << 20);
    let mut connection = settings.handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let path = request.uri().path().to_owned();
        let body = respond.send_response(Response::new(()), false).unwrap();
        let hear = Hear::of(From::Http2(request.into_body()));
        tokio::spawn(script(path, Talk { say: Say::Http2(body), hear }));
    }
}

/// Runs a test that talks, and its apps.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

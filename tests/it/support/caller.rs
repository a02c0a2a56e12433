//! A caller that says exactly the bytes it is told to, and keeps what it hears.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

use rustls::ClientConfig;

use super::tls::Session;
use super::wire::{Chunked, Ended, Head, Wire, fields_of, send_until_blocked};
use super::{Gateway, HOST, LIMIT, QUIET, show};

/// One connection to a gateway.
pub struct Caller {
    stream: Arc<TcpStream>,
    wire: Wire,
    tls: Option<Session>,
}

/// A response as it came.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub head: Head,
    pub body: Vec<u8>,
    /// Trailers, their names in lower case.
    pub trailers: Vec<(String, String)>,
    /// Whether the body ended as its framing says. A body that the connection
    /// ends is complete unless the end was a reset.
    pub complete: bool,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of the only field with this name, which is in lower case.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<String> {
        self.head.get(name)
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Asserts the status; returns itself, to go on with.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.head, self.text());
        self
    }

    /// Asserts that the gateway itself answered with this status and `Proxy-Status` error.
    #[track_caller]
    pub fn expect_problem(self, status: u16, error: &str) -> Self {
        let response = self.expect(status);
        assert!(response.complete, "{response:?}");
        assert_eq!(response.field("content-type").as_deref(), Some("application/problem+json"));
        let proxy_status = response.field("proxy-status").unwrap_or_default();
        assert_eq!(proxy_status, format!("ignite-gateway; error={error}"), "{:?}", response.head);
        response
    }
}

impl Caller {
    /// Connects to the gateway's first listener.
    #[track_caller]
    pub fn new(gateway: &Gateway) -> Self {
        Self::to(gateway.address())
    }

    /// Connects to an address.
    #[track_caller]
    pub fn to(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect_timeout(&address, LIMIT).expect("the gateway accepts"))
    }

    /// Connects with a receive buffer as small as the system allows, so that a
    /// caller that does not read is felt soon.
    #[track_caller]
    pub fn with_small_buffers(gateway: &Gateway) -> Self {
        let kind = socket2::Type::STREAM;
        let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        socket.set_send_buffer_size(4 << 10).unwrap();
        socket.connect(&gateway.address().into()).expect("the gateway accepts");
        Self::of(socket.into())
    }

    /// Connects from one of this machine's addresses.
    #[track_caller]
    pub fn from(own: IpAddr, address: SocketAddr) -> Self {
        let (domain, kind) = (socket2::Domain::for_address(address), socket2::Type::STREAM);
        let socket = socket2::Socket::new(domain, kind, None).unwrap();
        socket.bind(&SocketAddr::new(own, 0).into()).unwrap();
        socket.connect(&address.into()).expect("the gateway accepts");
        Self::of(socket.into())
    }

    fn of(stream: TcpStream) -> Self {
        let stream = Arc::new(stream);
        Self { wire: Wire::new(stream.clone(), None), stream, tls: None }
    }

    /// Connects over TLS and asks for `name`.
    #[track_caller]
    pub fn over_tls(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Self {
        Self::try_over_tls(address, config, name).expect("the handshake succeeds")
    }

    /// The same where the handshake may fail.
    pub fn try_over_tls(
        address: SocketAddr,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> io::Result<Self> {
        let stream = Arc::new(TcpStream::connect_timeout(&address, LIMIT)?);
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        let tls = Session::begin(stream.clone(), config, name)?;
        Ok(Self { wire: Wire::over(tls.clone()), stream, tls: Some(tls) })
    }

    /// The session of a connection over TLS.
    #[track_caller]
    pub fn session(&self) -> &Session {
        self.tls.as_ref().expect("a connection over TLS")
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn ask(gateway: &Gateway, request: impl AsRef<[u8]>) -> Response {
        let mut caller = Self::new(gateway);
        caller.send(request);
        caller.read_response()
    }

    /// The connection's own address.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Says that no more will be sent; responses still come.
    pub fn finish_sending(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the gateway takes the bytes");
    }

    /// Sends bytes to a gateway that may not want them any more.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match &self.tls {
            Some(tls) => tls.send(bytes.as_ref()),
            None => (&*self.stream).write_all(bytes.as_ref()),
        }
    }

    /// Sends `piece` again and again until no more is taken for `patience`, or `limit`
    /// bytes are gone; returns how many went.
    pub fn send_until_blocked(&mut self, piece: &[u8], limit: usize, patience: Duration) -> usize {
        send_until_blocked(&self.stream, piece, limit, patience)
    }

    /// A request without a body to the default app.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.send(get(target));
        self.read_response()
    }

    /// Reads one response, interim ones too.
    #[track_caller]
    pub fn read_response(&mut self) -> Response {
        self.try_read_response(false).expect("a response head")
    }

    /// Reads the response to a HEAD request.
    #[track_caller]
    pub fn read_response_to_head(&mut self) -> Response {
        self.try_read_response(true).expect("a response head")
    }

    /// Reads a response, or learns that the connection ended before a whole head.
    #[track_caller]
    pub fn try_read_response(&mut self, to_head: bool) -> Result<Response, Ended> {
        let head = self.wire.head()?;
        let status = String::from_utf8_lossy(head.word(1)).parse();
        let status: u16 = status.unwrap_or_else(|_| panic!("no status: {head:?}"));
        let mut body = Chunked::default();
        let bodiless = to_head || status < 200 || status == 204 || status == 304;
        let result = if bodiless {
            Ok(())
        } else if head.is_chunked() {
            self.wire.chunked(&mut body)
        } else if let Some(length) = head.content_length() {
            self.wire.exactly(length, &mut body.content)
        } else {
            match self.wire.rest(&mut body.content) {
                Ended::Eof => Ok(()),
                ended => Err(ended),
            }
        };
        Ok(Response {
            status,
            head,
            body: body.content,
            trailers: fields_of(&body.trailers),
            complete: result.is_ok(),
        })
    }

    /// Reads a response head alone; its body is read with the methods below.
    #[track_caller]
    pub fn read_head(&mut self) -> Head {
        self.wire.head().expect("a response head")
    }

    /// Reads the content of one chunk; `None` for the last, whose trailers stay unread.
    #[track_caller]
    pub fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let mut body = Chunked::default();
        self.wire.chunk(&mut body).expect("a chunk").map(|_| body.content)
    }

    /// Reads this many bytes as they are.
    #[track_caller]
    pub fn read_exactly(&mut self, length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        self.wire.exactly(length, &mut out).expect("more bytes");
        out
    }

    /// Reads all that comes until the connection ends.
    #[track_caller]
    pub fn read_to_close(&mut self) -> (Vec<u8>, Ended) {
        let mut out = Vec::new();
        let ended = self.wire.rest(&mut out);
        (out, ended)
    }

    /// Asserts that the connection ends without another byte.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let (rest, _) = self.read_to_close();
        assert!(rest.is_empty(), "bytes before the close: {}", show(&rest));
    }

    /// Asserts that for a moment nothing comes.
    #[track_caller]
    pub fn expect_silence(&mut self) {
        assert!(self.wire.buffered().is_empty(), "came: {}", show(self.wire.buffered()));
        self.stream.set_read_timeout(Some(QUIET)).unwrap();
        let mut piece = [0; 1024];
        let result = (&*self.stream).read(&mut piece);
        self.stream.set_read_timeout(Some(LIMIT)).unwrap();
        match result {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(length) => panic!("not silent: {}", show(&piece[..length])),
            Err(error) => panic!("not silent: {error}"),
        }
    }

    /// Leaves in order.
    pub fn leave(self) {
        drop(self);
    }

    /// Leaves by a reset.
    pub fn reset(self) {
        SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(self);
    }
}

/// A request without a body to the default app.
pub fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
}

/// A request to the default app with these field lines, each ended by CRLF.
pub fn request(line: &str, fields: &str, body: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n{body}")
}

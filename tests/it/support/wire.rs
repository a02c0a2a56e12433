//! HTTP/1.1 off a socket, by the letter and nothing more: what a message was is
//! for the test to judge, so the bytes are kept as they came.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{LIMIT, show};

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// In order.
    Eof,
    /// By a reset.
    Reset,
    /// Over TLS: without the `close_notify` that makes it an end.
    Cut,
}

/// A message head as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    pub raw: Vec<u8>,
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&show(&self.raw))
    }
}

impl Head {
    /// The first line without its end.
    pub fn line(&self) -> &[u8] {
        self.lines().next().unwrap_or_default()
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let text = self.raw.strip_suffix(b"\r\n\r\n").unwrap_or(&self.raw);
        text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The first line's word at `index`; the method is 0, the target 1.
    pub fn word(&self, index: usize) -> &[u8] {
        self.line().split(|byte| *byte == b' ').nth(index).unwrap_or_default()
    }

    /// A request's target.
    pub fn target(&self) -> &[u8] {
        self.word(1)
    }

    /// Every field line as it came, in order.
    pub fn field_lines(&self) -> Vec<String> {
        self.lines().skip(1).map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    /// Every field, its name in lower case.
    pub fn fields(&self) -> Vec<(String, String)> {
        fields_of(&self.field_lines())
    }

    /// The values of every line with this name.
    pub fn all(&self, name: &str) -> Vec<String> {
        let named = |(field, value): (String, String)| (field == name).then_some(value);
        self.fields().into_iter().filter_map(named).collect()
    }

    /// The value of the only line with this name.
    #[track_caller]
    pub fn get(&self, name: &str) -> Option<String> {
        let mut all = self.all(name);
        assert!(all.len() < 2, "several lines of {name}: {all:?}");
        all.pop()
    }

    /// Whether there is such a field.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The last member of `Transfer-Encoding` is `chunked`.
    pub fn is_chunked(&self) -> bool {
        let last = self.all("transfer-encoding").pop();
        last.is_some_and(|value| value.to_ascii_lowercase().ends_with("chunked"))
    }

    /// The first `Content-Length`.
    pub fn content_length(&self) -> Option<usize> {
        self.all("content-length").first()?.parse().ok()
    }
}

/// Splits field lines, names in lower case.
pub fn fields_of(lines: &[String]) -> Vec<(String, String)> {
    lines
        .iter()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect()
}

/// A chunked body as it came.
#[derive(Debug, Clone, Default)]
pub struct Chunked {
    /// Every byte of it, sizes and trailers too.
    pub raw: Vec<u8>,
    /// The content.
    pub content: Vec<u8>,
    /// The trailer lines.
    pub trailers: Vec<String>,
}

/// A socket that somebody else writes to.
struct Shared(Arc<TcpStream>);

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

/// The reading side of a connection.
pub struct Wire {
    stream: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    record: Option<Arc<Mutex<Vec<u8>>>>,
}

impl Wire {
    pub fn new(stream: Arc<TcpStream>, record: Option<Arc<Mutex<Vec<u8>>>>) -> Self {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: Box::new(Shared(stream)), buffer: Vec::new(), record }
    }

    /// Off something that is read in another way.
    pub fn over(stream: impl Read + Send + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new(), record: None }
    }

    /// What came and was not used yet.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// Reads once.
    #[track_caller]
    pub fn fill(&mut self) -> Result<(), Ended> {
        let mut piece = vec![0; 64 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(Ended::Eof),
            Ok(length) => {
                if let Some(record) = &self.record {
                    record.lock().unwrap().extend_from_slice(&piece[..length]);
                }
                self.buffer.extend_from_slice(&piece[..length]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came for {LIMIT:?}; unused so far: {}", show(&self.buffer))
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(Ended::Cut),
            Err(_) => Err(Ended::Reset),
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(length);
        std::mem::replace(&mut self.buffer, rest)
    }

    #[track_caller]
    fn take_until(&mut self, end: &[u8]) -> Result<Vec<u8>, Ended> {
        let mut from = 0;
        loop {
            let found = self.buffer[from..].windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                return Ok(self.take(from + at + end.len()));
            }
            from = self.buffer.len().saturating_sub(end.len() - 1);
            self.fill()?;
        }
    }

    /// Reads a head.
    #[track_caller]
    pub fn head(&mut self) -> Result<Head, Ended> {
        self.take_until(b"\r\n\r\n").map(|raw| Head { raw })
    }

    /// Reads `length` bytes onto `out`; those that came before an end stay there.
    #[track_caller]
    pub fn exactly(&mut self, length: usize, out: &mut Vec<u8>) -> Result<(), Ended> {
        let wanted = out.len() + length;
        loop {
            let taken = self.buffer.len().min(wanted - out.len());
            out.append(&mut self.take(taken));
            if out.len() == wanted {
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// Reads one chunk; `None` at the last, whose trailers stay unread.
    #[track_caller]
    pub fn chunk(&mut self, body: &mut Chunked) -> Result<Option<usize>, Ended> {
        let line = self.take_until(b"\r\n")?;
        let digits = line.split(|byte| matches!(byte, b';' | b'\r')).next().unwrap_or_default();
        let size = usize::from_str_radix(&String::from_utf8_lossy(digits), 16)
            .unwrap_or_else(|_| panic!("no chunk size: {}", show(&line)));
        body.raw.extend_from_slice(&line);
        if size == 0 {
            return Ok(None);
        }
        let start = body.content.len();
        let result = self.exactly(size, &mut body.content);
        body.raw.extend_from_slice(&body.content[start..]);
        result?;
        let mut end = Vec::new();
        self.exactly(2, &mut end)?;
        assert_eq!(end, b"\r\n", "a chunk's end");
        body.raw.extend_from_slice(&end);
        Ok(Some(size))
    }

    /// Reads a chunked body with its trailers; what came before an end stays in `body`.
    #[track_caller]
    pub fn chunked(&mut self, body: &mut Chunked) -> Result<(), Ended> {
        while self.chunk(body)?.is_some() {}
        loop {
            let line = self.take_until(b"\r\n")?;
            body.raw.extend_from_slice(&line);
            if line == b"\r\n" {
                return Ok(());
            }
            body.trailers.push(String::from_utf8_lossy(&line[..line.len() - 2]).into_owned());
        }
    }

    /// Reads whatever comes until the connection ends.
    #[track_caller]
    pub fn rest(&mut self, out: &mut Vec<u8>) -> Ended {
        loop {
            out.append(&mut self.buffer);
            if let Err(ended) = self.fill() {
                return ended;
            }
        }
    }
}

/// Writes `piece` again and again until no more is taken for `patience`, or
/// `limit` bytes are gone; returns how many went.
pub fn send_until_blocked(
    mut stream: &TcpStream,
    piece: &[u8],
    limit: usize,
    patience: Duration,
) -> usize {
    stream.set_write_timeout(Some(patience)).unwrap();
    let mut sent = 0;
    while sent < limit {
        match stream.write(piece) {
            Ok(length) => sent += length,
            Err(_) => break,
        }
    }
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    sent
}

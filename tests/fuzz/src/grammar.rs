//! Messages that are almost right: every rule of HTTP/1.1 followed often enough
//! to get behind it, and broken often enough to see what happens.

use super::engine::Random;

/// What parsers have disagreed about.
pub const TOKENS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\n\n",
    " ",
    "\t",
    ":",
    "0\r\n\r\n",
    "1\r\nx\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: +1\r\n",
    "Content-Length: 1, 1\r\n",
    "Content-Length: 01\r\n",
    "Content-Length:\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding:\tchunked\r\n",
    "transfer-encoding: Chunked\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Connection: upgrade\r\n",
    "Connection: x-ignite-function-id\r\n",
    "Connection: host\r\n",
    "Connection: x-a, x-b\r\n",
    "Upgrade: websocket\r\n",
    "Upgrade: h2c\r\n",
    "HTTP2-Settings: AAMAAABkAAQAoAAA\r\n",
    "TE: trailers\r\n",
    "TE: gzip\r\n",
    "Trailer: x-t, x-ignite-function-id\r\n",
    "Expect: 100-continue\r\n",
    "X-Ignite-Function-Id: evil/evil\r\n",
    "x_ignite_organization_id: evil\r\n",
    "X.Ignite.Execution.Id: 1\r\n",
    "X-Forwarded-For: 1.2.3.4\r\n",
    "Forwarded: for=1.2.3.4\r\n",
    "Proxy-Connection: keep-alive\r\n",
    "Keep-Alive: timeout=0\r\n",
    "Via: 1.0 x\r\n",
    "Host: hello-acme.ignite.test\r\n",
    "Host: other.ignite.test\r\n",
    "Host:\r\n",
    " folded: 1\r\n",
    "X-A: 1\r\n",
    "X-A:\r\n",
    ": no name\r\n",
    "X-\u{e4}: 1\r\n",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/2.0",
    "GET ",
    "POST ",
    "HEAD ",
    "CONNECT ",
    "TRACE ",
    "OPTIONS *",
    "http://hello-acme.ignite.test",
    "https://evil.test/",
    "#",
    "?",
    "/../",
    "%2e%2e",
    "\0",
    "\x7f",
    ";ext=1",
    ";\n",
    "ffffffffffffffff",
    "10000000000000000",
    "0x1",
    "-1",
    "+1",
    "100 Continue",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "204",
    "304",
    "999",
];

const METHODS: &[&str] = &[
    "GET", "GET", "POST", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "TRACE", "CONNECT",
    "M-SEARCH",
];
const TARGETS: &[&str] = &[
    "/",
    "/a",
    "/a/../b?c=d&e",
    "/%2e%2e/%00",
    "//evil.test/x",
    "*",
    "/\u{e9}",
    "/a{}\"|^`",
    "http://hello-acme.ignite.test/abs?x",
    "HTTP://Hello-Acme.ignite.test:80",
    "/x#frag",
    "x",
    "http://evil.test/",
    "http://hello-acme.ignite.test?q",
    "/smuggled",
    "https://u@h/",
];
const HOSTS: &[&str] = &[
    "hello-acme.ignite.test",
    "hello-acme.ignite.test",
    "hello-acme.ignite.test",
    "Hello-ACME.ignite.test:8080",
    "hello-acme.ignite.test.",
    "unknown.ignite.test",
    "",
    "a@b",
    "hello-acme.ignite.test:",
    "hello-acme.ignite.test:123456",
    "[::1]:80",
    "a b",
];
const FIELDS: &[&str] = &[
    "X-A: 1",
    "x-a: 2",
    "X-B:",
    "X-C: \t spaced \t",
    "Accept: */*",
    "Cookie: a=b",
    "X-D: \u{e4}\u{f6}",
    "Connection: keep-alive",
    "Connection: x-a, X-B",
    "Connection: close",
    "Connection: Upgrade",
    "Connection: host",
    "Connection: content-length",
    "Connection: x-ignite-organization-id, te",
    "Upgrade: websocket",
    "Upgrade: h2c",
    "Upgrade: a/1, b",
    "HTTP2-Settings: websocket",
    "TE: trailers",
    "te: deflate, Trailers",
    "Trailer: x-t",
    "Trailer: X_Ignite_A, x-t",
    "Expect: 100-continue",
    "Expect: something",
    "Via: 1.1 other",
    "Date: now",
    "X-Ignite-Function-Id: evil/evil",
    "x_IGNITE.function-id: evil",
    "X-Ignite-New: 1",
    "X-Forwarded-For: 10.0.0.1",
    "X_Forwarded_Host: evil",
    "Content_Length: 9",
    "Proxy: evil",
    "X-Real-IP: 10.0.0.1",
    "Forwarded: for=10.0.0.1",
    "Client-Cert: :AA==:",
    "True-Client-IP: 1",
    "Keep-Alive: timeout=5",
    "Proxy-Authorization: Basic x",
    "Proxy-Connection: close",
    "Authorization: Bearer x",
];
const BROKEN_FIELDS: &[&str] = &[
    " X-Fold: 1",
    "X-Space : 1",
    "No-Colon",
    ": empty",
    "X-Nul: \0",
    "X-Cr: a\rb",
    "X-Lf: a\nb",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: xchunked",
    "Content-Length: 3, 3",
    "Content-Length: 0x3",
    "Host: other.test",
    "X(Y): 1",
    "Transfer-Encoding: chunked\x0b",
];
const SIZES: &[&str] =
    &["0", "00", "1", "3", "03", "a", "F", "0000000000000000", "00000000000000000"];
const EXTENSIONS: &[&str] =
    &["", "", "", "", ";a", ";a=b", " ;a=\"b\"", "\t;x", " ", ";\x07", ";a\r"];

/// One to four requests on one connection.
pub fn requests(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..=random.below(4) {
        if random.once_in(12) {
            put(&mut out, "\r\n");
        }
        request(&mut out, random);
    }
    out
}

/// How an answer is played, and what the app writes: one to three responses.
pub fn responses(random: &mut Random) -> Vec<u8> {
    let mut out = vec![random.next() as u8 & 7];
    for _ in 0..=random.below(3) {
        response(&mut out, random);
    }
    out
}

fn request(out: &mut Vec<u8>, random: &mut Random) {
    let target = if random.once_in(2) { "/a" } else { random.pick(TARGETS) };
    let version = match random.below(16) {
        0 => "HTTP/1.0",
        1 => random.pick(&["HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", ""]),
        _ => "HTTP/1.1",
    };
    put(out, &format!("{} {target} {version}", random.pick(METHODS)));
    end_line(out, random);
    if !random.once_in(24) {
        let host = if random.once_in(3) { random.pick(HOSTS) } else { HOSTS[0] };
        put(out, &format!("Host: {host}"));
        end_line(out, random);
    }
    message(out, random);
}

fn response(out: &mut Vec<u8>, random: &mut Random) {
    let status = match random.below(10) {
        0 => random.pick(&["100 Continue", "103 Early Hints", "101 Switching Protocols", "199"]),
        1 => random.pick(&["204 No Content", "304 Not Modified", "205 Reset", "404", "500 x"]),
        2 => random.pick(&["20 OK", "099", "600", "2000", "2OO OK", "", "200 \u{e4}", "200\tOK"]),
        _ => "200 OK",
    };
    let version =
        if random.once_in(10) { random.pick(&["HTTP/1.0", "HTTP/2", "ICY"]) } else { "HTTP/1.1" };
    put(out, &format!("{version} {status}"));
    end_line(out, random);
    message(out, random);
}

/// Fields, framing and content.
fn message(out: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.below(5) {
        put(out, if random.once_in(24) { random.pick(BROKEN_FIELDS) } else { random.pick(FIELDS) });
        end_line(out, random);
    }
    let content: &str =
        random.pick(&["", "abc", "GET /inner HTTP/1.1\r\nHost: hello-acme.ignite.test\r\n\r\n"]);
    match random.below(10) {
        0..=3 => end_line(out, random),
        4..=6 => {
            let off = if random.once_in(10) { random.below(5) } else { 0 };
            put(out, &format!("Content-Length: {}", content.len() + off));
            end_line(out, random);
            if random.once_in(20) {
                put(out, "Transfer-Encoding: chunked\r\n");
            }
            end_line(out, random);
            put(out, content);
        }
        _ => {
            put(out, "Transfer-Encoding: chunked");
            end_line(out, random);
            end_line(out, random);
            chunked(out, content, random);
        }
    }
}

fn chunked(out: &mut Vec<u8>, content: &str, random: &mut Random) {
    let mut rest = content;
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(1 + random.below(rest.len()));
        rest = tail;
        let size = if random.once_in(20) {
            random.pick(SIZES).to_owned()
        } else {
            format!("{:x}", piece.len())
        };
        put(out, &format!("{size}{}", random.pick(EXTENSIONS)));
        end_line(out, random);
        put(out, piece);
        end_line(out, random);
    }
    put(out, "0");
    end_line(out, random);
    for _ in 0..random.below(4) / 2 {
        put(out, if random.once_in(8) { random.pick(BROKEN_FIELDS) } else { random.pick(FIELDS) });
        end_line(out, random);
    }
    end_line(out, random);
}

fn end_line(out: &mut Vec<u8>, random: &mut Random) {
    put(
        out,
        if random.once_in(150) {
            random.pick(&["\n", "\r", "", "\r\r\n", " \r\n"])
        } else {
            "\r\n"
        },
    );
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

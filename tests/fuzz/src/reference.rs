//! A second reading of HTTP/1.1, written from RFC 9112 and the README alone: it shares no line
//! with `src/`, keeps the whole input in view, and knows one answer to every question.
//!
//! It is the judge of the differential targets. Where the RFC leaves a choice, it takes the one
//! that the gateway documents: CRLF alone ends a line, one framing field of one plain value, no
//! transfer coding but `chunked`.

/// A field line: the name as it came, the value without the white space around it.
pub type Field = (Vec<u8>, Vec<u8>);

/// What a head may measure; `usize::MAX` where a reader has no limit.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub bytes: usize,
    pub fields: usize,
    pub target: usize,
}

/// The longest chunk-size line, and the largest trailer section: bounds of the gateway's own.
const CHUNK_LINE: usize = 1024;
const TRAILER_BYTES: usize = 16 << 10;
const TRAILER_FIELDS: usize = 100;

/// How a message's content ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// As its framing says.
    Whole,
    /// The bytes ended first; these would complete it.
    Cut { missing: Vec<u8> },
    /// A chunk or a trailer is not as RFC 9112 section 7.1 asks.
    Broken,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: Vec<u8>,
    /// As it is sent on: the origin form.
    pub target: Vec<u8>,
    pub authority: Option<Vec<u8>>,
    pub minor: u8,
    pub fields: Vec<Field>,
    pub upgrade: Option<Vec<u8>>,
    pub keep_alive: bool,
    pub content: Vec<u8>,
    pub trailers: Vec<Field>,
    pub end: Content,
}

/// A final response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub fields: Vec<Field>,
    pub content: Vec<u8>,
    pub trailers: Vec<Field>,
    pub end: Content,
    /// Only the end of the connection ends it.
    pub until_close: bool,
}

/// Why there is no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// These bytes would end the head, whatever it then is.
    Cut { missing: Vec<u8> },
    /// It is not HTTP/1.1 as a gateway may take it.
    Refused(&'static str),
}

use Fault::Refused;

/// Takes a request off the bytes.
pub fn request(bytes: &mut &[u8], limits: &Limits) -> Result<Request, Fault> {
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        *bytes = rest;
    }
    let head = head(bytes, limits)?;
    let mut words = head.line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refused("the request line has not three words"));
    };
    let minor = minor(version)?;
    if method.is_empty() || !method.iter().all(is_token) {
        return Err(Refused("the method is no token"));
    }
    if target.len() > limits.target {
        return Err(Refused("the target is too long"));
    }
    let (authority, target) = origin_form(method, target)?;
    let framing = request_framing(&head.fields, minor)?;
    let upgrade = asked_upgrade(&head.fields, minor);
    if upgrade.is_some() && framing != Framing::Length(0) {
        return Err(Refused("content on a request for another protocol"));
    }
    let (content, trailers, end) = content(bytes, framing);
    Ok(Request {
        method: method.to_vec(),
        target,
        authority,
        minor,
        upgrade,
        keep_alive: keep_alive(&head.fields, minor),
        fields: head.fields,
        content,
        trailers,
        end,
    })
}

/// Takes a response, final or not, off the bytes.
pub fn response(bytes: &mut &[u8], method: &[u8], limits: &Limits) -> Result<Response, Fault> {
    let head = head(bytes, limits)?;
    let (version, rest) = head.line.split_at_checked(8).ok_or(Refused("a short status line"))?;
    let minor = minor(version)?;
    let [b' ', code @ ..] = rest else { return Err(Refused("no space before the status")) };
    let (code, reason) = code.split_at_checked(3).ok_or(Refused("a short status"))?;
    if !code.iter().all(u8::is_ascii_digit) || !matches!(reason, [] | [b' ', ..]) {
        return Err(Refused("the status is not three digits"));
    }
    let status = code.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    if !(100..600).contains(&status) {
        return Err(Refused("the status has no class"));
    }
    if !reason.iter().all(is_text) {
        return Err(Refused("a forbidden byte in the reason phrase"));
    }
    let framing = response_framing(&head.fields, minor, status, method)?;
    let until_close = framing == Framing::UntilClose;
    let (content, trailers, end) = content(bytes, framing);
    Ok(Response { status, fields: head.fields, content, trailers, end, until_close })
}

/// The values of all lines with this name, given in lower case.
pub fn values<'a>(fields: &'a [Field], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields
        .iter()
        .filter(move |(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| &value[..])
}

/// The members of all lists with this name.
pub fn members<'a>(fields: &'a [Field], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    values(fields, name)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// Whether a list with this name has this member.
pub fn has_member(fields: &[Field], name: &str, member: &str) -> bool {
    members(fields, name).any(|other| other.eq_ignore_ascii_case(member.as_bytes()))
}

struct Head<'a> {
    line: &'a [u8],
    fields: Vec<Field>,
}

/// Takes a head with its empty line.
fn head<'a>(bytes: &mut &'a [u8], limits: &Limits) -> Result<Head<'a>, Fault> {
    let text = *bytes;
    let (mut lines, mut start) = (Vec::new(), 0);
    loop {
        let Some(offset) = text[start..].iter().position(|byte| *byte == b'\n') else {
            if text.len() > limits.bytes {
                return Err(Refused("the head is too large"));
            }
            let missing: &[u8] = match &text[start..] {
                [] => b"\r\n",
                [.., b'\r'] => b"\n\r\n",
                _ => b"\r\n\r\n",
            };
            return Err(Fault::Cut { missing: missing.to_vec() });
        };
        let line = &text[start..start + offset];
        let Some(line) = line.strip_suffix(b"\r") else { return Err(Refused("a bare LF")) };
        start += offset + 1;
        if start > limits.bytes {
            return Err(Refused("the head is too large"));
        }
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    *bytes = &text[start..];
    let (line, rest) = lines.split_first().ok_or(Refused("no first line"))?;
    if rest.len() > limits.fields {
        return Err(Refused("too many fields"));
    }
    Ok(Head { line, fields: fields(rest).ok_or(Refused("a malformed field"))? })
}

fn fields(lines: &[&[u8]]) -> Option<Vec<Field>> {
    lines
        .iter()
        .map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            let good = !name.is_empty() && name.iter().all(is_token) && value.iter().all(is_text);
            good.then(|| (name.to_vec(), value.trim_ascii().to_vec()))
        })
        .collect()
}

fn minor(version: &[u8]) -> Result<u8, Fault> {
    match version {
        b"HTTP/1.1" => Ok(1),
        b"HTTP/1.0" => Ok(0),
        _ => Err(Refused("another version")),
    }
}

/// RFC 9112 section 3.2.
fn origin_form(method: &[u8], target: &[u8]) -> Result<(Option<Vec<u8>>, Vec<u8>), Fault> {
    let visible = |byte: &u8| matches!(byte, b'!'..=b'~' | 0x80..) && *byte != b'#';
    if target.is_empty() || !target.iter().all(visible) || std::str::from_utf8(target).is_err() {
        return Err(Refused("a forbidden byte in the target"));
    }
    if target[0] == b'/' || method == b"CONNECT" || (target == b"*" && method == b"OPTIONS") {
        return Ok((None, target.to_vec()));
    }
    let scheme = [7, 8].into_iter().find(|length| {
        let prefix = target.get(..*length).unwrap_or_default().to_ascii_lowercase();
        prefix == b"http://" || prefix == b"https://"
    });
    let rest = &target[scheme.ok_or(Refused("a target in no form"))?..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = match path {
        [b'/', ..] => path.to_vec(),
        [] if method == b"OPTIONS" => b"*".to_vec(),
        _ => [b"/", path].concat(),
    };
    Ok((Some(authority.to_vec()), path))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

fn request_framing(fields: &[Field], minor: u8) -> Result<Framing, Fault> {
    Ok(match declared(fields, minor)? {
        (_, true) => Framing::Chunked,
        (length, false) => Framing::Length(length.unwrap_or(0)),
    })
}

fn response_framing(
    fields: &[Field],
    minor: u8,
    status: u16,
    method: &[u8],
) -> Result<Framing, Fault> {
    let declared = declared(fields, minor)?;
    if status < 200 || status == 204 || status == 304 || method == b"HEAD" {
        return Ok(Framing::Length(0));
    }
    Ok(match declared {
        (_, true) => Framing::Chunked,
        (Some(length), false) => Framing::Length(length),
        (None, false) => Framing::UntilClose,
    })
}

/// The declared length, and whether it is chunked: one of both at most, and once.
fn declared(fields: &[Field], minor: u8) -> Result<(Option<u64>, bool), Fault> {
    let lengths: Vec<_> = values(fields, "content-length").collect();
    let codings: Vec<_> = values(fields, "transfer-encoding").collect();
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok((None, false)),
        ([length], []) => Ok((Some(decimal(length)?), false)),
        ([], [coding]) if minor == 1 && coding.eq_ignore_ascii_case(b"chunked") => Ok((None, true)),
        _ => Err(Refused("contradictory or unknown framing")),
    }
}

fn decimal(text: &[u8]) -> Result<u64, Fault> {
    let refused = Refused("a length that is no plain number");
    let plain = text == b"0" || (text.iter().all(u8::is_ascii_digit) && !text.starts_with(b"0"));
    if !plain || text.is_empty() {
        return Err(refused);
    }
    let digit =
        |value: u64, digit: &u8| value.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    text.iter().try_fold(0, digit).ok_or(refused)
}

/// RFC 9112 section 9.3.
fn keep_alive(fields: &[Field], minor: u8) -> bool {
    !has_member(fields, "connection", "close")
        && (minor == 1 || has_member(fields, "connection", "keep-alive"))
}

/// RFC 9110 section 7.8, of one protocol, and not of another version of HTTP.
fn asked_upgrade(fields: &[Field], minor: u8) -> Option<Vec<u8>> {
    let mut asked = values(fields, "upgrade");
    let protocol = asked.next().filter(|_| asked.next().is_none())?;
    let (name, version) = match protocol.iter().position(|byte| *byte == b'/') {
        Some(slash) => (&protocol[..slash], Some(&protocol[slash + 1..])),
        None => (protocol, None),
    };
    let is_word = |word: &[u8]| !word.is_empty() && word.iter().all(is_token);
    let known = ["http", "h2", "h2c"].iter().any(|http| name.eq_ignore_ascii_case(http.as_bytes()));
    let good = is_word(name) && version.is_none_or(is_word) && !known;
    (minor == 1 && good && has_member(fields, "connection", "upgrade")).then(|| protocol.to_vec())
}

fn content(bytes: &mut &[u8], framing: Framing) -> (Vec<u8>, Vec<Field>, Content) {
    match framing {
        Framing::Chunked => {
            let (mut content, mut trailers) = (Vec::new(), Vec::new());
            let end = chunks(bytes, &mut content, &mut trailers);
            (content, trailers, end)
        }
        Framing::UntilClose => (std::mem::take(bytes).to_vec(), Vec::new(), Content::Whole),
        Framing::Length(length) => {
            let have = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
            let (content, rest) = bytes.split_at(have);
            *bytes = rest;
            let missing = length - have as u64;
            let end = if missing == 0 { Content::Whole } else { filler(missing, b"") };
            (content.to_vec(), Vec::new(), end)
        }
    }
}

/// What completes content of which this much is missing; nothing where it would be too much.
fn filler(missing: u64, tail: &[u8]) -> Content {
    let length = usize::try_from(missing).ok().filter(|length| *length <= 16 << 10);
    let missing = length.map(|length| [&vec![b'f'; length][..], tail].concat());
    Content::Cut { missing: missing.unwrap_or_default() }
}

/// RFC 9112 section 7.1.
fn chunks(bytes: &mut &[u8], content: &mut Vec<u8>, trailers: &mut Vec<Field>) -> Content {
    loop {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            if bytes.len() > CHUNK_LINE + 1 {
                return Content::Broken;
            }
            let missing: &[u8] = match bytes {
                [] => b"0\r\n\r\n",
                [.., b'\r'] => b"\n",
                _ => b"\r\n",
            };
            return Content::Cut { missing: missing.to_vec() };
        };
        let line = bytes[..end].strip_suffix(b"\r").filter(|line| line.len() <= CHUNK_LINE);
        let Some(size) = line.and_then(chunk_size) else { return Content::Broken };
        *bytes = &bytes[end + 1..];
        if size == 0 {
            return trailer_section(bytes, trailers);
        }
        let have = usize::try_from(size).unwrap_or(usize::MAX).min(bytes.len());
        content.extend_from_slice(&bytes[..have]);
        *bytes = &bytes[have..];
        if (have as u64) < size {
            return filler(size - have as u64, b"\r\n0\r\n\r\n");
        }
        match bytes {
            [b'\r', b'\n', rest @ ..] => *bytes = rest,
            [] => return Content::Cut { missing: b"\r\n0\r\n\r\n".to_vec() },
            [b'\r'] => return Content::Cut { missing: b"\n0\r\n\r\n".to_vec() },
            _ => return Content::Broken,
        }
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let extension = &line[digits..];
    let blanks = extension.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let named = extension.is_empty() || extension.get(blanks) == Some(&b';');
    if digits == 0 || digits > 16 || !named || !extension.iter().all(is_text) {
        return None;
    }
    let value = |digit: &u8| u64::from((*digit as char).to_digit(16).unwrap_or(0));
    Some(line[..digits].iter().fold(0, |size, digit| size << 4 | value(digit)))
}

fn trailer_section(bytes: &mut &[u8], trailers: &mut Vec<Field>) -> Content {
    if let Some(rest) = bytes.strip_prefix(b"\r\n") {
        *bytes = rest;
        return Content::Whole;
    }
    let (mut lines, mut start) = (Vec::new(), 0);
    loop {
        let rest = &bytes[start..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            if bytes.len() > TRAILER_BYTES {
                return Content::Broken;
            }
            let missing: &[u8] = match rest {
                [] => b"\r\n",
                [.., b'\r'] => b"\n\r\n",
                _ => b"\r\n\r\n",
            };
            return Content::Cut { missing: missing.to_vec() };
        };
        let Some(line) = rest[..end].strip_suffix(b"\r") else { return Content::Broken };
        start += end + 1;
        if start > TRAILER_BYTES {
            return Content::Broken;
        }
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let Some(fields) = fields(&lines).filter(|fields| fields.len() <= TRAILER_FIELDS) else {
        return Content::Broken;
    };
    *bytes = &bytes[start..];
    *trailers = fields;
    Content::Whole
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// RFC 9110 section 5.5.
fn is_text(byte: &u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

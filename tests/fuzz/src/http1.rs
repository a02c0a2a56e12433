//! Heads and bodies of HTTP/1.1 without I/O, both kinds of messages: read whole, read in pieces,
//! and read by the reference.

use bytes::BytesMut;
use http::Method;
use ignite_gateway::fields::Fields;
use ignite_gateway::http1::decode::{Decoded, Decoder};
use ignite_gateway::http1::framing::Framing;
use ignite_gateway::http1::head::{self, HeadScan, RequestHead, ResponseHead};

use super::exchange::show;
use super::reference::{self, Content, Fault, Field};
use super::stage::{LIMITS, cuts};

const OWN: head::Limits =
    head::Limits { bytes: LIMITS.bytes, fields: LIMITS.fields, target: LIMITS.target };

/// The target.
pub fn run(input: &[u8]) {
    let pieces = pieces(input);
    request(input, &[input]);
    request(input, &pieces);
    for method in [Method::GET, Method::HEAD] {
        response(input, &[input], &method);
        response(input, &pieces, &method);
    }
}

fn pieces(input: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for cut in cuts(input).into_iter().chain([input.len()]) {
        pieces.push(&input[start..cut]);
        start = cut;
    }
    pieces
}

/// A message as the code under test reads it.
struct Read<H> {
    head: H,
    content: Vec<u8>,
    trailers: Vec<Field>,
    whole: bool,
    broken: bool,
    left: usize,
}

/// Feeds the pieces to a head's parser, then to its body's; `Err` for a refusal, `None` for a part.
fn read<H>(
    pieces: &[&[u8]],
    mut take: impl FnMut(&mut BytesMut, &mut HeadScan) -> Result<Option<H>, ()>,
    framing: impl Fn(&H) -> Framing,
) -> Result<Option<Read<H>>, ()> {
    let mut pieces = pieces.iter();
    let mut buffer = BytesMut::new();
    let mut scan = HeadScan::default();
    let head = loop {
        if let Some(head) = take(&mut buffer, &mut scan)? {
            break head;
        }
        let Some(piece) = pieces.next() else { return Ok(None) };
        buffer.extend_from_slice(piece);
    };
    let mut decoder = Decoder::new(framing(&head));
    let mut read = Read {
        content: Vec::new(),
        trailers: Vec::new(),
        whole: false,
        broken: false,
        left: 0,
        head,
    };
    loop {
        match decoder.decode(&mut buffer) {
            Ok(Decoded::Data(data)) => {
                assert!(!data.is_empty(), "an empty piece");
                read.content.extend_from_slice(&data);
            }
            Ok(Decoded::Trailers(fields)) => read.trailers = lines(&fields),
            Ok(Decoded::End) => read.whole = true,
            Ok(Decoded::More) => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => break,
            },
            Err(_) => {
                read.broken = true;
                break;
            }
        }
        if read.whole {
            break;
        }
    }
    read.whole |= decoder.ends_with_connection();
    read.left = buffer.len() + pieces.map(|piece| piece.len()).sum::<usize>();
    Ok(Some(read))
}

fn request(input: &[u8], pieces: &[&[u8]]) {
    let take = |buffer: &mut BytesMut, scan: &mut HeadScan| {
        head::skip_empty_lines(buffer, scan);
        head::take_request(buffer, scan, &OWN).map_err(drop)
    };
    let read = read(pieces, take, |head: &RequestHead| head.framing);
    let mut rest = input;
    let wanted = reference::request(&mut rest, &LIMITS);
    let told = || format!("{} pieces: {}\n{wanted:?}", pieces.len(), show(input));
    let (read, wanted) = match (read, &wanted) {
        (Err(()), Err(Fault::Refused(_))) | (Ok(None), Err(Fault::Cut { .. })) => return,
        (Ok(Some(read)), Ok(wanted)) => (read, wanted),
        (read, _) => panic!("{:?} {}", read.map(|read| read.is_some()), told()),
    };
    assert_eq!(read.head.method.as_str().as_bytes(), wanted.method, "{}", told());
    assert_eq!(read.head.target, wanted.target, "{}", told());
    assert_eq!(read.head.authority.as_deref(), wanted.authority.as_deref(), "{}", told());
    assert_eq!(read.head.keep_alive, wanted.keep_alive, "{}", told());
    assert_eq!(read.head.upgrade.as_deref(), wanted.upgrade.as_deref(), "{}", told());
    assert_eq!(lines(&read.head.fields), wanted.fields, "{}", told());
    same_body(&read, &wanted.content, &wanted.trailers, &wanted.end, rest.len(), &told);
}

fn response(input: &[u8], pieces: &[&[u8]], method: &Method) {
    let take = |buffer: &mut BytesMut, scan: &mut HeadScan| {
        head::take_response(buffer, scan, method, &OWN).map_err(drop)
    };
    let read = read(pieces, take, |head: &ResponseHead| head.framing);
    let mut rest = input;
    let wanted = reference::response(&mut rest, method.as_str().as_bytes(), &LIMITS);
    let told = || format!("{method}, {} pieces: {}\n{wanted:?}", pieces.len(), show(input));
    let (read, wanted) = match (read, &wanted) {
        (Err(()), Err(Fault::Refused(_))) | (Ok(None), Err(Fault::Cut { .. })) => return,
        (Ok(Some(read)), Ok(wanted)) => (read, wanted),
        (read, _) => panic!("{:?} {}", read.map(|read| read.is_some()), told()),
    };
    assert_eq!(read.head.status.as_u16(), wanted.status, "{}", told());
    assert_eq!(lines(&read.head.fields), wanted.fields, "{}", told());
    same_body(&read, &wanted.content, &wanted.trailers, &wanted.end, rest.len(), &told);
}

fn same_body<H>(
    read: &Read<H>,
    content: &[u8],
    trailers: &[Field],
    end: &Content,
    left: usize,
    told: &dyn Fn() -> String,
) {
    assert_eq!(read.whole, *end == Content::Whole, "whole {}", told());
    assert_eq!(read.broken, *end == Content::Broken, "broken {}", told());
    assert_eq!(show(&read.content), show(content), "{}", told());
    if read.whole {
        assert_eq!(read.trailers, trailers, "{}", told());
        assert_eq!(read.left, left, "the next message begins elsewhere {}", told());
    }
}

fn lines(fields: &Fields) -> Vec<Field> {
    fields.iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect()
}

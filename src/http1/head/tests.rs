#![allow(clippy::format_collect)]

use std::time::Duration;

use super::super::framing::Framing;
use super::*;
use crate::fields::Known;
use proptest::prelude::*;

const LIMITS: Limits = Limits { bytes: 4096, fields: 20, target: 1024 };

fn request(text: &str) -> Result<RequestHead, Error> {
    request_bytes(text.as_bytes())
}

fn request_bytes(bytes: &[u8]) -> Result<RequestHead, Error> {
    let mut buffer = BytesMut::from(bytes);
    let head = take_request(&mut buffer, &mut HeadScan::default(), &LIMITS)?;
    Ok(head.expect("a whole head"))
}

fn response(text: &str, method: &Method) -> Result<ResponseHead, Error> {
    let mut buffer = BytesMut::from(text);
    let head = take_response(&mut buffer, &mut HeadScan::default(), method, &LIMITS)?;
    Ok(head.expect("a whole head"))
}

#[test]
fn a_head_is_found_however_it_is_cut() {
    let text = b"GET /a?b HTTP/1.1\r\nHost: x\r\nA:  b \t\r\n\r\nrest";
    for step in 1..text.len() {
        let mut buffer = BytesMut::new();
        let mut scan = HeadScan::default();
        let mut found = None;
        for piece in text.chunks(step) {
            buffer.extend_from_slice(piece);
            if found.is_none() {
                found = take_request(&mut buffer, &mut scan, &LIMITS).unwrap();
            }
        }
        let head = found.expect("complete");
        assert_eq!(&buffer[..], b"rest");
        assert_eq!(&head.target[..], b"/a?b");
        let fields: Vec<_> = head.fields.iter().map(|f| (f.name, f.value)).collect();
        assert_eq!(fields, [(&b"Host"[..], &b"x"[..]), (b"A", b"b")]);
    }
}

/// What a caller's bytes are read as that come in two pieces, as a connection reads them.
fn in_two(text: &[u8], cut: usize) -> Result<Option<RequestHead>, Error> {
    let (mut buffer, mut scan) = (BytesMut::new(), HeadScan::default());
    let (first, second) = text.split_at(cut);
    for piece in [first, second] {
        buffer.extend_from_slice(piece);
        skip_empty_lines(&mut buffer, &mut scan);
        if let Some(head) = take_request(&mut buffer, &mut scan, &LIMITS)? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

#[test]
fn empty_lines_before_a_request_are_dropped_and_a_bare_lf_is_none_wherever_they_are_cut() {
    let good = b"\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    for cut in 0..good.len() {
        assert!(in_two(good, cut).unwrap().is_some(), "cut at {cut}");
    }
    for text in [&b"\r\n\nGET / HTTP/1.1\r\n\r\n"[..], b"\r\n\r\n\nGET / HTTP/1.1\r\n\r\n"] {
        for cut in 0..text.len() {
            let refused = in_two(text, cut);
            assert!(
                matches!(refused, Err(Error::Malformed(Malformed::BareLineFeed))),
                "cut at {cut}: {refused:?}"
            );
        }
    }
}

#[test]
fn framing_that_two_parsers_could_read_in_two_ways_is_refused() {
    let bad = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\ncontent-length: 6",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 05",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
    ];
    for fields in bad {
        let text = format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
        let result = request(&text);
        assert!(
            matches!(result, Err(Error::Malformed(Malformed::ContentLength))),
            "{fields}: {result:?}"
        );
    }
    for coding in ["gzip", "gzip, chunked", "chunked, chunked", ",chunked", "xchunked", "identity"]
    {
        let text = format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {coding}\r\n\r\n");
        assert!(matches!(request(&text), Err(Error::TransferCoding)), "{coding}");
    }
    let twice =
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(matches!(request(twice), Err(Error::TransferCoding)));
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(matches!(request(old), Err(Error::Malformed(Malformed::TransferEncoding))));
}

#[test]
fn good_framing_is_understood() {
    let framing = |fields: &str| {
        request(&format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n")).unwrap().framing
    };
    assert_eq!(framing(""), Framing::None);
    assert_eq!(framing("Content-Length: 0\r\n"), Framing::None);
    assert_eq!(framing("content-length:7\r\n"), Framing::Length(7));
    assert_eq!(framing("Content-Length: 18446744073709551615\r\n"), Framing::Length(u64::MAX));
    assert_eq!(framing("TRANSFER-ENCODING: Chunked\r\n"), Framing::Chunked);
}

#[test]
fn lines_end_with_crlf_alone_and_fields_are_not_folded() {
    let bad: &[&[u8]] = &[
        b"GET / HTTP/1.1\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\n",
        b"GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\0\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.2\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET\t/ HTTP/1.1\r\n\r\n",
    ];
    for bytes in bad {
        let mut buffer = BytesMut::from(*bytes);
        let result = take_request(&mut buffer, &mut HeadScan::default(), &LIMITS);
        let shown = String::from_utf8_lossy(bytes);
        assert!(matches!(result, Err(Error::Malformed(_))), "{shown:?}: {result:?}");
    }
}

#[test]
fn a_target_is_taken_as_it_is_or_refused() {
    let target = |target: &str| request(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
    for good in ["/", "//", "/..%2f", "/%00?", "/a;b=c?d=%zz&&", "/|{}^", "/é", "/<\">`\\"] {
        assert_eq!(target(good).expect(good).target, good.as_bytes());
    }
    for bad in ["/a#b", "#", "a", "*", "a:443", "ftp://x/", "?a", "http:/x", "/\x7f", "/a\tb"] {
        assert!(target(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_absolute_target_is_split_into_authority_and_path() {
    let split = |method: &str, target: &str| {
        let head = request(&format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n")).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(&head.authority.unwrap()), text(&head.target))
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(split("GET", "http://h/a//b?c"), pair("h", "/a//b?c"));
    assert_eq!(split("GET", "HTTPS://h:8/"), pair("h:8", "/"));
    assert_eq!(split("GET", "http://h"), pair("h", "/"));
    assert_eq!(split("GET", "http://h?a"), pair("h", "/?a"));
    assert_eq!(split("OPTIONS", "http://h"), pair("h", "*"));
}

#[test]
fn limits_are_told_apart() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1024));
    assert!(matches!(request(&long), Err(Error::TargetTooLong { limit: 1024 })));
    let endless = format!("GET /{}", "a".repeat(5000));
    let mut buffer = BytesMut::from(endless.as_str());
    let result = take_request(&mut buffer, &mut HeadScan::default(), &LIMITS);
    assert!(matches!(result, Err(Error::TargetTooLong { .. })), "{result:?}");
    let large = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(4096));
    assert!(matches!(request(&large), Err(Error::HeadTooLarge { .. })));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(21));
    assert!(matches!(request(&many), Err(Error::HeadTooLarge { .. })));
}

#[test]
fn persistence_follows_version_and_every_connection_line() {
    let keeps = |version: &str, fields: &str| {
        request(&format!("GET / HTTP/{version}\r\n{fields}\r\n")).unwrap().keep_alive
    };
    assert!(keeps("1.1", ""));
    assert!(!keeps("1.0", ""));
    assert!(keeps("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!keeps("1.1", "Connection: x, CLOSE\r\n"));
    assert!(!keeps("1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
}

#[test]
fn responses_whose_framing_contradicts_itself_are_refused() {
    for fields in [
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1, 1",
        "Content-Length: x",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
        let result = response(&text, &Method::GET);
        assert!(matches!(result, Err(Error::AppMalformed(_))), "{fields}: {result:?}");
    }
    for text in ["HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 999 x\r\n\r\n"]
    {
        assert!(matches!(response(text, &Method::GET), Err(Error::AppMalformed(_))), "{text}");
    }
}

#[test]
fn responses_without_a_body_say_how_long_it_would_be() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    let head = response(text, &Method::HEAD).unwrap();
    assert_eq!((head.framing, head.declared_length), (Framing::None, Some(9)));
    let head = response(text, &Method::GET).unwrap();
    assert_eq!((head.framing, head.declared_length), (Framing::Length(9), None));
    let head = response("HTTP/1.1 204 x\r\nContent-Length: 9\r\n\r\n", &Method::GET).unwrap();
    assert_eq!((head.framing, head.declared_length), (Framing::None, None));
    let head = response("HTTP/1.1 200 Fine\r\n\r\n", &Method::GET).unwrap();
    assert_eq!((head.framing, head.keep_alive), (Framing::UntilClose, false));
    assert_eq!(head.reason.as_deref(), Some(&b"Fine"[..]));
}

#[test]
fn the_apps_own_idle_time_is_understood() {
    let timeout = |value: &str| {
        let text = format!("HTTP/1.1 204 x\r\nKeep-Alive: {value}\r\n\r\n");
        response(&text, &Method::GET).unwrap().keep_alive_timeout
    };
    assert_eq!(timeout("timeout=5"), Some(Duration::from_secs(5)));
    assert_eq!(timeout("max=100, Timeout=7"), Some(Duration::from_secs(7)));
    assert_eq!(timeout("timeout=x"), None);
    assert_eq!(timeout("max=1"), None);
}

proptest! {
    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut buffer = BytesMut::from(&bytes[..]);
        let _ = take_request(&mut buffer, &mut HeadScan::default(), &LIMITS);
        let mut buffer = BytesMut::from(&bytes[..]);
        let _ = take_response(&mut buffer, &mut HeadScan::default(), &Method::GET, &LIMITS);
    }

    #[test]
    fn what_is_parsed_is_what_was_sent(
        path in "/[!-\"$-~]{0,40}",
        fields in proptest::collection::vec(("[A-Za-z][-A-Za-z0-9_.!~]{0,12}", "[!-~]([ -~]{0,20}[!-~])?"), 0..8),
    ) {
        let fields: Vec<_> = fields
            .into_iter()
            .filter(|(name, _)| Known::of(name.as_bytes()) == Known::Other)
            .collect();
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = request(&format!("GET {path} HTTP/1.1\r\n{lines}\r\n")).unwrap();
        prop_assert_eq!(&head.target[..], path.as_bytes());
        let parsed: Vec<_> = head.fields.iter().map(|f| (f.name.to_vec(), f.value.to_vec())).collect();
        let sent: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.clone().into_bytes(), value.clone().into_bytes()))
            .collect();
        prop_assert_eq!(parsed, sent);
    }
}

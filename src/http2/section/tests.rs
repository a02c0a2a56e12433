#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;

const LIMITS: OwnSettings = OwnSettings {
    max_concurrent: 100,
    stream_window: 65_535,
    connection_window: 65_535,
    field_section: 2048,
    fields: 20,
    target: 100,
};

fn block(fields: &[(&str, &str)]) -> BytesMut {
    // Literals without indexing and without Huffman coding, RFC 7541 section 6.2.2: names stay as
    // they are written here, which an encoder would not let happen.
    let mut block = BytesMut::new();
    for (name, value) in fields {
        block.extend_from_slice(&[0]);
        for text in [name, value] {
            match text.len() {
                short @ ..127 => block.extend_from_slice(&[u8::try_from(short).unwrap()]),
                long => {
                    let rest = long - 127;
                    let low = u8::try_from(rest % 128).unwrap() | 128;
                    let high = u8::try_from(rest / 128).unwrap();
                    block.extend_from_slice(&[127, low, high]);
                }
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn taken(fields: &[(&str, &str)]) -> Result<RequestHead, Refusal> {
    request(&block(fields), &mut Decoder::new(4096), &LIMITS).expect("well coded")
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a.x"), (":path", "/p?q=1")];

fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    GET.iter().chain(more).copied().collect()
}

fn lines(fields: &Fields) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|field| (text(field.name), text(field.value))).collect()
}

#[test]
fn a_request_keeps_its_target_and_its_fields_in_order_behind_its_host() {
    let head = taken(&with(&[("b", "1"), ("a", ""), ("b", "2")])).expect("valid");
    assert_eq!(head.method, Method::GET);
    assert_eq!(&head.target[..], b"/p?q=1");
    let wanted = [("host", "a.x"), ("b", "1"), ("a", ""), ("b", "2")];
    assert_eq!(lines(&head.fields), wanted.map(|(n, v)| (n.to_owned(), v.to_owned())));
}

#[test]
fn crumbs_of_a_cookie_are_joined() {
    let head = taken(&with(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")])).expect("valid");
    assert_eq!(lines(&head.fields)[1], ("cookie".to_owned(), "a=1; b=2".to_owned()));
    assert_eq!(head.fields.len(), 3);
}

#[test]
fn a_host_field_like_the_authority_says_nothing_new_and_another_one_stays_to_be_refused() {
    assert_eq!(taken(&with(&[("host", "a.x")])).expect("valid").fields.len(), 1);
    assert_eq!(taken(&with(&[("host", "b.x")])).expect("valid").fields.len(), 2);
}

#[test]
fn what_breaks_a_rule_of_section_8_is_malformed() {
    let bad: &[&[(&str, &str)]] = &[
        &[],
        &GET[1..],
        &GET[..3],
        &[GET[0], GET[2], GET[3]],
        &[GET[0], GET[1], GET[2], (":path", "")],
        &[GET[0], GET[1], GET[2], (":path", "p")],
        &[GET[0], GET[1], GET[2], (":path", "*")],
        &[GET[0], GET[1], GET[2], (":path", "/a#b")],
        &[GET[0], GET[1], GET[2], (":path", "/a b")],
        &[GET[0], GET[1], GET[2], (":path", "/a\r\nb")],
        &[GET[0], GET[1], GET[3], (":authority", "a\nb")],
        &[GET[0], (":scheme", "ftp"), GET[2], GET[3]],
        &[(":method", "G T"), GET[1], GET[2], GET[3]],
        &with(&[(":path", "/")]),
        &with(&[(":method", "GET")]),
        &with(&[(":status", "200")]),
        &with(&[(":unknown", "1")]),
        &with(&[(":protocol", "websocket")]),
        &with(&[("a", "1"), (":authority", "a.x")]),
        &with(&[("A", "1")]),
        &with(&[("a b", "1")]),
        &with(&[("", "1")]),
        &with(&[("a", "1\r\nb: 2")]),
        &with(&[("a", "1\0")]),
        &with(&[("a", " 1")]),
        &with(&[("a", "1\t")]),
        &with(&[("connection", "close")]),
        &with(&[("keep-alive", "1")]),
        &with(&[("proxy-connection", "close")]),
        &with(&[("transfer-encoding", "chunked")]),
        &with(&[("upgrade", "h2c")]),
        &with(&[("te", "gzip")]),
        &with(&[("content-length", "1"), ("content-length", "1")]),
        &with(&[("content-length", "+1")]),
        &with(&[("content-length", "1, 1")]),
    ];
    for fields in bad {
        assert_eq!(taken(fields).err(), Some(Refusal::Malformed), "{fields:?}");
    }
    taken(&with(&[("te", "trailers")])).expect("the only value that HTTP/2 has");
}

#[test]
fn connect_has_an_authority_alone_and_extended_connect_has_all_parts() {
    let plain = [(":method", "CONNECT"), (":authority", "a.x:1")];
    taken(&plain).expect("valid");
    assert!(taken(&[plain[0], plain[1], (":path", "/")]).is_err());
    let extended = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/chat"),
        (":authority", "a.x"),
    ];
    let head = taken(&extended).expect("valid");
    assert_eq!(head.protocol.as_deref(), Some(&b"websocket"[..]));
    assert!(taken(&extended[..4]).is_err());
}

#[test]
fn sizes_are_bounded_and_the_tables_stay_in_step() {
    let long = "x".repeat(101);
    let path = format!("/{long}");
    let target = [GET[0], GET[1], GET[2], (":path", path.as_str())];
    assert_eq!(taken(&target).err(), Some(Refusal::TargetTooLong));
    let many: Vec<_> = GET.into_iter().chain(vec![("a", "1"); 30]).collect();
    assert_eq!(taken(&many).err(), Some(Refusal::TooLarge));
    let large: Vec<_> = GET.into_iter().chain(vec![("a", long.as_str()); 18]).collect();
    assert_eq!(taken(&large).err(), Some(Refusal::TooLarge));

    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    for _ in 0..3 {
        let mut block = BytesMut::new();
        encoder.begin(&mut block);
        for (name, value) in &many {
            encoder.field(name.as_bytes(), value.as_bytes(), &mut block);
        }
        encoder.field(b"server", b"after the limit", &mut block);
        let head = request(&block, &mut decoder, &LIMITS).expect("in step");
        assert_eq!(head.err(), Some(Refusal::TooLarge));
    }
}

#[test]
fn a_response_has_a_status_and_nothing_that_asks() {
    let taken = |fields: &[(&str, &str)]| {
        response(&block(fields), &mut Decoder::new(4096), &LIMITS).expect("well coded")
    };
    let head = taken(&[(":status", "204"), ("a", "1"), ("content-length", "0")]).expect("valid");
    assert_eq!((head.status.as_u16(), head.length), (204, Some(0)));
    for bad in [
        &[("a", "1")][..],
        &[(":status", "99")],
        &[(":status", "600")],
        &[(":status", "2000")],
        &[(":status", "200"), (":status", "200")],
        &[(":status", "200"), (":path", "/")],
        &[(":status", "200"), ("connection", "close")],
    ] {
        assert_eq!(taken(bad).err(), Some(Refusal::Malformed), "{bad:?}");
    }
}

#[test]
fn a_trailer_section_has_no_pseudo_fields() {
    let taken = |fields: &[(&str, &str)]| {
        trailers(&block(fields), &mut Decoder::new(4096), &LIMITS).expect("well coded")
    };
    assert_eq!(taken(&[("grpc-status", "0")]).expect("valid").len(), 1);
    assert_eq!(taken(&[(":status", "200")]).err(), Some(Refusal::Malformed));
}

#[test]
fn what_is_written_has_no_host_or_connection_field_and_lower_case_names() {
    let (mut encoder, mut out) = (Encoder::new(), BytesMut::new());
    let mut builder = Builder::new();
    builder.push(b"Host", b"a.x");
    builder.push(b"X-Mixed-Case", b"1");
    let (mut fields, _) = builder.finish();
    fields.add("connection", http::HeaderValue::from_static("te"));
    fields.add("te", http::HeaderValue::from_static("trailers"));
    put_request(&mut out, &mut encoder, &Method::POST, b"/x", &fields, Some(3));
    let head = request(&out, &mut Decoder::new(4096), &LIMITS).expect("coded").expect("valid");
    assert_eq!((head.method, head.length), (Method::POST, Some(3)));
    let wanted =
        [("host", "a.x"), ("x-mixed-case", "1"), ("te", "trailers"), ("content-length", "3")];
    assert_eq!(lines(&head.fields), wanted.map(|(n, v)| (n.to_owned(), v.to_owned())));
}

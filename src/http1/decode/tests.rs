use super::*;
use crate::http1::encode;
use proptest::prelude::*;

type Outcome = (Vec<u8>, Option<Fields>, bool, Vec<u8>);

/// Decodes `bytes` given in pieces of `step`; the content, the trailers, what is left.
fn decode(framing: Framing, bytes: &[u8], step: usize) -> Result<Outcome, Malformed> {
    let mut decoder = Decoder::new(framing);
    let mut buffer = BytesMut::new();
    let mut content = Vec::new();
    let mut trailers = None;
    for piece in bytes.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer)? {
                Decoded::Data(data) => content.extend_from_slice(&data),
                Decoded::Trailers(fields) => trailers = Some(fields),
                Decoded::End | Decoded::More => break,
            }
        }
    }
    Ok((content, trailers, decoder.is_done(), buffer.to_vec()))
}

fn chunked(bytes: &[u8]) -> Result<Outcome, Malformed> {
    decode(Framing::Chunked, bytes, bytes.len().max(1))
}

#[test]
fn chunks_are_unwrapped_however_they_are_cut() {
    let bytes =
        b"5\r\nhello\r\n001;a=\"b\";c\r\n \r\nA \t;x\r\n0123456789\r\n0\r\nA: b\r\nC:d\r\n\r\nnext";
    for step in 1..=bytes.len() {
        let (content, trailers, done, rest) = decode(Framing::Chunked, bytes, step).unwrap();
        assert_eq!(content, b"hello 0123456789");
        assert!(done);
        assert_eq!(rest, b"next");
        let trailers = trailers.unwrap();
        let fields: Vec<_> = trailers.iter().map(|f| (f.name, f.value)).collect();
        assert_eq!(fields, [(&b"A"[..], &b"b"[..]), (b"C", b"d")]);
    }
}

#[test]
fn chunk_sizes_that_parsers_disagree_about_are_refused() {
    for line in [
        "",
        " ",
        "+5",
        "-5",
        "0x5",
        "5 ",
        " 5",
        "5\t",
        "5 5",
        "g",
        "5,",
        "5\r",
        "5;\rx",
        "5;\u{1}",
        "11111111111111111",
        "00000000000000005",
        ";a",
    ] {
        let text = format!("{line}\r\nhello\r\n0\r\n\r\n");
        assert!(matches!(chunked(text.as_bytes()), Err(Malformed::Chunk)), "{line:?}");
    }
    for text in
        ["5\nhello\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\rX"]
    {
        assert!(matches!(chunked(text.as_bytes()), Err(Malformed::Chunk)), "{text:?}");
    }
    let endless = format!("5;{}", "a".repeat(CHUNK_LINE));
    assert!(matches!(chunked(endless.as_bytes()), Err(Malformed::Chunk)));
}

#[test]
fn a_size_line_at_its_limit_is_taken_however_it_is_cut() {
    let line = format!("5;{}", "a".repeat(CHUNK_LINE - 2));
    let text = format!("{line}\r\nhello\r\n0\r\n\r\n");
    for step in [text.len(), line.len(), line.len() + 1, 1] {
        let (content, _, done, _) = decode(Framing::Chunked, text.as_bytes(), step).unwrap();
        assert_eq!((content.as_slice(), done), (&b"hello"[..], true), "{step}");
    }
}

#[test]
fn trailers_are_bounded_and_strict() {
    for trailers in ["A: b\nC: d\r\n\r\n", " A: b\r\n\r\n", "A : b\r\n\r\n", "A: b\r\n c\r\n\r\n"] {
        let text = format!("0\r\n{trailers}");
        assert!(matches!(chunked(text.as_bytes()), Err(Malformed::Trailer)), "{trailers:?}");
    }
    let large = format!("0\r\nA: {}\r\n\r\n", "a".repeat(TRAILER_BYTES));
    assert!(matches!(chunked(large.as_bytes()), Err(Malformed::Trailer)));
    let many = format!("0\r\n{}\r\n", "A: b\r\n".repeat(TRAILER_FIELDS + 1));
    assert!(matches!(chunked(many.as_bytes()), Err(Malformed::Trailer)));
}

#[test]
fn a_body_is_complete_only_by_its_own_framing() {
    let (content, _, done, _) = decode(Framing::Length(5), b"hell", 4).unwrap();
    assert_eq!((content.as_slice(), done), (&b"hell"[..], false));
    let (content, _, done, rest) = decode(Framing::Length(5), b"hello world", 3).unwrap();
    assert_eq!((content.as_slice(), done, rest.as_slice()), (&b"hello"[..], true, &b" world"[..]));
    let (_, _, done, _) = chunked(b"5\r\nhello\r\n0\r\n").unwrap();
    assert!(!done);
    let (_, _, done, _) = decode(Framing::UntilClose, b"hello", 5).unwrap();
    assert!(!done);
    assert!(Decoder::new(Framing::None).is_done());
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..10),
        step in 1usize..40,
    ) {
        let mut wire = BytesMut::new();
        for piece in &pieces {
            encode::chunk_start(&mut wire, piece.len());
            wire.extend_from_slice(piece);
            wire.extend_from_slice(encode::CHUNK_END);
        }
        encode::last_chunk(&mut wire, None);
        let (content, trailers, done, rest) = decode(Framing::Chunked, &wire, step).unwrap();
        prop_assert_eq!(content, pieces.concat());
        prop_assert!(done && trailers.is_none() && rest.is_empty());
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        step in 1usize..50,
    ) {
        let _ = decode(Framing::Chunked, &bytes, step);
    }
}

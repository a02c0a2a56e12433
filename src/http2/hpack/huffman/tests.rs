#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;

fn encoded(text: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::from(&b"before"[..]);
    encode(text, length(text), &mut out);
    out[6..].to_vec()
}

fn decoded(code: &[u8]) -> Result<Vec<u8>, HpackError> {
    decode(code, &mut Vec::new()).map(<[u8]>::to_vec)
}

/// A string of ones and zeros as bytes; the last one is filled with ones.
fn bits(text: &str) -> Vec<u8> {
    let text: Vec<_> = text.bytes().filter(|byte| *byte != b' ').collect();
    let byte =
        |bits: &[u8]| (0..8).fold(0, |byte, at| byte << 1 | u8::from(bits.get(at) != Some(&b'0')));
    text.chunks(8).map(byte).collect()
}

#[test]
fn the_computed_codes_are_those_of_the_rfc() {
    for (symbol, bits, length) in [
        (usize::from(b'0'), 0x0, 5),
        (usize::from(b'a'), 0x3, 5),
        (usize::from(b' '), 0x14, 6),
        (usize::from(b':'), 0x5c, 7),
        (usize::from(b'&'), 0xf8, 8),
        (usize::from(b'\\'), 0x7fff0, 19),
        (0, 0x1ff8, 13),
        (1, 0x007f_ffd8, 23),
        (127, 0x0fff_fffc, 28),
        (249, 0x0fff_fffe, 28),
        (255, 0x03ff_ffee, 26),
        (22, 0x3fff_fffe, 30),
        (256, 0x3fff_ffff, 30),
    ] {
        assert_eq!((CODES[symbol].bits, CODES[symbol].length), (bits, length), "{symbol}");
    }
}

#[test]
fn the_code_is_complete_so_every_window_begins_with_a_symbol() {
    let space: u64 = LENGTHS.iter().map(|length| 1 << (LONGEST - u32::from(*length))).sum();
    assert_eq!(space, 1 << LONGEST);
    for (at, code) in CODES.iter().enumerate() {
        let first = code.bits << (32 - code.length);
        assert_eq!(symbol(first), (at, code.length));
        assert_eq!(symbol(first | u32::MAX >> code.length), (at, code.length));
    }
}

#[test]
fn strings_are_encoded_as_another_implementation_does_it() {
    for (text, code) in [
        (&b""[..], &[][..]),
        (b"www.example.com", b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"),
        (b"302", b"\x64\x02"),
        (b"\x00\xff\x80{}|~^", b"\xff\xc7\xff\xff\xdd\xff\xfc\xdf\xff\xbf\xfd\xff\x9f\xfd\xff\xf3"),
        (b"%^&*<>\\`", b"\x57\xff\xcf\x8f\x9f\xff\x9f\xf7\xff\xfc\x3f\xfe\xff"),
        ("€".as_bytes(), b"\xff\xfe\xdf\xff\xe7\xff\xfe\xff"),
    ] {
        assert_eq!(length(text), code.len(), "{text:?}");
        assert_eq!(encoded(text), code, "{text:?}");
        assert_eq!(decoded(code).as_deref(), Ok(text));
    }
}

#[test]
fn every_byte_passes_at_every_place_of_a_string() {
    for byte in 0..=255 {
        for before in 0..20 {
            for after in 0..9 {
                let text = [vec![b'X'; before], vec![byte], vec![b'a'; after]].concat();
                assert_eq!(decoded(&encoded(&text)), Ok(text));
            }
        }
    }
}

#[test]
fn padding_is_up_to_seven_ones() {
    // A last symbol of each length from 5 to 8 bits, and so paddings of 3 to 0 bits; two of them.
    for (text, code) in [
        (&b"a"[..], "00011 111"),
        (b" ", "010100 11"),
        (b":", "1011100 1"),
        (b"&", "11111000"),
        (b"::", "1011100 1011100 11"),
        (b"aa", "00011 00011 111111"),
        (b"aa&", "00011 00011 11111000 111111"),
        (b":&&", "1011100 11111000 11111000 1"),
        (b"   &a", "010100 010100 010100 11111000 00011 1"),
        (b"a:::a", "00011 1011100 1011100 1011100 00011 1"),
        (b"aaa::", "00011 00011 00011 1011100 1011100 111"),
        (b"a: ", "00011 1011100 010100 111111"),
        (b"aa: ", "00011 00011 1011100 010100 1"),
        (b"aa:", "00011 00011 1011100 1111111"),
    ] {
        assert_eq!(decoded(&bits(code)).as_deref(), Ok(text), "{code}");
    }
}

#[test]
fn padding_of_eight_bits_or_more_is_refused() {
    for code in [
        "11111111",
        "00011 111 11111111",
        "11111000 11111111",
        "00011 00011 1011100 11111111 1111111",
    ] {
        assert_eq!(decoded(&bits(code)), Err(HpackError), "{code}");
    }
    for length in 1..100 {
        assert_eq!(decoded(&vec![0xff; length]), Err(HpackError), "{length}");
    }
}

#[test]
fn padding_with_a_zero_is_refused() {
    for code in ["00011 110", "00011 011", "010100 10", "1011100 0", "00011 00011 1011100 1111110"]
    {
        assert_eq!(decoded(&bits(code)), Err(HpackError), "{code}");
    }
}

#[test]
fn the_end_of_a_string_must_not_be_sent() {
    let end = "1".repeat(30);
    for code in [end.clone(), format!("00011 {end} 00011 00011 00011"), format!("{end} 00011")] {
        assert_eq!(decoded(&bits(&code)), Err(HpackError), "{code}");
    }
}

#[test]
fn a_code_cut_short_is_refused() {
    // `{` has 15 bits, the byte 1 has 23.
    for code in ["11111111 1111110", "1111111 11111111 10110"] {
        let code = bits(code);
        assert_eq!(decoded(&code[..code.len() - 1]), Err(HpackError));
    }
}

#[test]
fn a_buffer_that_was_used_before_gives_the_new_string_alone() {
    let mut buffer = Vec::new();
    assert_eq!(
        decode(&encoded(b"a longer string before"), &mut buffer),
        Ok(&b"a longer string before"[..])
    );
    assert_eq!(decode(&encoded(b"short"), &mut buffer), Ok(&b"short"[..]));
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself(text: Vec<u8>) {
        prop_assert_eq!(encoded(&text).len(), length(&text));
        prop_assert_eq!(decoded(&encoded(&text)), Ok(text));
    }

    /// The code is a bijection between strings and well padded bytes.
    #[test]
    fn bytes_that_decode_are_the_only_code_of_their_string(code: Vec<u8>) {
        if let Ok(text) = decoded(&code) {
            prop_assert_eq!(encoded(&text), code);
        }
    }
}

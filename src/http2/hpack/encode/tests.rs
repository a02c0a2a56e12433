#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::super::table::{FIRST, OVERHEAD};
use super::*;

fn block(encoder: &mut Encoder, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encoder.begin(&mut out);
    for (name, value) in fields {
        encoder.field(name.as_bytes(), value.as_bytes(), &mut out);
    }
    out.to_vec()
}

/// The first byte of each of two blocks that hold nothing but this field.
fn forms(name: &str, value: &str) -> [u8; 2] {
    let mut encoder = Encoder::new();
    [0; 2].map(|_| block(&mut encoder, &[(name, value)])[0])
}

#[test]
fn whole_fields_of_the_static_table_are_one_byte() {
    let mut encoder = Encoder::new();
    for (at, (name, value)) in STATIC.iter().enumerate() {
        let text = |bytes: &'static [u8]| std::str::from_utf8(bytes).unwrap();
        let known = names::find(name).expect("known");
        let is_secret = known.form == Form::NeverIndexed;
        let is_alone = known.index == at + 1 || !value.is_empty();
        assert!(is_alone, "{at}");
        let block = block(&mut encoder, &[(text(name), text(value))]);
        let byte = FIELD + u8::try_from(at + 1).unwrap();
        assert_eq!(block == [byte], !is_secret, "{} {block:?}", text(name));
    }
    assert_eq!(encoder.memory.max(), MOST);
}

#[test]
fn a_field_that_repeats_is_an_index_from_its_second_time_on() {
    let newest = FIELD + u8::try_from(FIRST).unwrap();
    assert_eq!(forms("Content-Type", "text/html"), [INDEXED + 31, newest]);
    assert_eq!(forms(":status", "201"), [INDEXED + 8, newest]);
    assert_eq!(forms(":method", "PUT"), [INDEXED + 2, newest]);
    assert_eq!(forms("date", "Mon, 21 Oct 2013 20:13:21 GMT"), [INDEXED + 33, newest]);
    assert_eq!(forms("X-Own", "1"), [INDEXED, newest]);
    assert_eq!(forms("x-own", ""), [INDEXED, newest]);
}

#[test]
fn secrets_are_never_indexed_whatever_the_case_of_their_name() {
    for name in ["cookie", "Set-Cookie", "AUTHORIZATION", "proxy-authorization", "X-Api-Key"] {
        for value in ["", "secret"] {
            let forms = forms(name, value);
            assert!(forms.iter().all(|first| first >> 4 == 1), "{name} {forms:?}");
        }
    }
}

#[test]
fn values_that_change_stay_out_of_the_table() {
    for (name, value) in [
        (":path", "/a"),
        ("Content-Length", "17"),
        ("etag", "\"1\""),
        ("location", "/a"),
        ("last-modified", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("age", "7"),
        ("content-range", "bytes 0-1/2"),
    ] {
        assert!(forms(name, value).iter().all(|first| first >> 4 == 0), "{name}");
    }
    let long = "v".repeat(LONGEST + 1);
    assert!(forms("x-own", &long).iter().all(|first| first >> 4 == 0));
}

#[test]
fn of_a_changing_value_without_a_static_name_the_name_alone_is_kept() {
    let mut encoder = Encoder::new();
    let first = block(&mut encoder, &[("X-Ignite-Execution-Id", "1")]);
    assert_eq!(first[0], INDEXED);
    for id in ["2", "3"] {
        let next = block(&mut encoder, &[("x-ignite-execution-id", id)]);
        assert_eq!(next, [NOT_INDEXED + 15, 62 - 15, 1, id.as_bytes()[0]]);
    }
}

#[test]
fn names_are_written_in_lower_case_and_strings_in_their_shorter_form() {
    let mut encoder = Encoder::new();
    let written = block(&mut encoder, &[("X-OWN", "~")]);
    // `~` as Huffman code has 13 bits.
    assert_eq!(
        written,
        [&[INDEXED, 0x84][..], b"\xf2\xb1\xfc\x55", &[1, b'~']].concat().as_slice()
    );
}

#[test]
fn a_smaller_table_of_the_peer_is_confirmed_before_the_next_block() {
    let mut encoder = Encoder::new();
    block(&mut encoder, &[("x-a", "1"), ("x-b", "1")]);
    encoder.set_max_table_size(40);
    assert_eq!(block(&mut encoder, &[]), [UPDATE + 31, 9]);
    assert_eq!(block(&mut encoder, &[("x-b", "1")]), [FIELD + 62]);
    encoder.set_max_table_size(40);
    assert!(block(&mut encoder, &[]).is_empty());
}

#[test]
fn the_least_size_between_two_blocks_is_said_too() {
    let mut encoder = Encoder::new();
    block(&mut encoder, &[("x-a", "1")]);
    encoder.set_max_table_size(0);
    encoder.set_max_table_size(30);
    encoder.set_max_table_size(8192);
    assert_eq!(block(&mut encoder, &[]), [UPDATE, UPDATE + 31, 0xe1, 0x1f]);
    assert_eq!(block(&mut encoder, &[("x-a", "1")])[0], INDEXED);
}

#[test]
fn a_larger_table_of_the_peer_does_not_make_ours_larger() {
    let mut encoder = Encoder::new();
    encoder.set_max_table_size(1 << 20);
    assert!(block(&mut encoder, &[]).is_empty());
    encoder.set_max_table_size(1000);
    encoder.set_max_table_size(1 << 20);
    assert_eq!(block(&mut encoder, &[]), [UPDATE + 31, 0xc9, 7, UPDATE + 31, 0xe1, 0x1f]);
}

#[test]
fn nothing_is_indexed_for_a_peer_without_a_table_or_with_too_small_a_one() {
    let mut encoder = Encoder::new();
    encoder.set_max_table_size(0);
    assert_eq!(block(&mut encoder, &[("x-a", "1")])[..2], [UPDATE, NOT_INDEXED]);
    assert_eq!(block(&mut encoder, &[("x-request-id", "1")])[0], NOT_INDEXED);
    encoder.set_max_table_size(3 + 1 + OVERHEAD - 1);
    assert_eq!(block(&mut encoder, &[("x-a", "1")])[2], NOT_INDEXED);
    encoder.set_max_table_size(3 + 1 + OVERHEAD);
    assert_eq!(block(&mut encoder, &[("x-a", "1")])[2], INDEXED);
}

#[test]
fn entries_are_found_until_they_leave_and_inserted_again_then() {
    let mut encoder = Encoder::new();
    let values: Vec<_> = (1000..1200).map(|value| value.to_string()).collect();
    let fields: Vec<_> = values.iter().map(|value| ("x-a", value.as_str())).collect();
    let kept = MOST / (3 + 4 + OVERHEAD);
    block(&mut encoder, &fields);
    for (at, field) in fields.iter().enumerate().rev().take(kept) {
        let index = FIRST + fields.len() - 1 - at;
        let mut wanted = BytesMut::new();
        integer::put(FIELD, 7, index, &mut wanted);
        assert_eq!(block(&mut encoder, &[*field]), wanted, "{field:?}");
    }
    assert_eq!(block(&mut encoder, &[fields[fields.len() - kept - 1]])[0], INDEXED);
}

#[test]
fn an_encoder_has_no_memory_before_its_first_entry() {
    let mut encoder = Encoder::new();
    block(&mut encoder, &[(":status", "200"), ("content-length", "1"), ("set-cookie", "a")]);
    assert!(format!("{encoder:?}").contains("chains: None"), "{encoder:?}");
}

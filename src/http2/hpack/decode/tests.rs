#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;

type Lines = Vec<(String, String)>;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().map(|digit| digit.to_digit(16).expect("a digit")).collect();
    let (pairs, _) = digits.as_chunks();
    pairs.iter().map(|[high, low]| u8::try_from(high << 4 | low).unwrap()).collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Lines, HpackError> {
    let mut lines = Vec::new();
    decoder.decode(block, |name, value| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        lines.push((text(name), text(value)));
    })?;
    Ok(lines)
}

fn decode_first(block: &[u8]) -> Result<Lines, HpackError> {
    decode(&mut Decoder::new(4096), block)
}

fn lines(text: &str) -> Lines {
    let line = |line: &str| line.trim().split_once(": ").map(|(n, v)| (n.to_owned(), v.to_owned()));
    text.lines().filter_map(line).collect()
}

/// The dynamic table, the newest first.
fn table(decoder: &Decoder) -> Lines {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let entry = |(name, value)| (text(name), text(value));
    (0..decoder.table.len()).filter_map(|age| decoder.table.entry(age)).map(entry).collect()
}

/// Decodes blocks one after the other: of each its hexadecimal digits and its fields.
fn assert_decoded(decoder: &mut Decoder, blocks: &[(&str, &str)]) {
    for (block, wanted) in blocks {
        assert_eq!(decode(decoder, &hex(block)), Ok(lines(wanted)), "{block}");
    }
}

const REQUESTS: [&str; 3] = [
    ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com",
    ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache",
    ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\n\
     custom-key: custom-value",
];

const RESPONSES: [&str; 3] = [
    ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n\
     location: https://www.example.com",
    ":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n\
     location: https://www.example.com",
    ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\n\
     location: https://www.example.com\ncontent-encoding: gzip\n\
     set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
];

#[test]
fn the_single_fields_of_appendix_c_2_are_decoded() {
    for (block, wanted, entries) in [
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", "custom-key: custom-header", 1),
        ("040c2f73616d706c652f70617468", ":path: /sample/path", 0),
        ("100870617373776f726406736563726574", "password: secret", 0),
        ("82", ":method: GET", 0),
    ] {
        let mut decoder = Decoder::new(4096);
        assert_decoded(&mut decoder, &[(block, wanted)]);
        assert_eq!(decoder.table.len(), entries);
    }
}

#[test]
fn the_requests_of_appendix_c_3_and_c_4_are_decoded() {
    let plain = [
        "828684410f7777772e6578616d706c652e636f6d",
        "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ];
    let huffman = [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ];
    for blocks in [plain, huffman] {
        let mut decoder = Decoder::new(4096);
        let cases: Vec<_> = blocks.into_iter().zip(REQUESTS).collect();
        assert_decoded(&mut decoder, &cases);
        let wanted =
            "custom-key: custom-value\ncache-control: no-cache\n:authority: www.example.com";
        assert_eq!(table(&decoder), lines(wanted));
    }
}

#[test]
fn the_responses_of_appendix_c_5_and_c_6_are_decoded_through_a_small_table() {
    let plain = [
        "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e\
         1768747470733a2f2f7777772e6578616d706c652e636f6d",
        "4803333037c1c0bf",
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d\
         4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b20766572\
         73696f6e3d31",
    ];
    let huffman = [
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b\
         97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdf\
         cd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ];
    for blocks in [plain, huffman] {
        let mut decoder = Decoder::new(256);
        let cases: Vec<_> = blocks.into_iter().zip(RESPONSES).collect();
        assert_decoded(&mut decoder, &cases);
        let wanted = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n\
            content-encoding: gzip\ndate: Mon, 21 Oct 2013 20:13:22 GMT";
        assert_eq!(table(&decoder), lines(wanted));
    }
}

#[test]
fn the_blocks_of_another_encoder_that_changes_its_table_are_decoded() {
    let first = lines(":method: PUT\nx-a: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\nvia: ");
    let mut decoder = Decoder::new(4096);
    let block = "4283d7c37f4083f2b0ff90ffc7ffffddfffcdfffbffdff9ffdfff37e9e8e38e38e38e38e38e38e38e38e38\
        e38e38e38e38e38e38e38e38e38e38e3bc";
    let mut taken = decode(&mut decoder, &hex(block)).expect("valid");
    assert_eq!(taken.remove(1).1, "\0\u{fffd}\u{fffd}{}|~^");
    assert_eq!(taken[..2], first[..2]);
    assert_eq!(taken[2], ("via".to_owned(), String::new()));
    assert_decoded(
        &mut decoder,
        &[
            (
                "3f59be4083f2b13f8d57ffcf8f9fff9ff7fffc3ffeff4083f2b49f88fffedfffe7fffeff",
                "x-a: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\nx-c: %^&*<>\\`\nx-d: €",
            ),
            ("20488210034083f2b13f810f", ":status: 201\nx-c: 1"),
            (
                "3fe11f4083f2b13f810fbe6196d07abe941054d444a8200595040b8166e082a62d1bff",
                "x-c: 1\nx-c: 1\ndate: Mon, 21 Oct 2013 20:13:21 GMT",
            ),
        ],
    );
}

#[test]
fn an_index_of_nothing_is_refused() {
    for block in [&[0x80][..], &[0xbe], &[0xff, 0x80, 0x80, 0x80, 0x7f], &[0x7e, 0], &[0x0f, 47, 0]]
    {
        assert_eq!(decode_first(block), Err(HpackError), "{block:?}");
    }
}

#[test]
fn a_block_cut_anywhere_within_a_field_is_refused() {
    let block = hex("418cf1e3c2e5f23a6ba0ab90f4ff");
    for end in 1..block.len() {
        assert_eq!(decode_first(&block[..end]), Err(HpackError), "{end}");
    }
    let block = hex("400a637573746f6d2d6b65790d637573746f6d2d686561646572");
    for end in 1..block.len() {
        assert_eq!(decode_first(&block[..end]), Err(HpackError), "{end}");
    }
    assert_eq!(decode_first(&[]), Ok(Vec::new()));
}

#[test]
fn a_length_beyond_the_block_costs_nothing() {
    let mut decoder = Decoder::new(4096);
    for length in
        [&[0x7f, 0xff, 0xff, 0xff, 0x7f][..], &[0xff, 0xff, 0xff, 0xff, 0x7f], &[0xff; 12]]
    {
        let block = [&[0x40, 1, b'a'], length, b"abc"].concat();
        assert_eq!(decode(&mut decoder, &block), Err(HpackError));
    }
    assert_eq!(decoder.name.capacity() + decoder.value.capacity(), 0);
}

#[test]
fn the_table_changes_before_the_first_field_only_and_at_most_twice() {
    assert_eq!(decode_first(&[0x20, 0x82]).map(|lines| lines.len()), Ok(1));
    assert_eq!(decode_first(&[0x20, 0x3f, 0xe1, 0x1f, 0x82]).map(|lines| lines.len()), Ok(1));
    assert_eq!(decode_first(&[0x20]), Ok(Vec::new()));
    assert_eq!(decode_first(&[0x20, 0x21, 0x22, 0x82]), Err(HpackError));
    assert_eq!(decode_first(&[0x82, 0x20]), Err(HpackError));
    assert_eq!(decode_first(&[0x82, 0x20, 0x82]), Err(HpackError));
}

#[test]
fn the_table_does_not_grow_beyond_what_we_allow() {
    // 4096, then 4097.
    assert_eq!(decode_first(&[0x3f, 0xe1, 0x1f]), Ok(Vec::new()));
    assert_eq!(decode_first(&[0x3f, 0xe2, 0x1f]), Err(HpackError));
    assert_eq!(decode(&mut Decoder::new(0), &[0x21]), Err(HpackError));
}

#[test]
fn a_smaller_table_forgets_its_oldest_entries() {
    let mut decoder = Decoder::new(4096);
    let block = [&[0x40, 1, b'a', 1, b'1'][..], &[0x40, 1, b'b', 1, b'2']].concat();
    decode(&mut decoder, &block).expect("valid");
    assert_decoded(&mut decoder, &[("3f0fbe", "b: 2")]);
    assert_eq!(decode(&mut decoder, &[0xbf]), Err(HpackError));
}

#[test]
fn an_entry_may_have_the_name_of_the_one_that_leaves_for_it() {
    let mut decoder = Decoder::new(64);
    let name = "a".repeat(20);
    let first = [&[0x40, 20], name.as_bytes(), &[1, b'1']].concat();
    decode(&mut decoder, &first).expect("valid");
    let taken = decode(&mut decoder, &[0x7e, 3, b'2', b'2', b'2', 0xbe]);
    assert_eq!(taken, Ok(vec![(name.clone(), "222".to_owned()); 2]));
    assert_eq!(table(&decoder), [(name, "222".to_owned())]);
}

#[test]
fn an_entry_larger_than_the_table_is_given_and_empties_it() {
    let mut decoder = Decoder::new(40);
    decode(&mut decoder, &[0x40, 1, b'a', 1, b'1']).expect("valid");
    let block = [&[0x7e, 10][..], b"0123456789"].concat();
    assert_eq!(decode(&mut decoder, &block), Ok(lines("a: 0123456789")));
    assert_eq!(decode(&mut decoder, &[0xbe]), Err(HpackError));
}

#[test]
fn a_large_string_leaves_no_large_buffer_behind() {
    let mut decoder = Decoder::new(4096);
    // 16000 times `0`, which has five bits.
    let code = vec![0; 10_000];
    let block = [&[0x00, 1, b'a', 0xff, 0x91, 0x4d][..], &code].concat();
    assert_eq!(decode(&mut decoder, &block).map(|lines| lines[0].1.len()), Ok(16_000));
    assert!(decoder.value.capacity() <= KEPT);
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        limit in 0..5000_usize,
        blocks: Vec<Vec<u8>>,
    ) {
        let mut decoder = Decoder::new(limit);
        for block in blocks {
            let _ = decoder.decode(&block, |_, _| {});
        }
    }

    /// Bytes that are mostly well formed reach further than any bytes do.
    #[test]
    fn no_fields_in_any_form_make_the_decoder_panic(
        parts in prop::collection::vec(
            prop_oneof![
                (0x80..0xff_u8).prop_map(|index| vec![index]),
                (0x40..0x80_u8, ".{0,40}").prop_map(|(index, text)| literal(index, &text)),
                (0..0x20_u8, ".{0,40}").prop_map(|(index, text)| literal(index, &text)),
            ],
            0..60,
        ),
        limit in 0..300_usize,
    ) {
        let mut decoder = Decoder::new(limit);
        for part in parts {
            let _ = decoder.decode(&part, |_, _| {});
        }
    }
}

fn literal(first: u8, text: &str) -> Vec<u8> {
    let mut block = bytes::BytesMut::from(&[first][..]);
    let code_length = huffman::length(text.as_bytes());
    if first.trailing_zeros() >= 4 {
        block.extend_from_slice(&[1, b'n']);
    }
    integer::put(0x80, 7, code_length, &mut block);
    huffman::encode(text.as_bytes(), code_length, &mut block);
    block.to_vec()
}

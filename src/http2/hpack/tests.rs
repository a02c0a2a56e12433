#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

type Lines = Vec<(Vec<u8>, Vec<u8>)>;

fn pass(encoder: &mut Encoder, decoder: &mut Decoder, fields: &Lines) -> Result<Lines, HpackError> {
    let mut block = BytesMut::new();
    encoder.begin(&mut block);
    for (name, value) in fields {
        encoder.field(name, value, &mut block);
    }
    let mut lines = Vec::new();
    decoder.decode(&block, |name, value| lines.push((name.to_vec(), value.to_vec())))?;
    Ok(lines)
}

/// Names of every kind, few enough that fields repeat.
fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::sample::select(&[
            ":status", ":path", "Content-Type", "content-length", "cookie", "date", "X-Request-Id",
            "x-ignite-execution-id", "accept-encoding", "x-api-key", "via",
        ][..]).prop_map(|name| name.as_bytes().to_vec()),
        1 => "[a-cA-C]{0,2}".prop_map(String::into_bytes),
        1 => any::<Vec<u8>>(),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => prop::sample::select(&["", "200", "gzip, deflate", "/", "text/html"][..])
            .prop_map(|value| value.as_bytes().to_vec()),
        2 => "[0-9]{1,2}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..400),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself_while_tables_change(
        blocks in prop::collection::vec(
            (
                prop::collection::vec(0..5000_usize, 0..3),
                prop::collection::vec((name(), value()), 0..30),
            ),
            0..20,
        ),
    ) {
        // The decoder stands for one that has announced all that the encoder was told.
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(5000));
        for (sizes, fields) in blocks {
            for size in sizes {
                encoder.set_max_table_size(size);
            }
            let wanted: Lines = fields
                .iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
                .collect();
            prop_assert_eq!(pass(&mut encoder, &mut decoder, &fields), Ok(wanted));
        }
    }
}

#[test]
fn tables_stay_in_step_over_many_more_entries_than_they_hold() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    for round in 0..20_000_u32 {
        // Some repeat soon, some late, some never.
        let number = |modulo: u32| (round % modulo).to_string().into_bytes();
        let fields = vec![
            (b"x-soon".to_vec(), number(3)),
            (b"x-late".to_vec(), number(90)),
            (b"x-never".to_vec(), number(u32::MAX)),
            (b"x-request-id".to_vec(), number(u32::MAX)),
        ];
        assert_eq!(pass(&mut encoder, &mut decoder, &fields).as_ref(), Ok(&fields));
    }
}

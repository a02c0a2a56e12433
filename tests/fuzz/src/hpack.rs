//! HPACK: any bytes are a block or an error, and what one encoder writes another decoder reads.
//! The first byte of an input is the table's size, every further block begins with its length.

use bytes::BytesMut;
use ignite_gateway::http2::hpack::{Decoder, Encoder};

use super::exchange::show;

/// What a small block may unfold to: each byte an index of an entry as large as the table.
const MOST: usize = 8 << 20;

/// The target.
pub fn run(input: &[u8]) {
    let Some((size, mut rest)) = input.split_first() else { return };
    let table = usize::from(*size) * 32;
    let mut decoder = Decoder::new(table);
    let (mut encoder, mut second) = (Encoder::new(), Decoder::new(4096));
    encoder.set_max_table_size(table);
    while let Some((length, tail)) = rest.split_first() {
        let (block, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = tail;
        let (mut fields, mut bytes) = (Vec::new(), 0);
        let decoded = decoder.decode(block, |name, value| {
            bytes += name.len() + value.len();
            fields.push((name.to_vec(), value.to_vec()));
        });
        assert!(bytes < MOST, "{bytes} of {}", show(block));
        let mut out = BytesMut::new();
        encoder.begin(&mut out);
        for (name, value) in &fields {
            encoder.field(name, value, &mut out);
        }
        let mut again = Vec::new();
        second
            .decode(&out, |name, value| again.push((name.to_vec(), value.to_vec())))
            .expect("our own block");
        for (name, _) in &mut fields {
            name.make_ascii_lowercase();
        }
        assert_eq!(again, fields, "{}", show(input));
        if decoded.is_err() {
            return;
        }
    }
}

//! Integers of a prefix of bits and as many bytes as they need, RFC 7541 section 5.1.

use bytes::{BufMut, BytesMut};

use super::HpackError;

/// Bytes after the prefix at most: what they can say, 2^28, is beyond every table and every block.
const MORE: usize = 4;

/// Takes an integer whose prefix is the last `bits` bits of the first byte.
#[inline]
pub(super) fn take(block: &mut &[u8], bits: u32) -> Result<usize, HpackError> {
    let (first, rest) = block.split_first().ok_or(HpackError)?;
    *block = rest;
    let full = (1 << bits) - 1;
    let prefix = usize::from(*first) & full;
    if prefix < full { Ok(prefix) } else { take_more(block, full) }
}

fn take_more(block: &mut &[u8], full: usize) -> Result<usize, HpackError> {
    let mut number = full;
    for (at, byte) in block.iter().take(MORE).enumerate() {
        number += usize::from(byte & 127) << (7 * at);
        if byte & 128 == 0 {
            *block = block.get(at + 1..).unwrap_or_default();
            return Ok(number);
        }
    }
    Err(HpackError)
}

/// Writes an integer after what `first` says in the bits before the prefix.
#[inline]
pub(super) fn put(first: u8, bits: u32, number: usize, out: &mut BytesMut) {
    let full = (1 << bits) - 1;
    if number < full {
        out.put_u8(first | low_byte(number));
        return;
    }
    out.put_u8(first | low_byte(full));
    let mut rest = number - full;
    while rest > 127 {
        out.put_u8(low_byte(rest) | 128);
        rest >>= 7;
    }
    out.put_u8(low_byte(rest));
}

fn low_byte(number: usize) -> u8 {
    number.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(mut block: &[u8], bits: u32) -> Result<(usize, usize), HpackError> {
        take(&mut block, bits).map(|number| (number, block.len()))
    }

    #[test]
    fn the_examples_of_the_rfc_are_written_and_read() {
        for (number, bits, bytes) in
            [(10, 5, &[10][..]), (1337, 5, &[31, 154, 10]), (42, 8, &[42]), (31, 5, &[31, 0])]
        {
            let mut out = BytesMut::new();
            put(0, bits, number, &mut out);
            assert_eq!(&out[..], bytes);
            assert_eq!(taken(bytes, bits), Ok((number, 0)));
        }
    }

    #[test]
    fn bits_before_the_prefix_and_bytes_after_the_integer_are_not_part_of_it() {
        assert_eq!(taken(&[0b1110_1010, 7, 7], 5), Ok((10, 2)));
        assert_eq!(taken(&[0b1111_1111, 0x9a, 10, 7], 5), Ok((1337, 1)));
    }

    #[test]
    fn an_integer_may_be_padded_with_zeros_but_not_without_end() {
        assert_eq!(taken(&[31, 0x80, 0x80, 0x80, 0], 5), Ok((31, 0)));
        assert_eq!(taken(&[31, 0x80, 0x80, 0x80, 0x80, 0], 5), Err(HpackError));
        assert_eq!(taken(&[31, 0xff, 0xff, 0xff, 0x7f], 5), Ok(((1 << 28) - 1 + 31, 0)));
        assert_eq!(
            taken(&[31, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], 5),
            Err(HpackError)
        );
    }

    #[test]
    fn an_integer_cut_short_is_refused() {
        for cut in [&[][..], &[31], &[31, 0x9a], &[31, 0x80, 0x80]] {
            assert_eq!(taken(cut, 5), Err(HpackError));
        }
    }
}

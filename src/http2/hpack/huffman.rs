//! The Huffman code of RFC 7541 appendix B.
//!
//! It is canonical: codes of one length count up in the order of their symbols,
//! so the lengths alone say all codes, and every table here is computed from
//! them when the program is compiled. Most symbols of a field have codes of five
//! to seven bits: one look-up of twelve bits finds up to two of them.

use bytes::BytesMut;

use super::HpackError;

/// The length of each byte's code, and of that of the end, of which a string holds the first bits
/// alone, as its padding.
#[rustfmt::skip]
static LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
     6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,
     5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
    13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
    15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,
     6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];
const SHORTEST: u32 = 5;
const LONGEST: u32 = 30;

#[derive(Clone, Copy)]
struct Code {
    bits: u32,
    length: u32,
}

/// The code of each symbol.
static CODES: [Code; 257] = codes();

#[allow(clippy::indexing_slicing, reason = "runs when compiled")]
const fn codes() -> [Code; 257] {
    let mut codes = [Code { bits: 0, length: 0 }; 257];
    let mut bits = 0;
    let mut length = SHORTEST;
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < codes.len() {
            if LENGTHS[symbol] as u32 == length {
                codes[symbol] = Code { bits, length };
                bits += 1;
            }
            symbol += 1;
        }
        bits <<= 1;
        length += 1;
    }
    codes
}

/// The codes of one length: `from` is the first of them and `to` the last one with all that may
/// follow it, at the top of 32 bits. Their symbols stand in [`SORTED`] from `at` on.
#[derive(Clone, Copy)]
struct Rank {
    from: u32,
    to: u32,
    at: usize,
}

/// By length, beginning with [`SHORTEST`].
static RANKS: [Rank; 26] = ranks().0;
/// The symbols in the order of their codes.
static SORTED: [usize; 257] = ranks().1;

#[allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "runs when compiled")]
const fn ranks() -> ([Rank; 26], [usize; 257]) {
    let mut ranks = [Rank { from: 0, to: 0, at: 0 }; 26];
    let mut sorted = [0; 257];
    let codes = codes();
    let (mut count, mut length) = (0, SHORTEST);
    while length <= LONGEST {
        let rank = &mut ranks[(length - SHORTEST) as usize];
        let mut symbol = 0;
        while symbol < codes.len() {
            if codes[symbol].length == length {
                let code = codes[symbol].bits << (32 - length);
                if rank.to == 0 {
                    *rank = Rank { from: code, to: 0, at: count };
                }
                rank.to = code | (u32::MAX >> length);
                sorted[count] = symbol;
                count += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    (ranks, sorted)
}

/// The symbol and the length of the code with which `window` begins.
#[allow(clippy::indexing_slicing, reason = "the code is complete: each window begins with a code")]
const fn symbol(window: u32) -> (usize, u32) {
    let mut length = SHORTEST;
    loop {
        let rank = RANKS[(length - SHORTEST) as usize];
        if window <= rank.to {
            let nth = (window - rank.from) >> (32 - length);
            return (SORTED[rank.at + nth as usize], length);
        }
        length += 1;
    }
}

/// How many bits a look-up takes. Twelve hold two symbols of six bits; the table has 16 KiB.
const STEP: u32 = 12;

/// The one or two symbols that some bits say; none if the first code is longer.
#[derive(Clone, Copy)]
struct Step {
    symbols: [u8; 2],
    count: u8,
    length: u8,
}

static STEPS: [Step; 1 << STEP] = steps();

#[allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "runs when compiled")]
const fn steps() -> [Step; 1 << STEP] {
    let mut steps = [Step { symbols: [0; 2], count: 0, length: 0 }; 1 << STEP];
    let mut bits = 0;
    while bits < steps.len() {
        let window = (bits as u32) << (32 - STEP);
        let (first, length) = symbol(window);
        if length <= STEP {
            let (second, more) = symbol(window << length);
            let (count, length) =
                if length + more <= STEP { (2, length + more) } else { (1, length) };
            let symbols = [first as u8, second as u8];
            steps[bits] = Step { symbols, count, length: length as u8 };
        }
        bits += 1;
    }
    steps
}

/// What a buffer for decoded strings has at least, so that few strings make it grow.
const SMALLEST: usize = 256;

/// Decodes a string into a buffer, which grows to what it needs and is not cleared.
pub(super) fn decode<'a>(code: &[u8], into: &'a mut Vec<u8>) -> Result<&'a [u8], HpackError> {
    // Each symbol has five bits or more, and two are written at a time.
    let most = code.len() * 8 / 5 + 2;
    if into.len() < most {
        into.resize(most.max(SMALLEST), 0);
    }
    let mut bits = Bits { window: 0, held: 0, rest: code };
    let mut at = 0;
    loop {
        bits.refill();
        let step = STEPS.get((bits.window >> (64 - STEP)) as usize).ok_or(HpackError)?;
        if step.count > 0 && u32::from(step.length) <= bits.held {
            *into.get_mut(at..).and_then(<[u8]>::first_chunk_mut).ok_or(HpackError)? = step.symbols;
            at += usize::from(step.count);
            bits.skip(u32::from(step.length));
            continue;
        }
        if bits.are_padding() {
            return into.get(..at).ok_or(HpackError);
        }
        let (symbol, length) = symbol((bits.window >> 32) as u32);
        if length > bits.held {
            return Err(HpackError);
        }
        // The end of a string is no byte: RFC 7541 section 5.2.
        *into.get_mut(at).ok_or(HpackError)? = u8::try_from(symbol).map_err(|_| HpackError)?;
        at += 1;
        bits.skip(length);
    }
}

/// The bits of a string from its first to its last.
struct Bits<'a> {
    /// The next bits, from the top; those that are not held are the string's further ones, or ones.
    window: u64,
    held: u32,
    rest: &'a [u8],
}

impl Bits<'_> {
    /// Holds at least the longest code, as long as there are so many bits.
    #[inline]
    fn refill(&mut self) {
        if self.held >= LONGEST {
            return;
        }
        if let Some(next) = self.rest.first_chunk() {
            self.window |= u64::from_be_bytes(*next) >> self.held;
            let bytes = (63 - self.held) / 8;
            self.rest = self.rest.get(bytes as usize..).unwrap_or_default();
            self.held += bytes * 8;
        } else {
            self.refill_at_end();
        }
    }

    fn refill_at_end(&mut self) {
        while self.held <= 56
            && let Some((next, rest)) = self.rest.split_first()
        {
            self.window |= u64::from(*next) << (56 - self.held);
            self.rest = rest;
            self.held += 8;
        }
        if self.rest.is_empty() {
            self.window |= u64::MAX.checked_shr(self.held).unwrap_or(0);
        }
    }

    #[inline]
    fn skip(&mut self, bits: u32) {
        self.window <<= bits;
        self.held -= bits;
    }

    /// RFC 7541 section 5.2: at most seven bits, and all of them ones.
    fn are_padding(&self) -> bool {
        self.rest.is_empty() && self.held < 8 && self.window.leading_ones() >= self.held
    }
}

/// How many bytes a string takes when it is encoded.
pub(super) fn length(text: &[u8]) -> usize {
    let length =
        |byte: &u8| LENGTHS.get(usize::from(*byte)).map_or(0, |length| usize::from(*length));
    text.iter().map(length).sum::<usize>().div_ceil(8)
}

/// Encodes a string into as many bytes as [`length`] says.
pub(super) fn encode(text: &[u8], length: usize, out: &mut BytesMut) {
    let start = out.len();
    out.resize(start + length, 0);
    let (words, tail) = out.get_mut(start..).unwrap_or_default().as_chunks_mut::<4>();
    let mut words = words.iter_mut();
    let (mut window, mut held) = (0, 0);
    for byte in text {
        let Some(code) = CODES.get(usize::from(*byte)) else { return };
        held += code.length;
        window |= u64::from(code.bits) << (64 - held);
        if held >= 32 {
            if let Some(word) = words.next() {
                *word = top(window);
            }
            window <<= 32;
            held -= 32;
        }
    }
    let last = top(window | (u64::MAX >> held));
    match words.next() {
        Some(word) => *word = last,
        None => tail.iter_mut().zip(last).for_each(|(byte, last)| *byte = last),
    }
}

fn top(window: u64) -> [u8; 4] {
    let [a, b, c, d, ..] = window.to_be_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests;

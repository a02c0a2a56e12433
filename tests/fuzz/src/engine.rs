//! Inputs on stable Rust: seeds from the repository, messages of the grammar,
//! and mutations of both. One number decides all of it.

use std::path::Path;
use std::time::{Duration, Instant};

use super::grammar;

/// Numbers that repeat themselves: SplitMix64.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// What `run` did.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    pub inputs: u64,
    pub took: Duration,
}

/// Calls a target with inputs until the time is over; tells each input to `before`.
pub fn run(
    name: &str,
    target: fn(&[u8]),
    seeds: &[Vec<u8>],
    seed: u64,
    time: Duration,
    mut before: impl FnMut(&[u8]),
) -> Done {
    let mut random = Random(seed);
    let start = Instant::now();
    let mut inputs = 0;
    // Seeds first: what was found once is looked at each time.
    for input in seeds {
        before(input);
        target(input);
        inputs += 1;
    }
    while start.elapsed() < time {
        let input = input(name, seeds, &mut random);
        before(&input);
        target(&input);
        inputs += 1;
    }
    Done { inputs, took: start.elapsed() }
}

/// The files of a target's folder of seeds, by name.
pub fn seeds(folder: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn input(name: &str, seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let generated = match name {
        "requests" | "http1" | "headers" if !random.once_in(4) => grammar::requests(random),
        "responses" if !random.once_in(4) => grammar::responses(random),
        _ => seeds[random.below(seeds.len())].clone(),
    };
    let mut input = generated;
    // Half of what the grammar makes is left as it is: most mutations only break it.
    let mutations = if random.once_in(2) { 0 } else { 1 + random.below(4) };
    for _ in 0..mutations {
        mutate(&mut input, seeds, random);
    }
    input
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let length = random.below(1 + random.clone().below(32)).min(input.len() - at);
    match random.below(9) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.next() as u8,
        2 => input.insert(at, random.pick(b"\r\n \t:;,0159aA/#?*%\0\x7f\x80\xff")),
        3 => drop(input.drain(at..at + length)),
        4 => {
            let copied = input[at..at + length].to_vec();
            let to = random.below(input.len() + 1);
            input.splice(to..to, copied);
        }
        5 => input.truncate(at),
        6 => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len() + 1);
            let length = random.below(other.len() - from + 1);
            input.splice(at..at, other[from..from + length].iter().copied());
        }
        7 => {
            let token = random.pick(grammar::TOKENS);
            input.splice(at..at, token.bytes());
        }
        _ => {
            let token = random.pick(grammar::TOKENS);
            input.splice(at..at + length, token.bytes());
        }
    }
}

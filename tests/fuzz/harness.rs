//! The fuzz targets on stable Rust, for a bounded time: seeds of the repository, messages of a
//! grammar, mutations of both. `just fuzz SECONDS` is the long run.
//!
//! - `IGNITE_FUZZ_SECONDS`: how long each target runs, 3 without it, two at a time on two cores.
//! - `IGNITE_FUZZ_SEED`: the number that decides all inputs; `random` for one of the clock's.
//! - `IGNITE_FUZZ_INPUT`: a file; each target asked for runs with it once, and nothing else.
//!
//! A finding prints the seed and keeps its input in `target/findings`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stderr)]
#![allow(clippy::pedantic, reason = "the targets are written for two harnesses")]

#[path = "src/lib.rs"]
mod targets;

use std::cell::{Cell, RefCell};
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use targets::engine;

/// Without a wish, the same inputs for every commit: what fails is what was changed.
const SEED: u64 = 20_261_130;
const SECONDS: u64 = 3;
/// So many inputs are kept of a finding: a stage outlives its input.
const KEPT: usize = 3;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    if text == "random" {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        return Some(now.as_nanos() as u64);
    }
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn fuzz(name: &str) {
    let (_, target) = targets::TARGETS.iter().find(|(other, _)| *other == name).expect("a target");
    if let Some(file) = env::var_os("IGNITE_FUZZ_INPUT") {
        return target(&std::fs::read(file).unwrap());
    }
    let seeds = engine::seeds(&root().join("tests/fuzz/seeds").join(name));
    assert!(!seeds.is_empty(), "no seeds");
    let seed = number("IGNITE_FUZZ_SEED").unwrap_or(SEED);
    let time = Duration::from_secs(number("IGNITE_FUZZ_SECONDS").unwrap_or(SECONDS));
    let (last, count) = (RefCell::new(Vec::new()), Cell::new(0_u64));
    let start = Instant::now();
    let before = |input: &[u8]| {
        count.set(count.get() + 1);
        let mut last = last.borrow_mut();
        if last.len() == KEPT {
            last.remove(0);
        }
        last.push(input.to_vec());
    };
    let run = AssertUnwindSafe(|| engine::run(name, *target, &seeds, seed, time, before));
    match catch_unwind(run) {
        Ok(done) => {
            let rate = done.inputs as f64 / done.took.as_secs_f64();
            eprintln!(
                "{name}: {} inputs in {:.1?}, {rate:.0}/s, seed {seed}",
                done.inputs, done.took
            );
        }
        Err(panic) => {
            let files = keep(name, &last.borrow());
            eprintln!(
                "{name}: a finding after {} inputs in {:.1?}, IGNITE_FUZZ_SEED={seed}; the last \
                 inputs, the last first:",
                count.get(),
                start.elapsed()
            );
            files.iter().rev().for_each(|file| eprintln!("  IGNITE_FUZZ_INPUT={}", file.display()));
            resume_unwind(panic);
        }
    }
}

fn keep(name: &str, inputs: &[Vec<u8>]) -> Vec<PathBuf> {
    let folder = root().join("target/findings");
    std::fs::create_dir_all(&folder).unwrap();
    let files: Vec<_> = inputs
        .iter()
        .map(|input| folder.join(format!("{name}-{:016x}", targets::stage::fnv(input))))
        .collect();
    files.iter().zip(inputs).for_each(|(file, input)| std::fs::write(file, input).unwrap());
    files
}

#[test]
fn any_configuration_text_is_understood_or_refused_at_its_line() {
    fuzz("config");
}

#[test]
fn no_field_of_a_caller_reaches_the_app_that_must_not() {
    fuzz("headers");
}

#[test]
fn a_host_is_one_name_or_none() {
    fuzz("host");
}

#[test]
fn any_field_block_is_decoded_or_refused() {
    fuzz("hpack");
}

#[test]
fn heads_and_bodies_are_read_as_a_second_parser_reads_them() {
    fuzz("http1");
}

#[test]
fn any_frames_are_answered_with_frames_however_they_are_cut() {
    fuzz("http2");
}

#[test]
fn a_proxy_header_is_taken_whole_and_says_what_the_specification_says() {
    fuzz("proxy_protocol");
}

#[test]
fn the_app_sees_the_requests_that_a_second_parser_sees_and_no_others() {
    fuzz("requests");
}

#[test]
fn the_caller_sees_the_response_that_a_second_parser_sees_and_no_other() {
    fuzz("responses");
}

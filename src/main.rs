#![allow(clippy::print_stdout)]
//! x
fn main() {}

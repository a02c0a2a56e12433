#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ignite_gateway_fuzz::headers::run(input));

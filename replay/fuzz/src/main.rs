//! Bytes of anybody's making for the reader of recordings, by libFuzzer: `run` builds and runs it.
#![no_main]

mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(bytes));

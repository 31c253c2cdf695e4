#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| avid_fuzz_targets::run("hello", bytes));

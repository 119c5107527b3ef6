#![no_main]

#[path = "../trials.rs"]
#[expect(dead_code, reason = "each target runs one of them")]
mod trials;

libfuzzer_sys::fuzz_target!(|data: &[u8]| trials::email(data));

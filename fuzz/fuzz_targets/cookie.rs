#![no_main]

#[path = "../../tests/it/corpus/cookie.rs"]
mod cookie;

libfuzzer_sys::fuzz_target!(|data: &[u8]| cookie::check(data));

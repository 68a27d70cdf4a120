#![no_main]

#[path = "../../tests/it/corpus/client_hello.rs"]
mod client_hello;

libfuzzer_sys::fuzz_target!(|data: &[u8]| client_hello::check(data));

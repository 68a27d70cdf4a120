#![no_main]

#[path = "../../tests/it/corpus/host.rs"]
mod host;

libfuzzer_sys::fuzz_target!(|data: &[u8]| host::check(data));

#![no_main]

#[path = "../../tests/it/corpus/document.rs"]
mod document;

libfuzzer_sys::fuzz_target!(|data: &[u8]| document::check(data));

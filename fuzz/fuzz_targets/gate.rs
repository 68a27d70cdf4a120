#![no_main]

#[path = "../../tests/it/corpus/gate.rs"]
mod gate;

libfuzzer_sys::fuzz_target!(|data: &[u8]| gate::check(data));

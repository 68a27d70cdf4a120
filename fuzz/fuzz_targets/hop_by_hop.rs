#![no_main]

#[path = "../../tests/it/corpus/hop_by_hop.rs"]
mod hop_by_hop;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hop_by_hop::check(data));

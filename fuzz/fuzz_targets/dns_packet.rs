#![no_main]

#[path = "../../tests/it/corpus/dns_packet.rs"]
mod dns_packet;

libfuzzer_sys::fuzz_target!(|data: &[u8]| dns_packet::check(data));

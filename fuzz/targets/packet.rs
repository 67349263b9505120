#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| tiltyard_netcode::fuzz::packet(data));

#![no_main]

#[expect(dead_code, reason = "what its own tests begin with")]
#[path = "../../client/tests/it/hostile_state.rs"]
mod hostile_state;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile_state::state(data));

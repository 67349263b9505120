//! The golden text of a build for wasm32, where a program has no output: `tests/golden/run.mjs` reads it from memory.

mod chains;

/// Plays the golden battles. Returns where their text lies, the address above and the length below 32 bits; it stays
/// there for good.
///
/// # Panics
/// As [`chains::text`], which on wasm32 ends the module with a trap.
// SAFETY: no other function of this name exists in the module.
#[unsafe(no_mangle)]
pub extern "C" fn run() -> u64 {
    let text: &'static str = chains::text().leak();
    (text.as_ptr() as usize as u64) << 32 | text.len() as u64
}

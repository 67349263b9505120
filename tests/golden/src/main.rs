//! Prints the golden text of this build: `cargo run --manifest-path tests/golden/Cargo.toml`.

mod chains;

fn main() {
    print!("{}", chains::text());
}

//! The golden chains: the state hashes of whole battles, which every build on every machine must come to.

// One text, played here by the test harness and by `scripts/architectures` on machines that have none.
#[path = "../../tests/golden/src/chains.rs"]
mod chains;

/// `BLESS=1 cargo test --test golden` writes the file anew: only after a change of rules that is meant.
#[test]
fn the_golden_chains_hold() {
    let text = chains::text();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/golden.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &text).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(path).expect("the golden file is there");
    let first = text.lines().zip(golden.lines()).find(|(ours, golden)| ours != golden);
    assert_eq!(first, None, "the rules, the hash or the mathematics have changed (ours, golden)");
    assert_eq!(text.len(), golden.len(), "lines are missing or too many");
}

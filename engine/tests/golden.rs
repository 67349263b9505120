//! The golden chain: the state hashes of a battle, which every build on every machine must come to.

use tiltyard_engine::skirmish::Skirmish;
use tiltyard_engine::{BattleSpec, Game, testing};

/// The hashes of every 20th tick of a 600-tick battle of scripted players, from `tests/data/skirmish-600.txt`.
///
/// `BLESS=1 cargo test --test golden` writes the file anew: only after a change of rules that is meant.
#[test]
fn the_golden_chain_holds() {
    let spec = BattleSpec::<Skirmish>::bots(&Skirmish::modes()[0], 2026);
    let played = testing::play(&spec, 600);
    let lines = played.iter().filter(|(record, _)| record.tick.0.is_multiple_of(20));
    let chain: String = lines.map(|(record, hash)| format!("{} {hash}\n", record.tick)).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/skirmish-600.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &chain).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(path).expect("the golden file is there");
    assert_eq!(chain, golden, "the rules, the hash or the mathematics have changed");
}

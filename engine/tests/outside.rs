//! Skirmish stands no closer to the engine than anybody else's game: its source is compiled here once more, in a crate
//! that sees the engine's public face alone, and plays the same battle. Its own tests run along.

use tiltyard_engine::*;

// What the source calls `crate` is this file, and all that is here is what the engine shows.
#[allow(dead_code, unused_imports, unreachable_pub, reason = "the copy is played, not used by its face")]
#[path = "../src/skirmish/mod.rs"]
mod skirmish;

#[test]
fn skirmish_plays_the_same_battle_outside_of_the_engine() {
    fn chain<G: Game>() -> Vec<StateHash> {
        let spec = BattleSpec::<G>::bots(&G::modes()[0], 7);
        testing::play(&spec, 300).into_iter().map(|(_, hash)| hash).collect()
    }
    assert_eq!(chain::<skirmish::Skirmish>(), chain::<tiltyard_engine::skirmish::Skirmish>());
}

//! Playing and seeking.

use std::io::Cursor;

use tiltyard_engine::{BattleSpec, testing};
use tiltyard_replay::{PlayError, Player};

use crate::game::{Joust, Lie, recorded, spec};
use crate::sample::Dice;
use crate::verifying::{later_part, taken_over};

type Play = Player<Joust, Cursor<Vec<u8>>>;

fn straight(spec: &BattleSpec<Joust>, ticks: u32) -> Vec<u64> {
    testing::play(spec, ticks).iter().map(|(_, hash)| hash.0).collect()
}

#[test]
fn playing_gives_the_battle_again() {
    let mut player = Play::open(Cursor::new(recorded(330, Lie::default()))).expect("a recording");
    assert_eq!((player.tick(), player.last_tick()), (0, 330));
    for (tick, expected) in (1..).zip(straight(&spec(), 330)) {
        let hash = player.step().expect("whole").expect("another tick");
        assert_eq!((player.tick(), hash.0), (tick, expected));
        assert_eq!(player.recorded_hash(), Some(hash));
    }
    assert_eq!(player.step(), Ok(None));
    assert_eq!(player.step(), Ok(None));
}

#[test]
fn seek_equals_play_at_every_tick() {
    let hashes = straight(&spec(), 330);
    let bytes = recorded(330, Lie::default());
    let torn = bytes[..bytes.len() - 7].to_vec();
    for bytes in [bytes, torn] {
        let mut player = Play::open(Cursor::new(bytes)).expect("a recording");
        let start = player.battle().state_hash().0;
        let expected = |tick: u32| if tick == 0 { start } else { hashes[tick as usize - 1] };
        let mut dice = Dice::new("seek_equals_play_at_every_tick");
        let walks = (0..=330).chain((0..=330).rev()).chain((0..300).map(|_| dice.below(331) as u32));
        for tick in walks.collect::<Vec<_>>() {
            assert_eq!(player.seek(tick), Ok(tick));
            assert_eq!(player.battle().state_hash().0, expected(tick), "tick {tick}");
            if tick < 330 {
                assert_eq!(player.step().map(|hash| hash.map(|hash| hash.0)), Ok(Some(expected(tick + 1))));
            }
        }
        assert_eq!(player.seek(1_000_000), Ok(330));
    }
}

#[test]
fn player_at_damage_stays_and_seeks_past_it() {
    let mut bytes = recorded(330, Lie::default());
    let opened = tiltyard_replay::Recording::open(Cursor::new(&bytes)).expect("a recording");
    let keyframe = opened.keyframes()[1];
    let victim = keyframe.offset as usize - 10;
    bytes[victim] ^= 1;
    let hashes = straight(&spec(), 330);
    let mut player = Play::open(Cursor::new(bytes)).expect("a recording");
    assert!(matches!(player.seek(195), Err(PlayError::Read(_))));
    let stands = player.tick();
    assert!((150..195).contains(&stands));
    assert_eq!(player.battle().state_hash().0, hashes[stands as usize - 1]);
    assert_eq!(player.seek(250), Ok(250));
    assert_eq!(player.battle().state_hash().0, hashes[249]);
    assert_eq!(player.seek(20), Ok(20));
    assert_eq!(player.battle().state_hash().0, hashes[19]);
}

#[test]
fn later_part_plays_from_its_keyframe_on() {
    let hashes = straight(&spec(), 330);
    let later = later_part(&recorded(330, Lie::default()), 200);
    let mut player = Play::open(Cursor::new(later)).expect("a recording");
    assert_eq!((player.tick(), player.last_tick()), (200, 330));
    assert_eq!(player.battle().state_hash().0, hashes[199]);
    assert_eq!(player.seek(199), Err(PlayError::TooEarly { first: 200 }));
    assert_eq!(player.seek(250), Ok(250));
    assert_eq!(player.battle().state_hash().0, hashes[249]);
    assert_eq!(player.seek(200), Ok(200));
    assert_eq!(player.battle().state_hash().0, hashes[199]);
}

#[test]
fn takeover_goes_back_to_its_keyframe_and_on() {
    let hashes = straight(&spec(), 330);
    let mut player = Play::open(Cursor::new(taken_over(Lie::default()))).expect("a recording");
    let mut played = Vec::new();
    while let Some(hash) = player.step().expect("whole") {
        assert_eq!(hash.0, hashes[player.tick() as usize - 1]);
        played.push(player.tick());
    }
    assert_eq!(played, (1..=230).chain(201..=330).collect::<Vec<_>>());
    for tick in [215, 214, 330, 231, 5, 200, 201] {
        assert_eq!(player.seek(tick), Ok(tick));
        assert_eq!(player.battle().state_hash().0, hashes[tick as usize - 1], "tick {tick}");
    }
}

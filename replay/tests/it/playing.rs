//! Playing and seeking.

use std::cell::Cell;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::rc::Rc;

use tiltyard_engine::{BattleSpec, testing};
use tiltyard_replay::{PlayError, Player, Recording};

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
    let opened = Recording::open(Cursor::new(&bytes)).expect("a recording");
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

/// A recording that is being written: so many of its bytes are there.
struct Growing {
    bytes: Rc<[u8]>,
    there: Rc<Cell<usize>>,
    at: usize,
}

impl Read for Growing {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = (&self.bytes[self.at.min(self.there.get())..self.there.get()]).read(out)?;
        self.at += read;
        Ok(read)
    }
}

impl Seek for Growing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at as usize,
            SeekFrom::End(back) => (self.there.get() as i64 + back) as usize,
            SeekFrom::Current(on) => (self.at as i64 + on) as usize,
        };
        Ok(self.at as u64)
    }
}

#[test]
fn a_recording_that_is_being_written_is_played_as_far_as_it_is_there() {
    let hashes = straight(&spec(), 330);
    let mut dice = Dice::new("a_recording_that_is_being_written");
    for bytes in [recorded(330, Lie::default()), later_part(&recorded(330, Lie::default()), 200)] {
        for largest in [40, 3_000, 60_000] {
            let bytes: Rc<[u8]> = bytes.clone().into();
            let there = Rc::new(Cell::new(0));
            let source = || Growing { bytes: Rc::clone(&bytes), there: Rc::clone(&there), at: 0 };
            let mut player = None;
            while there.get() < bytes.len() {
                there.set((there.get() + 1 + dice.below(largest)).min(bytes.len()));
                let Some(player) = player.as_mut() else {
                    // There may not even be a whole head yet, or no keyframe of a later part.
                    player = Player::<Joust, _>::open(source()).ok();
                    continue;
                };
                let before = player.tick();
                assert_eq!(player.refresh(), Ok(()));
                assert_eq!(player.tick(), before);
                let opened = Recording::open(Cursor::new(&bytes[..there.get()])).expect("a head");
                assert_eq!(player.last_tick(), opened.last_tick());
                assert_eq!(player.keyframes(), opened.keyframes());
                assert_eq!(player.is_complete(), opened.is_complete());
                let first = if player.header().part == 0 { 1 } else { 200 };
                if let Some(ticks @ 1..) = (player.last_tick() + 1).checked_sub(first) {
                    let tick = first + dice.below(ticks as usize) as u32;
                    assert_eq!(player.seek(tick), Ok(tick));
                    assert_eq!(player.battle().state_hash().0, hashes[tick as usize - 1], "tick {tick}");
                }
            }
            let mut player = player.unwrap_or_else(|| Player::open(source()).expect("it is whole"));
            assert_eq!(player.seek(330), Ok(330));
            assert_eq!(player.battle().state_hash().0, hashes[329]);
        }
    }
}

//! The golden battles, and what they leave behind as text.
//!
//! ```text
//! math HASH                  the self-test of the engine's mathematics
//! protocol HASH              what peers compare before they speak
//! BATTLE TICK HASH           the state hash at the end of a tick
//! BATTLE records DIGEST      all tick records, as they are recorded and sent
//! BATTLE snapshots DIGEST    a snapshot of each line's state against that of the line before
//! BATTLE keyframe DIGEST     a keyframe of the last state
//! ```
//!
//! Whoever prints other text than `tests/data/golden.txt` can neither play nor verify with those who print it.

use std::fmt::Write;

use tiltyard_engine::skirmish::Skirmish;
use tiltyard_engine::{
    Battle, BattleSpec, Game, Registry, Save, TickRecord, decode_keyframe, encode_keyframe, math, snapshot,
};

/// A battle of scripted players.
struct Golden {
    /// A mode of the game or a scene that it is measured by.
    mode: &'static str,
    ticks: u32,
    /// Ticks between two lines; divides `ticks`.
    every: u32,
}

/// Battles of a few seats to their end, and the beginning of two with so many actors that sorting and searching matter.
const GOLDEN: [Golden; 5] = [
    Golden { mode: "skirmish", ticks: 5400, every: 100 },
    Golden { mode: "duel", ticks: 3600, every: 100 },
    Golden { mode: "melee", ticks: 5400, every: 100 },
    Golden { mode: "war", ticks: 2000, every: 100 },
    Golden { mode: "1000x3000", ticks: 200, every: 10 },
];

const SEED: u64 = 2026;

/// Plays all golden battles and tells what came out.
///
/// # Panics
/// If a battle does not start, or if a snapshot or a keyframe does not lead to the state that it was taken of.
pub(crate) fn text() -> String {
    let registry = Registry::of::<Skirmish>().expect("skirmish lists its state");
    let mut text = format!("math {:016x}\n", math::self_test_hash());
    writeln!(text, "protocol {}", registry.protocol_hash::<Skirmish>()).expect(ROOM);
    for golden in &GOLDEN {
        golden.play(&registry, &mut text);
    }
    text
}

impl Golden {
    fn play(&self, registry: &Registry, text: &mut String) {
        let mut modes = Skirmish::modes().into_iter().chain(Skirmish::scenes());
        let mode = modes.find(|mode| mode.name == self.mode).expect("the game has what is golden");
        let mut battle = Battle::new(BattleSpec::<Skirmish>::bots(&mode, SEED)).expect("the battle starts");
        let (seats, rate) = (battle.spec().roster.len(), battle.spec().terms.rate);
        let mut before = TickRecord::neutral(battle.tick(), seats);
        let (mut records, mut snapshots) = (Digest::default(), Digest::default());
        let (mut baseline, mut now, mut decoded) = (Save::default(), Save::default(), Save::default());
        battle.save(&mut baseline);
        let mut bytes = Vec::new();
        for tick in 1..=self.ticks {
            let mut record = TickRecord::neutral(battle.tick(), 0);
            battle.bot_record(&mut record);
            let hash = battle.step(&record);
            bytes.clear();
            record.encode(&before, &mut bytes);
            records.add(&bytes);
            before = record;
            if tick % self.every != 0 {
                continue;
            }
            writeln!(text, "{} {tick} {hash}", self.mode).expect(ROOM);
            battle.save(&mut now);
            bytes.clear();
            snapshot::encode(registry, rate, &now, Some(&baseline), &mut bytes);
            snapshots.add(&bytes);
            snapshot::decode(registry, rate, now.tick(), Some(&baseline), &bytes, &mut decoded)
                .expect("a snapshot of our own decodes");
            assert_eq!(decoded.hashes().state(), hash, "{}: snapshot at tick {tick}", self.mode);
            std::mem::swap(&mut baseline, &mut now);
        }
        let keyframe = encode_keyframe(&baseline, &before);
        let (state, _) = decode_keyframe::<<Skirmish as Game>::Input>(&keyframe, registry, seats)
            .expect("a keyframe of our own decodes");
        assert_eq!(state.hashes().state(), battle.state_hash(), "{}: keyframe", self.mode);
        let keyframe = Digest::default().with(&keyframe);
        for (name, digest) in [("records", records), ("snapshots", snapshots), ("keyframe", keyframe)] {
            writeln!(text, "{} {name} {:016x}", self.mode, digest.0).expect(ROOM);
        }
    }
}

const ROOM: &str = "a string takes what is written";

/// FNV-1a of 64 bits, so that this needs no crate beside the engine. It guards against mistakes, not against people.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        // The length goes first, so that bytes cannot wander from one piece to the next unseen.
        for byte in (bytes.len() as u32).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn with(mut self, bytes: &[u8]) -> Self {
        self.add(bytes);
        self
    }
}

//! What hostile bytes may not do to a client's state, as a function of bytes: the package `fuzz` calls it too.

use std::sync::OnceLock;

use tiltyard_engine::skirmish::{Input, Skirmish};
use tiltyard_engine::{
    Battle, BattleSpec, Game as _, Mixer, Registry, Save, TickRecord, decode_keyframe, encode_keyframe,
    snapshot,
};

/// A battle in full fight.
struct Fight {
    registry: Registry,
    spec: BattleSpec<Skirmish>,
    now: Save,
    /// The state 4 ticks ago.
    baseline: Save,
    /// The newest record, and the one that follows.
    record: TickRecord<Input>,
    next: TickRecord<Input>,
}

fn fight() -> &'static Fight {
    static FIGHT: OnceLock<Fight> = OnceLock::new();
    FIGHT.get_or_init(|| {
        let spec = BattleSpec::<Skirmish>::bots(&Skirmish::modes()[0], 7);
        let mut battle = Battle::new(spec.clone()).expect("skirmish starts");
        let mut record = TickRecord::neutral(battle.tick(), 0);
        let (mut baseline, mut now) = (Save::default(), Save::default());
        for tick in 1..=60 {
            battle.bot_record(&mut record);
            battle.step(&record);
            if tick == 56 {
                battle.save(&mut baseline);
            }
        }
        battle.save(&mut now);
        let mut next = record.clone();
        battle.bot_record(&mut next);
        let registry = Registry::of::<Skirmish>().expect("skirmish is sound");
        Fight { registry, spec, now, baseline, record, next }
    })
}

/// Takes bytes as a snapshot against nothing or a baseline, as a keyframe, as the next tick's record, as a
/// specification, or as a short snapshot with its marks; the first byte says which. What is taken is what it would be
/// told as.
///
/// # Panics
/// If a promise does not hold.
pub(crate) fn state(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let Fight { registry, spec, now, baseline, record, .. } = fight();
    let rate = spec.terms.rate;
    let mut save = Save::default();
    let tell_again = |save: &Save| {
        let (mut again, mut told) = (Save::default(), Vec::new());
        snapshot::encode(registry, rate, save, None, &mut told);
        snapshot::decode(registry, rate, now.tick(), None, &told, &mut again).expect("it was just told");
        assert_eq!(*save, again);
    };
    match kind % 6 {
        0 | 1 => {
            let against = (kind % 6 == 1).then_some(baseline);
            if snapshot::decode(registry, rate, now.tick(), against, bytes, &mut save).is_ok() {
                tell_again(&save);
            }
        }
        2 => {
            let seats = spec.roster.len();
            if let Ok((save, record)) = decode_keyframe::<Input>(bytes, registry, seats) {
                let told = encode_keyframe(&save, &record);
                assert_eq!(decode_keyframe(&told, registry, seats), Ok((save, record)));
            }
        }
        3 => {
            let mut next = record.clone();
            if next.advance(bytes).is_ok() {
                let mut told = Vec::new();
                next.encode(record, &mut told);
                assert_eq!(told, bytes);
            }
        }
        4 => {
            if let Ok(spec) = BattleSpec::<Skirmish>::decode(bytes) {
                assert_eq!(spec.encode(), bytes);
            }
        }
        _ => {
            let marks_and_body =
                bytes.split_first().and_then(|(len, rest)| rest.split_at_checked((*len).into()));
            let Some((marks, body)) = marks_and_body else { return };
            let (mut mixer, mut known, mut told) = (Mixer::default(), Save::default(), Save::default());
            if mixer.without(registry, baseline, marks, &mut known).is_ok()
                && snapshot::decode(registry, rate, now.tick(), Some(&known), body, &mut told).is_ok()
                && mixer.with(registry, &told, baseline, marks, &mut save).is_ok()
            {
                tell_again(&save);
            }
        }
    }
}

/// Inputs that are taken, one of each kind: what fuzzing begins with.
#[cfg(test)]
fn genuine() -> Vec<Vec<u8>> {
    let Fight { registry, spec, now, baseline, record, next } = fight();
    let mut inputs = vec![vec![0], vec![1], vec![2], vec![3], vec![4], vec![5]];
    snapshot::encode(registry, spec.terms.rate, now, None, &mut inputs[0]);
    snapshot::encode(registry, spec.terms.rate, now, Some(baseline), &mut inputs[1]);
    inputs[2].extend(encode_keyframe(now, record));
    next.encode(record, &mut inputs[3]);
    inputs[4].extend(spec.encode());
    // What is there before and after stays as it was.
    let there = |save: &Save, other: &Save| {
        let (mut marks, mut row) = (vec![0; save.rows(registry).div_ceil(8)], 0);
        save.compare_rows(registry, other, |_, compared| {
            marks[row / 8] |= u8::from(compared != tiltyard_engine::Compared::Missing) << (row % 8);
            row += 1;
        });
        marks
    };
    let (mut mixer, mut known, mut new) = (Mixer::default(), Save::default(), Save::default());
    let stale = there(baseline, now);
    mixer.without(registry, baseline, &stale, &mut known).expect("marks of its rows");
    mixer.without(registry, now, &there(now, baseline), &mut new).expect("marks of its rows");
    inputs[5].push(u8::try_from(stale.len()).expect("few rows"));
    inputs[5].extend(stale);
    snapshot::encode(registry, spec.terms.rate, &new, Some(&known), &mut inputs[5]);
    inputs
}

#[cfg(test)]
mod tests {
    use tiltyard_netcode::link::{Random, seed_from_environment};

    use super::*;

    const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/state.txt");

    fn corpus() -> Vec<Vec<u8>> {
        let byte =
            |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).expect("ASCII"), 16).expect("hex");
        let text = std::fs::read_to_string(CORPUS).expect("there is a corpus");
        text.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
    }

    #[test]
    fn the_corpus_of_states_holds_what_was_promised() {
        let corpus = corpus();
        assert!(corpus.len() > 1);
        corpus.iter().for_each(|input| state(input));
    }

    #[test]
    fn changes_of_genuine_states_hold_what_was_promised() {
        let seed = seed_from_environment(31);
        eprintln!("SEED={seed}");
        let mut random = Random::new(seed);
        for genuine in genuine() {
            state(&genuine);
            for _ in 0..2_000 {
                let mut input = genuine.clone();
                for _ in 0..1 + random.below(4) {
                    // The first byte says what it is.
                    let at = 1 + random.below(input.len() as u64 - 1) as usize;
                    input[at] ^= 1 << random.below(8);
                }
                if random.is_hit(2_000) {
                    input.truncate(1 + random.below(input.len() as u64) as usize);
                }
                state(&input);
            }
        }
    }
}

//! Parts cut out of recordings.

use std::io::Cursor;

use tiltyard_replay::{CutError, OnDamage, Recording, Summary, cut, diff, verify};

use crate::game::{Joust, Lie, NUDGE, recorded};
use crate::sample::{Dice, read, recording, runs};
use crate::verifying::{later_part, mutated, taken_over};

fn part(bytes: &[u8], from: u32, to: u32) -> (u32, Vec<u8>) {
    let (found, part) = cut(Cursor::new(bytes), from, to, Vec::new()).expect("it has these ticks");
    assert_eq!(found.sealed.recording_hash, *blake3::hash(&part).as_bytes());
    (found.first_tick, part)
}

#[test]
fn every_part_is_a_whole_recording_that_says_the_same() {
    let whole = recorded(330, Lie { parts_every: 10, ..Lie::default() });
    let mut dice = Dice::new("every_part_is_a_whole_recording_that_says_the_same");
    let edges = [(1, 1), (1, 100), (1, 330), (100, 100), (100, 101), (101, 101), (300, 300), (301, 330)];
    let random = std::iter::repeat_with(|| (1 + dice.below(330) as u32, 1 + dice.below(330) as u32)).take(60);
    for (from, to) in edges.into_iter().chain(random.map(|(a, b)| (a.min(b), a.max(b)))) {
        let (first, part) = part(&whole, from, to);
        assert_eq!(first, (from - 1) / 100 * 100 + 1, "from the keyframe before tick {from}");
        let verdict = verify::<Joust>(&part[..], OnDamage::Stop, |_| {}).expect("it starts");
        assert!(verdict.verified && verdict.complete, "{from} to {to}: {verdict:?}");
        assert_eq!((verdict.ticks, verdict.last_tick), (u64::from(to + 1 - first), to));
        let found = diff::<Joust>(Cursor::new(&whole), Cursor::new(&part), |_| {}).expect("both start");
        assert!(found.is_equal(), "{found:?}");
        assert_eq!(found.compared, Some((first - 1, to)));
    }
    assert!(part(&whole, 1, u32::MAX).1 == whole, "all of it is itself");
}

#[test]
fn a_part_keeps_events_snapshots_marks_and_epochs() {
    let whole = recording();
    let (first, kept) = part(&whole, 35, 74);
    assert_eq!(first, 31);
    let found = read(&kept, OnDamage::Stop).expect("a header");
    let all = read(&whole, OnDamage::Stop).expect("a header");
    assert!(found.complete);
    assert_eq!(found.ticks, all.ticks[30..74]);
    assert_eq!(found.hashes, all.hashes[30..74]);
    assert_eq!(
        (found.keyframes, found.events),
        (vec![30, 60], (31..=74).filter(|tick| tick % 4 == 0).count())
    );
    let summary = Summary::read(&kept[..]).expect("a header");
    assert_eq!(summary.epochs, Some((3, 3)));
    assert_eq!(summary.blocks.get(6), Some(&1), "the snapshot of tick 45");
    let taken = taken_over(Lie::default());
    let summary = Summary::read(&part(&taken, 110, 300).1[..]).expect("a header");
    assert_eq!((summary.epochs, summary.complete), (Some((1, 2)), true), "{summary:?}");
}

#[test]
fn a_lie_stays_in_its_part_and_damage_outside_of_it_does_no_harm() {
    let lie = recorded(330, Lie { hidden: Some((123, NUDGE)), ..Lie::default() });
    let judge = |bytes: &[u8]| verify::<Joust>(bytes, OnDamage::Stop, |_| {}).expect("it starts");
    let first = judge(&part(&lie, 120, 200).1).first_divergence.expect("the lie");
    assert_eq!((first.tick, first.field()), (123, Some("at[1]")));
    assert!(judge(&part(&lie, 1, 122).1).verified);
    let mut damaged = recorded(330, Lie::default());
    let third = Recording::open(Cursor::new(&damaged)).expect("whole").keyframes()[2];
    damaged[third.offset as usize + 50] ^= 1;
    assert!(judge(&part(&damaged, 1, 300).1).verified, "the keyframe behind the last tick is damaged");
    assert!(matches!(cut(Cursor::new(&damaged), 250, 310, Vec::new()), Err(CutError::Read(_))));
}

#[test]
fn a_part_that_is_not_there_is_refused() {
    let whole = recorded(330, Lie::default());
    let refused = |bytes: &[u8], from, to| cut(Cursor::new(bytes), from, to, Vec::new()).map(drop);
    for (from, to) in [(331, 340), (1, 0), (200, 199)] {
        assert_eq!(refused(&whole, from, to), Err(CutError::Range { first: refused_first(from), last: 330 }));
    }
    let later = later_part(&whole, 200);
    assert_eq!(refused(&later, 200, 250), Err(CutError::Range { first: 201, last: 330 }));
    assert_eq!(part(&later, 201, 250).0, 201);
}

/// Where the part would begin that was asked for.
fn refused_first(from: u32) -> u32 {
    (from - 1).min(329) / 100 * 100 + 1
}

#[test]
fn mutated_recordings_never_panic_the_cut() {
    let mut dice = Dice::new("mutated_recordings_never_panic_the_cut");
    let good = recorded(230, Lie { parts_every: 20, ..Lie::default() });
    for _ in 0..runs(200) {
        let bytes = mutated(&good, &mut dice);
        let _ = cut(Cursor::new(&bytes), dice.below(240) as u32, dice.below(240) as u32, Vec::new());
    }
}

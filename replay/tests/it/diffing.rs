//! Two recordings side by side.

use std::io::Cursor;

use tiltyard_engine::{ActorId, Battle, Save, Tick, TickRecord, encode_keyframe, rng::Rng, testing};
use tiltyard_replay::{
    Comparison, Ended, Header, Parting, PlayError, Settings, Side, SimulateError, Writer, diff,
};

use crate::game::{GIFT, Joust, Lie, NUDGE, NUDGED, head, recorded, spec};
use crate::sample::{Dice, runs};
use crate::verifying::{later_part, mutated, taken_over};

fn compare(left: &[u8], right: &[u8]) -> Comparison {
    diff::<Joust>(Cursor::new(left), Cursor::new(right), |_| {}).expect("both start")
}

#[test]
fn a_recording_equals_itself_its_torn_copy_and_its_later_part() {
    let whole = recorded(330, Lie::default());
    let found = compare(&whole, &whole);
    assert!(found.is_equal() && found.head.is_empty());
    assert_eq!((found.compared, found.last_ticks), (Some((0, 330)), (330, 330)));
    let torn = &whole[..whole.len() * 2 / 3];
    for (left, right) in [(torn, &whole[..]), (&whole[..], torn)] {
        let found = compare(left, right);
        assert!(found.is_equal(), "{found:?}");
        assert!(found.compared.is_some_and(|(_, last)| last < 330 && last > 100));
    }
    let later = later_part(&whole, 200);
    let found = compare(&whole, &later);
    assert!(found.is_equal(), "{found:?}");
    assert_eq!(found.compared, Some((200, 330)));
    assert!(found.head.iter().all(|difference| !difference.decides && difference.what == "part"));
    let found = compare(&taken_over(Lie::default()), &whole);
    assert!(found.is_equal(), "{found:?}");
}

#[test]
fn another_input_is_named_with_what_came_of_it() {
    let left = recorded(330, Lie::default());
    let right = recorded(330, Lie { input: Some((123, 5)), ..Lie::default() });
    let first = compare(&left, &right).first.expect("a difference");
    assert_eq!(first.tick, 123);
    let Parting::Record(record) = &first.parting else { panic!("{first:?}") };
    assert_eq!((record.component, &*record.field), ("Say", "seat 5 walk[0]"));
    assert_ne!(record.left, record.right);
}

#[test]
fn a_state_that_parted_is_named_at_its_tick_by_what_this_build_computes_and_at_the_next_keyframe() {
    let left = recorded(330, Lie::default());
    for (lie, component, actor) in [(NUDGE, "Place", NUDGED), (GIFT, "Score", ActorId::NONE)] {
        for tick in [100, 123, 200] {
            let right = recorded(330, Lie { hidden: Some((tick, lie)), parts_every: 50, ..Lie::default() });
            for (swapped, found) in [(false, compare(&left, &right)), (true, compare(&right, &left))] {
                let first = found.first.expect("a difference");
                assert_eq!((first.tick, &first.parting), (tick, &Parting::State));
                let address = first.address.expect("keyframes follow");
                assert_eq!(address.tick.0, tick.next_multiple_of(100), "{address}");
                assert_eq!((address.component, address.actor), (component, actor), "{swapped}: {address}");
            }
        }
    }
}

#[test]
fn a_changed_hash_is_told_from_a_changed_state() {
    let left = recorded(330, Lie::default());
    let first = compare(&left, &recorded(330, Lie { hash: Some((150, 1)), ..Lie::default() })).first;
    let first = first.expect("a difference");
    assert_eq!((first.tick, first.address, first.agrees_at), (150, None, Some(200)));
    let hashes = (first.hashes.0.expect("recorded"), first.hashes.1.expect("recorded"));
    assert_eq!(hashes.0 ^ hashes.1, 1);
}

#[test]
fn parts_name_the_component_where_no_keyframe_follows() {
    let left = recorded(399, Lie { parts_every: 10, ..Lie::default() });
    let right = recorded(399, Lie { hidden: Some((355, NUDGE)), parts_every: 10, ..Lie::default() });
    let first = compare(&left, &right).first.expect("a difference");
    assert_eq!((first.tick, first.address), (355, None));
    assert_eq!((first.parts, first.parts_tick), (vec!["Puppet.Place".to_owned()], Some(360)));
}

#[test]
fn ends_and_heads_that_differ_are_named() {
    let left = recorded(330, Lie::default());
    let first = compare(&left, &recorded(330, Lie { end: true, ..Lie::default() })).first.expect("an end");
    assert!(matches!(first.parting, Parting::End("last hash", ..)), "{first:?}");
    let first =
        compare(&left, &recorded(330, Lie { outcome: true, ..Lie::default() })).first.expect("an end");
    assert!(matches!(first.parting, Parting::End("outcome", ..)), "{first:?}");
    // Shorter is not other, unless the battle was decided there.
    assert!(compare(&left, &recorded(300, Lie::default())).is_equal());
    let decided = recorded(300, Lie { outcome: true, ..Lie::default() });
    let first = compare(&left, &decided).first.expect("an end");
    assert_eq!((first.tick, matches!(first.parting, Parting::End("last tick", ..))), (300, true));

    let other = |change: fn(&mut Header, &mut tiltyard_engine::BattleSpec<Joust>)| {
        let mut spec = spec();
        let mut header = head(&spec);
        change(&mut header, &mut spec);
        header.seed = spec.terms.seed;
        header.spec = spec.encode();
        let mut writer = Writer::start(Vec::new(), &header, Settings::new(1, 30)).expect("a good sink");
        writer.append(1, &[0; 9], 5).expect("a good sink");
        writer.finish(Ended::Aborted, &[], 5).expect("a good sink");
        let found = compare(&left, &writer.into_sink());
        assert!(!found.is_equal());
        found.head.iter().filter(|found| found.decides).map(|found| found.what.clone()).collect::<Vec<_>>()
    };
    assert_eq!(other(|_, spec| spec.terms.seed = 78), ["seed"]);
    assert_eq!(other(|_, spec| spec.setup.speed = 0.25), ["setup.speed"]);
    assert_eq!(other(|_, spec| spec.roster.seats[3].loadout = 9), ["seat 3"]);
    assert_eq!(other(|_, spec| spec.roster.seats.truncate(7)), ["number of seats"]);
    assert_eq!(other(|header, _| header.protocol_hash = [1; 16]), ["protocol hash"]);
    assert!(other(|header, _| header.build = "another".to_owned()).is_empty(), "its one record is none");
}

#[test]
fn what_cannot_be_played_is_said_of_its_side() {
    let good = recorded(330, Lie::default());
    let error = diff::<Joust>(Cursor::new(&good), Cursor::new(b"a note"), |_| {}).expect_err("no recording");
    assert_eq!(error.side, Side::Right);
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let found = compare(&damaged, &good);
    assert!(!found.is_equal() && found.first.is_none());
    let stopped = found.stopped.expect("damage");
    assert!(matches!(stopped, tiltyard_replay::DiffError { side: Side::Left, error: PlayError::Read(_) }));
    let mut header = head(&spec());
    header.protocol_hash = [9; 16];
    let foreign = Writer::start(Vec::new(), &header, Settings::new(1, 30)).expect("a good sink").into_sink();
    let error = diff::<Joust>(Cursor::new(&foreign), Cursor::new(&foreign), |_| {}).expect_err("foreign");
    assert!(matches!(error.error, PlayError::Simulate(SimulateError::Foreign { .. })));
}

/// A battle of some ticks; at `tick` one bit of its state is flipped, and it goes on from there. Every tick has its
/// hash and every eighth its keyframe.
fn planted(seed: u64, tick: u32) -> Option<(Vec<u8>, tiltyard_engine::Divergence)> {
    let spec = spec();
    let mut writer = Writer::start(Vec::new(), &head(&spec), Settings::new(1, 30)).expect("a good sink");
    let mut battle = Battle::new(spec.clone()).expect("a right game");
    let mut before = TickRecord::neutral(Tick::ZERO, spec.roster.len());
    let (mut save, mut bytes, mut planted) = (Save::default(), Vec::new(), None);
    for now in 1..=tick {
        let mut record = TickRecord::neutral(Tick::ZERO, 0);
        battle.bot_record(&mut record);
        battle.step(&record);
        battle.save(&mut save);
        if now == tick {
            let registry = battle.world().registry();
            let divergence = testing::plant_divergence(&mut save, registry, &mut Rng::new(seed, now, 0, 0));
            // A bit that makes a float infinite makes no state at all.
            tiltyard_engine::decode_keyframe::<crate::game::Say>(
                &encode_keyframe(&save, &record),
                registry,
                spec.roster.len(),
            )
            .ok()?;
            planted = Some(divergence);
        }
        bytes.clear();
        record.encode(&before, &mut bytes);
        writer.append(now, &bytes, save.hashes().state().0).expect("a good sink");
        if now % 8 == 0 || now == tick {
            writer.keyframe(now, &encode_keyframe(&save, &record)).expect("a good sink");
        }
        before = record;
    }
    writer.finish(Ended::Aborted, &[], save.hashes().state().0).expect("a good sink");
    Some((writer.into_sink(), planted?))
}

#[test]
fn a_thousand_planted_bits_are_all_named_exactly() {
    let mut dice = Dice::new("a_thousand_planted_bits_are_all_named_exactly");
    let good = recorded(60, Lie::default());
    let mut named = 0;
    while named < 1_000 {
        let (seed, tick) = (dice.next(), 1 + dice.below(60) as u32);
        let Some((made, planted)) = planted(seed, tick) else { continue };
        let first = compare(&made, &good).first.unwrap_or_else(|| panic!("{planted} is not seen"));
        assert_eq!((first.tick, &first.parting), (tick, &Parting::State));
        assert_eq!(first.address.as_ref(), Some(&planted), "seed {seed}");
        named += 1;
    }
}

#[test]
fn mutated_recordings_never_panic_the_comparison() {
    let mut dice = Dice::new("mutated_recordings_never_panic_the_comparison");
    let good = recorded(130, Lie { parts_every: 30, ..Lie::default() });
    let taken = taken_over(Lie::default());
    for _ in 0..runs(200) {
        let bytes = mutated(if dice.below(3) == 0 { &taken } else { &good }, &mut dice);
        let _ = diff::<Joust>(Cursor::new(&bytes), Cursor::new(&taken), |_| {});
        let _ = diff::<Joust>(Cursor::new(&good), Cursor::new(&bytes), |_| {});
    }
}

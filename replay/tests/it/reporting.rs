//! Reports of divergences.

use std::io::Cursor;

use tiltyard_engine::{ActorId, Command, Seat, Tick, rng::Rng};
use tiltyard_replay::{
    CutError, FirstDivergence, OnDamage, PlayError, Player, Recording, Report, SimulateError, Summary,
    Verdict, verify, write_claim, write_divergence, write_unfinished,
};

use crate::game::{GIFT, Joust, Lie, NUDGE, NUDGED, TWIST, recorded};
use crate::sample::Dice;
use crate::verifying::{later_part, taken_over};

fn judge(bytes: &[u8]) -> Verdict {
    verify::<Joust>(bytes, OnDamage::Stop, |_| {}).expect("it starts")
}

fn reported(bytes: &[u8]) -> (FirstDivergence, Vec<u8>) {
    let first = judge(bytes).first_divergence.expect("a difference");
    let report = Report::of(&first, "another build");
    let file = write_divergence(Cursor::new(bytes), &first, &report, Vec::new()).expect("it can be cut");
    let summary = Summary::read(&file[..]).expect("a header");
    assert_eq!((summary.report, summary.complete, summary.error), (Some(report), true, None));
    (first, file)
}

#[test]
fn a_report_alone_leads_to_the_same_words() {
    let lies = [
        Lie { hidden: Some((123, NUDGE)), ..Lie::default() },
        Lie { hidden: Some((200, GIFT)), ..Lie::default() },
        Lie { hidden: Some((301, NUDGE)), parts_every: 10, ..Lie::default() },
        Lie { input: Some((123, 5)), ..Lie::default() },
        Lie { hash: Some((150, 1)), ..Lie::default() },
        Lie { keyframe: Some((200, NUDGE)), ..Lie::default() },
        Lie { end: true, ..Lie::default() },
        Lie { outcome: true, ..Lie::default() },
    ];
    for lie in lies {
        let whole = recorded(330, lie);
        let (first, file) = reported(&whole);
        assert_eq!(judge(&file).first_divergence, Some(first.clone()), "{lie:?}");
        if first.tick > 100 {
            assert!(file.len() < whole.len(), "{} of {} bytes", file.len(), whole.len());
        }
    }
    let (first, file) = reported(&taken_over(Lie { keyframe: Some((200, NUDGE)), ..Lie::default() }));
    assert_eq!(judge(&file).first_divergence, Some(first));
    let (first, file) =
        reported(&later_part(&recorded(330, Lie { hidden: Some((250, NUDGE)), ..Lie::default() }), 200));
    assert_eq!(judge(&file).first_divergence, Some(first));
}

#[test]
fn a_hundred_hidden_acts_are_named_by_their_reports() {
    let mut dice = Dice::new("a_hundred_hidden_acts_are_named_by_their_reports");
    let mut rng = Rng::new(dice.next(), 0, 0, 0);
    for _ in 0..100 {
        let (tick, act) = (1 + rng.below(220), 1 + rng.below(2));
        let (_, file) =
            reported(&recorded(230, Lie { hidden: Some((tick, act)), parts_every: 1, ..Lie::default() }));
        let first = judge(&file).first_divergence.expect("it is in there");
        assert_eq!((first.tick, first.parts_tick), (tick, Some(tick)));
        let (component, actor) =
            if act == NUDGE { ("Puppet.Place", NUDGED) } else { ("Score.Score", ActorId::NONE) };
        assert_eq!(first.component().as_deref(), Some(component));
        if tick <= 200 {
            assert_eq!(first.actor(), Some(actor), "{first}");
        }
    }
}

/// The record of the tick after the last of `whole`, with a command of a hand.
fn next_record(whole: &[u8], value: u32) -> Vec<u8> {
    let mut player = Player::<Joust, _>::open(Cursor::new(whole)).expect("it opens");
    let last = player.last_tick();
    player.seek(last).expect("it plays");
    let (mut record, mut bytes) = (player.record().clone(), Vec::new());
    record.tick = Tick(last + 1);
    record.commands = vec![Command::Act { seat: Seat(0), value }];
    record.encode(player.record(), &mut bytes);
    bytes
}

#[test]
fn a_tick_that_was_never_finished_is_reported_with_its_record() {
    let report = |tick| Report {
        tick,
        recorded_hash: None,
        simulated_hash: None,
        build: "a node".to_owned(),
        text: "it fell".to_owned(),
    };
    let twisted = |ticks| recorded(ticks, Lie { told: Some((ticks, TWIST)), ..Lie::default() });
    for ticks in [1, 99, 100, 101, 230] {
        let (whole, tick) = (twisted(ticks), ticks + 1);
        let record = next_record(&whole, NUDGE);
        let file =
            write_unfinished(Cursor::new(&whole), &record, &report(tick), Vec::new()).expect("it fits");
        let verdict = judge(&file);
        let panicked = SimulateError::Panicked { tick };
        assert_eq!(verdict.stopped, Some(PlayError::Simulate(panicked)), "{ticks}");
        assert_eq!((verdict.report.as_ref(), verdict.verified), (Some(&report(tick)), false));
        assert_eq!((verdict.last_tick, verdict.ticks), (ticks, u64::from(ticks % 100)));
        // Where the mistake is mended, the same file is right.
        let whole = recorded(ticks, Lie::default());
        let record = next_record(&whole, NUDGE);
        let file =
            write_unfinished(Cursor::new(&whole), &record, &report(tick), Vec::new()).expect("it fits");
        let verdict = judge(&file);
        assert!(verdict.verified && !verdict.complete && verdict.last_tick == tick, "{verdict:?}");
        let wrong = write_unfinished(Cursor::new(&whole), &record, &report(tick + 1), Vec::new());
        assert!(matches!(wrong, Err(CutError::Range { .. })), "{wrong:?}");
    }
}

#[test]
fn only_the_one_tick_that_a_report_names_may_go_without_a_hash() {
    let whole = recorded(120, Lie::default());
    let record = next_record(&whole, NUDGE);
    let other = Report {
        tick: 121,
        recorded_hash: Some(5),
        simulated_hash: None,
        build: String::new(),
        text: String::new(),
    };
    let file = write_unfinished(Cursor::new(&whole), &record, &other, Vec::new()).expect("it fits");
    assert!(!judge(&file).verified, "the report says that it has one");
}

#[test]
fn what_a_client_claims_is_reported_unless_it_is_recorded() {
    let whole = recorded(230, Lie::default());
    let hash =
        Recording::open(Cursor::new(&whole)).expect("whole").hash_of(150).expect("whole").expect("a hash");
    let claim =
        |hash| write_claim(Cursor::new(&whole), (150, hash), "a client", Vec::new()).expect("it is there");
    assert_eq!(claim(hash), None);
    let file = claim(!hash).expect("a report");
    let verdict = judge(&file);
    assert!(verdict.verified && verdict.complete && verdict.last_tick == 150, "{verdict:?}");
    let report = verdict.report.expect("it is one");
    assert_eq!((report.tick, report.recorded_hash, report.simulated_hash), (150, Some(hash), Some(!hash)));
    let ahead = write_claim(Cursor::new(&whole), (231, 0), "a client", Vec::new());
    assert!(matches!(ahead, Err(CutError::Range { last: 230, .. })), "{ahead:?}");
}

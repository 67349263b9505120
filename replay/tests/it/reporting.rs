//! Reports of divergences.

use std::io::Cursor;

use tiltyard_engine::{ActorId, rng::Rng};
use tiltyard_replay::{FirstDivergence, OnDamage, Report, Summary, Verdict, verify, write_report};

use crate::game::{GIFT, Joust, Lie, NUDGE, NUDGED, recorded};
use crate::sample::Dice;
use crate::verifying::{later_part, taken_over};

fn judge(bytes: &[u8]) -> Verdict {
    verify::<Joust>(bytes, OnDamage::Stop, |_| {}).expect("it starts")
}

fn reported(bytes: &[u8]) -> (FirstDivergence, Vec<u8>) {
    let first = judge(bytes).first_divergence.expect("a difference");
    let report = Report::of(&first, [3; 16], "another build");
    let (_, file) = write_report(Cursor::new(bytes), &first, &report, Vec::new()).expect("it can be cut");
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

//! Battles that go on otherwise.

use std::io::Cursor;

use tiltyard_engine::{Battle, TickRecord};
use tiltyard_replay::{
    Ended, Fork, ForkError, OnDamage, Parting, PlayError, SimulateError, diff, fork, verify,
};

use crate::game::{Joust, Lie, NUDGE, Say, TWIST, recorded};
use crate::verifying::{later_part, taken_over};

type Record = TickRecord<Say>;

fn forked(
    bytes: &[u8],
    at: u32,
    to: u32,
    decide: impl FnMut(&Battle<Joust>, &mut Record),
) -> Result<(Fork, Vec<u8>), ForkError> {
    let made = fork::<Joust, _>(Cursor::new(bytes), (at, to), "fork", Vec::new(), decide)?;
    let verdict = verify::<Joust>(&made.1[..], OnDamage::Stop, |_| {}).expect("it starts");
    assert!(verdict.verified && verdict.complete, "{verdict:?}");
    assert_eq!(verdict.last_tick, made.0.sealed.last_tick);
    Ok(made)
}

fn parting(left: &[u8], right: &[u8]) -> Option<(u32, Parting)> {
    let found = diff::<Joust>(Cursor::new(left), Cursor::new(right), |_| {}).expect("both start");
    assert_eq!(found.stopped, None);
    found.first.map(|first| (first.tick, first.parting))
}

#[test]
fn a_fork_that_changes_nothing_is_the_battle_itself() {
    let whole = recorded(330, Lie::default());
    for at in [0, 1, 99, 100, 101, 330] {
        let (made, bytes) = forked(&whole, at, 330, |_, _| {}).expect("it goes on");
        assert_eq!((made.ended, made.sealed.last_tick), (Ended::Finished, 330), "as it was recorded");
        assert_eq!(parting(&whole, &bytes), None, "forked at {at}");
    }
    // Behind the end scripted players go on, who played before as well.
    let (made, bytes) = forked(&whole, 200, 420, |_, _| {}).expect("it goes on");
    assert_eq!(made.ended, Ended::Aborted, "nothing decided it");
    let parting = |left: &[u8], right: &[u8]| {
        parting(left, right).filter(|(_, parting)| !matches!(parting, Parting::End("ending", ..)))
    };
    assert_eq!(parting(&recorded(420, Lie::default()), &bytes), None);
    let torn = &whole[..whole.len() - 300];
    assert_eq!(
        parting(&recorded(420, Lie::default()), &forked(torn, 200, 420, |_, _| {}).expect("on").1),
        None
    );
    let (_, bytes) = forked(&later_part(&whole, 200), 250, 330, |_, _| {}).expect("it goes on");
    assert_eq!(parting(&whole, &bytes), None);
}

#[test]
fn a_fork_parts_where_it_was_changed_and_not_before() {
    let whole = recorded(330, Lie::default());
    let (_, bytes) = forked(&whole, 123, 330, |battle, record| {
        assert_eq!(battle.tick().next(), record.tick);
        record.inputs[5].input.walk = glam::vec2(0.25, -0.75);
    })
    .expect("it goes on");
    let (tick, Parting::Record(address)) = parting(&whole, &bytes).expect("a difference") else {
        panic!("what goes in differs")
    };
    assert_eq!((tick, &address.field[..6], &*address.right), (124, "seat 5", "0.25"));
}

#[test]
fn what_cannot_be_forked_is_refused_by_name() {
    let whole = recorded(330, Lie::default());
    let refused = |bytes: &[u8], at| forked(bytes, at, 400, |_, _| {}).map(drop).expect_err("refused");
    assert_eq!(refused(&whole, 331), ForkError::Range { at: 331, first: 0, last: 330 });
    let later = later_part(&whole, 200);
    assert_eq!(refused(&later, 199), ForkError::Range { at: 199, first: 200, last: 330 });
    let lie = recorded(330, Lie { hidden: Some((123, NUDGE)), ..Lie::default() });
    assert_eq!(refused(&lie, 200), ForkError::Diverged { tick: 123 });
    forked(&lie, 122, 330, |_, _| {}).expect("the lie lies behind the fork");
    assert_eq!(refused(&taken_over(Lie::default()), 300), ForkError::Takeover { tick: 201 });
    // A game that panics on what it is told ends the fork and nothing else.
    let twisted = fork::<Joust, _>(Cursor::new(&whole), (100, 330), "fork", Vec::new(), |_, record| {
        let seat = tiltyard_engine::Seat(0);
        record.inputs[0].input.throw = 0;
        record.commands = vec![tiltyard_engine::Command::Act { seat, value: TWIST }];
    });
    let error = twisted.map(drop).expect_err("it panics");
    assert_eq!(error, ForkError::Play(PlayError::Simulate(SimulateError::Panicked { tick: 102 })));
}

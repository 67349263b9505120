//! Pictures in recordings: what a build shows of a battle that it cannot compute.

use std::io::Cursor;

use tiltyard_engine::screen::{Canvas, Ink};
use tiltyard_engine::{Registry, Team};
use tiltyard_replay::{
    Ended, Kind, OnDamage, PICTURE_BYTES_MAX, PlayError, Playable, Player, ReadError, Settings,
    SimulateError, Stills, Summary, Writer, encode_picture, verify,
};

use crate::game::Joust;
use crate::sample::{blocks, hash, header, record};

/// A recording of a game that this build does not know, as it was first written: a picture every ten ticks.
const FOREIGN: &[u8] = include_bytes!("../data/pictures.tyr");

fn drawn(tick: u32) -> Canvas {
    let mut canvas = Canvas::new(12, 2);
    canvas.text(0, 0, &format!("tick {tick}"), Ink::Strong);
    canvas.text(tick as u16 / 10, 1, "@", Ink::Team(Team(tick as u8 / 10 % 2)));
    canvas
}

fn recording(ticks: u32) -> Vec<u8> {
    let mut writer = Writer::start(Vec::new(), &header(), Settings::new(3, 10)).expect("a good sink");
    for tick in 1..=ticks {
        writer.append(tick, &record(tick), hash(tick)).expect("a good sink");
        if tick % 10 == 0 {
            writer.snapshot(&encode_picture(&drawn(tick))).expect("a good sink");
        }
    }
    writer.finish(Ended::Aborted, &[], hash(ticks)).expect("a good sink");
    writer.into_sink()
}

fn shown(stills: &mut Stills<Cursor<&[u8]>>, tick: u32) -> Option<u32> {
    let (of, canvas) = stills.picture(tick).expect("it can be read")?;
    assert_eq!(canvas, drawn(of));
    Some(of)
}

#[test]
fn a_recording_of_another_game_shows_its_pictures_and_nothing_else() {
    assert!(FOREIGN == recording(40), "the writer's bytes changed: raise the version, or say why they may");
    let foreign = |error| matches!(error, PlayError::Simulate(SimulateError::Foreign { .. }));
    assert!(Player::<Joust, _>::open(Cursor::new(FOREIGN)).is_err_and(foreign));
    assert!(verify::<Joust>(FOREIGN, OnDamage::Stop, |_| {}).is_err_and(foreign));
    let own = Registry::of::<Joust>().expect("a right game").protocol_hash::<Joust>().0;
    let summary = Summary::read(FOREIGN).expect("a header");
    assert_eq!((summary.playable(own), summary.playable([7; 16])), (Playable::Snapshots, Playable::Simulate));
    let mut stills = Stills::open(Cursor::new(FOREIGN)).expect("a header");
    assert_eq!(stills.ticks().collect::<Vec<_>>(), [10, 20, 30, 40]);
    assert_eq!((stills.last_tick(), stills.is_complete()), (40, true));
    let found = [0, 9, 10, 19, 20, 39, 40, u32::MAX].map(|tick| shown(&mut stills, tick));
    assert_eq!(found, [10, 10, 10, 10, 20, 30, 40, 40].map(Some));
}

#[test]
fn without_pictures_a_recording_of_another_game_can_be_listed_only() {
    let bytes = recording(9);
    let own = Registry::of::<Joust>().expect("a right game").protocol_hash::<Joust>().0;
    assert_eq!(Summary::read(&bytes[..]).expect("a header").playable(own), Playable::List);
    assert_eq!(Stills::open(Cursor::new(&bytes[..])).expect("a header").picture(5), Ok(None));
}

#[test]
fn what_is_appended_is_taken_in_and_a_torn_tail_left_out() {
    let of_kind =
        |kind: Kind| blocks(FOREIGN).into_iter().filter(move |(_, header)| header.kind == kind as u8);
    let (third, _) = of_kind(Kind::Snapshot).nth(2).expect("four of them");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("growing.replay");
    std::fs::write(&path, &FOREIGN[..third + 50]).expect("it can be written");
    let mut stills = Stills::open(std::fs::File::open(&path).expect("it is there")).expect("a header");
    assert_eq!((stills.ticks().next_back(), stills.is_complete()), (Some(20), false));
    std::fs::write(&path, FOREIGN).expect("it can be written");
    stills.refresh().expect("it can be read");
    assert_eq!((stills.ticks().next_back(), stills.is_complete()), (Some(40), true));
}

#[test]
fn a_block_that_is_no_picture_is_refused_where_it_is_shown() {
    let mut writer = Writer::start(Vec::new(), &header(), Settings::new(3, 10)).expect("a good sink");
    let mut long = vec![0; PICTURE_BYTES_MAX + 1];
    long[..4].copy_from_slice(&[1, 0, 1, 0]);
    for (tick, payload) in (1..).zip([&b"what a view saw"[..], &encode_picture(&drawn(2)), &long]) {
        writer.append(tick, &record(tick), hash(tick)).expect("a good sink");
        writer.snapshot(payload).expect("a good sink");
    }
    let bytes = writer.into_sink();
    let mut stills = Stills::open(Cursor::new(&bytes[..])).expect("a header");
    assert_eq!(stills.ticks().count(), 3);
    for tick in [1, 3] {
        let refused = stills.picture(tick);
        assert!(matches!(refused, Err(ReadError::Malformed { kind: Kind::Snapshot, .. })), "{refused:?}");
    }
    assert_eq!(shown(&mut stills, 2), Some(2));
}

//! The recording thread, with real files.

use std::sync::atomic::Ordering;
use std::sync::mpsc;

use tiltyard_battle::{Client, Outgoing, QUEUE_MAX, REPORT_EXTENSION, Recorder, Room, RoomSettings};
use tiltyard_engine::{Game as _, Registry, Seat, StateHash, Tick};
use tiltyard_netcode::message::{Desync, ToServer};
use tiltyard_netcode::{BattleId, ConnectionId, Epoch, Feed};
use tiltyard_replay::{Ended, Header, OnDamage, Settings, Stills, Summary, verify};

use crate::game::{Pushing, spec};

const SETTINGS: RoomSettings =
    RoomSettings { wait_ms: 0, countdown_ms: 100, keyframe_ticks: 50, snapshot_ticks: 0, catch_up_max: 5 };

/// The head of a battle with so many players, the scripted one apart.
pub(crate) fn header(battle: u64, humans: u16) -> Header {
    Header {
        rate_hz: 30,
        protocol_hash: Registry::of::<Pushing>().unwrap().protocol_hash::<Pushing>().0,
        game: Pushing::NAME.to_owned(),
        mode: "pushing".to_owned(),
        battle,
        seed: 5,
        start_unix_ms: 0,
        part: 0,
        build: "test".to_owned(),
        seat_names: Vec::new(),
        spec: spec(humans, 120).encode(),
    }
}

/// A battle of a scripted player alone, recorded, played to its end or until `stop_at`.
pub(crate) fn play(recorder: &Recorder, battle: u64, stop_at: Option<u32>) -> mpsc::Receiver<bool> {
    let mut room = Room::<Pushing>::new(BattleId(battle), Epoch(2), spec(0, 120), SETTINGS).unwrap();
    room.record(recorder.handle().open(header(battle, 0), Settings::new(2, 30)));
    room.open(0);
    let mut out = Outgoing::default();
    let end = loop {
        if let Some(end) = room.poll(room.next_us(), &mut out) {
            break end;
        }
        if stop_at == Some(room.battle().tick().0) {
            break room.abort(&mut out);
        }
    };
    let (closed, is_closed) = mpsc::channel();
    room.close_recording(&end, Box::new(move |sealed| closed.send(sealed.is_some()).unwrap()));
    is_closed
}

#[test]
fn a_recording_is_written_while_the_battle_runs_and_verified_by_simulation() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path(), None).unwrap();
    let closed = [play(&recorder, 1, None), play(&recorder, 2, Some(77))];
    assert!(closed.iter().all(|closed| closed.recv().unwrap()));
    for (battle, ticks, ended) in [(1, 120, Ended::Finished), (2, 77, Ended::Aborted)] {
        let path = recorder.handle().path(battle, 2);
        let summary = Summary::read(std::fs::File::open(&path).unwrap()).unwrap();
        assert_eq!(summary.ended, Some(ended));
        let verdict = verify::<Pushing>(std::fs::File::open(&path).unwrap(), OnDamage::Stop, |_| {}).unwrap();
        assert!(verdict.verified && verdict.complete, "{verdict:?}");
        assert_eq!(verdict.ticks, ticks);
    }
    assert_eq!(recorder.counters().recordings_finished.load(Ordering::Relaxed), 2);
    recorder.stop();
}

#[test]
fn pictures_are_recorded_when_asked_for_until_the_game_cannot_draw() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path(), None).unwrap();
    for (battle, limit, drawn) in [(1, 0, 6), (2, 50, 2)] {
        let mut spec = spec(0, 120);
        spec.setup.limit = limit;
        let head = Header { spec: spec.encode(), ..header(battle, 0) };
        let settings = RoomSettings { snapshot_ticks: 20, ..SETTINGS };
        let mut room = Room::<Pushing>::new(BattleId(battle), Epoch(2), spec, settings).unwrap();
        room.record(recorder.handle().open(head, Settings::new(2, 30)));
        room.open(0);
        let mut out = Outgoing::default();
        let end = loop {
            if let Some(end) = room.poll(room.next_us(), &mut out) {
                break end;
            }
        };
        let (closed, is_closed) = mpsc::channel();
        room.close_recording(&end, Box::new(move |sealed| closed.send(sealed.is_some()).unwrap()));
        assert!(is_closed.recv().unwrap());
        let open = || std::fs::File::open(recorder.handle().path(battle, 2)).unwrap();
        let mut stills = Stills::open(open()).unwrap();
        let ticks: Vec<_> = stills.ticks().collect();
        assert_eq!(ticks, (1..=drawn).map(|number| number * 20).collect::<Vec<_>>());
        for tick in ticks {
            let (of, picture) = stills.picture(tick).unwrap().unwrap();
            assert_eq!((of, picture.columns(), picture.rows()), (tick, 80, 18));
            assert_eq!(picture.to_string().trim_end(), format!("tick {tick}"));
        }
        let verdict = verify::<Pushing>(open(), OnDamage::Stop, |_| {}).unwrap();
        assert!(verdict.verified && verdict.complete && verdict.ticks == 120, "{verdict:?}");
    }
    recorder.stop();
}

#[test]
fn a_battle_that_comes_back_under_a_higher_epoch_has_a_recording_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path(), None).unwrap();
    // The older copy is closed only after the newer one began, as a released battle is.
    let mut old = Room::<Pushing>::new(BattleId(1), Epoch(1), spec(0, 120), SETTINGS).unwrap();
    old.record(recorder.handle().open(header(1, 0), Settings::new(1, 30)));
    old.open(0);
    let mut out = Outgoing::default();
    assert!(old.poll(old.next_us(), &mut out).is_none());
    let mut new = Room::<Pushing>::new(BattleId(1), Epoch(2), spec(0, 120), SETTINGS).unwrap();
    new.record(recorder.handle().open(header(1, 0), Settings::new(2, 30)));
    new.open(0);
    let old_end = old.abort(&mut out);
    old.close_recording(&old_end, Box::new(|sealed| assert_eq!(sealed.unwrap().last_tick, 1)));
    let new_end = loop {
        if let Some(end) = new.poll(new.next_us(), &mut out) {
            break end;
        }
    };
    new.close_recording(&new_end, Box::new(|_| ()));
    let handle = recorder.handle();
    recorder.stop();
    for (epoch, ticks) in [(1, 1), (2, 120)] {
        let file = std::fs::File::open(handle.path(1, epoch)).unwrap();
        let verdict = verify::<Pushing>(file, OnDamage::Stop, |_| {}).unwrap();
        assert!(verdict.verified && verdict.complete, "epoch {epoch}: {verdict:?}");
        assert_eq!(verdict.ticks, ticks, "epoch {epoch}");
    }
}

#[test]
fn a_disk_that_refuses_costs_the_recording_and_not_the_battle() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path(), None).unwrap();
    std::fs::create_dir(recorder.handle().path(1, 2)).unwrap();
    assert!(!play(&recorder, 1, None).recv().unwrap());
    assert_eq!(recorder.counters().recordings_incomplete.load(Ordering::Relaxed), 1);
    recorder.stop();
}

#[test]
fn a_recording_that_found_the_queue_full_has_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path(), None).unwrap();
    // A battle whose closing takes as long as we like holds the thread.
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let mut first = Room::<Pushing>::new(BattleId(1), Epoch(2), spec(0, 120), SETTINGS).unwrap();
    first.record(recorder.handle().open(header(1, 0), Settings::new(2, 30)));
    let mut out = Outgoing::default();
    let end = first.abort(&mut out);
    first.close_recording(&end, Box::new(move |_| may_go_on.recv().unwrap()));
    let mut room = recorder.handle().open(header(2, 0), Settings::new(2, 30));
    // Ticks are handed over in groups of three.
    for tick in 1..=3 * (QUEUE_MAX as u32 + 1) {
        room.tick(tick, &[], 0);
    }
    assert!(recorder.counters().recordings_queue_full.load(Ordering::Relaxed) > 0);
    go_on.send(()).unwrap();
    let (closed, is_closed) = mpsc::channel();
    room.finish(Ended::Finished, Vec::new(), 0, Box::new(move |sealed| closed.send(sealed).unwrap()));
    assert_eq!(is_closed.recv().unwrap(), None);
    assert_eq!(recorder.counters().recordings_incomplete.load(Ordering::Relaxed), 1);
    let file = std::fs::File::open(recorder.handle().path(2, 2)).unwrap();
    assert!(!Summary::read(file).unwrap().complete);
    recorder.stop();
}

#[test]
fn stopping_writes_what_is_queued() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path(), None).unwrap();
    let closed: Vec<_> = (0..20).map(|battle| play(&recorder, battle, None)).collect();
    let handle = recorder.handle();
    recorder.stop();
    assert!(closed.iter().all(|closed| closed.recv().unwrap()));
    for battle in 0..20 {
        let file = std::fs::File::open(handle.path(battle, 2)).unwrap();
        assert!(Summary::read(file).unwrap().complete);
    }
}

#[test]
fn a_client_that_differs_is_reported_once_and_one_that_does_not_never() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path(), None).unwrap();
    let mut room = Room::<Pushing>::new(BattleId(1), Epoch(2), spec(5, 120), SETTINGS).unwrap();
    room.record(recorder.handle().open(header(1, 5), Settings::new(2, 30)));
    let (mut out, mut hashes) = (Outgoing::default(), vec![StateHash(0)]);
    for seat in 0..5 {
        assert!(room.join(Seat(seat), Client::new(ConnectionId(seat.into()), Feed::Frame), 0, &mut out));
    }
    let say = |room: &mut Room<Pushing>, seat: u16, tick: u32, state_hash: u64| {
        let mut message = Vec::new();
        Desync { tick, state_hash }.encode(&mut message);
        room.message(Seat(seat), ConnectionId(seat.into()), &ToServer::parse(&message).unwrap());
    };
    let end = loop {
        let end = room.poll(room.next_us(), &mut out);
        hashes.push(room.battle().state_hash());
        match room.battle().tick() {
            // Tick 70 lies behind a keyframe, in the frame that is still open; tick 3 before every keyframe.
            Tick(72) => {
                say(&mut room, 0, 70, 0xbad);
                say(&mut room, 0, 71, 0xbad);
                say(&mut room, 1, 3, 0xbad);
                say(&mut room, 2, 70, hashes[70].0);
                say(&mut room, 3, 73, 0xbad);
            }
            Tick(80) => say(&mut room, 4, 80, 0xbad),
            _ => {}
        }
        if let Some(end) = end {
            break end;
        }
    };
    assert_eq!(room.counters().desyncs, 6);
    room.close_recording(&end, Box::new(|sealed| assert!(sealed.is_some())));
    let (handle, counters) = (recorder.handle(), recorder.counters().clone());
    recorder.stop();
    let counted = [&counters.reports_written, &counters.reports_unfounded, &counters.reports_refused];
    assert_eq!(counted.map(|counter| counter.load(Ordering::Relaxed)), [2, 1, 1]);
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(REPORT_EXTENSION))
        .collect();
    names.sort();
    let of = |rest: &str| format!("0000000000000001-2.{rest}.divergence");
    // The fourth report is kept for a panic, and one of the three was that of a client that was right.
    assert_eq!(names, [of("tick-3.seat-1"), of("tick-70.seat-0")]);
    let file = std::fs::File::open(handle.path(1, 2).with_file_name(&names[1])).unwrap();
    let verdict = verify::<Pushing>(file, OnDamage::Stop, |_| {}).unwrap();
    assert!(verdict.verified && verdict.complete, "the node was right: {verdict:?}");
    assert_eq!((verdict.last_tick, verdict.ticks), (70, 20), "from the keyframe of tick 50 on");
    let report = verdict.report.unwrap();
    assert_eq!((report.recorded_hash, report.simulated_hash), (Some(hashes[70].0), Some(0xbad)));
    assert_eq!(report.build, "the client of seat 0");
}

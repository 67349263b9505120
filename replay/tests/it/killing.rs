//! A process that is killed while it records.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use tiltyard_replay::{Ended, FileWriter, OnDamage, Settings};

use crate::sample::{Dice, TICKS, append, hash, header, read, record, recording};

/// How often the frame is written ahead, in ticks.
const CHECKPOINT_TICKS: u32 = 3;
/// How long a frame is, in ticks.
const FRAME_TICKS: u32 = 10;

#[test]
fn checkpoints_keep_what_was_appended_and_leave_no_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("battle.tyr");
    let mut file = FileWriter::create(&path, &header(), Settings::new(3, 10)).expect("a new file");
    for tick in 1..=TICKS {
        append(file.writer(), tick..=tick);
        file.checkpoint().expect("a good disk");
        let found = read(&std::fs::read(&path).expect("it is there"), OnDamage::Stop).expect("a header");
        assert_eq!((found.error, found.complete), (None, false));
        assert_eq!(found.cut_bytes, 0, "tick {tick}");
        assert_eq!((found.ticks.len() as u32, found.hashes.len() as u32), (tick, tick));
    }
    file.finish(Ended::Finished, b"red wins", hash(TICKS)).expect("a good disk");
    assert!(std::fs::read(&path).expect("it is there") == recording());
}

#[test]
fn stale_bytes_of_a_frame_that_packed_well_are_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("battle.tyr");
    let mut file = FileWriter::create(&path, &header(), Settings::new(3, 10)).expect("a new file");
    for tick in 1..=25 {
        // Zeros that pack fifty-fold when the frame closes.
        file.writer().append(tick, &[0; 900], hash(tick)).expect("a good disk");
        let found = read(&std::fs::read(&path).expect("it is there"), OnDamage::Stop).expect("a header");
        assert_eq!(
            (found.error, found.ticks.len() as u32),
            (None, tick - 1),
            "stale bytes are a torn tail at most"
        );
        file.checkpoint().expect("a good disk");
        let found = read(&std::fs::read(&path).expect("it is there"), OnDamage::Stop).expect("a header");
        assert_eq!((found.error, found.cut_bytes, found.ticks.len() as u32), (None, 0, tick));
    }
    file.finish(Ended::Finished, &[], hash(25)).expect("a good disk");
    let found = read(&std::fs::read(&path).expect("it is there"), OnDamage::Stop).expect("a header");
    assert!(found.complete);
}

#[test]
fn a_frame_that_breaks_off_while_it_is_written_over_is_a_torn_tail() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("battle.tyr");
    let mut file = FileWriter::create(&path, &header(), Settings::new(3, 10)).expect("a new file");
    let mut before = std::fs::read(&path).expect("it is there");
    let (mut kept, mut torn) = (0, 0);
    // Frames of ten ticks: they are written ahead, written over, and closed.
    for tick in 1..=25 {
        append(file.writer(), tick..=tick);
        file.checkpoint().expect("a good disk");
        let after = std::fs::read(&path).expect("it is there");
        let common = before.iter().zip(&after).take_while(|(old, new)| old == new).count();
        for cut in common..after.len() {
            let mixed: Vec<u8> = after[..cut].iter().chain(before.iter().skip(cut)).copied().collect();
            let found = read(&mixed, OnDamage::Stop).expect("a header");
            assert_eq!((found.error, found.complete), (None, false), "tick {tick}, cut at {cut}");
            assert!(found.ticks.len() as u32 >= kept, "tick {tick}, cut at {cut}");
            assert!(found.ticks.iter().all(|(tick, bytes)| *bytes == record(*tick)));
            torn += u32::from(found.cut_bytes > 0);
        }
        kept = (tick - 1) / FRAME_TICKS * FRAME_TICKS;
        before = after;
    }
    assert!(torn > 1_000, "{torn}");
}

/// The victim of the test below; on its own it has nothing to do.
#[test]
fn records_until_killed() {
    let Ok(path) = std::env::var("RECORD_UNTIL_KILLED") else { return };
    let mut file = FileWriter::create(Path::new(&path), &header(), Settings::new(3, 10)).expect("a new file");
    let mut out = std::io::stderr().lock();
    for tick in 1.. {
        file.writer().append(tick, &record(tick), hash(tick)).expect("a good disk");
        if tick % CHECKPOINT_TICKS == 0 {
            file.checkpoint().expect("a good disk");
        }
        writeln!(out, "{tick}").expect("the parent listens");
    }
}

#[test]
fn killed_process_loses_at_most_three_ticks_or_the_frame_that_was_being_written() {
    let mut dice = Dice::new("killed_process_loses_at_most_three_ticks_or_the_frame_that_was_being_written");
    let folder = tempfile::tempdir().expect("a folder");
    let myself = std::env::current_exe().expect("a path");
    // KILLS=300 for a long run.
    let kills = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20);
    for round in 0..kills {
        let path = folder.path().join(format!("{round}.tyr"));
        let mut child = Command::new(&myself)
            .args(["--exact", "killing::records_until_killed", "--nocapture"])
            .env("RECORD_UNTIL_KILLED", &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this program again");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        // Wherever the child is by the time it hears of it.
        let ticks: Vec<u32> =
            lines.by_ref().take(1 + dice.below(500)).map_while(|line| line.ok()?.parse().ok()).collect();
        child.kill().expect("it runs");
        child.wait().expect("it was killed");
        let rest = lines.map_while(|line| line.ok()?.parse().ok()).last();
        let last: u32 = rest.or(ticks.last().copied()).expect("it recorded something");
        let found = read(&std::fs::read(&path).expect("it is there"), OnDamage::Stop).expect("a header");
        assert_eq!((found.error, found.complete), (None, false));
        let kept = found.ticks.len() as u32;
        eprintln!("{kept} ticks of {last} kept, {} bytes cut", found.cut_bytes);
        // The kernel may break a write off where a page ends, which tears the frame that is written over.
        let lost_max = if found.cut_bytes == 0 { CHECKPOINT_TICKS } else { FRAME_TICKS + CHECKPOINT_TICKS };
        assert!(kept + lost_max >= last, "{kept} ticks of {last}");
        assert!(found.ticks.iter().all(|(tick, bytes)| *bytes == record(*tick)));
    }
}

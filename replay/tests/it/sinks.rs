//! Disks that are full, slow, interrupted or lying.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use tiltyard_replay::{
    Durable, Ended, FileWriter, OnDamage, RECORD_BYTES_MAX, Settings, SyncSink, WriteError, Writer,
};

use crate::sample::{append, hash, header, read, record, recording};

/// Takes `room` bytes, then is full.
struct SmallDisk {
    bytes: Vec<u8>,
    room: usize,
}

impl Write for SmallDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.room - self.bytes.len());
        if taken == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn full_disk_ends_the_recording_and_leaves_whole_blocks() {
    let whole = recording();
    let mut torn_tails = 0;
    for room in (200..whole.len()).step_by(97) {
        let disk = SmallDisk { bytes: Vec::new(), room };
        let mut writer = Writer::start(disk, &header(), Settings::new(3, 10)).expect("room for the header");
        let mut error = None;
        for tick in 1..=200 {
            match (writer.append(tick, &record(tick), hash(tick)), error) {
                (Ok(()), None) => {}
                (Err(first), None) => error = Some(first),
                (again, Some(first)) => assert_eq!(again, Err(first), "the first error stays"),
            }
        }
        let error = error.expect("200 ticks do not fit");
        assert!(matches!(error, WriteError::Io { kind: ErrorKind::StorageFull, .. }), "{error}");
        assert_eq!(writer.finish(Ended::Aborted, &[], 0), Err(error));
        assert_eq!(writer.fault(), Some(error));
        let written = writer.written_tick();
        let found = read(&writer.sink().bytes, OnDamage::Stop).expect("a header");
        assert_eq!((found.complete, found.error), (false, None));
        assert!(found.ticks.len() as u32 >= written);
        torn_tails += u32::from(found.cut_bytes > 0);
    }
    assert!(torn_tails > 0);
}

/// Takes three bytes a time, every other write interrupted.
struct Hiccup(Vec<u8>, bool);

impl Write for Hiccup {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(ErrorKind::Interrupted.into());
        }
        let taken = bytes.len().min(3);
        self.0.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn interrupted_and_short_writes_change_nothing() {
    let sink = Hiccup(Vec::new(), false);
    let mut writer = Writer::start(sink, &header(), Settings::new(3, 10)).expect("retried");
    append(&mut writer, 1..=crate::sample::TICKS);
    writer.finish(Ended::Finished, b"red wins", hash(crate::sample::TICKS)).expect("retried");
    assert_eq!(writer.into_sink().0, recording());
}

/// A disk in memory whose syncs fail from the third on.
#[derive(Default)]
struct BadSync {
    bytes: Vec<u8>,
    syncs: u32,
}

impl Write for BadSync {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SyncSink for BadSync {
    fn sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        if self.syncs == 3 { Err(io::Error::other("the disk lost a page")) } else { Ok(()) }
    }

    fn write_ahead(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn failing_sync_promises_nothing_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("battle.tyr");
    let mut file =
        FileWriter::start(BadSync::default(), &path, &header(), Settings::new(3, 10)).expect("a good sink");
    assert_eq!(file.durable(), Durable::default());
    append(file.writer(), 1..=15);
    let first = file.sync().expect("the first sync is good");
    assert_eq!(first.tick, 15);
    append(file.writer(), 16..=25);
    let second = file.sync().expect("the second sync is good");
    assert!(second.tick == 25 && second.bytes > first.bytes);
    append(file.writer(), 26..=35);
    let error = WriteError::Sync { kind: ErrorKind::Other };
    assert_eq!(file.sync(), Err(error));
    // A later sync would succeed, and prove nothing about what the failed one dropped.
    assert_eq!(file.sync(), Err(error));
    assert_eq!(file.writer().append(36, &[], 0), Err(error));
    assert_eq!(file.finish(Ended::Finished, &[], 0), Err(error));
    assert_eq!(file.durable(), second);
}

#[test]
fn file_is_created_once_and_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("battle.tyr");
    let mut file = FileWriter::create(&path, &header(), Settings::new(3, 10)).expect("a new file");
    let again = FileWriter::create(&path, &header(), Settings::new(3, 10)).map(drop);
    assert_eq!(again, Err(WriteError::Io { kind: ErrorKind::AlreadyExists, offset: 0 }));
    let nowhere = Path::new("/nowhere/at/all.tyr");
    let nowhere = FileWriter::create(nowhere, &header(), Settings::new(3, 10)).map(drop);
    assert_eq!(nowhere, Err(WriteError::Io { kind: ErrorKind::NotFound, offset: 0 }));
    append(file.writer(), 1..=crate::sample::TICKS);
    file.sync().expect("a good disk");
    let sealed = file.finish(Ended::Finished, b"red wins", hash(90)).expect("a good disk");
    assert_eq!(file.durable(), Durable { tick: 90, bytes: sealed.bytes });
    let bytes = std::fs::read(file.path()).expect("it is there");
    assert_eq!(bytes, recording());
    assert_eq!(sealed.recording_hash, *blake3::hash(&bytes).as_bytes());
}

#[test]
fn holes_and_oversizes_are_refused() {
    let fresh = || Writer::start(Vec::new(), &header(), Settings::new(3, 10)).expect("a good sink");
    let mut writer = fresh();
    writer.append(1, &[], 1).expect("the first tick");
    let error = WriteError::Order { found: 3, expected: 2 };
    assert_eq!(writer.append(3, &[], 3), Err(error));
    assert_eq!(writer.append(2, &[], 2), Err(error), "a hole cannot be mended");
    assert_eq!(fresh().append(0, &[], 0), Err(WriteError::Order { found: 0, expected: 1 }));
    assert_eq!(fresh().keyframe(1, &[]), Err(WriteError::Order { found: 1, expected: 0 }));
    let mut writer = fresh();
    writer.keyframe(0, &[5]).expect("the state before the first tick");
    writer.append(1, &vec![0; RECORD_BYTES_MAX], 1).expect("the longest record");
    let longer = writer.append(2, &vec![0; RECORD_BYTES_MAX + 1], 2);
    assert!(matches!(longer, Err(WriteError::TooLong { what: "tick record", .. })));
    let mut writer = fresh();
    writer.append(1, &[], 1).expect("the first tick");
    let large = vec![0; (16 << 20) + 1];
    assert!(matches!(writer.keyframe(1, &large), Err(WriteError::TooLong { what: "keyframe", .. })));
    writer.append(2, &[], 2).expect("a keyframe can be left out");
    writer.finish(Ended::Finished, &[], 2).expect("a good sink");
    assert_eq!(writer.append(3, &[], 3), Err(WriteError::Finished));
}

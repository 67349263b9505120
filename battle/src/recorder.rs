//! The recording thread of a node: writes what battles hand over to files.
//!
//! It closes a frame about every second of a battle and syncs what it wrote in groups. A disk that refuses costs the
//! file and not the battle, nor the other recordings:
//!
//! ```text
//! BATTLE-EPOCH.replay ──a write or a sync fails──▶ no file ──the next keyframe──▶ BATTLE-EPOCH.part-1.replay ──▶ …
//! ```
//!
//! What is in several files has gaps between them: it is counted as incomplete, is known by no hash and gets no seal.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use tiltyard_replay::{Ended, FileWriter, Header, Sealed, Settings, Signer, Statement, SyncSink, WriteError};
use tracing::{error, info, warn};

use crate::mishap::Mishap;
use crate::recording::crossing::Spare;
use crate::recording::{Job, Key, RecordingCounters, Then};

/// What the file name of a recording ends in.
pub(crate) const RECORDING_EXTENSION: &str = "replay";

/// What the file name of a recording's seal ends in, instead of `replay`.
pub const SEAL_EXTENSION: &str = "seal";

/// How often written frames are synced to the disk.
pub(crate) const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// How long the thread sleeps when it has nothing to do. What is handed over meanwhile is lost if the process is
/// killed: not a tick at 120 Hz.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How many ticks a killed process may lose: so often the open frame is written ahead of its end.
pub(crate) const CHECKPOINT_TICKS: u32 = 3;

/// Files after the first that one battle may try: more than a disk's bad hour needs.
const PARTS_MAX: u32 = 64;

/// The thread's side. What a file is comes from outside, so that tests can bring disks that fail.
pub(crate) struct WriterThread<F> {
    create: fn(&Path) -> io::Result<F>,
    recordings: BTreeMap<Key, Recording<F>>,
    spare: Arc<Spare>,
    counters: Arc<RecordingCounters>,
    signer: Option<Signer>,
}

/// A battle's recording, in one file or, where the disk failed, in several.
struct Recording<F> {
    /// The file that is being written; nothing while none takes what is recorded.
    writer: Option<FileWriter<F>>,
    /// Where the first part is.
    path: PathBuf,
    /// The newest part's head.
    header: Box<Header>,
    settings: Settings,
}

impl<F: SyncSink> Recording<F> {
    /// Gives the file up, if there is one: what comes next goes to the next part.
    fn give_up(&mut self, key: Key, error: &WriteError, counters: &RecordingCounters) {
        if self.writer.take().is_some() {
            counters.recordings_faults.fetch_add(1, Ordering::Relaxed);
            let Key { battle, epoch } = key;
            warn!(%battle, epoch, %error, "the recording's file is given up; the next part begins at a keyframe");
        }
    }

    /// Whether everything is in one file.
    const fn is_whole(&self) -> bool {
        self.header.part == 0 && self.writer.is_some()
    }

    /// Begins the next part, which needs a keyframe first.
    fn begin_part(&mut self, create: fn(&Path) -> io::Result<F>) -> Result<(), WriteError> {
        self.header.part += 1;
        let path = self.path.with_extension(format!("part-{}.{}", self.header.part, RECORDING_EXTENSION));
        self.writer = Some(start(create, &path, &self.header, self.settings)?);
        Ok(())
    }
}

/// Creates a file that is not there yet.
pub(crate) fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Begins a file; nothing is left of it if its head cannot be written.
fn start<F: SyncSink>(
    create: fn(&Path) -> io::Result<F>,
    path: &Path,
    header: &Header,
    settings: Settings,
) -> Result<FileWriter<F>, WriteError> {
    let file = create(path).map_err(|error| WriteError::Io { kind: error.kind(), offset: 0 })?;
    FileWriter::start(file, path, header, settings).inspect_err(|_| drop(fs::remove_file(path)))
}

impl<F: SyncSink> WriterThread<F> {
    /// A thread's side without recordings.
    pub(crate) fn new(
        create: fn(&Path) -> io::Result<F>,
        spare: Arc<Spare>,
        counters: Arc<RecordingCounters>,
        signer: Option<Signer>,
    ) -> Self {
        Self { create, recordings: BTreeMap::new(), spare, counters, signer }
    }

    /// Works until it is told to stop.
    pub(crate) fn run(&mut self, jobs: &Receiver<Job>) {
        let mut sync_at = Instant::now() + SYNC_INTERVAL;
        loop {
            match jobs.try_recv() {
                Ok(Job::Stop) | Err(TryRecvError::Disconnected) => break,
                Ok(job) => self.work(job),
                // Not waited for: whoever hands over to a thread that waits has to wake it, which costs a tick more
                // than all else that it does for its recording.
                Err(TryRecvError::Empty) => std::thread::sleep(LOOK_INTERVAL),
            }
            if Instant::now() >= sync_at {
                self.sync();
                sync_at = Instant::now() + SYNC_INTERVAL;
            }
        }
        self.sync();
    }

    fn work(&mut self, job: Job) {
        match job {
            Job::Open { key, path, header, settings } => {
                let writer = start(self.create, &path, &header, settings);
                if let Err(error) = &writer {
                    self.counters.recordings_faults.fetch_add(1, Ordering::Relaxed);
                    warn!(battle = %key.battle, path = %path.display(), %error, "no recording of this battle yet");
                }
                self.recordings.insert(key, Recording { writer: writer.ok(), path, header, settings });
            }
            Job::Ticks { key, ticks } => {
                for (tick, record, hash) in ticks.iter() {
                    self.with(key, |file| file.writer().append(tick, record, hash));
                    if tick.is_multiple_of(CHECKPOINT_TICKS) {
                        self.with(key, FileWriter::checkpoint);
                    }
                }
                self.spare.give(ticks.records);
            }
            Job::Keyframe { key, tick, state, parts } => {
                self.with(key, |file| file.writer().hash_parts(&parts));
                self.begin_part_if_due(key);
                self.with(key, |file| file.writer().keyframe(tick, &state));
            }
            Job::Snapshot { key, picture } => self.with(key, |file| file.writer().snapshot(&picture)),
            Job::Report { key, mishap } => self.report(key, &mishap),
            Job::Finish { key, ended, outcome, final_hash, then } => {
                let sealed = self.finish(key, ended, &outcome, final_hash);
                run(then, sealed);
            }
            Job::GiveUp { key, then } => {
                if let Some(mut recording) = self.recordings.remove(&key)
                    && let Some(Err(error)) = recording.writer.as_mut().map(FileWriter::sync)
                {
                    self.counters.recordings_faults.fetch_add(1, Ordering::Relaxed);
                    warn!(battle = %key.battle, epoch = key.epoch, %error, "the start of a recording is lost");
                }
                self.counters.recordings_incomplete.fetch_add(1, Ordering::Relaxed);
                run(then, None);
            }
            Job::Stop => {}
        }
    }

    /// Runs a write. A file that the disk refused is given up, and the battle goes on.
    fn with(&mut self, key: Key, write: impl FnOnce(&mut FileWriter<F>) -> Result<(), WriteError>) {
        let Some(recording) = self.recordings.get_mut(&key) else { return };
        let Some(writer) = &mut recording.writer else { return };
        if let Err(error) = write(writer) {
            if writer.writer().fault().is_some() {
                recording.give_up(key, &error, &self.counters);
            } else {
                self.counters.recordings_left_out.fetch_add(1, Ordering::Relaxed);
                warn!(battle = %key.battle, epoch = key.epoch, %error, "left out of the recording");
            }
        }
    }

    /// After a failure the next keyframe begins a new file: what the old one holds behind its last good sync is
    /// promised to nobody, and a later sync of it would prove nothing.
    fn begin_part_if_due(&mut self, key: Key) {
        let Some(recording) = self.recordings.get_mut(&key) else { return };
        if recording.writer.is_some() || recording.header.part >= PARTS_MAX {
            return;
        }
        match recording.begin_part(self.create) {
            Ok(()) => {
                self.counters.recordings_later_parts.fetch_add(1, Ordering::Relaxed);
                info!(battle = %key.battle, part = recording.header.part, "the recording goes on in a new file");
            }
            Err(error) => {
                self.counters.recordings_faults.fetch_add(1, Ordering::Relaxed);
                warn!(battle = %key.battle, part = recording.header.part, %error, "still no recording");
            }
        }
    }

    fn sync(&mut self) {
        for (key, recording) in &mut self.recordings {
            if let Some(Err(error)) = recording.writer.as_mut().map(FileWriter::sync) {
                recording.give_up(*key, &error, &self.counters);
            }
        }
    }

    /// Closes a recording. It is known by nothing and gets no seal if it is not whole and in one file; its newest part
    /// has an end all the same.
    fn finish(&mut self, key: Key, ended: Ended, outcome: &[u8], final_hash: u64) -> Option<Sealed> {
        let mut recording = self.recordings.remove(&key);
        let is_whole = recording.as_ref().is_some_and(Recording::is_whole);
        let closed = recording.as_mut().and_then(|recording| {
            let writer = recording.writer.as_mut()?;
            let sealed = writer.finish(ended, outcome, final_hash);
            let (battle, path) = (key.battle, writer.path());
            match sealed {
                Ok(sealed) => {
                    info!(%battle, path = %path.display(), bytes = sealed.bytes, is_whole, "recording closed");
                    let told = statement(key, &sealed, ended, outcome);
                    let signer = self.signer.as_ref().filter(|_| is_whole);
                    if let Some(Err(error)) = signer.map(|signer| write_seal(signer, path, &told)) {
                        warn!(%battle, path = %path.display(), %error, "no seal of this recording");
                    }
                    Some(sealed)
                }
                Err(error) => {
                    self.counters.recordings_faults.fetch_add(1, Ordering::Relaxed);
                    warn!(%battle, path = %path.display(), %error, "recording is incomplete");
                    None
                }
            }
        });
        let sealed = closed.filter(|_| is_whole);
        let counter = if sealed.is_some() {
            &self.counters.recordings_finished
        } else {
            &self.counters.recordings_incomplete
        };
        counter.fetch_add(1, Ordering::Relaxed);
        sealed
    }

    fn report(&mut self, key: Key, mishap: &Mishap) {
        // What was appended so far has to be in the file, which is read for the report.
        self.with(key, FileWriter::checkpoint);
        let writer = self.recordings.get(&key).and_then(|recording| recording.writer.as_ref());
        let counters = &self.counters;
        let counter = match writer.map(|writer| mishap.write_report(writer.path())) {
            Some(Ok(Some(report))) => {
                warn!(battle = %key.battle, report = %report.display(), "a mishap is reported");
                &counters.reports_written
            }
            Some(Ok(None)) => {
                info!(battle = %key.battle, "a client reported the state that is recorded");
                &counters.reports_unfounded
            }
            Some(Err(error)) => {
                warn!(battle = %key.battle, %error, "no report of a mishap");
                &counters.reports_failed
            }
            None => {
                warn!(battle = %key.battle, "no report of a mishap, as nothing is recorded");
                &counters.reports_failed
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs what follows on a recording's end; a mistake in it must not cost the other recordings their thread.
fn run(then: Then, sealed: Option<Sealed>) {
    if catch_unwind(AssertUnwindSafe(|| then(sealed))).is_err() {
        error!("what follows on the end of a recording panicked");
    }
}

/// What a seal says of a recording that was closed.
fn statement(key: Key, sealed: &Sealed, ended: Ended, outcome: &[u8]) -> Statement {
    Statement {
        battle: key.battle.0,
        epoch: key.epoch,
        last_tick: sealed.last_tick,
        final_hash: sealed.final_hash,
        recording_hash: sealed.recording_hash,
        ended,
        outcome: outcome.to_vec(),
    }
}

/// Writes the seal beside its recording and waits until it is on the disk.
fn write_seal(signer: &Signer, path: &Path, statement: &Statement) -> io::Result<()> {
    let seal = signer.seal(statement).ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = File::create(path.with_extension(SEAL_EXTENSION))?;
    io::Write::write_all(&mut file, &seal)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write;
    use std::sync::mpsc::sync_channel;

    use tiltyard_cluster::BattleId;
    use tiltyard_replay::Summary;

    use super::*;
    use crate::recording::Ticks;

    /// What the disk does to whoever writes to it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Disk {
        Good,
        Full,
        SyncFails,
    }

    thread_local! {
        static DISK: Cell<Disk> = const { Cell::new(Disk::Good) };
    }

    fn judge(refused_by: Disk) -> io::Result<()> {
        if DISK.get() == refused_by { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// A file on a disk whose state the test sets.
    struct Fickle(File);

    impl Write for Fickle {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            judge(Disk::Full)?;
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    impl SyncSink for Fickle {
        fn sync(&mut self) -> io::Result<()> {
            judge(Disk::SyncFails)?;
            self.0.sync()
        }

        fn write_ahead(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            judge(Disk::Full)?;
            self.0.write_ahead(offset, bytes)
        }

        fn truncate(&mut self, length: u64) -> io::Result<()> {
            self.0.truncate(length)
        }
    }

    const KEY: Key = Key { battle: BattleId(1), epoch: 2 };

    struct Bench {
        folder: tempfile::TempDir,
        thread: WriterThread<Fickle>,
        tick: u32,
    }

    impl Bench {
        fn new() -> Self {
            DISK.set(Disk::Good);
            let signer = Some(Signer::from_seed(&[1; 32]));
            let create = |path: &Path| create_file(path).map(Fickle);
            let thread = WriterThread::new(create, Arc::default(), Arc::default(), signer);
            Self { folder: tempfile::tempdir().unwrap(), thread, tick: 0 }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn open(&mut self) {
            let header = Header {
                rate_hz: 10,
                protocol_hash: [7; 16],
                game: "joust".to_owned(),
                mode: "tilt".to_owned(),
                battle: 1,
                seed: 1,
                start_unix_ms: 0,
                part: 0,
                build: "test".to_owned(),
                seat_names: Vec::new(),
                spec: Vec::new(),
            };
            let (path, settings) = (self.path("a-2.replay"), Settings::new(2, 10));
            self.thread.work(Job::Open { key: KEY, path, header: Box::new(header), settings });
        }

        /// So many ticks, with a keyframe every twenty.
        fn ticks(&mut self, count: u32) {
            for _ in 0..count {
                self.tick += 1;
                let tick = self.tick;
                let mut ticks = Ticks::default();
                ticks.push(tick, &[1, 2], u64::from(tick));
                self.thread.work(Job::Ticks { key: KEY, ticks });
                if tick.is_multiple_of(20) {
                    let (state, parts) = (vec![tick as u8; 40], vec![1]);
                    self.thread.work(Job::Keyframe { key: KEY, tick, state, parts });
                }
            }
        }

        fn finish(&mut self) -> Option<Sealed> {
            let (told, hears) = sync_channel(1);
            let then: Then = Box::new(move |sealed| told.send(sealed).unwrap());
            let (ended, outcome, final_hash) = (Ended::Finished, Vec::new(), u64::from(self.tick));
            self.thread.work(Job::Finish { key: KEY, ended, outcome, final_hash, then });
            hears.recv().unwrap()
        }

        fn summary(&self, name: &str) -> Summary {
            let summary = Summary::read(File::open(self.path(name)).unwrap()).unwrap();
            assert!(summary.error.is_none() && summary.gaps.is_empty(), "{summary:?}");
            summary
        }

        /// How many were finished, incomplete, begun as later parts, and had faults.
        fn counts(&self) -> [u64; 4] {
            let counters = &self.thread.counters;
            [
                &counters.recordings_finished,
                &counters.recordings_incomplete,
                &counters.recordings_later_parts,
                &counters.recordings_faults,
            ]
            .map(|counter| counter.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn a_failed_sync_ends_the_file_and_the_next_keyframe_begins_another() {
        let mut bench = Bench::new();
        bench.open();
        bench.ticks(25);
        bench.thread.sync();
        let durable = bench.thread.recordings[&KEY].writer.as_ref().unwrap().durable();
        assert_eq!(durable.tick, 25);
        bench.ticks(3);
        DISK.set(Disk::SyncFails);
        bench.thread.sync();
        assert!(bench.thread.recordings[&KEY].writer.is_none(), "nothing more is promised of this file");
        DISK.set(Disk::Good);
        // The ticks up to the next keyframe are lost, and the disk is good again all the while.
        bench.ticks(2);
        bench.thread.sync();
        bench.ticks(20);
        assert_eq!(bench.finish(), None, "what is in two files is known by no hash");
        let first = bench.summary("a-2.replay");
        assert_eq!((first.tick_range, first.complete), (Some((1, 28)), false));
        let second = bench.summary("a-2.part-1.replay");
        assert_eq!((second.header.part, second.tick_range, second.complete), (1, Some((41, 50)), true));
        assert_eq!(bench.counts(), [0, 1, 1, 1]);
        assert!(!bench.path("a-2.seal").exists() && !bench.path("a-2.part-1.seal").exists());
    }

    #[test]
    fn a_full_disk_costs_what_it_refused_and_recording_goes_on_when_there_is_room() {
        let mut bench = Bench::new();
        DISK.set(Disk::Full);
        bench.open();
        bench.ticks(30);
        assert_eq!(fs::read_dir(bench.folder.path()).unwrap().count(), 0, "no file without a head is left");
        DISK.set(Disk::Good);
        bench.ticks(15);
        DISK.set(Disk::Full);
        bench.ticks(25);
        DISK.set(Disk::Good);
        bench.ticks(20);
        assert_eq!(bench.finish(), None);
        // Part 1 found no room at tick 20, and part 3 none at tick 60.
        let parts = ["a-2.part-2.replay", "a-2.part-4.replay"].map(|name| {
            let summary = bench.summary(name);
            (summary.keyframes, summary.tick_range, summary.complete)
        });
        assert_eq!(parts, [(vec![40], Some((41, 45)), false), (vec![80], Some((81, 90)), true)]);
        assert_eq!(fs::read_dir(bench.folder.path()).unwrap().count(), 2);
        // The head, part 1, part 2 in its middle, and part 3 were refused.
        assert_eq!(bench.counts(), [0, 1, 2, 4]);
    }

    #[test]
    fn on_a_good_disk_there_is_one_file_and_its_seal() {
        let mut bench = Bench::new();
        bench.open();
        bench.ticks(50);
        let sealed = bench.finish().unwrap();
        assert_eq!((sealed.last_tick, bench.counts()), (50, [1, 0, 0, 0]));
        let seal = fs::read(bench.path("a-2.seal")).unwrap();
        let (statement, key) = Statement::open(&seal).unwrap();
        assert_eq!(statement.recording_hash, sealed.recording_hash);
        assert_eq!(key, Signer::from_seed(&[1; 32]).public_key());
        assert_eq!(fs::read_dir(bench.folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_disk_that_never_recovers_is_asked_so_many_times_and_no_more() {
        let mut bench = Bench::new();
        DISK.set(Disk::Full);
        bench.open();
        bench.ticks(20 * (PARTS_MAX + 5));
        assert_eq!(bench.thread.recordings[&KEY].header.part, PARTS_MAX);
        DISK.set(Disk::Good);
        bench.ticks(40);
        assert_eq!(bench.finish(), None);
        assert_eq!(fs::read_dir(bench.folder.path()).unwrap().count(), 0);
    }
}

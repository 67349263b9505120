//! Recording: battles hand over their ticks, one thread of the node writes them to disk.
//!
//! The queue between them is bounded. A battle never waits for it: when it is full, or the disk refuses, that
//! battle's recording is incomplete from there on, which is counted, and the battle goes on. The thread closes a
//! frame about every second of a battle and syncs what it wrote in groups.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tiltyard_cluster::BattleId;
use tiltyard_replay::{Ended, FileWriter, Header, Sealed, Settings, Signer, Statement, WriteError};
use tracing::{error, info, warn};

use crate::mishap::Mishap;

/// Jobs that may wait for the recording thread: about 20 s of 200 battles at 30 Hz would be 120,000; what is above
/// this many makes recordings incomplete.
pub const QUEUE_MAX: usize = 16_384;

/// What the file name of a recording's seal ends in, instead of `replay`.
pub const SEAL_EXTENSION: &str = "seal";

/// Reports that are written of one battle at most.
pub const REPORTS_MAX: u8 = 4;

/// How often written frames are synced to the disk.
pub(crate) const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// How many ticks a killed process may lose: so often the open frame is written ahead of its end.
const CHECKPOINT_TICKS: u32 = 3;

/// Which recording is meant. A battle that comes back under a higher epoch gets one of its own, perhaps before the
/// older one is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    battle: BattleId,
    epoch: u32,
}

/// What the recording thread is asked to do.
enum Job {
    Open {
        key: Key,
        path: PathBuf,
        header: Box<Header>,
        settings: Settings,
    },
    Tick {
        key: Key,
        tick: u32,
        record: Vec<u8>,
        hash: u64,
    },
    Keyframe {
        key: Key,
        tick: u32,
        state: Vec<u8>,
        parts: Vec<u64>,
    },
    Finish {
        key: Key,
        ended: Ended,
        outcome: Vec<u8>,
        final_hash: u64,
        then: Then,
    },
    Report {
        key: Key,
        mishap: Mishap,
    },
    /// Closes a recording that lacks ticks: it gets no end, so that nobody takes it for whole.
    GiveUp {
        key: Key,
        then: Then,
    },
    Stop,
}

/// What happens once a recording is closed; runs on the recording thread.
pub type Then = Box<dyn FnOnce(Option<Sealed>) + Send>;

/// What went wrong with recordings since the node started.
#[derive(Debug, Default)]
pub struct RecordingCounters {
    /// Ticks that found the queue full.
    pub queue_full: AtomicU64,
    /// Closed recordings that are incomplete because of the queue or the disk.
    pub incomplete: AtomicU64,
    /// Recordings that were closed whole.
    pub finished: AtomicU64,
    /// Reports that were written beside recordings.
    pub reports: AtomicU64,
}

/// The recording thread of a node.
pub struct Recorder {
    queue: SyncSender<Job>,
    spare: Arc<crossing::Spare>,
    counters: Arc<RecordingCounters>,
    folder: PathBuf,
    thread: JoinHandle<()>,
}

/// What a battle's room holds of its recording.
pub struct RoomRecording {
    key: Key,
    queue: SyncSender<Job>,
    spare: Arc<crossing::Spare>,
    counters: Arc<RecordingCounters>,
    /// The queue was full: what comes after the gap is worth nothing.
    lost: bool,
    /// How many reports may still be asked for.
    reports_left: u8,
}

/// Opens recordings; cheap to clone into each worker.
#[derive(Clone)]
pub struct RecorderHandle {
    queue: SyncSender<Job>,
    spare: Arc<crossing::Spare>,
    counters: Arc<RecordingCounters>,
    folder: PathBuf,
}

impl Recorder {
    /// Starts the thread; recordings go to files in `folder`, which is made if it is not there. With a signer each that
    /// is closed whole gets a seal beside it.
    ///
    /// # Errors
    /// If the folder or the thread cannot be made.
    pub fn start(folder: &Path, signer: Option<Signer>) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let counters = Arc::new(RecordingCounters::default());
        let spare = Arc::new(crossing::Spare::default());
        let mut writer =
            WriterThread { files: BTreeMap::new(), spare: spare.clone(), counters: counters.clone(), signer };
        let thread =
            std::thread::Builder::new().name("recording".to_owned()).spawn(move || writer.run(&jobs))?;
        Ok(Self { queue, spare, counters, folder: folder.to_owned(), thread })
    }

    /// What workers open recordings with.
    #[must_use]
    pub fn handle(&self) -> RecorderHandle {
        RecorderHandle {
            queue: self.queue.clone(),
            spare: self.spare.clone(),
            counters: self.counters.clone(),
            folder: self.folder.clone(),
        }
    }

    /// What went wrong so far.
    #[must_use]
    pub fn counters(&self) -> &RecordingCounters {
        &self.counters
    }

    /// Writes what is queued, closes all files and ends the thread.
    pub fn stop(self) {
        if self.queue.send(Job::Stop).is_ok() && self.thread.join().is_err() {
            warn!("the recording thread panicked");
        }
    }
}

impl RecorderHandle {
    /// Where a battle's recording goes: `<battle id, 16 hex digits>-<epoch>.replay`.
    #[must_use]
    pub fn path(&self, battle: u64, epoch: u32) -> PathBuf {
        self.folder.join(format!("{battle:016x}-{epoch}.replay"))
    }

    /// Begins a battle's recording.
    #[must_use]
    pub fn open(&self, header: Header, settings: Settings) -> RoomRecording {
        let key = Key { battle: BattleId(header.battle), epoch: settings.epoch };
        let mut room = RoomRecording {
            key,
            queue: self.queue.clone(),
            spare: self.spare.clone(),
            counters: self.counters.clone(),
            lost: false,
            reports_left: REPORTS_MAX,
        };
        let path = self.path(key.battle.0, key.epoch);
        room.give(Job::Open { key, path, header: Box::new(header), settings });
        room
    }
}

impl RoomRecording {
    /// Hands over a tick's record and the hash of the state after it.
    pub fn tick(&mut self, tick: u32, record: &[u8], hash: u64) {
        let mut bytes = self.spare.take();
        bytes.extend_from_slice(record);
        self.give(Job::Tick { key: self.key, tick, record: bytes, hash });
    }

    /// Hands over the state after the newest tick, and the hashes of its parts.
    pub fn keyframe(&mut self, tick: u32, state: Vec<u8>, parts: &[u64]) {
        self.give(Job::Keyframe { key: self.key, tick, state, parts: parts.to_vec() });
    }

    /// Closes the recording; `then` learns what it is known by, or nothing if it is incomplete. Waits for the queue:
    /// a battle ends once.
    pub fn finish(self, ended: Ended, outcome: Vec<u8>, final_hash: u64, then: Then) {
        let job = if self.lost {
            Job::GiveUp { key: self.key, then }
        } else {
            Job::Finish { key: self.key, ended, outcome, final_hash, then }
        };
        if let Err(refused) = self.queue.send(job)
            && let Job::Finish { then, .. } | Job::GiveUp { then, .. } = refused.0
        {
            then(None);
        }
    }

    /// Asks for a report on a mishap. Nothing happens above [`REPORTS_MAX`] of a battle, the last of which clients
    /// cannot use up, or if the queue is full.
    pub fn report(&mut self, mishap: Mishap) {
        let kept = u8::from(matches!(mishap, Mishap::Desync { .. }));
        if self.lost || self.reports_left <= kept {
            return;
        }
        self.reports_left -= 1;
        let _ = self.queue.try_send(Job::Report { key: self.key, mishap });
    }

    fn give(&mut self, job: Job) {
        if self.lost {
            return;
        }
        if self.queue.try_send(job).is_err() {
            self.lost = true;
            self.counters.queue_full.fetch_add(1, Ordering::Relaxed);
            let Key { battle, epoch } = self.key;
            warn!(%battle, epoch, "the recording queue is full: this recording is incomplete");
        }
    }
}

/// Buffers on their way back from the recording thread.
mod crossing {
    use std::sync::Mutex;

    /// Empty buffers to use again; at most [`SPARE_MAX`]. A battle takes one without waiting: when the list is in
    /// use it makes a new one.
    #[derive(Default)]
    pub(super) struct Spare(Mutex<Vec<Vec<u8>>>);

    const SPARE_MAX: usize = 1024;

    impl Spare {
        pub(super) fn take(&self) -> Vec<u8> {
            self.0.try_lock().ok().and_then(|mut list| list.pop()).unwrap_or_default()
        }

        pub(super) fn give(&self, mut buffer: Vec<u8>) {
            buffer.clear();
            if let Ok(mut list) = self.0.try_lock()
                && list.len() < SPARE_MAX
            {
                list.push(buffer);
            }
        }
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
fn write_seal(signer: &Signer, path: &Path, statement: &Statement) -> std::io::Result<()> {
    let seal = signer.seal(statement).ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut file = std::fs::File::create(path.with_extension(SEAL_EXTENSION))?;
    std::io::Write::write_all(&mut file, &seal)?;
    file.sync_all()
}

/// The thread's side.
struct WriterThread {
    files: BTreeMap<Key, File>,
    spare: Arc<crossing::Spare>,
    counters: Arc<RecordingCounters>,
    signer: Option<Signer>,
}

struct File {
    writer: FileWriter,
    /// The first error was reported.
    reported: bool,
}

impl WriterThread {
    fn run(&mut self, jobs: &Receiver<Job>) {
        let mut sync_at = Instant::now() + SYNC_INTERVAL;
        loop {
            match jobs.recv_timeout(sync_at.saturating_duration_since(Instant::now())) {
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(job) => self.work(job),
                Err(RecvTimeoutError::Timeout) => {}
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
            Job::Open { key, path, header, settings } => match FileWriter::create(&path, &header, settings) {
                Ok(writer) => {
                    self.files.insert(key, File { writer, reported: false });
                }
                // Counted when the battle ends.
                Err(error) => {
                    warn!(battle = %key.battle, path = %path.display(), %error, "no recording of this battle");
                }
            },
            Job::Tick { key, tick, record, hash } => {
                self.with(key, |file| file.writer().append(tick, &record, hash));
                self.spare.give(record);
                if tick.is_multiple_of(CHECKPOINT_TICKS) {
                    self.with(key, FileWriter::checkpoint);
                }
            }
            Job::Keyframe { key, tick, state, parts } => {
                self.with(key, |file| file.writer().hash_parts(&parts));
                self.with(key, |file| file.writer().keyframe(tick, &state));
            }
            Job::Report { key, mishap } => {
                // What was appended so far has to be in the file, which is read for the report.
                self.with(key, FileWriter::checkpoint);
                if let Some(file) = self.files.get(&key) {
                    match mishap.write_report(file.writer.path()) {
                        Ok(Some(report)) => {
                            self.counters.reports.fetch_add(1, Ordering::Relaxed);
                            warn!(battle = %key.battle, report = %report.display(), "a mishap is reported");
                        }
                        Ok(None) => {
                            info!(battle = %key.battle, "a client reported the state that is recorded");
                        }
                        Err(error) => warn!(battle = %key.battle, %error, "no report of a mishap"),
                    }
                }
            }
            Job::Finish { key, ended, outcome, final_hash, then } => {
                let sealed = self.files.remove(&key).and_then(|mut file| {
                    let sealed = file.writer.finish(ended, &outcome, final_hash);
                    let (battle, path) = (key.battle, file.writer.path().display());
                    match &sealed {
                        Ok(sealed) => {
                            info!(%battle, %path, bytes = sealed.bytes, "recording closed");
                            let told = statement(key, sealed, ended, &outcome);
                            let seal = self
                                .signer
                                .as_ref()
                                .map(|signer| write_seal(signer, file.writer.path(), &told));
                            if let Some(Err(error)) = seal {
                                warn!(%battle, %path, %error, "no seal of this recording");
                            }
                        }
                        Err(error) => warn!(%battle, %path, %error, "recording is incomplete"),
                    }
                    sealed.ok()
                });
                let counter =
                    if sealed.is_some() { &self.counters.finished } else { &self.counters.incomplete };
                counter.fetch_add(1, Ordering::Relaxed);
                run(then, sealed);
            }
            Job::GiveUp { key, then } => {
                if let Some(mut file) = self.files.remove(&key)
                    && let Err(error) = file.writer.sync()
                {
                    warn!(battle = %key.battle, epoch = key.epoch, %error, "the start of a recording is lost");
                }
                self.counters.incomplete.fetch_add(1, Ordering::Relaxed);
                run(then, None);
            }
            Job::Stop => {}
        }
    }

    /// Runs a write; the first error of a recording is reported, the battle goes on.
    fn with(&mut self, key: Key, write: impl FnOnce(&mut FileWriter) -> Result<(), WriteError>) {
        let Some(file) = self.files.get_mut(&key) else { return };
        if let Err(error) = write(&mut file.writer)
            && !std::mem::replace(&mut file.reported, true)
        {
            warn!(battle = %key.battle, epoch = key.epoch, %error, "recording is incomplete from here on");
        }
    }

    fn sync(&mut self) {
        for (key, file) in &mut self.files {
            if let Err(error) = file.writer.sync()
                && !std::mem::replace(&mut file.reported, true)
            {
                warn!(battle = %key.battle, epoch = key.epoch, %error, "recording is incomplete from here on");
            }
        }
    }
}

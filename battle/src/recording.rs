//! Recording: battles hand over their ticks, one thread of the node writes them to disk.
//!
//! The queue between them is bounded. A battle never waits for it: when it is full, that battle's recording is
//! incomplete from there on, which is counted, and the battle goes on. What the thread does is [`crate::recorder`]'s.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use tiltyard_cluster::BattleId;
use tiltyard_replay::{Ended, Header, Sealed, Settings, Signer};
use tracing::warn;

use crate::mishap::Mishap;
use crate::recorder::{CHECKPOINT_TICKS, RECORDING_EXTENSION, WriterThread, create_file};

/// Jobs that may wait for the recording thread, of three ticks each: eight seconds of 200 battles at 30 Hz. What is above
/// this many makes recordings incomplete.
pub const QUEUE_MAX: usize = 16_384;

/// Reports that are written of one battle at most.
pub const REPORTS_MAX: u8 = 4;

/// Which recording is meant. A battle that comes back under a higher epoch gets one of its own, perhaps before the
/// older one is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) battle: BattleId,
    pub(crate) epoch: u32,
}

/// Ticks that are handed over together. A message to another thread costs its queue's cold memory and the buffer's,
/// which is more than all else that a tick does for its recording. They end where the file is written ahead, so that a
/// killed process loses no more by it.
#[derive(Debug, Default)]
pub(crate) struct Ticks {
    pub(crate) first: u32,
    count: usize,
    /// Of each tick where its record ends in `records`, and its hash.
    ends: [(usize, u64); CHECKPOINT_TICKS as usize],
    pub(crate) records: Vec<u8>,
}

impl Ticks {
    pub(crate) fn push(&mut self, tick: u32, record: &[u8], hash: u64) {
        if self.count == 0 {
            self.first = tick;
        }
        self.records.extend_from_slice(record);
        self.ends[self.count] = (self.records.len(), hash);
        self.count += 1;
    }

    /// Each tick with its record and hash.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &[u8], u64)> {
        let mut start = 0;
        (self.first..).zip(&self.ends[..self.count]).map(move |(tick, (end, hash))| {
            let record = &self.records[std::mem::replace(&mut start, *end)..*end];
            (tick, record, *hash)
        })
    }

    /// Whether the next tick is one for the next message.
    fn is_full(&self) -> bool {
        self.count == self.ends.len() || (self.first + self.count as u32 - 1).is_multiple_of(CHECKPOINT_TICKS)
    }
}

/// What the recording thread is asked to do.
pub(crate) enum Job {
    Open {
        key: Key,
        path: PathBuf,
        header: Box<Header>,
        settings: Settings,
    },
    Ticks {
        key: Key,
        ticks: Ticks,
    },
    Keyframe {
        key: Key,
        tick: u32,
        state: Vec<u8>,
        parts: Vec<u64>,
    },
    /// The picture of the newest tick.
    Snapshot {
        key: Key,
        picture: Vec<u8>,
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

/// Declares counters that several threads count up, and their list.
macro_rules! counters {
    ($(#[$meta:meta])* pub struct $name:ident { $( $(#[$field_meta:meta])* $field:ident, )* }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: AtomicU64, )*
        }

        impl $name {
            /// Each counter with its name, as it is now.
            #[must_use]
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$( (stringify!($field), self.$field.load(Ordering::Relaxed)), )*]
            }
        }
    };
}

counters! {
    /// What became of recordings and of mishaps since the node started.
    pub struct RecordingCounters {
        /// Recordings that were closed whole.
        recordings_finished,
        /// Closed recordings that are incomplete because of the queue or the disk.
        recordings_incomplete,
        /// Files that could not be begun, written on, synced or closed: counted at once, for an alarm.
        recordings_faults,
        /// Recordings that found the queue full.
        recordings_queue_full,
        /// Files that were begun in the middle of a battle, because the one before was given up.
        recordings_later_parts,
        /// Ticks, keyframes and hashes of parts that were left out: too long, or out of order.
        recordings_left_out,
        /// Reports of mishaps that were written beside recordings.
        reports_written,
        /// Claims of clients that their state differs, of a state that is the recorded one.
        reports_unfounded,
        /// Reports above the most of a battle, or that found the queue full.
        reports_refused,
        /// Reports that could not be made or written.
        reports_failed,
    }
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
    /// Not handed over yet.
    ticks: Ticks,
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
    pub fn start(folder: &Path, signer: Option<Signer>) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let counters = Arc::new(RecordingCounters::default());
        let spare = Arc::new(crossing::Spare::default());
        let mut writer = WriterThread::new(create_file, spare.clone(), counters.clone(), signer);
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

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Arc<RecordingCounters> {
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
        self.folder.join(format!("{battle:016x}-{epoch}.{RECORDING_EXTENSION}"))
    }

    /// Removes a battle's recording and whatever lies beside it: seal, reports, later parts.
    ///
    /// # Errors
    /// If the folder cannot be read or a file not be removed.
    pub fn remove(&self, battle: u64, epoch: u32) -> io::Result<()> {
        let prefix = format!("{battle:016x}-{epoch}.");
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
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
            ticks: Ticks::default(),
            lost: false,
            reports_left: REPORTS_MAX,
        };
        let path = self.path(key.battle.0, key.epoch);
        room.give(Job::Open { key, path, header: Box::new(header), settings });
        room
    }
}

impl RoomRecording {
    /// Takes the record of the next tick and the hash of the state after it, and hands them over in groups of three:
    /// the file is no further on disk before that either.
    pub fn tick(&mut self, tick: u32, record: &[u8], hash: u64) {
        if self.lost {
            return;
        }
        self.ticks.push(tick, record, hash);
        if self.ticks.is_full() {
            self.hand_over();
        }
    }

    /// Hands over the ticks that were not yet.
    fn hand_over(&mut self) {
        if self.ticks.count > 0 && !self.lost {
            let next = Ticks { records: self.spare.take(), ..Ticks::default() };
            let ticks = std::mem::replace(&mut self.ticks, next);
            self.give(Job::Ticks { key: self.key, ticks });
        }
    }

    /// Hands over the state after the newest tick, and the hashes of its parts.
    pub fn keyframe(&mut self, tick: u32, state: Vec<u8>, parts: &[u64]) {
        self.hand_over();
        self.give(Job::Keyframe { key: self.key, tick, state, parts: parts.to_vec() });
    }

    /// Hands over the picture of the newest tick.
    pub fn snapshot(&mut self, picture: Vec<u8>) {
        self.hand_over();
        self.give(Job::Snapshot { key: self.key, picture });
    }

    /// Closes the recording; `then` learns what it is known by, or nothing if it is incomplete. Waits for the queue:
    /// a battle ends once.
    pub fn finish(mut self, ended: Ended, outcome: Vec<u8>, final_hash: u64, then: Then) {
        self.hand_over();
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

    /// Asks for a report on a mishap. Above [`REPORTS_MAX`] of a battle, the last of which clients cannot use up, or if
    /// the queue is full, there is none, which is counted.
    pub fn report(&mut self, mishap: Mishap) {
        self.hand_over();
        let kept = u8::from(matches!(mishap, Mishap::Desync { .. }));
        let is_allowed = !self.lost && self.reports_left > kept;
        if is_allowed {
            self.reports_left -= 1;
        }
        if !is_allowed || self.queue.try_send(Job::Report { key: self.key, mishap }).is_err() {
            self.counters.reports_refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn give(&mut self, job: Job) {
        if self.lost {
            return;
        }
        if self.queue.try_send(job).is_err() {
            self.lost = true;
            self.counters.recordings_queue_full.fetch_add(1, Ordering::Relaxed);
            let Key { battle, epoch } = self.key;
            warn!(%battle, epoch, "the recording queue is full: this recording is incomplete");
        }
    }
}

/// Buffers on their way back from the recording thread.
pub(crate) mod crossing {
    use std::sync::Mutex;

    /// Empty buffers to use again; at most [`SPARE_MAX`]. A battle takes one without waiting: when the list is in
    /// use it makes a new one.
    #[derive(Default)]
    pub(crate) struct Spare(Mutex<Vec<Vec<u8>>>);

    const SPARE_MAX: usize = 1024;

    impl Spare {
        pub(crate) fn take(&self) -> Vec<u8> {
            self.0.try_lock().ok().and_then(|mut list| list.pop()).unwrap_or_default()
        }

        pub(crate) fn give(&self, mut buffer: Vec<u8>) {
            buffer.clear();
            if let Ok(mut list) = self.0.try_lock()
                && list.len() < SPARE_MAX
            {
                list.push(buffer);
            }
        }
    }
}

//! The outbox: results of battles on disk until a lobby has settled them.
//!
//! A result is written and synced before anybody hears of it, so that it survives the node, and it is forgotten only
//! when a lobby says that it is stored, was stored already, or belongs to an older owner.
//!
//! ```text
//! <battle id, 16 hex digits>-<epoch>.running   empty: a battle whose result is still to come
//!                                    .json     its result
//!                                    .tmp      a result that is being written
//! ```
//! The note of a running battle is made before the lobby hears that the node has it, and goes when its result is on
//! disk. What stands there when a node starts was lost with the process before it. Notes are not synced: a killed
//! process loses none of them; a power cut may lose those of the last seconds, whose players wait until their battle
//! is overdue.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tiltyard_cluster::control::{BattleEnd, Settlement};
use tiltyard_cluster::{BattleId, Epoch, NodeId};
use tracing::{error, warn};

/// Results that the disk refused and that are held in memory instead; one more is lost, and said to be.
pub(crate) const HELD_MAX: usize = 4096;

/// Files that are no results and are reported by name; further ones are passed over without a word.
const STRANGE_MAX: usize = 1024;

/// Results that wait: one small file each, and in memory what the disk refused. Clones share both.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    folder: PathBuf,
    held: Arc<Mutex<Vec<Settlement>>>,
    /// Files that are no results and were reported.
    strange: Arc<Mutex<BTreeSet<PathBuf>>>,
}

/// A settlement as it stands in its file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    battle: u64,
    epoch: u32,
    node: String,
    ticks: u32,
    winner: Option<u8>,
    scores: Vec<i64>,
    final_hash: u64,
    recording_hash: [u8; 32],
    ended: StoredEnd,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredEnd {
    Finished,
    Aborted,
    Abandoned,
}

const VERSION: u32 = 1;

impl Outbox {
    /// The outbox in `folder`, which is made if it is not there.
    ///
    /// A node that died while it put a result on disk may have left it whole under its temporary name: that one
    /// waits from now on like the others. What was left torn is removed.
    ///
    /// # Errors
    /// If the folder cannot be made or read, or the disk refuses.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let outbox = Self { folder: folder.to_owned(), held: Arc::default(), strange: Arc::default() };
        for entry in fs::read_dir(folder)? {
            let temporary = entry?.path();
            if temporary.extension().is_some_and(|extension| extension == "tmp") {
                outbox.take_up(&temporary)?;
            }
        }
        Ok(outbox)
    }

    fn take_up(&self, temporary: &Path) -> io::Result<()> {
        match read(temporary) {
            Ok(settlement) => {
                File::open(temporary)?.sync_all()?;
                fs::rename(temporary, self.path(settlement.battle, settlement.epoch))?;
                File::open(&self.folder)?.sync_all()
            }
            Err(error) => {
                warn!(path = %temporary.display(), %error, "a torn result removed");
                fs::remove_file(temporary)
            }
        }
    }

    /// Notes that a battle runs here.
    ///
    /// # Errors
    /// If the disk refuses: its result would not find room either.
    pub(crate) fn note_running(&self, battle: BattleId, epoch: Epoch) -> io::Result<()> {
        File::create(self.running(battle, epoch)).map(drop)
    }

    /// Battles that ran here and left no result. To be asked before any battle runs.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub(crate) fn left_running(&self) -> io::Result<Vec<(BattleId, Epoch)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "running")
                && let Some((battle, epoch)) = named(&path)
            {
                // A result that cannot be read is none; the one that is found instead takes its place.
                if read(&self.path(battle, epoch)).is_ok() {
                    fs::remove_file(path)?;
                } else {
                    found.push((battle, epoch));
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Puts a result on disk and waits until it is there: from the recording thread, never from a tick. What the disk
    /// refuses is held in memory, at most [`HELD_MAX`] results, and settled from there: it survives everything but
    /// the end of this process.
    pub(crate) fn deposit(&self, settlement: &Settlement) {
        let Err(error) = self.write(settlement) else {
            // A note that stays makes a second result of this battle, which changes nothing.
            let _ = fs::remove_file(self.running(settlement.battle, settlement.epoch));
            return;
        };
        // What is left of it is better used by others.
        let _ = fs::remove_file(self.path(settlement.battle, settlement.epoch).with_extension("tmp"));
        let (battle, mut held) = (settlement.battle, self.held());
        if held.len() < HELD_MAX {
            error!(%battle, %error, "a result is held in memory: the outbox cannot be written");
            held.push(settlement.clone());
        } else {
            error!(%battle, %error, "a result is lost: the outbox cannot be written and {HELD_MAX} are held already");
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<Settlement>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, path: PathBuf, error: &io::Error) {
        let mut strange = self.strange.lock().unwrap_or_else(PoisonError::into_inner);
        if strange.len() < STRANGE_MAX && !strange.contains(&path) {
            warn!(path = %path.display(), %error, "not a result: left alone");
            strange.insert(path);
        }
    }

    fn write(&self, settlement: &Settlement) -> io::Result<()> {
        let path = self.path(settlement.battle, settlement.epoch);
        let temporary = path.with_extension("tmp");
        let bytes = serde_json::to_vec(&Stored::of(settlement)).map_err(io::Error::other)?;
        let mut file = File::create(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(&self.folder)?.sync_all()
    }

    /// All results that wait, oldest battle first. Files that are none are left alone and reported once.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub(crate) fn waiting(&self) -> io::Result<Vec<Settlement>> {
        let mut found = self.held().clone();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read(&path) {
                Ok(settlement) => found.push(settlement),
                Err(error) => self.report(path, &error),
            }
        }
        found.sort_by_key(|settlement| (settlement.battle, settlement.epoch));
        found.dedup_by_key(|settlement| (settlement.battle, settlement.epoch));
        Ok(found)
    }

    /// Forgets a result that is settled, or a battle that has none.
    ///
    /// # Errors
    /// If the disk refuses; settling it again later changes nothing.
    pub(crate) fn forget(&self, battle: BattleId, epoch: Epoch) -> io::Result<()> {
        self.held().retain(|settlement| (settlement.battle, settlement.epoch) != (battle, epoch));
        let removed =
            [self.running(battle, epoch), self.path(battle, epoch)].map(|path| match fs::remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            });
        removed.into_iter().collect()
    }

    fn running(&self, battle: BattleId, epoch: Epoch) -> PathBuf {
        self.path(battle, epoch).with_extension("running")
    }

    fn path(&self, battle: BattleId, epoch: Epoch) -> PathBuf {
        self.folder.join(format!("{:016x}-{}.json", battle.0, epoch.0))
    }
}

/// The battle and the epoch that a file's name tells.
fn named(path: &Path) -> Option<(BattleId, Epoch)> {
    let (battle, epoch) = path.file_stem()?.to_str()?.split_once('-')?;
    let digits = battle.len() == 16 && battle.bytes().all(|byte| byte.is_ascii_hexdigit());
    let battle = u64::from_str_radix(battle, 16).ok().filter(|_| digits)?;
    Some((BattleId(battle), Epoch(epoch.parse().ok()?)))
}

/// The longest file that is taken for a result, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

fn read(path: &Path) -> io::Result<Settlement> {
    let found = fs::metadata(path)?;
    // A pipe would be waited for.
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no file"));
    }
    if found.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too long"));
    }
    let stored: Stored = serde_json::from_slice(&fs::read(path)?)?;
    stored
        .into_settlement()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no node, or another version"))
}

impl Stored {
    fn of(settlement: &Settlement) -> Self {
        Self {
            version: VERSION,
            battle: settlement.battle.0,
            epoch: settlement.epoch.0,
            node: settlement.node.to_string(),
            ticks: settlement.ticks,
            winner: settlement.winner,
            scores: settlement.scores.clone(),
            final_hash: settlement.final_hash,
            recording_hash: settlement.recording_hash,
            ended: match settlement.ended {
                BattleEnd::Finished => StoredEnd::Finished,
                BattleEnd::Aborted => StoredEnd::Aborted,
                BattleEnd::Abandoned => StoredEnd::Abandoned,
            },
        }
    }

    fn into_settlement(self) -> Option<Settlement> {
        let node = NodeId::parse(&self.node).ok().filter(|_| self.version == VERSION)?;
        Some(Settlement {
            battle: BattleId(self.battle),
            epoch: Epoch(self.epoch),
            node,
            ticks: self.ticks,
            winner: self.winner,
            scores: self.scores,
            final_hash: self.final_hash,
            recording_hash: self.recording_hash,
            ended: match self.ended {
                StoredEnd::Finished => BattleEnd::Finished,
                StoredEnd::Aborted => BattleEnd::Aborted,
                StoredEnd::Abandoned => BattleEnd::Abandoned,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settlement(battle: u64) -> Settlement {
        Settlement {
            battle: BattleId(battle),
            epoch: Epoch(3),
            node: NodeId::parse("node-a").unwrap(),
            ticks: 600,
            winner: Some(1),
            scores: vec![3, -4],
            final_hash: u64::MAX,
            recording_hash: [9; 32],
            ended: BattleEnd::Finished,
        }
    }

    #[test]
    fn results_wait_until_they_are_forgotten_and_a_second_deposit_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        outbox.deposit(&settlement(8));
        outbox.deposit(&settlement(7));
        outbox.deposit(&settlement(8));
        let reopened = Outbox::open(folder.path()).unwrap();
        assert_eq!(reopened.waiting().unwrap(), [settlement(7), settlement(8)]);
        reopened.forget(BattleId(7), Epoch(3)).unwrap();
        reopened.forget(BattleId(7), Epoch(3)).unwrap();
        assert_eq!(reopened.waiting().unwrap(), [settlement(8)]);
    }

    #[test]
    fn what_a_killed_node_left_half_deposited_is_taken_up_if_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        for battle in [7, 8] {
            outbox.deposit(&settlement(battle));
            let path = outbox.path(BattleId(battle), Epoch(3));
            fs::rename(&path, path.with_extension("tmp")).unwrap();
        }
        let torn = outbox.path(BattleId(8), Epoch(3)).with_extension("tmp");
        let bytes = fs::read(&torn).unwrap();
        fs::write(&torn, &bytes[..bytes.len() - 1]).unwrap();
        assert!(outbox.waiting().unwrap().is_empty());
        let reopened = Outbox::open(folder.path()).unwrap();
        assert_eq!(reopened.waiting().unwrap(), [settlement(7)]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_the_disk_refuses_is_held_and_settled_from_memory() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        // A folder stands where the file has to be written.
        fs::create_dir(outbox.path(BattleId(7), Epoch(3)).with_extension("tmp")).unwrap();
        outbox.deposit(&settlement(7));
        let other = outbox.clone();
        assert_eq!(other.waiting().unwrap(), [settlement(7)]);
        outbox.forget(BattleId(7), Epoch(3)).unwrap();
        assert!(other.waiting().unwrap().is_empty());
    }

    #[test]
    fn a_battle_without_a_result_is_known_until_it_has_one() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        for battle in [9, 8, 7, 6] {
            outbox.note_running(BattleId(battle), Epoch(3)).unwrap();
        }
        outbox.deposit(&settlement(8));
        outbox.forget(BattleId(7), Epoch(3)).unwrap();
        for strange in ["x.running", "0-1.running", "+000000000000001-1.running", "0000000000000001-.running"]
        {
            fs::write(folder.path().join(strange), b"").unwrap();
        }
        let reopened = Outbox::open(folder.path()).unwrap();
        assert_eq!(reopened.left_running().unwrap(), [(BattleId(6), Epoch(3)), (BattleId(9), Epoch(3))]);
        // Killed after the result and before the note went.
        fs::write(reopened.running(BattleId(8), Epoch(3)), b"").unwrap();
        assert_eq!(reopened.left_running().unwrap().len(), 2);
        assert!(!reopened.running(BattleId(8), Epoch(3)).exists());
        assert_eq!(reopened.waiting().unwrap(), [settlement(8)]);
        // What cannot be read is no result, and gives way to one.
        fs::write(reopened.path(BattleId(6), Epoch(3)), b"x").unwrap();
        assert_eq!(reopened.left_running().unwrap().len(), 2);
        reopened.deposit(&settlement(6));
        assert_eq!(reopened.left_running().unwrap(), [(BattleId(9), Epoch(3))]);
        assert_eq!(reopened.waiting().unwrap(), [settlement(6), settlement(8)]);
    }

    #[test]
    fn what_the_disk_refuses_leaves_its_note() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        outbox.note_running(BattleId(7), Epoch(3)).unwrap();
        fs::create_dir(outbox.path(BattleId(7), Epoch(3)).with_extension("tmp")).unwrap();
        outbox.deposit(&settlement(7));
        assert!(outbox.running(BattleId(7), Epoch(3)).exists(), "the result is in memory alone");
        outbox.forget(BattleId(7), Epoch(3)).unwrap();
        assert!(!outbox.running(BattleId(7), Epoch(3)).exists());
    }

    #[test]
    fn what_is_no_result_is_left_alone_and_reported_once() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        outbox.deposit(&settlement(7));
        fs::write(folder.path().join("torn.json"), b"{\"version\":1,").unwrap();
        fs::write(folder.path().join("half.tmp"), b"{").unwrap();
        for _ in 0..3 {
            assert_eq!(outbox.waiting().unwrap().len(), 1);
            assert_eq!(*outbox.strange.lock().unwrap(), BTreeSet::from([folder.path().join("torn.json")]));
        }
        assert!(folder.path().join("torn.json").exists());
    }
}

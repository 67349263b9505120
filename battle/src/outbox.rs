//! The outbox: results of battles on disk until a lobby has settled them.
//!
//! A result is written and synced before anybody hears of it, so that it survives the node, and it is forgotten only
//! when a lobby says that it is stored, was stored already, or belongs to an older owner. One file a result:
//! `<battle id, 16 hex digits>-<epoch>.json`.

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

/// Results that wait: one small file each, and in memory what the disk refused. Clones share both.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    folder: PathBuf,
    held: Arc<Mutex<Vec<Settlement>>>,
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
        let outbox = Self { folder: folder.to_owned(), held: Arc::default() };
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

    /// Puts a result on disk and waits until it is there: from the recording thread, never from a tick. What the disk
    /// refuses is held in memory, at most [`HELD_MAX`] results, and settled from there: it survives everything but
    /// the end of this process.
    pub(crate) fn deposit(&self, settlement: &Settlement) {
        let Err(error) = self.write(settlement) else { return };
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

    /// All results that wait, oldest battle first. Files that are none are left alone and reported.
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
                Err(error) => warn!(path = %path.display(), %error, "not a result: left alone"),
            }
        }
        found.sort_by_key(|settlement| (settlement.battle, settlement.epoch));
        found.dedup_by_key(|settlement| (settlement.battle, settlement.epoch));
        Ok(found)
    }

    /// Forgets a result that is settled.
    ///
    /// # Errors
    /// If the disk refuses; settling it again later changes nothing.
    pub(crate) fn forget(&self, battle: BattleId, epoch: Epoch) -> io::Result<()> {
        self.held().retain(|settlement| (settlement.battle, settlement.epoch) != (battle, epoch));
        match fs::remove_file(self.path(battle, epoch)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn path(&self, battle: BattleId, epoch: Epoch) -> PathBuf {
        self.folder.join(format!("{:016x}-{}.json", battle.0, epoch.0))
    }
}

/// The longest file that is taken for a result, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

fn read(path: &Path) -> io::Result<Settlement> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
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
    fn what_is_no_result_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        outbox.deposit(&settlement(7));
        fs::write(folder.path().join("torn.json"), b"{\"version\":1,").unwrap();
        fs::write(folder.path().join("half.tmp"), b"{").unwrap();
        assert_eq!(outbox.waiting().unwrap().len(), 1);
        assert!(folder.path().join("torn.json").exists());
    }
}

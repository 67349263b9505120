//! The documents of the store.

use std::cmp::Ordering;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tiltyard_cluster::control::{BattleEnd, Settlement};
use tiltyard_cluster::{BattleId, Epoch, NodeId};

use super::Settled;

/// A player.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The player's number.
    pub player: u64,
    /// Display name, at most 32 bytes.
    pub name: String,
    /// When the account was made, Unix time in milliseconds.
    pub created_unix_ms: u64,
    /// Session tokens of an older generation are refused.
    pub session_generation: u32,
    /// What became of the player's battles.
    #[serde(default)]
    pub avatar: Avatar,
    /// How the player logs in; guests do not.
    #[serde(default)]
    pub login: Option<AccountLogin>,
}

/// How a player logs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountLogin {
    /// What the account is found by, the name without its case; no two accounts have the same.
    pub key: String,
    /// The password's hash.
    pub password: PasswordHash,
}

/// A password's argon2id hash: version 19, 19 MiB, 2 passes, 1 lane. Hashes of other parameters would say so in a
/// field of their own.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    /// The salt.
    pub salt: [u8; 16],
    /// The hash.
    pub hash: [u8; 32],
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// How many battles an avatar remembers to have been applied. A player is in one battle at a time, and a result waits
/// for seconds to be applied, so two would do.
pub const APPLIED_MAX: usize = 32;

/// What results have made of a player.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Avatar {
    /// Battles that were played to their end.
    pub battles: u32,
    /// Those that were won.
    pub wins: u32,
    /// How much the rating is above a newcomer's, in millionths of a point of Weng and Lin's.
    pub rating_micro: i64,
    /// How much the rating's uncertainty is above a newcomer's, in millionths; never more than 0.
    pub uncertainty_micro: i64,
    /// The battles that were applied last, the newest behind; at most [`APPLIED_MAX`].
    pub applied: Vec<BattleId>,
}

/// What a result changes of one avatar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvatarChange {
    /// Whose.
    pub player: u64,
    /// Whether the battle was won.
    pub won: bool,
    /// What is added to the rating.
    pub rating_micro: i64,
    /// What is added to its uncertainty.
    pub uncertainty_micro: i64,
}

/// A battle, from before it is placed until after its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BattleRow {
    /// The battle's number.
    pub battle: BattleId,
    /// Its epoch; only the owner under this one may settle it.
    pub epoch: Epoch,
    /// How far it is.
    pub state: BattleState,
    /// Name of the mode.
    pub mode: String,
    /// Protocol hash of the game.
    pub protocol_hash: [u8; 16],
    /// Seed of the battle.
    pub seed: u64,
    /// Ticks per second.
    pub rate_hz: u16,
    /// The battle ends at this tick at the latest.
    pub ticks_max: u32,
    /// The seats, in order.
    pub seats: Vec<RowSeat>,
    /// When the row was made, Unix time in milliseconds.
    pub created_unix_ms: u64,
    /// The key that its tokens are minted with; 0 in rows of before there was this field.
    #[serde(default)]
    pub kid: u32,
    /// The node that runs it, once it is placed.
    pub node: Option<NodeId>,
    /// Where players connect, once it is placed.
    pub addresses: Vec<SocketAddr>,
    /// The result, once it is settled.
    pub result: Option<BattleResult>,
}

/// How far a battle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BattleState {
    /// A node is being looked for.
    Placing,
    /// A node runs it.
    Running,
    /// No node was found; nobody plays it.
    Dissolved,
    /// Its result is stored.
    Settled,
}

/// One seat of a battle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSeat {
    /// Its number.
    pub seat: u16,
    /// Its team.
    pub team: u8,
    /// Who sits there; a bot has a number with the highest bit set.
    pub player: u64,
    /// Display name.
    pub name: String,
    /// Whether the game plays it.
    pub bot: bool,
    /// The loadout.
    pub loadout: u32,
}

/// The result of a battle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BattleResult {
    /// The node that settled it.
    pub node: NodeId,
    /// The last tick.
    pub ticks: u32,
    /// The team that won, if one did.
    pub winner: Option<u8>,
    /// Scores as the game gives them.
    pub scores: Vec<i64>,
    /// State hash of the last tick.
    pub final_hash: u64,
    /// Hash of the recording; zeros if there is none.
    pub recording_hash: [u8; 32],
    /// How it ended: `finished`, `aborted` or `abandoned`.
    #[serde(with = "ended")]
    pub ended: BattleEnd,
    /// When it was stored, Unix time in milliseconds.
    pub settled_unix_ms: u64,
    /// What it changes of the avatars of its players.
    #[serde(default)]
    pub changes: Vec<AvatarChange>,
}

impl Avatar {
    /// Applies a battle's change, unless that was done.
    pub(super) fn apply(&mut self, battle: BattleId, change: &AvatarChange) {
        if self.applied.contains(&battle) {
            return;
        }
        self.battles = self.battles.saturating_add(1);
        self.wins = self.wins.saturating_add(change.won.into());
        self.rating_micro = self.rating_micro.saturating_add(change.rating_micro);
        self.uncertainty_micro = self.uncertainty_micro.saturating_add(change.uncertainty_micro);
        self.applied.push(battle);
        let forgotten = self.applied.len().saturating_sub(APPLIED_MAX);
        self.applied.drain(..forgotten);
    }
}

impl BattleRow {
    /// Whether it can be noted that a node runs it under an epoch: it waits for one, or it is noted already.
    pub(super) fn fits(&self, epoch: Epoch, node: &NodeId) -> bool {
        let again = self.state == BattleState::Running && self.node.as_ref() == Some(node);
        self.epoch == epoch && (again || self.state == BattleState::Placing)
    }

    /// Why a result under an epoch is not stored; nothing if it is to be.
    pub(super) fn refuses(&self, epoch: Epoch) -> Option<Settled> {
        match self.epoch.cmp(&epoch) {
            Ordering::Greater => Some(Settled::Stale { current: self.epoch }),
            Ordering::Less => Some(Settled::Unknown),
            Ordering::Equal => self.result.is_some().then_some(Settled::Duplicate),
        }
    }

    /// Accounts for its human players, as they are made for those who have none.
    pub(super) fn new_accounts(&self) -> impl Iterator<Item = Account> {
        self.humans().map(|seat| Account {
            player: seat.player,
            name: seat.name.clone(),
            created_unix_ms: self.created_unix_ms,
            session_generation: 0,
            avatar: Avatar::default(),
            login: None,
        })
    }

    /// The human players.
    pub fn humans(&self) -> impl Iterator<Item = &RowSeat> {
        self.seats.iter().filter(|seat| !seat.bot)
    }
}

impl BattleResult {
    /// The result that a node settles, before it is known what it changes.
    pub fn of(settlement: &Settlement, settled_unix_ms: u64) -> Self {
        Self {
            node: settlement.node.clone(),
            ticks: settlement.ticks,
            winner: settlement.winner,
            scores: settlement.scores.clone(),
            final_hash: settlement.final_hash,
            recording_hash: settlement.recording_hash,
            ended: settlement.ended,
            settled_unix_ms,
            changes: Vec::new(),
        }
    }
}

/// How a battle ended, as a word.
pub(super) mod ended {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use tiltyard_cluster::control::BattleEnd;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    pub(in crate::store) fn serialize<S: Serializer>(
        ended: &BattleEnd,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match ended {
            BattleEnd::Finished => "finished",
            BattleEnd::Aborted => "aborted",
            BattleEnd::Abandoned => "abandoned",
        })
    }

    pub(in crate::store) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BattleEnd, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "finished" => Ok(BattleEnd::Finished),
            "aborted" => Ok(BattleEnd::Aborted),
            "abandoned" => Ok(BattleEnd::Abandoned),
            _ => Err(D::Error::custom("no way to end")),
        }
    }
}

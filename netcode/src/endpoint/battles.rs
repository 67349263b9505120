//! The battles that a server hosts, who holds their seats, and those that are over.

use std::collections::{BTreeMap, VecDeque};

use crate::handshake::DenyReason;
use crate::limits::{HOLDERS_MAX, JOIN_EVERY_MS, JOINS_AT_ONCE_MAX, OVER_BATTLES_MAX};
use crate::time::Millis;
use crate::token::{BattleKey, Claims, Role, TokenError, TokenPublic, inspect, open};
use crate::{BattleId, ConnectionId, Epoch};

/// What a server needs to know of a battle to admit its players.
#[derive(Clone, Debug)]
pub struct HostedBattle {
    /// The battle's keys by key id; two at most are used, the first ones.
    pub keys: Vec<BattleKey>,
    /// The epoch under which this node owns the battle.
    pub epoch: Epoch,
    /// The protocol that it speaks.
    pub protocol_hash: [u8; 16],
    /// Its tick rate, Hz.
    pub rate_hz: u16,
    /// Self-test hash of this node's arithmetic; a frame-feed client must show the same.
    pub math_hash: u64,
    /// It hides something from its players: nobody may compute it, so nobody gets the frame feed.
    pub hides: bool,
}

/// Who a token speaks for: a seat, or a spectator by player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HolderKey {
    Seat(u16),
    Spectator(u64),
}

/// The newest claim to a seat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    pub(super) token_id: [u8; 16],
    pub(super) issued_unix_ms: u64,
    pub(super) sequence: u64,
    pub(super) connection: Option<ConnectionId>,
}

pub(super) struct Hosted {
    pub(super) battle: HostedBattle,
    pub(super) tick: u32,
    pub(super) holders: BTreeMap<HolderKey, Holder>,
    /// Until when what each one has joined is paid for, at a join every `JOIN_EVERY_MS`.
    joins: BTreeMap<HolderKey, Millis>,
}

#[derive(Default)]
pub(super) struct Battles {
    hosted: BTreeMap<BattleId, Hosted>,
    /// Keys of battles that are over, so that their late clients are told; the oldest goes first.
    over: VecDeque<(BattleId, Vec<BattleKey>)>,
}

/// What a token turned out to be.
pub(super) enum Judged {
    /// It opens, and its battle is here.
    Here { public: TokenPublic, claims: Claims },
    /// It opens, and its battle is over.
    Over { claims: Claims },
    /// Nobody here can open it: the battle is not here.
    NotHere,
    /// Its battle is here and has no key of that id.
    UnknownKid,
    /// It does not open.
    Forged,
}

impl Battles {
    /// Takes a battle in, or takes new keys and a new epoch for one that is here; seats are kept.
    pub(super) fn host(&mut self, id: BattleId, mut battle: HostedBattle) {
        battle.keys.truncate(2);
        self.over.retain(|(over, _)| *over != id);
        match self.hosted.get_mut(&id) {
            Some(hosted) => hosted.battle = battle,
            None => {
                self.hosted
                    .insert(id, Hosted { battle, tick: 0, holders: BTreeMap::new(), joins: BTreeMap::new() });
            }
        }
    }

    /// Lets a battle go. One that is over is remembered for its late clients.
    pub(super) fn forget(&mut self, id: BattleId, over: bool) -> Option<Hosted> {
        let hosted = self.hosted.remove(&id)?;
        if over {
            if self.over.len() == OVER_BATTLES_MAX {
                self.over.pop_front();
            }
            self.over.push_back((id, hosted.battle.keys.clone()));
        }
        Some(hosted)
    }

    pub(super) fn get(&self, id: BattleId) -> Option<&Hosted> {
        self.hosted.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: BattleId) -> Option<&mut Hosted> {
        self.hosted.get_mut(&id)
    }

    pub(super) fn judge(&self, token: &crate::token::BattleToken) -> Judged {
        let Ok(public) = inspect(token) else { return Judged::Forged };
        let (keys, here) = match self.hosted.get(&public.battle) {
            Some(hosted) => (&hosted.battle.keys, true),
            None => match self.over.iter().find(|(id, _)| *id == public.battle) {
                Some((_, keys)) => (keys, false),
                None => return Judged::NotHere,
            },
        };
        let Some(key) = keys.iter().find(|key| key.kid() == public.kid) else { return Judged::UnknownKid };
        match open(key, token) {
            Ok((public, claims)) if here => Judged::Here { public, claims },
            Ok((_, claims)) => Judged::Over { claims },
            Err(TokenError::OtherKey { .. }) => Judged::UnknownKid,
            Err(_) => Judged::Forged,
        }
    }
}

impl HolderKey {
    pub(super) fn of(claims: &Claims) -> Self {
        match claims.role {
            Role::Player | Role::Bot => Self::Seat(claims.seat),
            Role::Spectator => Self::Spectator(claims.player),
        }
    }
}

impl Hosted {
    /// Whether this token was admitted before: then its expiry no longer matters.
    pub(super) fn knows_token(&self, key: HolderKey, token_id: &[u8; 16]) -> bool {
        self.holders.get(&key).is_some_and(|holder| holder.token_id == *token_id)
    }

    /// Whether one may join now; if so, it counts, whatever comes of it.
    pub(super) fn count_join(&mut self, now: Millis, key: HolderKey) -> bool {
        if self.joins.len() >= HOLDERS_MAX && !self.joins.contains_key(&key) {
            return false;
        }
        let paid = self.joins.entry(key).or_insert(now);
        *paid = (*paid).max(now);
        if paid.since(now) > (JOINS_AT_ONCE_MAX - 1) * JOIN_EVERY_MS {
            return false;
        }
        *paid = *paid + JOIN_EVERY_MS;
        true
    }

    /// Whether a claim beats the one that stands.
    pub(super) fn check_claim(
        &self,
        key: HolderKey,
        claims: &Claims,
        sequence: u64,
    ) -> Result<(), DenyReason> {
        match self.holders.get(&key) {
            Some(holder) if (claims.issued_unix_ms, sequence) <= (holder.issued_unix_ms, holder.sequence) => {
                Err(DenyReason::Superseded)
            }
            None if self.holders.len() >= HOLDERS_MAX => Err(DenyReason::Full),
            _ => Ok(()),
        }
    }
}

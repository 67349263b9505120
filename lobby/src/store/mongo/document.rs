//! What the documents look like in MongoDB, and what of them is believed.
//!
//! ```text
//! accounts   {_id: player, name, created_unix_ms, session_generation,
//!             avatar: {battles, wins, rating_micro, uncertainty_micro, applied: [battle]},
//!             login: {key, salt, hash} of those who registered}
//! battles    {_id: battle, epoch, state, mode, protocol_hash, seed, rate_hz, ticks_max, seats: [..],
//!             players: [player], created_unix_ms, node, addresses: [..], result: {..} once there is one,
//!             unapplied: true as long as the result is not in the avatars of its players}
//! ordinals   {_id: "player" or "battle", next}
//! schema     {_id: "tiltyard", version}
//! ```
//!
//! Numbers of 64 bits are sixteen hexadecimal digits, as people meet them everywhere else: BSON has none without a
//! sign. Hashes are base64. A battle with its result is also where a recording is found: by player, time, or hash.

use std::net::SocketAddr;

use mongodb::bson::{Document, deserialize_from_document, serialize_to_document};
use serde::{Deserialize, Serialize};
use tiltyard_api::{Base64, Hex64, List};
use tiltyard_cluster::control::{
    ADDRESSES_MAX, BattleEnd, MODE_BYTES_MAX, NAME_BYTES_MAX, SCORES_MAX, SEATS_MAX,
};
use tiltyard_cluster::{BattleId, Epoch, NodeId};

use super::super::row;
use super::super::{
    APPLIED_MAX, Account, AccountLogin, Avatar, AvatarChange, BattleResult, BattleRow, BattleState,
    PasswordHash, RowSeat,
};

#[derive(Serialize, Deserialize)]
struct StoredAccount {
    _id: Hex64,
    name: String,
    created_unix_ms: i64,
    session_generation: u32,
    #[serde(default)]
    avatar: StoredAvatar,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    login: Option<StoredLogin>,
}

#[derive(Serialize, Deserialize)]
struct StoredLogin {
    key: String,
    salt: Base64<16>,
    hash: Base64<32>,
}

#[derive(Serialize, Deserialize, Default)]
struct StoredAvatar {
    battles: u32,
    wins: u32,
    rating_micro: i64,
    uncertainty_micro: i64,
    applied: List<Hex64, APPLIED_MAX>,
}

#[derive(Serialize, Deserialize)]
struct StoredChange {
    player: Hex64,
    won: bool,
    rating_micro: i64,
    uncertainty_micro: i64,
}

#[derive(Serialize, Deserialize)]
struct StoredBattle {
    _id: Hex64,
    epoch: Epoch,
    state: BattleState,
    mode: String,
    protocol_hash: Base64<16>,
    seed: Hex64,
    rate_hz: u16,
    ticks_max: u32,
    seats: List<StoredSeat, SEATS_MAX>,
    /// The human players once more: what an index can look for.
    players: List<Hex64, SEATS_MAX>,
    created_unix_ms: i64,
    #[serde(default)]
    kid: u32,
    node: Option<NodeId>,
    addresses: List<SocketAddr, ADDRESSES_MAX>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<StoredResult>,
}

#[derive(Serialize, Deserialize)]
struct StoredSeat {
    seat: u16,
    team: u8,
    player: Hex64,
    name: String,
    bot: bool,
    loadout: u32,
}

#[derive(Serialize, Deserialize)]
struct StoredResult {
    node: NodeId,
    ticks: u32,
    winner: Option<u8>,
    scores: List<i64, SCORES_MAX>,
    final_hash: Hex64,
    recording_hash: Base64<32>,
    #[serde(with = "row::ended")]
    ended: BattleEnd,
    settled_unix_ms: i64,
    #[serde(default)]
    changes: List<StoredChange, SEATS_MAX>,
}

/// Most bytes of a login: lower case may have more than the name.
const LOGIN_BYTES_MAX: usize = 3 * NAME_BYTES_MAX;

/// Something that is no document of ours, or has fields out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

pub(super) fn key(number: u64) -> String {
    Hex64(number).to_string()
}

pub(super) fn of_account(account: &Account) -> Document {
    let avatar = &account.avatar;
    let applied: Vec<_> = avatar.applied.iter().map(|battle| Hex64(battle.0)).collect();
    written(&StoredAccount {
        _id: Hex64(account.player),
        name: account.name.clone(),
        created_unix_ms: signed(account.created_unix_ms),
        session_generation: account.session_generation,
        avatar: StoredAvatar {
            battles: avatar.battles,
            wins: avatar.wins,
            rating_micro: avatar.rating_micro,
            uncertainty_micro: avatar.uncertainty_micro,
            applied: applied.try_into().expect("an avatar remembers no more"),
        },
        login: account.login.as_ref().map(|login| StoredLogin {
            key: login.key.clone(),
            salt: fits(&login.password.salt),
            hash: fits(&login.password.hash),
        }),
    })
}

pub(super) fn to_account(document: Document) -> Result<Account, Unreadable> {
    let stored: StoredAccount = deserialize_from_document(document).map_err(|_| Unreadable)?;
    let login = |login: StoredLogin| {
        Ok(AccountLogin {
            key: bounded(login.key, LOGIN_BYTES_MAX)?,
            password: PasswordHash { salt: exact(&login.salt)?, hash: exact(&login.hash)? },
        })
    };
    Ok(Account {
        player: stored._id.0,
        name: bounded(stored.name, NAME_BYTES_MAX)?,
        created_unix_ms: unsigned(stored.created_unix_ms)?,
        session_generation: stored.session_generation,
        avatar: Avatar {
            battles: stored.avatar.battles,
            wins: stored.avatar.wins,
            rating_micro: stored.avatar.rating_micro,
            uncertainty_micro: stored.avatar.uncertainty_micro,
            applied: stored.avatar.applied.into_vec().into_iter().map(|it| BattleId(it.0)).collect(),
        },
        login: stored.login.map(login).transpose()?,
    })
}

pub(super) fn of_row(row: &BattleRow) -> Document {
    let seat = |seat: &RowSeat| StoredSeat {
        seat: seat.seat,
        team: seat.team,
        player: Hex64(seat.player),
        name: seat.name.clone(),
        bot: seat.bot,
        loadout: seat.loadout,
    };
    let seats: Vec<_> = row.seats.iter().map(seat).collect();
    let players: Vec<_> = row.humans().map(|seat| Hex64(seat.player)).collect();
    written(&StoredBattle {
        _id: Hex64(row.battle.0),
        epoch: row.epoch,
        state: row.state,
        mode: row.mode.clone(),
        protocol_hash: fits(&row.protocol_hash),
        seed: Hex64(row.seed),
        rate_hz: row.rate_hz,
        ticks_max: row.ticks_max,
        seats: seats.try_into().expect("a mode has at most 1,024 seats"),
        players: players.try_into().expect("no more players than seats"),
        created_unix_ms: signed(row.created_unix_ms),
        kid: row.kid,
        node: row.node.clone(),
        addresses: row.addresses.clone().try_into().expect("a node has at most 32 addresses"),
        result: row.result.as_ref().map(stored_result),
    })
}

pub(super) fn to_row(document: Document) -> Result<BattleRow, Unreadable> {
    let stored: StoredBattle = deserialize_from_document(document).map_err(|_| Unreadable)?;
    let seat = |seat: StoredSeat| {
        Ok(RowSeat {
            seat: seat.seat,
            team: seat.team,
            player: seat.player.0,
            name: bounded(seat.name, NAME_BYTES_MAX)?,
            bot: seat.bot,
            loadout: seat.loadout,
        })
    };
    let change = |change: StoredChange| AvatarChange {
        player: change.player.0,
        won: change.won,
        rating_micro: change.rating_micro,
        uncertainty_micro: change.uncertainty_micro,
    };
    let result = |result: StoredResult| {
        Ok(BattleResult {
            node: result.node,
            ticks: result.ticks,
            winner: result.winner,
            scores: result.scores.into_vec(),
            final_hash: result.final_hash.0,
            recording_hash: exact(&result.recording_hash)?,
            ended: result.ended,
            settled_unix_ms: unsigned(result.settled_unix_ms)?,
            changes: result.changes.into_vec().into_iter().map(change).collect(),
        })
    };
    Ok(BattleRow {
        battle: BattleId(stored._id.0),
        epoch: stored.epoch,
        state: stored.state,
        mode: bounded(stored.mode, MODE_BYTES_MAX)?,
        protocol_hash: exact(&stored.protocol_hash)?,
        seed: stored.seed.0,
        rate_hz: stored.rate_hz,
        ticks_max: stored.ticks_max,
        seats: stored.seats.into_vec().into_iter().map(seat).collect::<Result<_, _>>()?,
        created_unix_ms: unsigned(stored.created_unix_ms)?,
        kid: stored.kid,
        node: stored.node,
        addresses: stored.addresses.into_vec(),
        result: stored.result.map(result).transpose()?,
    })
}

pub(super) fn of_result(result: &BattleResult) -> Document {
    written(&stored_result(result))
}

fn stored_result(result: &BattleResult) -> StoredResult {
    let change = |change: &AvatarChange| StoredChange {
        player: Hex64(change.player),
        won: change.won,
        rating_micro: change.rating_micro,
        uncertainty_micro: change.uncertainty_micro,
    };
    let changes: Vec<_> = result.changes.iter().map(change).collect();
    StoredResult {
        node: result.node.clone(),
        ticks: result.ticks,
        winner: result.winner,
        scores: result.scores.clone().try_into().expect("a settlement has at most 1,024 scores"),
        final_hash: Hex64(result.final_hash),
        recording_hash: fits(&result.recording_hash),
        ended: result.ended,
        settled_unix_ms: signed(result.settled_unix_ms),
        changes: changes.try_into().expect("no more changes than seats"),
    }
}

fn written<T: Serialize>(stored: &T) -> Document {
    serialize_to_document(stored).expect("strings, bounded lists and numbers of 63 bits are BSON")
}

fn fits<const MAX: usize>(bytes: &[u8; MAX]) -> Base64<MAX> {
    bytes.as_slice().try_into().expect("as many bytes as fit")
}

fn exact<const LENGTH: usize>(bytes: &Base64<LENGTH>) -> Result<[u8; LENGTH], Unreadable> {
    bytes.as_bytes().try_into().map_err(|_| Unreadable)
}

fn bounded(text: String, bytes_max: usize) -> Result<String, Unreadable> {
    if text.len() <= bytes_max { Ok(text) } else { Err(Unreadable) }
}

/// A time; one above what BSON holds is hundreds of millions of years away.
fn signed(unix_ms: u64) -> i64 {
    i64::try_from(unix_ms).unwrap_or(i64::MAX)
}

fn unsigned(unix_ms: i64) -> Result<u64, Unreadable> {
    u64::try_from(unix_ms).map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Bson, doc};

    use super::*;

    fn row() -> BattleRow {
        let seat =
            |seat, player, bot| RowSeat { seat, team: 1, player, name: "é".into(), bot, loadout: u32::MAX };
        BattleRow {
            battle: BattleId(u64::MAX),
            epoch: Epoch(u32::MAX),
            state: BattleState::Settled,
            mode: "mode".into(),
            protocol_hash: [255; 16],
            seed: u64::MAX,
            rate_hz: u16::MAX,
            ticks_max: u32::MAX,
            seats: vec![seat(0, 7, false), seat(1, u64::MAX, true)],
            created_unix_ms: 1,
            kid: u32::MAX,
            node: Some(NodeId::parse("node").unwrap()),
            addresses: vec!["127.0.0.1:1".parse().unwrap(), "[::1]:65535".parse().unwrap()],
            result: Some(BattleResult {
                node: NodeId::parse("node").unwrap(),
                ticks: u32::MAX,
                winner: None,
                scores: vec![i64::MIN, i64::MAX],
                final_hash: u64::MAX,
                recording_hash: [7; 32],
                ended: BattleEnd::Abandoned,
                settled_unix_ms: 9,
                changes: vec![AvatarChange {
                    player: 7,
                    won: true,
                    rating_micro: i64::MIN,
                    uncertainty_micro: i64::MAX,
                }],
            }),
        }
    }

    #[test]
    fn a_row_and_an_account_come_back_as_they_were() {
        for row in [row(), BattleRow { result: None, node: None, ..row() }] {
            assert_eq!(to_row(of_row(&row)), Ok(row));
        }
        let applied = (0..32).map(BattleId).collect();
        let avatar = Avatar { battles: 1, wins: u32::MAX, rating_micro: -3, uncertainty_micro: -4, applied };
        let name = "Ada".into();
        let guest =
            Account { player: 9, name, created_unix_ms: 5, session_generation: 6, avatar, login: None };
        let password = PasswordHash { salt: [1; 16], hash: [2; 32] };
        let login = Some(AccountLogin { key: "ada".into(), password });
        for account in [Account { login, ..guest.clone() }, guest] {
            assert_eq!(to_account(of_account(&account)), Ok(account));
        }
    }

    #[test]
    fn a_battle_is_found_by_its_people_and_not_by_its_bots() {
        let players = of_row(&row()).get_array("players").unwrap().clone();
        assert_eq!(players, [Bson::from("0000000000000007")]);
    }

    #[test]
    fn what_no_lobby_wrote_is_refused_field_by_field() {
        let (whole, long) = (of_row(&row()), "x".repeat(33));
        let seats: Vec<Bson> = vec![whole.get_array("seats").unwrap()[0].clone(); SEATS_MAX + 1];
        let strange = [
            ("_id", Bson::from("00000000000000FF")),
            ("_id", Bson::Int64(5)),
            ("epoch", Bson::Int64(-1)),
            ("epoch", Bson::Int64(1 << 32)),
            ("state", "lost".into()),
            ("mode", long.clone().into()),
            ("protocol_hash", "AAAA".into()),
            ("seats", seats.into()),
            ("rate_hz", Bson::Int32(70_000)),
            ("created_unix_ms", Bson::Int64(-1)),
            ("node", "No Node".into()),
            ("addresses", vec!["nowhere"].into()),
            ("result", doc! { "node": "node" }.into()),
        ];
        for (field, value) in strange {
            let mut hurt = whole.clone();
            hurt.insert(field, value.clone());
            assert_eq!(to_row(hurt), Err(Unreadable), "{field}: {value}");
        }
        for field in ["epoch", "seats", "seed", "ticks_max"] {
            let mut hurt = whole.clone();
            hurt.remove(field);
            assert_eq!(to_row(hurt), Err(Unreadable), "{field}");
        }
        let account = doc! {
            "_id": key(1), "name": long, "created_unix_ms": 1_i64, "session_generation": 0
        };
        assert_eq!(to_account(account), Err(Unreadable));
    }
}

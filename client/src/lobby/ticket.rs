//! A way into a battle, as the gate gives it: hostile values judged and turned into a token file.

use std::net::SocketAddr;

use thiserror::Error;
use tiltyard_api::BattleReady;
use tiltyard_netcode::token::{BattleToken, SessionSecret, TokenFile};
use tiltyard_netcode::{BattleId, Epoch};

/// A way into a battle.
#[derive(Clone, Debug)]
pub struct BattleTicket {
    /// The battle.
    pub battle: BattleId,
    /// The epoch under which it was placed.
    pub epoch: Epoch,
    /// The mode's name.
    pub mode: String,
    /// The player's seat.
    pub seat: u16,
    /// The seat's team.
    pub team: u8,
    /// Token, secret and the node's addresses.
    pub token_file: TokenFile,
    /// The game's protocol hash.
    pub protocol_hash: [u8; 16],
    /// The battle's tick rate, Hz.
    pub rate_hz: u16,
    /// Until when the first connection must have been made, Unix milliseconds.
    pub expires_unix_ms: u64,
}

/// Why what the gate gave is no way into a battle.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TicketError {
    /// The token is none.
    #[error("the token is malformed")]
    Token,
    /// The secret has another length.
    #[error("the session secret has {bytes} bytes, not 32")]
    Secret {
        /// How many it has.
        bytes: usize,
    },
    /// An address is none, or there is none at all.
    #[error("address {number} of the node is missing or malformed")]
    Address {
        /// Which one, counted from 1.
        number: usize,
    },
    /// The protocol hash has another length.
    #[error("the protocol hash has {bytes} bytes, not 16")]
    ProtocolHash {
        /// How many it has.
        bytes: usize,
    },
}

impl BattleTicket {
    /// Judges what the gate gave.
    ///
    /// # Errors
    /// If it cannot lead into a battle.
    pub fn parse(ready: &BattleReady) -> Result<Self, TicketError> {
        let token = BattleToken::from_bytes(ready.token.as_bytes()).map_err(|_| TicketError::Token)?;
        let secret = ready.secret.as_bytes();
        let secret: [u8; 32] = secret.try_into().map_err(|_| TicketError::Secret { bytes: secret.len() })?;
        let hash = ready.protocol_hash.as_bytes();
        let protocol_hash = hash.try_into().map_err(|_| TicketError::ProtocolHash { bytes: hash.len() })?;
        let address = |(index, text): (usize, &tiltyard_api::Text<_>)| {
            text.as_str().parse().map_err(|_| TicketError::Address { number: index.saturating_add(1) })
        };
        let addresses: Vec<SocketAddr> =
            ready.addresses.as_slice().iter().enumerate().map(address).collect::<Result<_, _>>()?;
        if addresses.is_empty() {
            return Err(TicketError::Address { number: 1 });
        }
        Ok(Self {
            battle: BattleId(ready.battle.0),
            epoch: Epoch(ready.epoch),
            mode: ready.mode.as_str().to_owned(),
            seat: ready.seat,
            team: ready.team,
            token_file: TokenFile { token, session_secret: SessionSecret::from_bytes(secret), addresses },
            protocol_hash,
            rate_hz: ready.rate_hz,
            expires_unix_ms: ready.expires_unix_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use tiltyard_api::Hex64;

    use super::*;

    fn ready(token: usize, secret: usize, hash: usize, addresses: &[&str]) -> BattleReady {
        let addresses: Vec<_> = addresses.iter().map(|text| (*text).try_into().unwrap()).collect();
        let mut bytes = tiltyard_netcode::token::mint(
            &tiltyard_netcode::token::MasterKey::from_bytes(1, [1; 32]).battle_key(BattleId(7)),
            [1; 16],
            5_000,
            &tiltyard_netcode::token::Claims {
                player: 1,
                seat: 3,
                team: 1,
                role: tiltyard_netcode::token::Role::Player,
                protocol_hash: [2; 16],
                issued_unix_ms: 0,
                session_secret: SessionSecret::from_bytes([9; 32]),
                bytes_per_second_max: 0,
                inputs_per_second_max: 0,
                loadout_hash: [0; 32],
                user_data: Vec::new(),
            },
        )
        .as_bytes()
        .to_vec();
        bytes.resize(token, 0);
        BattleReady {
            battle: Hex64(7),
            epoch: 2,
            mode: "skirmish".try_into().unwrap(),
            seat: 3,
            team: 1,
            token: bytes.try_into().unwrap(),
            secret: vec![9; secret].try_into().unwrap(),
            addresses: addresses.try_into().unwrap(),
            protocol_hash: vec![2; hash].try_into().unwrap(),
            rate_hz: 30,
            expires_unix_ms: 5_000,
        }
    }

    #[test]
    fn a_sound_answer_becomes_a_token_file() {
        let ticket = BattleTicket::parse(&ready(256, 32, 16, &["127.0.0.1:4000", "[::1]:5"])).unwrap();
        assert_eq!((ticket.battle, ticket.epoch, ticket.seat), (BattleId(7), Epoch(2), 3));
        assert_eq!(ticket.token_file.addresses.len(), 2);
        let text = ticket.token_file.to_string();
        assert_eq!(text.parse::<TokenFile>().unwrap(), ticket.token_file);
    }

    #[test]
    fn whatever_cannot_lead_into_a_battle_is_named() {
        let check = |ready: BattleReady, expected| {
            assert_eq!(BattleTicket::parse(&ready).unwrap_err(), expected);
        };
        check(ready(255, 32, 16, &["127.0.0.1:4000"]), TicketError::Token);
        check(ready(257, 32, 16, &["127.0.0.1:4000"]), TicketError::Token);
        check(ready(256, 31, 16, &["127.0.0.1:4000"]), TicketError::Secret { bytes: 31 });
        check(ready(256, 32, 15, &["127.0.0.1:4000"]), TicketError::ProtocolHash { bytes: 15 });
        check(ready(256, 32, 16, &[]), TicketError::Address { number: 1 });
        check(ready(256, 32, 16, &["127.0.0.1:4000", "node"]), TicketError::Address { number: 2 });
    }
}

//! A connection as the server keeps it: the session, its path, its seat, its budget.

use std::net::SocketAddr;

use super::battles::HolderKey;
use crate::connection::{Load, Session};
use crate::handshake::{ACCEPT_LEN, ClientNonce};
use crate::limits::{BYTES_PER_SECOND_DEFAULT, INPUTS_PER_SECOND_DEFAULT};
use crate::time::Millis;
use crate::token::Claims;
use crate::wheel::HORIZON_MS;
use crate::{BattleId, Counters, Path};

/// Bytes that may go to an address per byte that came from it, until it has answered.
const PROBE_FACTOR: usize = 3;
const PROBE_PAUSE_MS: u64 = 200;
const PROBES_MAX: u8 = 5;
/// Bytes of a packet that holds a path challenge alone.
const PROBE_LEN: usize = 3 + 9 + 16;

pub(super) struct Slot {
    pub(super) session: Session,
    pub(super) path: Path,
    candidate: Option<Candidate>,
    pub(super) battle: BattleId,
    pub(super) holder: HolderKey,
    pub(super) seat: u16,
    pub(super) client_nonce: ClientNonce,
    /// The ACCEPT, to be said again until the client's first packet shows that it came.
    pub(super) accept: Option<Box<[u8; ACCEPT_LEN]>>,
    pub(super) budget: Budget,
    pub(super) armed: Option<Millis>,
    pub(super) is_ready: bool,
}

/// A new source address of a living connection that has not answered its challenge.
struct Candidate {
    address: SocketAddr,
    challenge: [u8; 8],
    bytes_in: usize,
    bytes_out: usize,
    probes: u8,
    next_probe: Millis,
}

/// What a client may send in a second.
pub(super) struct Budget {
    bytes_max: usize,
    messages_max: u32,
    second: u64,
    bytes: usize,
    messages: u32,
}

impl Slot {
    pub(super) fn new(
        session: Session,
        path: Path,
        battle: BattleId,
        claims: &Claims,
        client_nonce: ClientNonce,
        accept: [u8; ACCEPT_LEN],
    ) -> Self {
        Self {
            session,
            path,
            candidate: None,
            battle,
            holder: HolderKey::of(claims),
            seat: claims.seat,
            client_nonce,
            accept: Some(Box::new(accept)),
            budget: Budget::new(claims),
            armed: None,
            is_ready: false,
        }
    }

    /// A packet opened that came from elsewhere: the newest one may mean that the client moved.
    pub(super) fn handle_other_path(
        &mut self,
        now: Millis,
        from: SocketAddr,
        len: usize,
        newest: bool,
        challenge: impl FnOnce() -> [u8; 8],
        counters: &mut Counters,
    ) {
        if let Some(candidate) = &mut self.candidate
            && candidate.address == from
        {
            candidate.bytes_in = candidate.bytes_in.saturating_add(len);
            return;
        }
        if !newest {
            return;
        }
        counters.paths_challenged += 1;
        self.candidate = Some(Candidate {
            address: from,
            challenge: challenge(),
            bytes_in: len,
            bytes_out: 0,
            probes: 0,
            next_probe: now,
        });
    }

    /// A challenge was answered: the path is followed if the answer came along it.
    pub(super) fn handle_path_response(
        &mut self,
        from: SocketAddr,
        answer: [u8; 8],
        counters: &mut Counters,
    ) {
        let proven = self
            .candidate
            .as_ref()
            .is_some_and(|candidate| candidate.address == from && candidate.challenge == answer);
        if proven {
            counters.paths_followed += 1;
            self.path = from.into();
            self.candidate = None;
        }
    }

    /// A packet came along the proven path, newer than those from elsewhere: the client is where it was.
    pub(super) fn handle_own_path(&mut self, newest: bool) {
        if newest {
            self.candidate = None;
        }
    }

    /// Writes a path challenge if one is due.
    pub(super) fn poll_probe(&mut self, now: Millis, out: &mut Vec<u8>) -> Option<SocketAddr> {
        let candidate = self.candidate.as_mut()?;
        if candidate.next_probe > now {
            return None;
        }
        if candidate.probes == PROBES_MAX {
            self.candidate = None;
            return None;
        }
        candidate.next_probe = now + PROBE_PAUSE_MS;
        candidate.probes += 1;
        if candidate.bytes_out + PROBE_LEN > candidate.bytes_in.saturating_mul(PROBE_FACTOR) {
            return None;
        }
        candidate.bytes_out += PROBE_LEN;
        let (challenge, address) = (candidate.challenge, candidate.address);
        self.session.put_probe(challenge, out);
        debug_assert!(out.len() == PROBE_LEN);
        Some(address)
    }

    pub(super) fn has_output(&self, now: Millis) -> bool {
        self.session.has_output(now)
            || self.candidate.as_ref().is_some_and(|candidate| candidate.next_probe <= now)
    }

    pub(super) fn next_deadline(&self, now: Millis) -> Millis {
        let session = self.session.next_deadline(now).min(now + HORIZON_MS);
        self.candidate.as_ref().map_or(session, |candidate| session.min(candidate.next_probe))
    }
}

impl Budget {
    fn new(claims: &Claims) -> Self {
        let or_default = |cap: u32, default: u32| if cap == 0 { default } else { cap };
        let bytes_max = or_default(claims.bytes_per_second_max, BYTES_PER_SECOND_DEFAULT);
        Self {
            bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
            messages_max: or_default(claims.inputs_per_second_max, INPUTS_PER_SECOND_DEFAULT),
            second: 0,
            bytes: 0,
            messages: 0,
        }
    }

    /// Whether this is still within the second's budget.
    pub(super) fn admit(&mut self, now: Millis, load: Load) -> bool {
        let second = now.0 / 1_000;
        if self.second != second {
            (self.second, self.bytes, self.messages) = (second, 0, 0);
        }
        match load {
            Load::Packet(len) if self.bytes.saturating_add(len) > self.bytes_max => return false,
            Load::Packet(len) => self.bytes += len,
            Load::Message if self.messages >= self.messages_max => return false,
            Load::Message => self.messages += 1,
        }
        true
    }
}

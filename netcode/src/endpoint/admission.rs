//! What happens to a CONNECT, cheapest check first: length, cookie, token, expiry, battle, protocol, client part,
//! sequence. Only then X25519 and a slot.

use super::battles::{Holder, HolderKey, Judged};
use super::server::Server;
use super::server_event::{ConnectedClient, Notice};
use super::slot::Slot;
use crate::connection::{CloseReason, Session};
use crate::crypto::KeyShare;
use crate::handshake::{
    ACCEPT_LEN, ACCEPT_SEALED_AT, Accepted, CONNECT_SEALED_AT, ClientNonce, ClientPart, Connect, ConnectKeys,
    DENY_SEALED_AT, DenyReason, KIND_ABSENT, KIND_ACCEPT, KIND_DENY, SessionKeys, parse_connect, put_start,
};
use crate::packet::Side;
use crate::time::Millis;
use crate::token::{Claims, TokenPublic};
use crate::wire::{Put, Reader};
use crate::{ConnectionId, Feed, Path};

impl Server {
    /// `datagram` is the whole CONNECT, of the right length; `reader` stands behind its nonce.
    pub(super) fn handle_connect(
        &mut self,
        now: Millis,
        from: Path,
        nonce: ClientNonce,
        mut reader: Reader<'_>,
        datagram: &[u8],
    ) {
        let Ok(connect) = parse_connect(nonce, &mut reader) else {
            self.counters.bad_handshake += 1;
            return;
        };
        if !connect.cookie.holds(&self.cookie_key, now, from.address, &nonce) {
            self.counters.bad_cookie += 1;
            return;
        }
        let (public, claims) = match self.battles.judge(&connect.token) {
            Judged::Here { public, claims } => (public, claims),
            Judged::Over { claims } => {
                let keys = ConnectKeys::new(&claims.session_secret, &datagram[..CONNECT_SEALED_AT]);
                self.deny(from, &nonce, &keys, DenyReason::BattleOver);
                return;
            }
            Judged::NotHere => {
                self.counters.denied_not_here += 1;
                put_start(&mut self.scratch, KIND_ABSENT, &nonce);
                self.scratch.put_u8(1);
                self.answer(from);
                return;
            }
            Judged::UnknownKid => {
                self.counters.unknown_kid += 1;
                return;
            }
            Judged::Forged => {
                self.counters.forged_token += 1;
                return;
            }
        };
        let (open_part, sealed) = datagram.split_at(CONNECT_SEALED_AT);
        let keys = ConnectKeys::new(&claims.session_secret, open_part);
        let mut sealed = sealed.to_vec();
        let part = match keys.client_part().open([0; 12], open_part, &mut sealed) {
            Ok(text) => ClientPart::decode(text),
            Err(_) => None,
        };
        let Some(part) = part else {
            self.counters.forged_client_part += 1;
            return;
        };
        if self.repeat_accept(from, &claims, &connect) {
            return;
        }
        match self.check(now, &public, &claims, &part, connect.sequence) {
            Ok(()) => self.accept(now, from, datagram, &connect, &public, &claims, &part),
            Err(reason) => self.deny(from, &nonce, &keys, reason),
        }
    }

    /// A CONNECT that was accepted already: its ACCEPT was lost, and is said again.
    fn repeat_accept(&mut self, from: Path, claims: &Claims, connect: &Connect) -> bool {
        let holder = self
            .battles
            .get(crate::token::inspect(&connect.token).map_or(crate::BattleId(0), |public| public.battle))
            .and_then(|hosted| hosted.holders.get(&HolderKey::of(claims)))
            .and_then(|holder| holder.connection);
        let Some(slot) = holder.and_then(|connection| self.slot(connection)) else { return false };
        if slot.client_nonce != connect.client_nonce || slot.path != from {
            return false;
        }
        if let Some(accept) = slot.accept.clone() {
            self.counters.accepts_repeated += 1;
            self.scratch.clear();
            self.scratch.put(accept.as_slice());
            self.answer(from);
        }
        // Once the client has spoken it needs no ACCEPT: this is a late copy.
        true
    }

    fn check(
        &self,
        now: Millis,
        public: &TokenPublic,
        claims: &Claims,
        part: &ClientPart,
        sequence: u64,
    ) -> Result<(), DenyReason> {
        let Some(hosted) = self.battles.get(public.battle) else { return Err(DenyReason::NotHere) };
        let key = HolderKey::of(claims);
        let unix = i64::try_from(now.0).unwrap_or(i64::MAX).saturating_add(self.config.unix_offset_ms);
        let unix = u64::try_from(unix).unwrap_or(0);
        let expiry = public.expires_unix_ms.saturating_add(self.config.skew_ms);
        if unix > expiry && !hosted.knows_token(key, &public.token_id) {
            return Err(DenyReason::Expired { late_ms: unix - expiry });
        }
        let earliest = claims.issued_unix_ms.saturating_sub(self.config.skew_ms);
        if unix < earliest {
            return Err(DenyReason::NotYetValid { early_ms: earliest - unix });
        }
        let here = hosted.battle.protocol_hash;
        for theirs in [claims.protocol_hash, part.protocol_hash] {
            if theirs != here {
                return Err(DenyReason::ProtocolHash { here, theirs });
            }
        }
        let must_simulate = part.feed == Feed::Frame;
        if must_simulate && hosted.battle.hides {
            return Err(DenyReason::NoFrameFeed);
        }
        let theirs = part.math_hash.unwrap_or(0);
        if (must_simulate || part.math_hash.is_some()) && theirs != hosted.battle.math_hash {
            return Err(DenyReason::MathDiffers { here: hosted.battle.math_hash, theirs });
        }
        hosted.check_claim(key, claims, sequence)
    }

    #[expect(clippy::too_many_arguments, reason = "everything that the checks above have established")]
    fn accept(
        &mut self,
        now: Millis,
        from: Path,
        datagram: &[u8],
        connect: &Connect,
        public: &TokenPublic,
        claims: &Claims,
        part: &ClientPart,
    ) {
        let key = HolderKey::of(claims);
        let hosted = self.battles.get_mut(public.battle).expect("the battle was found in check");
        if !hosted.count_join(now, key) {
            self.counters.hasty_joins += 1;
            return;
        }
        let share = KeyShare::generate();
        let server_share = share.public;
        let Ok(agreed) = share.agree(&connect.client_share) else {
            self.counters.bad_key_share += 1;
            return;
        };
        let Some(index) = self.take_free_slot() else {
            let keys = ConnectKeys::new(&claims.session_secret, &datagram[..CONNECT_SEALED_AT]);
            self.deny(from, &connect.client_nonce, &keys, DenyReason::Full);
            return;
        };
        let random = u32::from_le_bytes(self.random.take());
        let id = ConnectionId::new(self.config.worker, random, index);
        let holder = Holder {
            token_id: public.token_id,
            issued_unix_ms: claims.issued_unix_ms,
            sequence: connect.sequence,
            connection: Some(id),
        };
        let hosted = self.battles.get_mut(public.battle).expect("the battle was found in check");
        let replaced = hosted.holders.insert(key, holder).and_then(|old| old.connection);
        let accepted = Accepted {
            connection: id,
            battle: public.battle,
            epoch: hosted.battle.epoch,
            tick: hosted.tick,
            rate_hz: hosted.battle.rate_hz,
            seat: claims.seat,
            team: claims.team,
            role: claims.role,
            feed: part.feed,
            lane: part.lane,
        };
        if let Some(old) = replaced {
            self.close_now(now, old, CloseReason::Replaced);
        }
        let keys = SessionKeys::new(&claims.session_secret, datagram, &server_share, &agreed);
        put_start(&mut self.scratch, KIND_ACCEPT, &connect.client_nonce);
        self.scratch.put(&server_share);
        accepted.encode(&mut self.scratch);
        keys.accept.seal_tail([0; 12], &mut self.scratch, ACCEPT_SEALED_AT);
        let accept: [u8; ACCEPT_LEN] =
            self.scratch.as_slice().try_into().expect("the parts of an ACCEPT add up to its length");
        self.answer(from);
        let session = Session::new(Side::Server, from.transport, id, keys, part.lane, now);
        let slot = Slot::new(session, from, public.battle, claims, connect.client_nonce, accept);
        self.insert(now, index, Box::new(slot));
        self.counters.accepted += 1;
        self.inbox.push_notice(Notice::Connected(Box::new(ConnectedClient {
            connection: id,
            battle: public.battle,
            epoch: accepted.epoch,
            seat: claims.seat,
            team: claims.team,
            player: claims.player,
            role: claims.role,
            feed: part.feed,
            resume_tick: part.resume_tick,
            replaced,
            from: from.address,
            transport: from.transport,
        })));
    }

    fn deny(&mut self, to: Path, nonce: &ClientNonce, keys: &ConnectKeys, reason: DenyReason) {
        let counter = match reason {
            DenyReason::Expired { .. } => &mut self.counters.denied_expired,
            DenyReason::NotYetValid { .. } => &mut self.counters.denied_not_yet_valid,
            DenyReason::NotHere => &mut self.counters.denied_not_here,
            DenyReason::ProtocolHash { .. } => &mut self.counters.denied_protocol_hash,
            DenyReason::MathDiffers { .. } => &mut self.counters.denied_math,
            DenyReason::BattleOver => &mut self.counters.denied_battle_over,
            DenyReason::Superseded => &mut self.counters.denied_superseded,
            DenyReason::Full => &mut self.counters.denied_full,
            DenyReason::NoFrameFeed => &mut self.counters.denied_no_frame_feed,
        };
        *counter += 1;
        let aead_nonce: [u8; 12] = self.random.take();
        put_start(&mut self.scratch, KIND_DENY, nonce);
        self.scratch.put(&aead_nonce);
        reason.encode(&mut self.scratch);
        keys.deny().seal_tail(aead_nonce, &mut self.scratch, DENY_SEALED_AT);
        self.answer(to);
    }
}

//! The client's half of the handshake: from HELLO to ACCEPT, DENY, or the next address.

use super::client::{Client, Connected, Handshake, Notice, Retry};
use crate::Path;
use crate::connection::Session;
use crate::crypto::KeyShare;
use crate::handshake::{
    ABSENT_LEN, ACCEPT_LEN, ACCEPT_SEALED_AT, Accepted, CHALLENGE_LEN, CONNECT_LEN, CONNECT_SEALED_AT,
    ClientNonce, ClientPart, Connect, ConnectKeys, Cookie, DENY_LEN, DENY_SEALED_AT, DenyReason, KIND_ABSENT,
    KIND_ACCEPT, KIND_CHALLENGE, KIND_DENY, SessionKeys, parse_cookie, parse_start, put_connect,
};
use crate::packet::Side;
use crate::time::Millis;

impl Client {
    pub(super) fn handle_handshake(&mut self, now: Millis, from: Path, datagram: &mut [u8]) {
        let Some((kind, nonce, mut reader)) = parse_start(datagram) else {
            match datagram.first() {
                Some(1..=6) => self.counters.bad_handshake += 1,
                _ => self.counters.unknown_kind += 1,
            }
            return;
        };
        let expected = self.handshake.as_ref().map(|handshake| match handshake {
            Handshake::Greeting { nonce, .. } | Handshake::Connecting { nonce, .. } => *nonce,
        });
        if expected != Some(nonce) || self.to() != Some(from) {
            // A late answer, or one that we did not ask for.
            self.counters.bad_handshake += 1;
            return;
        }
        match (kind, datagram.len()) {
            (KIND_CHALLENGE, CHALLENGE_LEN) => {
                let Ok(cookie) = parse_cookie(&mut reader) else { return };
                if let Some(Handshake::Greeting { .. }) = self.handshake {
                    self.connect(now, nonce, cookie);
                }
            }
            (KIND_ACCEPT, ACCEPT_LEN) => self.handle_accept(now, from, datagram),
            (KIND_DENY, DENY_LEN) => self.handle_deny(datagram),
            (KIND_ABSENT, ABSENT_LEN) => {
                if let Some(Handshake::Connecting { .. }) = self.handshake {
                    self.handle_absent(now);
                }
            }
            (KIND_CHALLENGE | KIND_ACCEPT | KIND_DENY | KIND_ABSENT, _) => self.counters.bad_handshake += 1,
            (1 | 3, _) => self.counters.wrong_side += 1,
            _ => self.counters.unknown_kind += 1,
        }
    }

    fn connect(&mut self, now: Millis, nonce: ClientNonce, cookie: Cookie) {
        let share = KeyShare::generate();
        let mut bytes = Vec::with_capacity(CONNECT_LEN);
        let connect = Connect {
            client_nonce: nonce,
            cookie,
            client_share: share.public,
            sequence: self.sequence,
            token: self.config.token_file.token,
        };
        put_connect(&mut bytes, &connect);
        let keys = ConnectKeys::new(&self.config.token_file.session_secret, &bytes);
        let part = ClientPart {
            resume_tick: self.config.resume_tick,
            feed: self.config.feed,
            lane: self.config.lane,
            math_hash: self.config.math_hash,
            protocol_hash: self.config.protocol_hash,
        };
        part.encode(&mut bytes);
        keys.client_part().seal_tail([0; 12], &mut bytes, CONNECT_SEALED_AT);
        self.handshake = Some(Handshake::Connecting {
            nonce,
            retry: Retry { times: 0, at: now },
            connect: bytes.try_into().expect("the parts of a CONNECT add up to its length"),
            share: Some(share),
            began: now,
        });
    }

    fn handle_accept(&mut self, now: Millis, from: Path, datagram: &mut [u8]) {
        let Some(Handshake::Connecting { connect, share, began, .. }) = &mut self.handshake else {
            self.counters.bad_handshake += 1;
            return;
        };
        let (open_part, sealed) = datagram.split_at_mut(ACCEPT_SEALED_AT);
        let Some(server_share) = open_part.last_chunk::<32>() else { return };
        let began = *began;
        // The private half can be used once. A forged ACCEPT would cost it, and the handshake begins anew: whoever
        // can send one knows our nonce, stands on the path, and could as well drop our packets.
        let Some(agreed) = share.take().and_then(|share| share.agree(server_share).ok()) else {
            self.counters.bad_key_share += 1;
            return self.greet(now);
        };
        let keys = SessionKeys::new(
            &self.config.token_file.session_secret,
            connect.as_slice(),
            server_share,
            &agreed,
        );
        let accepted = match keys.accept.open([0; 12], open_part, sealed) {
            Ok(text) => Accepted::decode(text),
            Err(_) => None,
        };
        let Some(accepted) = accepted else {
            self.counters.forged_packet += 1;
            return self.greet(now);
        };
        let mut session =
            Session::new(Side::Client, from.transport, accepted.connection, keys, accepted.lane, now);
        session.add_round_trip(now.since(began));
        self.connected = Some(Connected { session: Box::new(session), to: from, heard: now });
        self.handshake = None;
        self.counters.accepted += 1;
        self.inbox.push_notice(Notice::Accepted(Box::new(accepted)));
        // The first ping is due at once: it tells the node that the ACCEPT came.
        self.handle_timeout(now);
    }

    fn handle_deny(&mut self, datagram: &mut [u8]) {
        let Some(Handshake::Connecting { connect, .. }) = &self.handshake else {
            self.counters.bad_handshake += 1;
            return;
        };
        let keys = ConnectKeys::new(&self.config.token_file.session_secret, &connect[..CONNECT_SEALED_AT]);
        let (open_part, sealed) = datagram.split_at_mut(DENY_SEALED_AT);
        let Some(nonce) = open_part.last_chunk::<12>() else { return };
        let reason = match keys.deny().open(*nonce, open_part, sealed) {
            Ok(text) => DenyReason::decode(text),
            Err(_) => None,
        };
        let Some(reason) = reason else {
            self.counters.forged_packet += 1;
            return;
        };
        (self.connected, self.handshake) = (None, None);
        self.inbox.push_notice(Notice::Denied(reason));
    }
}

//! The protocol's bytes for fixed inputs, held to `tests/data/vectors.txt`.
//!
//! Whoever writes a client in another language checks it against that file. `VECTORS=write cargo test vectors` writes
//! it anew, after a change of the protocol that was meant.

use std::fmt::Write;

use crate::connection::CloseReason;
use crate::crypto::Aead;
use crate::handshake::{
    ACCEPT_SEALED_AT, Accepted, CONNECT_SEALED_AT, ClientPart, Connect, ConnectKeys, Cookie, DENY_SEALED_AT,
    DenyReason, KIND_ABSENT, KIND_ACCEPT, KIND_DENY, SessionKeys, put_challenge, put_connect, put_hello,
    put_start,
};
use crate::message::{Ask, Desync, End, Frame, InputReport, Inputs, Keyframe, Snapshot, Start};
use crate::packet::{self, Item, Report, Side};
use crate::token::{Claims, MasterKey, Role, SessionSecret, mint};
use crate::wire::Put;
use crate::{BattleId, ConnectionId, Epoch, Feed, LaneWish};

const PINNED: &str = include_str!("../tests/data/vectors.txt");

/// `len` bytes that count up from `first`.
fn counting<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|at| first.wrapping_add(at as u8))
}

fn line(text: &mut String, name: &str, bytes: &[u8]) {
    write!(text, "{name} = ").unwrap();
    bytes.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
    text.push('\n');
}

fn vectors() -> String {
    let mut text = String::from(
        "# Bytes of the protocol for fixed inputs, in hex; see docs/PROTOCOL.md, \"Test vectors\".\n",
    );
    let mut out = Vec::new();

    // Token: kid 7, battle 0x0102030405060708.
    let battle = BattleId(0x0102_0304_0506_0708);
    let master = MasterKey::from_bytes(7, counting(0));
    let key = master.battle_key(battle);
    let secret = SessionSecret::from_bytes(counting(0x80));
    let claims = Claims {
        player: 0x1111_2222_3333_4444,
        seat: 5,
        team: 1,
        role: Role::Player,
        protocol_hash: counting(0x30),
        issued_unix_ms: 1_700_000_000_000,
        session_secret: secret.clone(),
        bytes_per_second_max: 50_000,
        inputs_per_second_max: 120,
        loadout_hash: counting(0x60),
        user_data: b"blue".to_vec(),
    };
    let token = mint(&key, counting(0x20), 1_700_000_060_000, &claims);
    line(&mut text, "master_key", master.as_bytes());
    line(&mut text, "battle_key", key.as_bytes());
    line(&mut text, "session_secret", secret.as_bytes());
    line(&mut text, "token", token.as_bytes());

    // Handshake: the X25519 result is given, every library has vectors of its own for that.
    let client_nonce = counting(0xA0);
    put_hello(&mut out, &client_nonce);
    line(&mut text, "hello", &out);
    let cookie = Cookie { bucket: 12, tag: counting(0x40) };
    put_challenge(&mut out, &client_nonce, &cookie);
    line(&mut text, "challenge", &out);
    let connect = Connect { client_nonce, cookie, client_share: counting(0xC0), sequence: 9, token };
    put_connect(&mut out, &connect);
    let keys = ConnectKeys::new(&secret, &out);
    let part = ClientPart {
        resume_tick: Some(300),
        feed: Feed::Frame,
        lane: LaneWish::Datagram,
        math_hash: Some(0xDEAD_BEEF_0000_0001),
        protocol_hash: counting(0x30),
    };
    part.encode(&mut out);
    line(&mut text, "client_part", &out[CONNECT_SEALED_AT..]);
    keys.client_part().seal_tail([0; 12], &mut out, CONNECT_SEALED_AT);
    line(&mut text, "connect", &out);
    let connect = out.clone();

    let (server_share, agreed) = (counting(0x50), counting(0x70));
    line(&mut text, "server_share", &server_share);
    line(&mut text, "x25519_result", &agreed);
    let session = SessionKeys::new(&secret, &connect, &server_share, &agreed);
    let accepted = Accepted {
        connection: ConnectionId(0x0300_0000_2A00_0001),
        battle,
        epoch: Epoch(2),
        tick: 310,
        rate_hz: 30,
        seat: 5,
        team: 1,
        role: Role::Player,
        feed: Feed::Frame,
        lane: LaneWish::Datagram,
    };
    put_start(&mut out, KIND_ACCEPT, &client_nonce);
    out.put(&server_share);
    accepted.encode(&mut out);
    session.accept.seal_tail([0; 12], &mut out, ACCEPT_SEALED_AT);
    line(&mut text, "accept", &out);

    let aead_nonce: [u8; 12] = counting(1);
    put_start(&mut out, KIND_DENY, &client_nonce);
    out.put(&aead_nonce);
    DenyReason::Expired { late_ms: 17 }.encode(&mut out);
    keys.deny().seal_tail(aead_nonce, &mut out, DENY_SEALED_AT);
    line(&mut text, "deny_expired_17_ms", &out);
    put_start(&mut out, KIND_ABSENT, &client_nonce);
    out.put_u8(1);
    line(&mut text, "absent", &out);

    // Packets: 0x12345 to the server, 3 to the client.
    let seal = |text: &mut String, name, from, key: &Aead, number, items: &[Item<'_>]| {
        let mut out = Vec::new();
        let at = packet::start(&mut out, from, accepted.connection, number);
        items.iter().for_each(|item| item.put(&mut out));
        packet::seal(&mut out, key, number, at);
        line(text, name, &out);
    };
    let ping = Item::Ping { stamp: 1_500, report: Report { next: 40, received: 39 } };
    let up = [ping, Item::Message(b"inputs")];
    seal(&mut text, "packet_to_server_0x12345", Side::Client, &session.client_to_server, 0x1_2345, &up);
    let down = [Item::PathChallenge(counting(0xE0)), Item::Close(CloseReason::Finished)];
    seal(&mut text, "packet_to_client_3", Side::Server, &session.server_to_client, 3, &down);

    // Messages.
    let inputs: [&[u8]; 2] = [&[1, 2, 3], &[4, 5, 6]];
    Inputs::encode(&mut out, 5, Some(308), 312, inputs.into_iter());
    line(&mut text, "inputs", &out);
    Ask::Frames { from_tick: 305 }.encode(&mut out);
    line(&mut text, "ask_frames", &out);
    Desync { tick: 306, state_hash: 0x0807_0605_0403_0201 }.encode(&mut out);
    line(&mut text, "desync", &out);
    let report = InputReport { newest_tick: Some(312), lead_ms: -4 };
    Frame::encode(&mut out, Epoch(2), 310, 0x0102, report, inputs.into_iter());
    line(&mut text, "frame", &out);
    let snapshot = Snapshot {
        epoch: Epoch(2),
        tick: 310,
        baseline: Some(306),
        view: 1,
        view_hash: 0x0A0B,
        report,
        stale: &[],
        shared: b"shared",
        private: b"private",
    };
    snapshot.encode(&mut out);
    line(&mut text, "snapshot", &out);
    Snapshot { stale: b"marks", ..snapshot }.encode(&mut out);
    line(&mut text, "snapshot_short", &out);
    Start { epoch: Epoch(2), tick: 310, rate_hz: 30, spec: b"spec" }.encode(&mut out);
    line(&mut text, "start", &out);
    Keyframe { epoch: Epoch(2), tick: 310, state_hash: 0x0102, inputs: b"inputs", state: b"state" }
        .encode(&mut out);
    line(&mut text, "keyframe", &out);
    End { epoch: Epoch(2), tick: 310, state_hash: 0x0102, outcome: b"outcome" }.encode(&mut out);
    line(&mut text, "end", &out);
    text
}

#[test]
fn the_protocol_has_the_bytes_of_its_pinned_vectors() {
    let now = vectors();
    if std::env::var("VECTORS").is_ok_and(|value| value == "write") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/vectors.txt");
        std::fs::write(path, &now).expect("the vectors can be written");
        return;
    }
    for (now, pinned) in now.lines().zip(PINNED.lines()) {
        assert_eq!(now, pinned);
    }
    assert_eq!(now.lines().count(), PINNED.lines().count());
}
